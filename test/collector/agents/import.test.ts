/** Native files after the fact: whose they are, what they become, and what the session is called. */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TelltaleEvent } from '#schemas';
import { accountFor, factsOf, verifyChain } from '#schemas';
import { ImportError, readNative } from '../../../collector/agents/import/native.ts';
import { type ImportOptions, importFiles } from '../../../deploy/commands/import.ts';
import { analyse } from '../../../query/timeline/analyse.ts';
import { startSink } from '../../agents/session.ts';
import { at, CLAUDE, GEMINI, type Input, OPENCODE } from './samples.ts';

/** The session files of a hand-made session, by name. */
function filesOf(inputs: readonly Input[]): Map<string, string> {
  const files = new Map<string, string>();
  for (const input of inputs)
    if (input.channel === 'line')
      files.set(input.file, `${files.get(input.file) ?? ''}${JSON.stringify(input.record)}\n`);
  return files;
}

/** The telemetry of it, as the OpenTelemetry Collector's file exporter writes it: a line each. */
function otlpOf(inputs: readonly Input[], service: string): string {
  const attributes = [{ key: 'service.name', value: { stringValue: service } }];
  return inputs
    .flatMap(({ channel, record }): object[] => {
      if (channel === 'log')
        return [
          { resourceLogs: [{ resource: { attributes }, scopeLogs: [{ logRecords: [record] }] }] },
        ];
      if (channel === 'span')
        return [
          { resourceSpans: [{ resource: { attributes }, scopeSpans: [{ spans: [record] }] }] },
        ];
      return [];
    })
    .map((request) => `${JSON.stringify(request)}\n`)
    .join('');
}

describe('whose a file is', () => {
  it.each([
    ['claude', CLAUDE],
    ['gemini', GEMINI],
    ['opencode', OPENCODE],
  ] as const)('is told from its content: %s', (agent, inputs) => {
    for (const [name, text] of filesOf(inputs))
      expect(readNative(name, text)).toMatchObject({ agent, requests: [] });
  });

  it('is told of a rollout, an export, and telemetry by its service', () => {
    const rollout = `${JSON.stringify({ type: 'session_meta', payload: { id: 'x' } })}\n`;
    expect(readNative('r', rollout).agent).toBe('codex');
    const exported = readNative('e', JSON.stringify({ info: { id: 'ses_1' }, messages: [] }));
    expect(exported).toMatchObject({ agent: 'opencode' });
    for (const [service, agent] of [
      ['claude-code', 'claude'],
      ['codex_exec', 'codex'],
      ['gemini-cli', 'gemini'],
      ['my-agent', 'genai'],
    ] as const) {
      const native = readNative('o', otlpOf(CLAUDE, service));
      expect(native.agent).toBe(agent);
      expect(native.requests.length).toBe(
        CLAUDE.filter(({ channel }) => channel === 'log' || channel === 'span').length,
      );
    }
  });

  it('is asked for where the content does not say, by an error that names the file', () => {
    for (const text of ['', 'hello', '{}', '[1]', '{"a":1}\n{"b":2}\n']) {
      expect(() => readNative('notes.txt', text)).toThrow(ImportError);
      expect(() => readNative('notes.txt', text)).toThrow(/"notes.txt" is no session file/);
    }
    expect(readNative('x', '{"a":1}\n{"b":2}\n', 'claude').agent).toBe('claude');
  });
});

describe('an import', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-import-'));
  let sink: Awaited<ReturnType<typeof startSink>>;
  beforeAll(async () => {
    sink = await startSink();
  });
  afterAll(async () => {
    await sink.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  async function run(
    files: readonly string[],
    agent?: string,
    to = sink.url,
    policy: Partial<ImportOptions> = {},
  ) {
    sink.events.length = 0;
    const done = await importFiles({
      files,
      to,
      tenant: 'default',
      spool: path.join(dir, 'spool'),
      host: '',
      user: '',
      waitMs: to === sink.url ? 10_000 : 100,
      ...(agent === undefined ? {} : { agent }),
      ...policy,
    });
    return { ...done, stored: [...sink.events] as TelltaleEvent[] };
  }

  function write(folder: string, files: ReadonlyMap<string, string>): string {
    const root = path.join(dir, folder);
    fs.mkdirSync(root, { recursive: true });
    for (const [name, text] of files) fs.writeFileSync(path.join(root, name), text);
    return root;
  }

  it('makes a whole session of Claude Code’s files and telemetry, none of it better than reported', async () => {
    const files = filesOf(CLAUDE).set('otlp.jsonl', otlpOf(CLAUDE, 'claude-code'));
    const { stored, session, agent, shipped, unmapped } = await run([write('claude', files)]);
    expect({ agent, shipped, unmapped }).toEqual({ agent: 'claude', shipped: true, unmapped: 0 });
    expect(accountFor(factsOf(stored))).toMatchObject({ verdict: 'complete' });
    const [open] = stored;
    if (open === undefined) throw new Error('nothing was stored');
    expect(verifyChain(open, stored)).toMatchObject({ verdict: 'intact' });
    const [name, text] = [...files].sort()[0] ?? [];
    const sha256 = createHash('sha256').update(String(text)).digest('hex');
    expect(open).toMatchObject({
      kind: 'session.open',
      session_id: session,
      settings: { 'import.files': '3', 'import.0.name': name, 'import.0.sha256': sha256 },
    });
    for (const event of stored)
      if (event.source !== 'collector') expect(event.assurance).toBe('reported');
    expect(stored).toContainEqual(
      expect.objectContaining({ sensor_name: 'seccomp', coverage: 'none' }),
    );
    const story = analyse(stored);
    const outcomes = Object.fromEntries(story.calls.map((call) => [call.id, call.outcome]));
    expect(outcomes).toEqual({
      toolu_exit: 'failure',
      toolu_write: 'success',
      toolu_curl: 'denied',
      toolu_agent: 'success',
      toolu_sub: 'success',
    });
    expect(stored.find((event) => event.kind === 'prompt')?.ts).toBe(at(0));
  });

  it('keeps of content what the policy allows, and nothing that the user calls secret', async () => {
    const folder = write('policy', filesOf(CLAUDE));
    const configured = { fields: ['cwd'], paths: [], expressions: [] };
    const { stored } = await run([folder], undefined, sink.url, { content: 'hash', configured });
    const prompts = stored.filter((event) => event.kind === 'prompt');
    expect(prompts.length).toBeGreaterThan(0);
    for (const prompt of prompts) {
      expect(prompt.prompt).toMatch(/^\[content:[0-9a-f]{16}:\d+\]$/);
      expect(prompt.altered?.join()).toMatch(/prompt:withheld:\d+/);
    }
    expect(stored[0]).toMatchObject({ settings: { content: 'hash' } });
    const places = stored.flatMap((event) => ('cwd' in event && event.cwd ? [event.cwd] : []));
    expect(places.length).toBeGreaterThan(0);
    for (const place of places) expect(place).toMatch(/^\[redacted:field:/);
  });

  it('calls the same files the same session and stream, and other files another', async () => {
    const files = filesOf(GEMINI);
    const first = await run([write('gemini', files)]);
    const second = await run([write('gemini-again', files)]);
    expect(second.session).toBe(first.session);
    expect(second.stored[0]?.stream_id).toBe(first.stored[0]?.stream_id);
    expect(second.stored).toHaveLength(first.stored.length);
    const [[name = '', text = ''] = []] = [...files];
    const other = await run([write('gemini-other', new Map([[name, `${text}{"$set":{}}\n`]]))]);
    expect(other.session).not.toBe(first.session);
  });

  it('reads an export of opencode', async () => {
    const info = (id: string, more: object) => ({ id, sessionID: 'ses_1', ...more });
    const time = { start: 1_795_418_039_010, end: 1_795_418_039_020 };
    const part = (more: object) => ({ sessionID: 'ses_1', ...more });
    const exported = {
      info: { id: 'ses_1', time: { created: 1_795_418_039_000 } },
      messages: [
        {
          info: info('m1', { role: 'user', time: { created: 1_795_418_039_001 } }),
          parts: [part({ id: 'p1', messageID: 'm1', type: 'text', text: 'Do it' })],
        },
        {
          info: info('m2', {
            role: 'assistant',
            parentID: 'm1',
            time: { created: 1_795_418_039_002 },
          }),
          parts: [
            part({
              id: 'p2',
              messageID: 'm2',
              type: 'tool',
              tool: 'bash',
              callID: 'call_1',
              state: {
                status: 'completed',
                input: { command: 'exit 3' },
                output: '',
                metadata: { exit: 3 },
                time,
              },
            }),
          ],
        },
      ],
    };
    const root = write('opencode', new Map([['session.json', JSON.stringify(exported)]]));
    const { stored, unmapped } = await run([root]);
    expect(unmapped).toBe(0);
    expect(analyse(stored).calls).toMatchObject([
      { id: 'call_1', turnId: 'm1', outcome: 'failure', startedNs: at(10), endedNs: at(20) },
    ]);
  });

  it('reads the database of opencode where Node has SQLite, and else says what to do', async () => {
    const sqlite = await import('node:sqlite' as string).catch(() => undefined);
    const root = write('database', new Map());
    const file = path.join(root, 'opencode.db');
    if (sqlite === undefined) {
      fs.writeFileSync(file, 'SQLite format 3\0');
      await expect(run([file])).rejects.toThrow(/run "opencode export SESSION > session.json"/);
      return;
    }
    const database = new sqlite.DatabaseSync(file);
    database.exec(
      'CREATE TABLE event (id TEXT, aggregate_id TEXT, seq INTEGER, type TEXT, data TEXT)',
    );
    const insert = database.prepare('INSERT INTO event VALUES (?, ?, ?, ?, ?)');
    OPENCODE.forEach(({ record }, index) => {
      const { event } = record as { event?: { type: string; properties: object } };
      if (event !== undefined)
        insert.run(`e${index}`, 's', index, `${event.type}.1`, JSON.stringify(event.properties));
    });
    insert.run('last', 's', 99, 'session.updated.1', '{}');
    database.close();
    const { stored, unmapped } = await run([file]);
    // The first two have no time, and nothing stands before them.
    expect(unmapped).toBe(2);
    expect(analyse(stored).calls.map(({ id }) => id)).toContain('call_exit');
  });

  it('counts what can’t be mapped, and takes the rest', async () => {
    const [[name = '', text = ''] = []] = [...filesOf(CLAUDE)];
    const broken = text.replace('\n', '\nno json at all\n{"type":"of the future","a":1}\n');
    const { stored, unmapped } = await run([write('broken', new Map([[name, broken]]))]);
    expect(unmapped).toBe(2);
    expect(stored).toContainEqual(
      expect.objectContaining({ sensor_name: 'transcript', coverage: 'partial' }),
    );
    expect(analyse(stored).calls.map(({ id }) => id)).toContain('toolu_exit');
  });

  it('is not begun twice while the first one waits to be shipped', async () => {
    const root = write('waiting', filesOf(OPENCODE));
    const nowhere = 'http://127.0.0.1:9';
    const { shipped, session } = await run([root], undefined, nowhere);
    expect(shipped).toBe(false);
    await expect(run([root], undefined, nowhere)).rejects.toThrow(
      new RegExp(`not all of session ${session} is shipped yet: "telltale collect`),
    );
  });

  it('refuses what it can’t name, and several agents at once, and says what to do', async () => {
    const both = new Map([...filesOf(CLAUDE), ...filesOf(GEMINI)]);
    await expect(run([write('both', both)])).rejects.toThrow(
      /several agents \(claude, gemini\): import those of one at a time/,
    );
    await expect(run([path.join(dir, 'nowhere')])).rejects.toThrow(/there is no file/);
    await expect(run([write('none', new Map())])).rejects.toThrow(/holds no file/);
    const empty = write('empty', new Map([['a.jsonl', '{"x":1}\n']]));
    await expect(run([empty], 'claude')).rejects.toThrow(/nothing in 1 files could be mapped/);
  });
});
