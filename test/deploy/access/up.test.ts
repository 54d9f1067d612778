/** Accounts on one machine, end to end: the local token, tokens of a file, the journal and its proof. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { frameLines } from '#schemas';
import { localTokenFor } from '../../../deploy/access/local.ts';
import { changeTokens } from '../../../deploy/access/token-file.ts';
import { timelineFrom } from '../../../deploy/commands/timeline.ts';
import { createUp, type Up } from '../../../deploy/commands/up.ts';
import { trustOf } from '../../../deploy/evidence/keys.ts';
import { stageSession } from '../../../deploy/evidence/stage.ts';
import { TOOL } from '../../../deploy/evidence/tool.ts';
import { FLEET_VARIABLES } from '../../../deploy/grafana/scope.ts';
import { createToken } from '../../../query/access/token.ts';
import { verifyEvidence } from '../../../schemas/evidence/verify.ts';
import { fakeLog, fakeRandom } from '../../fakes/ports.ts';
import { SESSION, STREAM, stampStream } from '../../query/seed.ts';

const TENANT = 'default';
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-up-'));
const data = path.join(dir, 'data');
let up: Up;
beforeAll(async () => {
  const grafana = { host: '127.0.0.1', port: 0 };
  up = createUp({ data, port: 0, tenant: TENANT, grafana, log: fakeLog() });
  await up.start();
}, 60_000);
afterAll(async () => {
  await up.stop();
  delete process.env.TELLTALE_TOKEN;
  fs.rmSync(dir, { recursive: true, force: true });
});

const send = (events: ReturnType<typeof stampStream>, session = SESSION, stream = STREAM) =>
  fetch(`${up.url}/v1/frames`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-telltale-frame' },
    body: new Uint8Array(
      frameLines(
        { tenant: TENANT, session_id: session, stream_id: stream, first_seq: 0 },
        events.map(({ bytes }) => bytes),
      ),
    ),
  });
const ask = async (query: string, token = up.token) => {
  const response = await fetch(`${up.url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify({ query }),
  });
  return (await response.json()) as {
    // biome-ignore lint/suspicious/noExplicitAny: a JSON answer, read by tests
    data?: any;
    errors?: { extensions: { code: string } }[];
  };
};

describe('telltale up', () => {
  it('takes frames without a token, and answers nothing without one', async () => {
    expect((await send(stampStream({ tenant: TENANT }))).status).toBe(200);
    expect((await fetch(`${up.url}/v1/sessions`)).status).toBe(401);
    expect((await ask('{ sessions { nodes { id } } }', 'tt_wrong')).errors?.[0]?.extensions.code) //
      .toBe('UNAUTHENTICATED');
    const { data: found } = await ask('{ sessions { nodes { id } } }');
    expect(found.sessions.nodes).toEqual([{ id: SESSION }]);
  });

  it('refuses a collector that says what only the service says', async () => {
    const forged = (kind: 'access' | 'annotation', text: string) =>
      send(
        stampStream({
          tenant: TENANT,
          session: '0193a5e0-0000-7000-8000-0000000000b1',
          stream: '0193a5e0-0000-7000-8000-0000000000b2',
          drafts: [
            {
              kind,
              ts: '1764000000000000001',
              source: 'query',
              assurance: 'verified',
              actor: 'kim',
              ...(kind === 'access' ? { operation: text } : { note: text }),
            } as never,
          ],
        }),
        '0193a5e0-0000-7000-8000-0000000000b1',
        '0193a5e0-0000-7000-8000-0000000000b2',
      );
    for (const kind of ['access', 'annotation'] as const)
      expect((await forged(kind, 'x')).status).toBe(403);
    // The same words in a map are no event of the kind.
    const stream = '0193a5e0-0000-7000-8000-0000000000b3';
    const drafts = [
      {
        kind: 'prompt',
        ts: '1764000000000000001',
        source: 'otlp',
        assurance: 'reported',
        prompt: '"kind":"access"',
        attrs: { kind: 'access' },
      },
    ] as never;
    const innocent = stampStream({ tenant: TENANT, session: stream, stream, drafts });
    expect((await send(innocent, stream, stream)).status).toBe(200);
  });

  it('leaves its token for commands of its owner, and for no other server', async () => {
    const file = path.join(data, 'access/local.json');
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
    expect(localTokenFor(data, new URL(up.url))).toBe(up.token);
    expect(localTokenFor(data, new URL('http://127.0.0.1:1'))).toBeUndefined();
    expect(localTokenFor(data, new URL('https://evil.example'))).toBeUndefined();
    const options = { width: 80, color: false, verbose: false };
    const { text } = await timelineFrom(up.url, SESSION, { ...options, token: up.token });
    expect(text).toContain('make a file');
    await expect(timelineFrom(up.url, SESSION, { ...options, token: 'x' })).rejects.toThrow(
      /does not know you: set TELLTALE_TOKEN/,
    );
  });

  it('lets tokens of the file in as soon as they are there, and out as soon as they are revoked', async () => {
    const { token, record } = createToken(fakeRandom(), {
      name: 'grafana',
      tenant: TENANT,
      roles: ['viewer'],
      scopes: [],
      created: new Date().toISOString(),
    });
    const file = path.join(data, 'access/tokens.json');
    const look = async () => (await ask('{ __typename }', token)).errors?.[0]?.extensions.code;
    expect(await look()).toBe('UNAUTHENTICATED');
    changeTokens(file, () => [record]);
    expect(await look()).toBeUndefined();
    changeTokens(file, () => [{ ...record, revoked: new Date().toISOString() }]);
    expect(await look()).toBe('UNAUTHENTICATED');
  });

  it('has a journal that is verified as any other session, and hides in no list', async () => {
    const journals = '{ sessions(filter: { journal: true }) { nodes { id agent } } }';
    await expect
      .poll(async () => (await ask(journals)).data.sessions.nodes.length, { timeout: 10_000 })
      .toBe(1);
    const [journal] = (await ask(journals)).data.sessions.nodes;
    expect(journal.agent).toBe('telltale-access');
    const { data: latest } = await ask('{ session(id: "latest") { id agent } }');
    expect(latest.session.agent).toBe('codex');
    process.env.TELLTALE_TOKEN = up.token;
    const trust = trustOf({ 'log-key': [up.logKey], witness: [] });
    /** By then a checkpoint covers what was asked for so far, and the log has its head. */
    const verified = async () => {
      const stage = fs.mkdtempSync(path.join(dir, 'stage-'));
      const by = { at_ms: 0, by: 'test', reason: '' };
      const base = new URL(up.url);
      const session = journal.id;
      const content = 'full';
      const staged = await stageSession({ base, session, content, tool: TOOL, by, dir: stage });
      const report = await verifyEvidence(staged.files, trust).finally(staged.files.close);
      expect(staged.events).toBeGreaterThan(5);
      return [report.integrity.verdict, report.completeness.verdict];
    };
    await expect.poll(verified, { timeout: 30_000, interval: 1_500 }).toEqual(['intact', 'open']);
  }, 60_000);
});

describe('--grafana', () => {
  const post = async (body: string, token: string) => {
    const authorization = `Basic ${Buffer.from(`any:${token}`).toString('base64')}`;
    const url = `${up.grafanaUrl}/?default_format=JSONEachRow`;
    const headers = { authorization, 'x-grafana-user': 'lea' };
    const response = await fetch(url, { method: 'POST', headers, body });
    return [response.status, await response.text()] as const;
  };
  const drops = FLEET_VARIABLES[0]?.sql ?? '';

  it('answers its statements to who has a token, and says so in the journal', async () => {
    expect(await post('SELECT 1', up.token)).toEqual([200, '{"1":1}\n']);
    expect((await post(drops, up.token))[0]).toBe(200);
    expect((await post(drops, `${up.token}x`))[0]).toBe(401);
    expect((await post('SELECT * FROM telltale.events', up.token))[0]).toBe(403);
    const journals = '{ sessions(filter: { journal: true }) { nodes { id } } }';
    const told = async () => {
      const [journal] = (await ask(journals)).data.sessions.nodes;
      const events = `{ session(id: "${journal?.id}") { timeline(first: 500) { nodes { ... on AccessEvent { operation attrs { name value } } } } } }`;
      return JSON.stringify((await ask(events)).data?.session?.timeline.nodes ?? '');
    };
    await expect.poll(told, { timeout: 10_000 }).toMatch(/drop-down tenant/);
    expect(await told()).toMatch(/"grafana_user","value":"lea"/);
  });
});
