/** What is erased is gone from the table, the indexes and the disk, and every proof stays valid. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  createChainVerifier,
  type Draft,
  evidenceOf,
  type Integrity,
  type Row,
  type Store,
  selectEvent,
  type TelltaleEvent,
  validateStored,
} from '#schemas';
import { erase } from '../../../deploy/commands/erase.ts';
import { eraseContent, planErasure } from '../../../deploy/erase/erase.ts';
import { CONTENT_FIELDS, ErasureError } from '../../../deploy/erase/request.ts';
import { migrate } from '../../../deploy/migrate.ts';
import { UsageError } from '../../../deploy/process/lifecycle.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { fakeClock, fakeLog } from '../../fakes/ports.ts';
import { insertEvents, stampStream } from '../../query/seed.ts';

const LIMITS = { timeMs: 30_000, memoryBytesMax: 2e9, rowsMax: 1_000_000 };
const TENANT = 'acme';
const ids = (n: number) => ({
  session: `0193a5e0-0000-7000-8000-0000000000${n}0`,
  stream: `0193a5e0-0000-7000-8000-0000000000${n}a`,
});
const [mine, other] = [ids(1), ids(2)];
const SECRET = 'zq7fxsecretword';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-erase-'));
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));
let dir = '';
let store: Store;
let runs = 0;
beforeEach(async () => {
  dir = path.join(root, `db${runs++}`);
  store = await openStore(`chdb:${dir}`, { log: fakeLog() });
  await migrate(store, { log: fakeLog() });
});
afterEach(() => store.close());

/** Events with content in every field that a collector may fill, many of them. */
function drafts(secret: string): Draft[] {
  const own = (n: number) => ({
    ts: String(1_764_000_000_000_000_000n + BigInt(n) * 1_000_000n),
    source: 'test',
    assurance: 'reported' as const,
  });
  const all: object[] = [
    { kind: 'prompt', prompt: `say ${secret}`, prompt_bytes: 3, attrs: { k: secret } },
    { kind: 'model.turn', text: secret, error: secret, model: 'm' },
    { kind: 'tool.call', arguments: secret, command: `echo ${secret}`, tool: 't' },
    { kind: 'tool.result', output: secret, changes: [secret], exit_code: 0 },
    { kind: 'approval', decision: 'asked', justification: secret, reason: secret },
    { kind: 'exec', exe: '/bin/sh', argv: ['npm', 'install', secret] },
    { kind: 'net', net_op: 'http', url: `http://h/?${secret}`, net_host: 'h' },
    { kind: 'file', file_op: 'write', file_path: '/w/a' },
  ];
  return Array.from({ length: 400 }, (_, n) => ({ ...own(n), ...all[n % all.length] })) as Draft[];
}

async function seed(at = mine, secret = SECRET): Promise<TelltaleEvent[]> {
  const stamped = stampStream({ ...at, tenant: TENANT, drafts: drafts(secret), mark: secret });
  await insertEvents(store, stamped);
  return stamped.map(({ event }) => event);
}

let inserts = 0;
async function insert(table: string, row: object): Promise<void> {
  const lines = Buffer.from(`${JSON.stringify(row)}\n`);
  const dedupToken = `erase-${inserts++}`;
  await store.insert({ table, lines, rows: 1, dedupToken, timeMs: 30_000 });
}

const parked = (seq: number | null, session = mine) => ({
  tenant: TENANT,
  session_id: session.session,
  stream_id: session.stream,
  seq,
  reason: 'not_json',
  field: `attrs/${SECRET}`,
  detail: `Unexpected token in ${SECRET}`,
  bytes_base64: Buffer.from(SECRET).toString('base64'),
  origin: `t/0/${seq}`,
});

async function rows(session = mine.session): Promise<readonly Row[]> {
  const text = `SELECT ${selectEvent()} FROM telltale.events WHERE session_id = {s:UUID} ORDER BY seq`;
  return await store.query({ text, params: { s: session } }, LIMITS);
}

async function verified(at = mine): Promise<Integrity> {
  const id = { tenant: TENANT, session_id: at.session, stream_id: at.stream };
  const verifier = createChainVerifier(id);
  for (const row of await rows(at.session)) verifier.add(evidenceOf(row));
  return verifier.result();
}

const count = async (text: string): Promise<number> => {
  const [row] = await store.query<{ n: string }>({ text, params: {} }, LIMITS);
  return Number(row?.n);
};

/** Files below the data directory that hold a word, in plain or in base64. */
function filesWith(word: string): string[] {
  const base64 = Buffer.from(word).toString('base64').slice(0, 16);
  return fs
    .readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((file) => {
      const bytes = fs.readFileSync(file);
      return bytes.includes(word) || bytes.includes(base64);
    });
}

const request = (more: object = {}) => ({
  tenant: TENANT,
  session: mine.session,
  actor: 'kim',
  reason: 'request 17',
  ...more,
});
const deps = () => ({ store, clock: fakeClock() });

describe('a session’s content', () => {
  it('is gone from table, indexes and disk, and its chain is intact', async () => {
    const events = await seed();
    await seed(other, 'kept');
    await insert('telltale.dead_letters', parked(9));
    await insert('telltale.dead_letters', parked(null));
    expect(filesWith(SECRET)).not.toEqual([]);
    const before = await verified();
    expect(before).toMatchObject({ verdict: 'intact', sealed: true, erased: 0 });

    const done = await eraseContent(deps(), request());
    const holders = events.filter((event) => event.content_salt !== undefined).length;
    expect(done).toMatchObject({ events: holders, deadLetters: 2, values: { prompt: 50 } });

    expect(await verified()).toEqual({ ...before, erased: holders });
    const text = JSON.stringify([
      await rows(),
      await store.query({ text: 'SELECT * FROM telltale.dead_letters', params: {} }, LIMITS),
    ]);
    expect(text).not.toContain(SECRET);
    expect(text).not.toContain(Buffer.from(SECRET).toString('base64'));
    for (const word of ['argv_line', 'command', 'prompt'])
      expect(
        await count(`SELECT count() AS n FROM telltale.events WHERE ${word} ILIKE '%${SECRET}%'`),
      ).toBe(0);
    expect(
      await count(
        `SELECT count() AS n FROM telltale.events WHERE hasToken(lower(argv_line), '${SECRET}')`,
      ),
    ).toBe(0);
    const packages = (session: string) =>
      count(
        `SELECT count() AS n FROM telltale.entities WHERE type = 'package' AND session_id = '${session}'`,
      );
    expect([await packages(mine.session), (await packages(other.session)) > 0]).toEqual([0, true]);
    expect(filesWith(SECRET)).toEqual([]);
    expect(
      await count(
        `SELECT count() AS n FROM system.parts WHERE database = 'telltale' AND table IN ('events', 'dead_letters', 'alerts', 'entities') AND NOT active`,
      ),
    ).toBe(0);
    // Nobody else lost anything.
    expect(JSON.stringify(await rows(other.session))).toContain('kept');
    expect(await verified(other)).toMatchObject({ verdict: 'intact', erased: 0 });
  });

  it('leaves rows that are valid and the same but for the content', async () => {
    const events = await seed();
    await eraseContent(deps(), request());
    for (const [seq, row] of (await rows()).entries()) {
      const event = evidenceOf(row);
      expect(validateStored(event)).toMatchObject({ ok: true });
      const kept = Object.fromEntries(
        Object.entries(events[seq] as object).filter(
          ([name]) => !CONTENT_FIELDS.includes(name) && name !== 'content_salt',
        ),
      );
      expect(event).toMatchObject(kept);
      expect(event.content_salt).toBeUndefined();
    }
  });

  it('is recorded: who, why, which fields; once, also when it is repeated', async () => {
    await seed();
    await insert('telltale.dead_letters', parked(9));
    const done = await eraseContent(deps(), request());
    const records = async () =>
      await store.query(
        {
          text: 'SELECT seq, origin, fields, actor, reason FROM telltale.erasures ORDER BY origin, seq',
          params: {},
        },
        LIMITS,
      );
    const first = await records();
    expect(first).toHaveLength(done.events + 1);
    expect(first.at(-1)).toMatchObject({ origin: 't/0/9', actor: 'kim', reason: 'request 17' });
    expect(first.find(({ seq }) => Number(seq) === 1)).toMatchObject({
      fields: ['attrs', 'prompt'],
    });
    expect(JSON.stringify(first)).not.toContain(SECRET);
    expect(await eraseContent(deps(), request())).toMatchObject({ events: 0, deadLetters: 0 });
    expect(await records()).toEqual(first);
  });

  it('goes with what alerts repeat of it', async () => {
    const events = await seed();
    const event_ids = [`${mine.stream}-${events[3]?.seq}`];
    const alert = { tenant: TENANT, fingerprint: 'f'.repeat(32), session_id: mine.session };
    await insert('telltale.alerts', {
      ...alert,
      event_ids,
      key: { command: SECRET },
      reason: SECRET,
    });
    await eraseContent(deps(), request({ events: [`${mine.stream}-5`] }));
    const alerts = () => store.query({ text: 'SELECT * FROM telltale.alerts', params: {} }, LIMITS);
    expect(JSON.stringify(await alerts())).toContain(SECRET);
    await eraseContent(deps(), request({ events: event_ids }));
    expect(JSON.stringify(await alerts())).not.toContain(SECRET);
    expect(filesWith(SECRET).filter((file) => file.includes('alerts'))).toEqual([]);
  });

  it('can be erased after an erasure that died on the way', async () => {
    await seed();
    for (const dies of ['INSERT', 'eras', 'ALTER', 'DROP TABLE']) {
      let calls = 0;
      const dying: Store = {
        ...store,
        command: async (text) => {
          if (text.startsWith(dies) && ++calls === 1) throw new Error('dead');
          await store.command(text);
        },
        insert: async (one) => {
          if (dies === 'INSERT' || (dies === 'eras' && one.table.includes('erasing')))
            throw new Error('dead');
          await store.insert(one);
        },
      };
      await expect(eraseContent({ store: dying, clock: fakeClock() }, request())).rejects.toThrow(
        'dead',
      );
      expect((await verified()).verdict).toBe('intact');
    }
    await eraseContent(deps(), request());
    expect(await verified()).toMatchObject({ verdict: 'intact', sealed: true });
    expect(filesWith(SECRET)).toEqual([]);
    expect(await count('SELECT count() AS n FROM telltale.erasures WHERE seq = 1')).toBe(1);
  });
});

describe('a part of a session’s content', () => {
  it('by event: that one only', async () => {
    const events = await seed();
    await insert('telltale.dead_letters', parked(900));
    const id = `${mine.stream}-6`;
    const done = await eraseContent(deps(), request({ events: [id, `${mine.stream}-900`] }));
    expect(done).toEqual({ events: 1, values: { argv: 1 }, deadLetters: 1 });
    const stored = await rows();
    const [erased, next] = [stored[6], stored[14]].map((row) => evidenceOf(row as Row));
    expect(erased).not.toHaveProperty('argv');
    expect(erased).toMatchObject({
      exe: '/bin/sh',
      erased: { argv: expect.stringMatching(/^[0-9a-f]{64}$/) },
    });
    expect(next).toEqual(events[14]);
    expect(await verified()).toMatchObject({ verdict: 'intact', sealed: true, erased: 1 });
  });

  it('by field, and then the rest: the salt goes with the last of it', async () => {
    const events = await seed();
    await eraseContent(deps(), request({ fields: ['prompt'] }));
    const half = evidenceOf((await rows())[1] as Row);
    expect(half).toMatchObject({ attrs: { k: SECRET }, content_salt: events[1]?.content_salt });
    expect(Object.keys(half.erased ?? {})).toEqual(['prompt']);
    expect(await verified()).toMatchObject({ verdict: 'intact', erased: 50 });
    await eraseContent(deps(), request());
    const whole = evidenceOf((await rows())[1] as Row);
    expect(whole.content_salt).toBeUndefined();
    expect(Object.keys(whole.erased ?? {}).sort()).toEqual(['attrs', 'prompt']);
    expect(await verified()).toMatchObject({ verdict: 'intact', sealed: true });
    expect(filesWith(SECRET)).toEqual([]);
  });

  it('of a required field leaves it empty', async () => {
    await seed();
    await eraseContent(deps(), request({ fields: ['command_args'] }));
    const open = evidenceOf((await rows())[0] as Row);
    expect(open).toMatchObject({ command_args: [], erased: { command_args: expect.any(String) } });
    expect(await verified()).toMatchObject({ verdict: 'intact', sealed: true, erased: 1 });
  });
});

const IMPOSSIBLE: readonly (readonly [what: string, more: object, words: string])[] = [
  ['a session that is not there', { session: other.session }, 'no event'],
  ['a session of another tenant', { tenant: 'rival' }, 'no event'],
  ['no session id', { session: "x' OR 1=1 --" }, 'no session id'],
  ['an event of another session', { events: [`${other.stream}-1`] }, 'is not in session'],
  ['no event id', { events: ['6'] }, 'no event id'],
  ['a field that is no content', { fields: ['exe'] }, 'no content field'],
  ['no field', { fields: ['nope'] }, 'no content field'],
  ['no reason', { reason: ' ' }, 'the reason'],
  ['nobody', { actor: '' }, 'who erases'],
];

describe('a request that can’t be meant', () => {
  it('is refused before anything is changed, and says what is wrong', async () => {
    await seed();
    await seed({ ...other, session: ids(3).session }, 'x');
    for (const [what, more, words] of IMPOSSIBLE) {
      await expect(eraseContent(deps(), request(more)), what).rejects.toThrow(ErasureError);
      await expect(planErasure(store, request(more)), what).rejects.toThrow(words);
    }
    expect(JSON.stringify(await rows())).toContain(SECRET);
    expect(await count('SELECT count() AS n FROM telltale.erasures')).toBe(0);
  });

  it('hostile words in a request stay words', async () => {
    await seed();
    const words = "'; DROP TABLE telltale.events; -- \\ \u0000 {x:String}";
    await eraseContent(deps(), request({ reason: words, actor: words }));
    const [row] = await store.query(
      { text: 'SELECT reason FROM telltale.erasures LIMIT 1', params: {} },
      LIMITS,
    );
    expect(row?.reason).toBe(words);
  });
});

describe('telltale erase', () => {
  let out = '';
  beforeAll(() => {
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      out += String(text);
      return true;
    });
  });
  afterAll(() => void vi.restoreAllMocks());

  it('erases from a directory, and says what it did and what it can’t reach', async () => {
    await seed();
    await store.close();
    const args = [mine.session, '--data', dir, '--tenant', TENANT, '--reason', 'request 17'];
    out = '';
    expect(await erase([...args, '--dry-run'])).toBe(0);
    expect(out).toContain('would erase content of');
    expect(filesWith(SECRET)).not.toEqual([]);
    out = '';
    expect(await erase(args)).toBe(0);
    expect(out).toMatch(/^erased content of \d+ events and 0 dead letters/);
    expect(out).toContain('Kafka');
    expect(filesWith(SECRET)).toEqual([]);
  });

  it('refuses what it can’t mean, and a directory that is not there', async () => {
    const reason = ['--reason', 'r'];
    await expect(erase([...reason])).rejects.toThrow(UsageError);
    await expect(erase([mine.session])).rejects.toThrow('--reason');
    await expect(erase([mine.session, ...reason, '--data', '/nonexistent/x'])).rejects.toThrow(
      'no such directory',
    );
    await store.close();
    await expect(erase(['nope', ...reason, '--data', dir])).rejects.toThrow(UsageError);
  });
});
