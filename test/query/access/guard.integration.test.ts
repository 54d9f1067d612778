/** Every way into the service: who is let in, and that nothing leaves without being written down. */
import fs from 'node:fs';
import path from 'node:path';
import Fastify from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Store } from '#schemas';
import { Access } from '../../../query/access/access.ts';
import { createGate } from '../../../query/access/gate.ts';
import { passedOf, REQUESTS_AT_ONCE_MAX } from '../../../query/access/guard.ts';
import { QUERY_CODES } from '../../../query/errors.ts';
import { createRunner } from '../../../query/run.ts';
import { registerQuery } from '../../../query/server.ts';
import { sessionPlan } from '../../../query/session-plan.ts';
import { fakeClock, fakeLog, fakeMeter } from '../../fakes/ports.ts';
import { accessOf, accessOfMany, memoryJournal, viewer } from '../access.ts';
import { insertAlert, insertEvents, SESSION, stampStream, TENANT } from '../seed.ts';
import { openTestStore, type TestStore } from '../service.ts';

let test: TestStore;
beforeAll(async () => {
  test = await openTestStore();
  await insertEvents(test.store, stampStream({ mark: ' of-acme' }));
  await insertAlert(test.store);
});
afterAll(() => test.close());

const VIEWERS = {
  admin: viewer(TENANT),
  bare: viewer(TENANT, ['investigator'], [], 'bo'),
  looker: viewer(TENANT, ['viewer'], ['content'], 'lou'),
  nothing: viewer(TENANT, [], ['content'], 'noa'),
};

interface Opened {
  readonly routes: readonly { readonly method: string; readonly url: string }[];
  readonly journal: ReturnType<typeof memoryJournal>;
  readonly log: ReturnType<typeof fakeLog>;
  /** One request to a route, as whoever `who` is. */
  send(who: string | undefined, method: string, url: string, payload?: object): Promise<Reply>;
  ask(who: string, query: string, variables?: object): Promise<Reply>;
  close(): Promise<void>;
}
interface Reply {
  readonly status: number;
  readonly text: string;
  readonly code: string | undefined;
}

async function open(store: Store = test.store, more: object = {}): Promise<Opened> {
  const app = Fastify();
  const journal = memoryJournal();
  const log = fakeLog();
  const routes: { method: string; url: string }[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    if (method !== 'HEAD') routes.push({ method: String(method), url });
  });
  const ports = { store, log, meter: fakeMeter(), clock: fakeClock() };
  await registerQuery(app, { ...ports, ...accessOfMany(VIEWERS, TENANT, journal), ...more });
  const send: Opened['send'] = async (who, method, url, payload) => {
    const answer = await app.inject({
      method: method as 'GET',
      url: url.replace(':id', SESSION).replace(/events$/, 'events?format=ndjson'),
      headers: {
        host: 'localhost',
        ...(who === undefined ? {} : { authorization: `Bearer ${who}` }),
        ...(method === 'POST' ? { 'content-type': 'application/json' } : {}),
      },
      ...(payload === undefined ? {} : { payload }),
    });
    let code: string | undefined;
    try {
      const body = answer.json();
      code = body.error?.code ?? body.errors?.[0]?.extensions?.code;
    } catch {
      // Not JSON: an export.
    }
    return { status: answer.statusCode, text: answer.payload, code };
  };
  const ask: Opened['ask'] = (who, query, variables = {}) =>
    send(who, 'POST', '/graphql', { query, variables });
  return { routes, journal, log, send, ask, close: () => app.close() };
}

const last = (service: Opened) => service.journal.entries.at(-1)?.draft;
const QUERY = `{ session(id: "${SESSION}") { timeline(first: 50) { nodes { summary } } } }`;
const SECRETS = /of-acme|made-up/;

describe('every route', () => {
  it('lets nobody in without a token, and writes the refusal down', async () => {
    const service = await open();
    expect(service.routes.length).toBeGreaterThanOrEqual(5);
    for (const { method, url } of service.routes)
      for (const who of [undefined, 'somebody']) {
        const before = service.journal.entries.length;
        const answer = await service.send(who, method, url, method === 'POST' ? {} : undefined);
        expect([url, answer.status, answer.code]).toEqual([url, 401, 'UNAUTHENTICATED']);
        const [entry, ...more] = service.journal.entries.slice(before);
        expect(more).toEqual([]);
        expect(entry?.draft).toMatchObject({ kind: 'access', actor: 'nobody', outcome: 'denied' });
      }
    await service.close();
  });

  it('writes down each access with its outcome, before the answer is there', async () => {
    const service = await open();
    for (const { method, url } of service.routes) {
      const before = service.journal.entries.length;
      const answer = await service.send('admin', method, url, { query: QUERY });
      // Nothing was removed here, and that somebody asked for it is written down all the same.
      const [status, outcome] = url.endsWith('/removal') ? [404, 'failure'] : [200, 'success'];
      expect([url, answer.status]).toEqual([url, status]);
      await expect.poll(() => last(service)).toHaveProperty('outcome');
      const drafts = service.journal.entries.slice(before).map(({ draft }) => draft);
      expect(drafts.length, url).toBeGreaterThan(0);
      for (const draft of drafts) expect(draft).toMatchObject({ kind: 'access', actor: 'kim' });
      expect(drafts.at(-1), url).toMatchObject({ outcome });
      if (url.includes(':id'))
        expect(drafts.at(-1)?.attrs, url).toMatchObject({ sessions: SESSION });
      // An answer in pieces is written down before its first piece and behind its last.
      const phases = drafts.map((draft) => draft.attrs?.phase);
      expect(phases.length === 1 ? phases : phases.join()).toEqual(
        phases.length === 1 ? [undefined] : 'begin,end',
      );
    }
    await service.close();
  });

  it('gives nothing away while the journal can’t write, and goes on when it can', async () => {
    const service = await open();
    service.journal.broken = true;
    for (const { method, url } of service.routes) {
      const answer = await service.send('admin', method, url, { query: QUERY });
      expect([url, answer.status, answer.code]).toEqual([url, 503, 'JOURNAL_UNAVAILABLE']);
      expect(answer.text).not.toMatch(SECRETS);
    }
    expect(service.journal.entries).toEqual([]);
    service.journal.broken = false;
    expect((await service.ask('admin', QUERY)).text).toMatch(SECRETS);
    await service.close();
  });

  it('gives nothing away when the journal fails after all was read', async () => {
    const journal = memoryJournal();
    const late = {
      journals: (tenant: string) => ({ ...journal.journals(tenant), failing: false }),
    };
    const service = await open(test.store, late);
    journal.broken = true;
    for (const { method, url } of service.routes) {
      const answer = await service.send('admin', method, url, { query: QUERY });
      expect([url, answer.status, answer.code]).toEqual([url, 503, 'JOURNAL_UNAVAILABLE']);
      expect(answer.text).not.toMatch(SECRETS);
    }
    await service.close();
  });

  it('refuses whoever has no role', async () => {
    const service = await open();
    for (const { method, url } of service.routes) {
      const answer = await service.send('nothing', method, url, { query: QUERY });
      expect([url, answer.code]).toEqual([url, 'FORBIDDEN']);
      expect(answer.text).not.toMatch(SECRETS);
      expect(service.journal.entries.at(-1)?.draft).toMatchObject({ outcome: 'denied' });
    }
    await service.close();
  });
});

describe('a read', () => {
  it('can’t be had without an access: not by the types, and not by what looks like one', async () => {
    const ports = { store: test.store, log: fakeLog(), meter: fakeMeter() };
    const lookalike = { viewer: VIEWERS.admin, isOpen: true, reads() {}, got() {} };
    // @ts-expect-error An object of the same look is no access.
    expect(() => createRunner(ports, lookalike, undefined)).toThrow('without an access');
    const forged = Object.create(Access.prototype);
    expect(() => createRunner(ports, forged, undefined)).toThrow('without an access');
    expect(() => passedOf({} as never)).toThrow('guard');
  });

  it('can’t be had with an access that has ended, or of another tenant', async () => {
    const ports = { store: test.store, log: fakeLog(), meter: fakeMeter(), clock: fakeClock() };
    const gate = createGate({ ...ports, ...accessOf(VIEWERS.admin) });
    const access = gate.open(VIEWERS.admin, { operation: 'a test' });
    const run = gate.run(access, undefined);
    expect(await run.rows(sessionPlan(TENANT, SESSION))).toHaveLength(1);
    await expect(run.rows(sessionPlan('globex', SESSION))).rejects.toThrow('another tenant');
    await access.end('success');
    await expect(run.rows(sessionPlan(TENANT, SESSION))).rejects.toThrow('open access');
    await expect(run.stream(sessionPlan(TENANT, SESSION))[Symbol.asyncIterator]().next())
      .rejects //
      .toThrow('open access');
  });

  it('has the store in two files only', () => {
    const root = path.resolve(import.meta.dirname, '../../../query');
    const names = fs.readdirSync(root, { recursive: true, encoding: 'utf8' });
    const holders = names
      .filter((name) => name.endsWith('.ts'))
      .filter((name) => {
        const text = fs.readFileSync(path.join(root, name), 'utf8');
        const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/\/\/.*$/gm, '');
        return /\bStore\b/.test(code) || /\bcreateRunner\(/.test(code);
      });
    expect(holders.sort()).toEqual(['access/gate.ts', 'run.ts']);
  });
});

describe('roles and content', () => {
  it('keep content from whoever lacks its scope, wherever it stands', async () => {
    const service = await open();
    const answer = await service.ask(
      'bare',
      `{ session(id: "${SESSION}") {
        timeline(first: 50) { nodes { id kind summary ... on PromptEvent { prompt }
          ... on ExecEvent { exe argv } ... on SessionOpenEvent { commandArgs } } }
        toolCalls { command arguments output } processTree { images { exe argv } }
        findings { text } streams { integrity { verdict sealed } } completeness { verdict }
        alerts { nodes { title reason key { value } } } } }`,
    );
    const { data, extensions } = JSON.parse(answer.text);
    expect(extensions.withheld.scope).toBe('content');
    expect(data.session.timeline.nodes).toHaveLength(16);
    // Not content: what program ran. Content: with which arguments.
    const execs = data.session.timeline.nodes.filter(
      ({ kind }: { kind: string }) => kind === 'exec',
    );
    expect(execs[0]).toMatchObject({ exe: '/bin/sh of-acme', argv: null });
    const text = JSON.stringify(data).replaceAll('/bin/sh of-acme', '');
    for (const secret of ['make a file', 'I will run it', 'echo hi', 'for the test', 'codex'])
      expect(text, secret).not.toContain(secret);
    // Verdicts are as true as for anybody: hashes are recomputed over the whole rows.
    expect(data.session.streams[0].integrity).toMatchObject({ verdict: 'intact', sealed: true });
    expect(data.session.completeness.verdict).toBe('complete');
    const story = await service.send('bare', 'GET', `/v1/sessions/${SESSION}/story`);
    expect(JSON.parse(story.text).streams[0].integrity.verdict).toBe('intact');
    for (const secret of ['make a file', 'I will run it', 'echo hi'])
      expect(story.text).not.toContain(secret);
    await service.close();
  });

  it('let nobody without the scope find out about content by searching in it', async () => {
    const service = await open();
    const search = `{ session(id: "${SESSION}") { timeline(filter: { text: "echo" }) { nodes { id } } } }`;
    const refused = await service.ask('bare', search);
    expect(refused.code).toBe('FORBIDDEN');
    expect(JSON.parse(refused.text).errors[0].message).toMatch(/needs the scope content/);
    expect(service.journal.entries.at(-1)?.draft).toMatchObject({ outcome: 'denied' });
    expect((await service.ask('looker', search)).code).toBeUndefined();
    const rule =
      'title: t\nid: a\nlogsource: {category: process_creation, product: linux}\ndetection: {s: {CommandLine|contains: echo}, condition: s}\nlevel: high';
    const backtest = `query($rules: String!) { backtest(rules: $rules, from: "2020-01-01T00:00:00Z", to: "2030-01-01T00:00:00Z") { alertCount } }`;
    expect((await service.ask('bare', backtest, { rules: rule })).code).toBe('FORBIDDEN');
    await service.close();
  });

  it('keep exports and backtests for investigators', async () => {
    const service = await open();
    const url = `/v1/sessions/${SESSION}/export?content=none`;
    expect((await service.send('looker', 'GET', url)).code).toBe('FORBIDDEN');
    const bare = await service.send('bare', 'GET', url);
    expect(bare.status).toBe(200);
    expect(bare.text).not.toContain('echo hi');
    expect(bare.text).toContain('"withheld"');
    const full = await service.send('bare', 'GET', url.replace('none', 'full'));
    expect(full.code).toBe('FORBIDDEN');
    const backtest =
      '{ backtest(rules: "", from: "2020-01-01T00:00:00Z", to: "2030-01-01T00:00:00Z") { alertCount } }';
    expect((await service.ask('looker', backtest)).code).toBe('FORBIDDEN');
    expect((await service.ask('admin', backtest)).code).not.toBe('FORBIDDEN');
    await service.close();
  });

  it('show the journal to admins alone, and in no list of agents’ sessions', async () => {
    const session = '0193a5e0-0000-7000-8000-0000000000e1';
    const stream = '0193a5e0-0000-7000-8000-0000000000e2';
    const draft = {
      kind: 'access' as const,
      ts: '1764000000000000001',
      source: 'query',
      assurance: 'verified' as const,
      actor: 'kim',
      operation: 'a secret look',
    };
    const agent = 'telltale-access';
    await insertEvents(test.store, stampStream({ session, stream, drafts: [draft], agent }));
    const service = await open();
    const list = (filter = '') => `{ sessions${filter} { nodes { id } } }`;
    const one = `{ session(id: "${session}") { id } event(id: "${stream}-1") { kind } }`;
    const ids = async (who: string, query: string) =>
      JSON.parse((await service.ask(who, query)).text).data.sessions.nodes.map(
        ({ id }: { id: string }) => id,
      );
    expect(await ids('admin', list())).toEqual([SESSION]);
    expect(await ids('admin', list('(filter: { journal: true })'))).toEqual([session]);
    expect(await ids('looker', list('(filter: { journal: true })'))).toEqual([]);
    const seen = JSON.parse((await service.ask('admin', one)).text).data;
    expect(seen).toEqual({ session: { id: session }, event: { kind: 'access' } });
    const hidden = JSON.parse((await service.ask('looker', one)).text).data;
    expect(hidden).toEqual({ session: null, event: null });
    await service.close();
  });

  it('list an agent that takes the journal’s name as any other', async () => {
    const session = '0193a5e0-0000-7000-8000-0000000000f1';
    const stream = '0193a5e0-0000-7000-8000-0000000000f2';
    const own = { session, stream, agent: 'telltale-access', shiftMs: -60_000 };
    await insertEvents(test.store, stampStream(own));
    const service = await open();
    const answer = await service.ask('looker', '{ sessions { nodes { id agent } } }');
    expect(JSON.parse(answer.text).data.sessions.nodes).toContainEqual({
      id: session,
      agent: 'telltale-access',
    });
    await service.close();
  });
});

describe('how often', () => {
  it('is limited for each viewer by itself, and refusals are written down', async () => {
    const service = await open(test.store, { requestsPerMinute: 3 });
    const status = async (who: string) => (await service.ask(who, '{ __typename }')).code;
    for (let i = 0; i < 3; i++) expect(await status('admin')).toBeUndefined();
    expect(await status('admin')).toBe('RATE_LIMITED');
    expect(service.journal.entries.at(-1)?.draft).toMatchObject({
      actor: 'kim',
      outcome: 'denied',
      reason: 'RATE_LIMITED',
    });
    expect(await status('looker')).toBeUndefined();
    await service.close();
  });

  it('is limited for requests at work at once', async () => {
    let letGo = () => {};
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const store = {
      query: () => held.then(() => []),
    } as unknown as Store;
    const service = await open(store);
    const busy = Array.from({ length: REQUESTS_AT_ONCE_MAX }, () =>
      service.ask('admin', '{ sessions { nodes { id } } }'),
    );
    const more = service.ask('admin', '{ sessions { nodes { id } } }');
    const other = service.ask('looker', '{ __typename }');
    expect((await other).code).toBeUndefined();
    expect((await more).code).toBe('RATE_LIMITED');
    letGo();
    for (const answer of busy) expect((await answer).code).toBeUndefined();
    expect((await service.ask('admin', '{ __typename }')).code).toBeUndefined();
    await service.close();
  });

  it('bounds what nobody can fill the journal with', async () => {
    const service = await open();
    const codes: (string | undefined)[] = [];
    for (let i = 0; i < 80; i++) codes.push((await service.ask('who', '{ __typename }')).code);
    expect(codes.filter((code) => code === 'UNAUTHENTICATED')).toHaveLength(60);
    expect(codes.slice(60).every((code) => code === 'RATE_LIMITED')).toBe(true);
    expect(service.journal.entries).toHaveLength(60);
    // Whoever has a token is let in all the same.
    expect((await service.ask('admin', '{ __typename }')).code).toBeUndefined();
    await service.close();
  });
});

describe('switches', () => {
  const schema = '{ __schema { types { name } } }';
  it('turn introspection off', async () => {
    const on = await open();
    expect((await on.ask('looker', schema)).code).toBeUndefined();
    await on.close();
    const off = await open(test.store, { introspection: false });
    const refused = await off.ask('looker', schema);
    expect(refused.status === 200 ? refused.code : 'refused').toBeDefined();
    expect(refused.text).not.toContain('ExecEvent');
    expect((await off.ask('looker', '{ __typename }')).text).toContain('Query');
    await off.close();
  });

  it('serve the explorer only when it is on', async () => {
    const off = await open();
    expect((await off.send('admin', 'GET', '/graphql')).status).toBe(404);
    await off.close();
    const on = await open(test.store, { explorer: true });
    const page = await on.send(undefined, 'GET', '/graphql');
    expect(page.status).toBe(200);
    expect(page.text).toContain('<html');
    expect((await on.send(undefined, 'GET', '/v1/sessions')).status).toBe(401);
    await on.close();
  });
});

describe('error codes', () => {
  it('are those of query/README.md, both ways', () => {
    const readme = path.resolve(import.meta.dirname, '../../../query/README.md');
    const text = fs.readFileSync(readme, 'utf8');
    const [table = ''] = /\| code \|[\s\S]*?\n\n/.exec(text) ?? [];
    const told = [...table.matchAll(/^\| `([A-Z_]+)` \|/gm)].map((match) => match[1]);
    const yogas = ['GRAPHQL_PARSE_FAILED', 'GRAPHQL_VALIDATION_FAILED'];
    expect(told.sort()).toEqual([...QUERY_CODES, ...yogas, 'INTERNAL_SERVER_ERROR'].sort());
  });
});
