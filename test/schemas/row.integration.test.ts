/**
 * Event -> row -> event through the real engine: the canonical bytes that are read back are those
 * that were inserted. The proof of the chain rests on this: a verifier has only the rows.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  canonical,
  EVENTS_TABLE,
  encode,
  eventColumn,
  fromRow,
  REGISTRY,
  rowOf,
  rowReader,
  type Store,
  selectEvent,
  type TelltaleEvent,
} from '#schemas';
import { migrate } from '../../deploy/migrate.ts';
import { openStore } from '../../deploy/stores/open.ts';
import { fakeLog } from '../fakes/ports.ts';
import { anyEvent, envelope, SESSION, sampleEvents } from './arbitraries.ts';

const LIMITS = { timeMs: 30_000, memoryBytesMax: 2e9, rowsMax: 1_000_000 };
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-row-'));
let store: Store;
let streams = 0;
beforeAll(async () => {
  store = await openStore(`chdb:${dir}`, { log: fakeLog() });
  await migrate(store, { log: fakeLog() });
});
afterAll(async () => {
  await store.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

const nextStream = () => `0193a5e0-0000-7000-8000-${String(++streams).padStart(12, '0')}`;

/** Inserts events as they travel, and reads them back in order as canonical lines. */
async function throughTheEngine(events: readonly TelltaleEvent[]): Promise<void> {
  const stream = nextStream();
  const numbered = events.map((event, seq) => ({ ...event, stream_id: stream, seq }));
  const lines = Buffer.concat(numbered.flatMap((event) => [encode(event), Buffer.from('\n')]));
  const rows = numbered.length;
  await store.insert({
    table: EVENTS_TABLE,
    lines,
    rows,
    dedupToken: stream,
    timeMs: LIMITS.timeMs,
  });
  const text = `SELECT ${selectEvent()} FROM ${EVENTS_TABLE} WHERE stream_id = {s:UUID} ORDER BY seq`;
  const back = await store.query({ text, params: { s: stream } }, LIMITS);
  expect(back.length).toBe(rows);
  for (const [index, row] of back.entries())
    expect(canonical(fromRow(rowOf(row)))).toBe(canonical(numbered[index] as TelltaleEvent));
  await asLists(numbered);
}

/** The same events as lists of values, a kind at a time. */
async function asLists(events: readonly TelltaleEvent[]): Promise<void> {
  const { tenant, session_id, stream_id } = events[0] as TelltaleEvent;
  for (const kind of new Set(events.map((event) => event.kind))) {
    const names = REGISTRY.get(kind)?.sorted ?? [];
    const values = names.map(eventColumn).join(', ');
    const text = `SELECT groupArray(tuple(${values})) AS list FROM ${EVENTS_TABLE}
      WHERE stream_id = {s:UUID} AND kind = {kind:String}`;
    const rows = await store.query({ text, params: { s: stream_id, kind } }, LIMITS);
    const eventOf = rowReader(kind, names);
    const lists = rows.flatMap((row) => row.list as unknown[][]);
    const read = lists.map((one) => eventOf({ tenant, session_id, stream_id }, one));
    const bySeq = read.sort((a, b) => a.seq - b.seq).map(canonical);
    expect(bySeq).toEqual(events.filter((event) => event.kind === kind).map(canonical));
  }
}

const NS_PER_DAY = 86_400_000_000_000n;
const onOneDay = (ts: string) => String(20_000n * NS_PER_DAY + (BigInt(ts) % NS_PER_DAY));

const made = (kind: string, more: object) =>
  ({ ...envelope(0, kind), ...more }) as unknown as TelltaleEvent;

describe('a stored event is read back byte for byte', () => {
  it('for every sample of every kind', async () => {
    await throughTheEngine(sampleEvents());
  });

  it('for arbitrary events', async () => {
    // Each day is a partition, and so a part to write: all on one day, at any nanosecond of it.
    const batch = fc
      .array(anyEvent, { minLength: 20, maxLength: 40 })
      .map((events) => events.map((event) => ({ ...event, ts: onOneDay(event.ts) })));
    await fc.assert(fc.asyncProperty(batch, throughTheEngine), { numRuns: 12, endOnFailure: true });
  });

  it('at the ends of what numbers and times may be', async () => {
    const ends = [Number.MIN_SAFE_INTEGER, -1, 0, 1, Number.MAX_SAFE_INTEGER];
    const numbers = ends.map((exit_code) => made('exit', { exit_code, duration_ns: 0 }));
    const times = ['1000000000000000000', '1764000000000000001', '8999999999999999999'];
    const dates = times.map((ts) => made('exit', { ts, observed_ts: ts, pid: 4_294_967_295 }));
    const counts = [0, 1, Number.MAX_SAFE_INTEGER].map((n) =>
      made('gap', { gap_reason: 'other', gap_first_seq: n, gap_last_seq: n, gap_count: n }),
    );
    await throughTheEngine([...numbers, ...dates, ...counts]);
  });

  it('with every single code unit that may stand in a string, as text, key and value', async () => {
    const all = Array.from({ length: 0x10000 }, (_, code) => code).filter(
      (code) => code < 0xd800 || code > 0xdfff,
    );
    const events: TelltaleEvent[] = [];
    for (let at = 0; at < all.length; at += 2048) {
      const characters = all.slice(at, at + 2048).map((code) => String.fromCharCode(code));
      const attrs = Object.fromEntries(characters.map((character) => [character, `${character}x`]));
      events.push(made('exec', { exe: characters.join(''), argv: characters, attrs }));
    }
    await throughTheEngine(events);
  });

  it('with keys that JavaScript or the engine might treat their own way', async () => {
    const keys = ['', '__proto__', 'constructor', 'toString', '1', '10', '9', 'a.b', 'a:b', 'NULL'];
    const attrs = Object.fromEntries(keys.map((key) => [key, '']));
    await throughTheEngine([
      made('exit', { attrs }),
      made('exec', { exe: '', argv: ['', '', 'NULL', '\\N'] }),
      made('session.open', { schema_version: '', command_args: [] }),
      made('approval', { tenant: '', decision: 'asked', source: '' }),
      made('model.turn', { truncated: false }),
      made('model.turn', { truncated: true, text: 'true' }),
    ]);
  });

  it('with large content', async () => {
    const output = 'Ω"\n'.repeat(500_000);
    const argv = Array.from({ length: 16_384 }, (_, n) => `argument ${n}`);
    await throughTheEngine([
      made('tool.result', { output, output_bytes: 2_000_000 }),
      made('exec', { exe: '/bin/true', argv }),
    ]);
  });

  it('when only some columns are read: those, and nothing made up', async () => {
    const text = `SELECT ${selectEvent(['tenant', 'kind', 'ts', 'exe'])} FROM ${EVENTS_TABLE}
      WHERE session_id = {s:UUID} AND kind = 'exec' LIMIT 1`;
    const [row] = await store.query({ text, params: { s: SESSION } }, LIMITS);
    const event = fromRow(rowOf(row as Record<string, unknown>));
    for (const name of Object.keys(event)) expect(['tenant', 'kind', 'ts', 'exe']).toContain(name);
  });
});

describe('fromRow', () => {
  it('refuses a row of a kind that it does not know', () => {
    expect(() => fromRow({ kind: 'quantum.leap' })).toThrow('unknown kind');
    expect(() => fromRow({})).toThrow('unknown kind');
  });
});

describe('the store refuses', () => {
  it('a field that has no column, rather than drop it', async () => {
    const line = canonical(sampleEvents()[0] as TelltaleEvent).replace('{', '{"aaa":1,');
    const insert = store.insert({
      table: EVENTS_TABLE,
      lines: Buffer.from(`${line}\n`),
      rows: 1,
      dedupToken: 'surplus',
      timeMs: LIMITS.timeMs,
    });
    await expect(insert).rejects.toMatchObject({ fault: { code: 'refused' } });
  });
});
