/**
 * Whoever holds the store and changes any column of any row is found. The rows come out of the real
 * engine; what is done to them afterwards, one column at a time, is what a statement could do.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ALL_FIELDS,
  createChainVerifier,
  evidenceOf,
  type Integrity,
  type Row,
  verifyChain,
} from '#schemas';
import { createLoads } from '../../query/load.ts';
import { streamEventsPlan } from '../../query/timeline-plan.ts';
import { runnerFor } from './access.ts';
import { eventsIn, insertEvents, SESSION, STREAM, stampStream, TENANT } from './seed.ts';
import { openTestStore, type TestStore } from './service.ts';

const id = { tenant: TENANT, session_id: SESSION, stream_id: STREAM };
const OTHER_UUID = '0193a5e0-0000-7000-8000-00000000dead';
let test: TestStore;
let rows: readonly Row[] = [];

const runner = () => runnerFor(test.store, TENANT);

beforeAll(async () => {
  test = await openTestStore();
  await insertEvents(test.store, stampStream());
  const read: Row[] = [];
  const plan = streamEventsPlan(TENANT, SESSION, STREAM);
  for await (const block of runner().stream<Row>(plan)) read.push(...block);
  rows = read;
});
afterAll(() => test.close());

function verified(list: readonly Row[]): Integrity {
  const verifier = createChainVerifier(id);
  for (const row of list) verifier.add(evidenceOf(row));
  return verifier.result();
}

/** Values that another column of the same type could have been set to. */
function others(name: string, value: unknown): unknown[] {
  const { shape, values, column } = ALL_FIELDS[name] as (typeof ALL_FIELDS)[string];
  switch (shape) {
    case 'list':
      return [[...(value as string[]), 'x'], [], ['x']];
    case 'map':
      return [{ ...(value as object), x: 'y' }, {}, { x: 'y' }];
    case 'flag':
      return [true, false, null];
    case 'uuid':
      return [OTHER_UUID];
    case 'time':
      return ['1764000000000000999', '0'];
    case 'uint':
    case 'int':
      return column.type.startsWith('Nullable') ? ['0', '7', null] : [0, 7, 4_294_967_295];
    default:
      return [...(values ?? []), 'x', '', `${value} `, String(value).toUpperCase()];
  }
}

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

describe('any column of any stored row', () => {
  it('is part of an intact stream as it was stored', () => {
    expect(rows).toHaveLength(eventsIn(stampStream()).length);
    expect(verified(rows)).toMatchObject({ verdict: 'intact', sealed: true, faults: [] });
  });

  it.each(Object.keys(ALL_FIELDS))('%s: another value is found', (name) => {
    const key = ALL_FIELDS[name]?.shape === 'time' ? `${name}_ns` : name;
    let tried = 0;
    for (const [index, row] of rows.entries())
      for (const value of others(name, row[key])) {
        if (same(value, row[key])) continue;
        const changed = rows.map((one, at) => (at === index ? { ...one, [key]: value } : one));
        tried++;
        const { verdict, faults } = verified(changed);
        const where = `${name} of ${index}: ${JSON.stringify(value)}`;
        expect(verdict, where).not.toBe('intact');
        expect(faults.length, where).toBeGreaterThan(0);
      }
    expect(tried).toBeGreaterThanOrEqual(rows.length);
  });
});

describe('the service', () => {
  const integrity = async () => {
    const loads = createLoads(runner());
    const head = await loads.head(SESSION);
    if (head === undefined) throw new Error('no session');
    const [stream] = (await loads.data(head)).streams;
    const streamed = await loads.integrity(SESSION, STREAM);
    // Both ways of reading a stream see the same.
    expect(stream?.integrity).toEqual(streamed);
    return streamed;
  };
  const change = (what: string, where: string) =>
    test.store.command(
      `ALTER TABLE telltale.events UPDATE ${what} WHERE ${where} SETTINGS mutations_sync = 1`,
    );

  it('sees what statements did: a column of another kind, and a kind that there is none of', async () => {
    expect(await integrity()).toMatchObject({ verdict: 'intact' });
    await change("note = 'planted'", 'seq = 3');
    expect(await integrity()).toMatchObject({
      verdict: 'broken',
      faults: [{ seq: 3, kind: 'malformed' }],
    });
    await change("note = ''", 'seq = 3');
    await change("kind = 'quantum.leap'", 'seq = 4');
    expect(await integrity()).toMatchObject({
      verdict: 'broken',
      faults: [{ seq: 4, kind: 'changed' }],
    });
  });

  it('says of the events as stamped what it says of the rows', () => {
    const { faults } = verifyChain(id, eventsIn(stampStream()));
    expect(faults).toEqual([]);
  });
});
