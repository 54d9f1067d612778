/**
 * The Native format against JSONEachRow: the same lines by both roads are the same rows, for every
 * kind and every field at its extremes, and come back as the same bytes.
 */
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ALL_FIELDS,
  canonical,
  EVENTS_TABLE,
  fromRow,
  type Row,
  rowOf,
  type Store,
  StoreError,
  selectEvent,
  type TelltaleEvent,
} from '#schemas';
import { migrate } from '../../../deploy/migrate.ts';
import { columnOf, sentType } from '../../../deploy/stores/columns.ts';
import { createHatch } from '../../../deploy/stores/hatch.ts';
import { openHttp } from '../../../deploy/stores/http.ts';
import { insertFastest, nativeBlock } from '../../../deploy/stores/native.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { fakeLog } from '../../fakes/ports.ts';
import { anyEvent, sampleEvents } from '../../schemas/arbitraries.ts';
import { startBridge } from './bridge.ts';

const LIMITS = { timeMs: 60_000, memoryBytesMax: 2e9, rowsMax: 1e6 };
const linesOf = (events: readonly TelltaleEvent[]): Buffer =>
  Buffer.from(events.map((event) => `${canonical(event)}\n`).join(''));
/** As events of one session of their own, numbered from 0. */
const numbered = (events: readonly TelltaleEvent[], session: string): TelltaleEvent[] =>
  events.map((event, seq) => ({ ...event, tenant: 'acme', session_id: session, seq }));
const sessionId = (n: number) => `0193a5e0-0000-7000-8000-${n.toString(16).padStart(12, '0')}`;

describe('a block', () => {
  it('is not made of lines that are anything but canonical events', () => {
    const [event] = sampleEvents() as [TelltaleEvent];
    const line = canonical(event);
    expect(nativeBlock(Buffer.from(`${line}\n`))?.columns).toContain('seq');
    for (const other of [`${line}`, `${line} \n`, '{}\n', `${line}\n\n`, `${line}\n{"a":1}\n`])
      expect(nativeBlock(Buffer.from(other)), other).toBeUndefined();
    const bytes = Buffer.from(`${line}\n`);
    bytes[bytes.indexOf('acme')] = 0xff;
    expect(nativeBlock(bytes)).toBeUndefined();
  });

  it('knows the type of each column', () => {
    for (const field of Object.values(ALL_FIELDS))
      expect(() => columnOf(sentType(field.column.type))).not.toThrow();
    expect(() => columnOf('Float64')).toThrow('Float64');
  });
});

describe('the roads', () => {
  const one = (table: string, lines: Uint8Array) =>
    ({ table, lines, rows: 1, dedupToken: 't', timeMs: 1000 }) as const;
  const good = linesOf(sampleEvents().slice(0, 1));
  const take = async (table: string, lines: Uint8Array, fault?: StoreError) => {
    const taken: string[] = [];
    const native = async () => {
      taken.push('native');
      if (fault !== undefined) throw fault;
    };
    await insertFastest(one(table, lines), { native, json: async () => void taken.push('json') });
    return taken;
  };

  it('are Native for events, and JSON for everything else', async () => {
    expect(await take(EVENTS_TABLE, good)).toEqual(['native']);
    expect(await take('telltale.dead_letters', good)).toEqual(['json']);
    expect(await take(EVENTS_TABLE, Buffer.from('{"no":"event"}\n'))).toEqual(['json']);
  });

  it('give what Native was refused as JSON, and repeat nothing else', async () => {
    const fault = (code: 'refused' | 'unknown' | 'busy') => new StoreError({ code, message: code });
    expect(await take(EVENTS_TABLE, good, fault('refused'))).toEqual(['native', 'json']);
    for (const code of ['unknown', 'busy'] as const)
      await expect(take(EVENTS_TABLE, good, fault(code))).rejects.toThrow(code);
  });
});

describe('the hatch', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-hatch-'));
  afterAll(() => fs.rmSync(dir, { recursive: true }));

  it('leaves nothing behind: not after success, failure or a crash', async () => {
    fs.writeFileSync(path.join(dir, `insert-${randomUUID()}.native`), 'left behind');
    const hatch = createHatch(dir);
    expect(fs.readdirSync(dir)).toEqual([]);
    const read = async (file: string) => fs.readFileSync(file, 'utf8');
    expect(await hatch.through([Buffer.from('ro'), Buffer.from('ws')], read)).toBe('rows');
    const fail = hatch.through([Buffer.from('rows')], () => Promise.reject(new Error('no')));
    await expect(fail).rejects.toThrow('no');
    expect(fs.readdirSync(dir)).toEqual([]);
  });

  it('keeps inserts apart that are under way at once', async () => {
    const hatches = [createHatch(dir), createHatch(dir)];
    const reads = Array.from({ length: 20 }, (_, i) =>
      hatches[i % 2]?.through([Buffer.from(`rows ${i}`)], async (file) => {
        await new Promise((resolve) => setImmediate(resolve));
        return fs.readFileSync(file, 'utf8');
      }),
    );
    expect(await Promise.all(reads)).toEqual(reads.map((_, i) => `rows ${i}`));
  });

  it('says busy when the disk takes nothing, and refused when the name is a pattern', async () => {
    const gone = createHatch(path.join(dir, 'not/there'));
    const code = (error: StoreError) => error.fault.code;
    const work = async () => {};
    expect(await gone.through([Buffer.of(1)], work).catch(code)).toBe('busy');
    const pattern = createHatch(path.join(dir, 'a*b'));
    expect(await pattern.through([Buffer.of(1)], work).catch(code)).toBe('refused');
  });
});

describe('rows by both roads', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-native-'));
  let store: Store;
  let tokens = 0;
  beforeAll(async () => {
    store = await openStore(`chdb:${dir}`, { log: fakeLog() });
    await migrate(store, { log: fakeLog() });
    await store.command('CREATE TABLE telltale.by_json AS telltale.events');
  });
  afterAll(async () => {
    await store.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  const insert = (table: string, lines: Buffer, dedupToken = `token-${tokens++}`) =>
    store.insert({ table, lines, rows: 1, dedupToken, timeMs: 60_000 });
  const rowsOf = (table: string, session: string): Promise<readonly Row[]> => {
    const text = `SELECT ${selectEvent()}, argv_line FROM ${table}
      WHERE session_id = {session:UUID} ORDER BY seq`;
    return store.query({ text, params: { session } }, LIMITS);
  };

  it('are the same, to the last field, and give the same bytes back', async () => {
    let session = 0;
    const events = fc.array(fc.oneof(anyEvent, fc.constantFrom(...sampleEvents())), {
      minLength: 1,
      maxLength: 40,
    });
    await fc.assert(
      fc.asyncProperty(events, async (some) => {
        const id = sessionId(++session);
        const given = numbered(some, id);
        const lines = linesOf(given);
        expect(nativeBlock(lines)).toBeDefined();
        await insert(EVENTS_TABLE, lines);
        await insert('telltale.by_json', lines);
        const native = await rowsOf(EVENTS_TABLE, id);
        expect(native).toEqual(await rowsOf('telltale.by_json', id));
        expect(native.map((row) => canonical(fromRow(rowOf(row))))).toEqual(given.map(canonical));
      }),
      { numRuns: 40 },
    );
  }, 120_000);

  it('over HTTP too', async () => {
    const bridge = await startBridge(dir);
    const server = openHttp(new URL(bridge.url));
    const id = sessionId(0xbbbb);
    const given = numbered(sampleEvents(), id);
    const one = { table: EVENTS_TABLE, rows: given.length, dedupToken: 'http', timeMs: 60_000 };
    await server.insert({ ...one, lines: linesOf(given) });
    const rows = await rowsOf(EVENTS_TABLE, id);
    expect(rows.map((row) => canonical(fromRow(rowOf(row))))).toEqual(given.map(canonical));
    await server.close();
    await bridge.close();
  });

  it('go through Native once, whatever the format of the repeat', async () => {
    const id = sessionId(0xaaaa);
    const lines = linesOf(numbered(sampleEvents(), id));
    await insert(EVENTS_TABLE, lines, 'same');
    await insert(EVENTS_TABLE, lines, 'same');
    // Not a block: a line with a blank goes as JSON, and still is the same token.
    const asJson = Buffer.from(lines.toString().replaceAll('\n', ' \n'));
    expect(nativeBlock(asJson)).toBeUndefined();
    await insert(EVENTS_TABLE, asJson, 'same');
    expect(await rowsOf(EVENTS_TABLE, id)).toHaveLength(sampleEvents().length);
    await insert(EVENTS_TABLE, lines, 'another');
    expect(await rowsOf(EVENTS_TABLE, id)).toHaveLength(2 * sampleEvents().length);
  });
});
