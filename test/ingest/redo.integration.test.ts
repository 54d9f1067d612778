/** Batches done again by another worker while an insert of the first is still on its way. */
import { expect, it } from 'vitest';
import { EVENTS_TABLE, frame, type Store } from '#schemas';
import { createIngest } from '../../ingest/loop.ts';
import { fakeClock, fakeLog, fakeMeter } from '../fakes/ports.ts';
import { newStream } from './engine.ts';
import { type FaultyStore, faultyStore } from './faulty.ts';

const never = new AbortController().signal;
const random = { bytes: (count: number) => new Uint8Array(count) };
const ingestOn = (store: Store) =>
  createIngest({ store, log: fakeLog(), meter: fakeMeter(), clock: fakeClock(), random });
const numbersOf = (store: FaultyStore) =>
  store
    .rows(EVENTS_TABLE)
    .map((row) => Number(row.seq))
    .sort((a, b) => a - b);

it('halves where it was halved before: what a zombie still inserts is stored once', async () => {
  const store = faultyStore();
  const stream = newStream();
  store.refuse = (line) => line.includes('"file_path":"/work/f3"');
  const batch = { name: 't/0/1-1', frames: [{ bytes: frame(stream.events(0, 7)), origin: 'o' }] };
  // All, 0-3, 0-1, 2-3, 2 and 3 are answered; 4-7 hangs, and its worker is taken for dead.
  store.script = ['ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'late'];
  await expect(ingestOn(store).take(batch, AbortSignal.abort())).rejects.toThrow();
  expect(numbersOf(store)).toEqual([0, 1, 2]);
  expect(await ingestOn(store).take(batch, never)).toEqual({ stored: 4, duplicates: 3, parked: 1 });
  store.land();
  expect(numbersOf(store)).toEqual([0, 1, 2, 4, 5, 6, 7]);
});

it('inserts a day at a time: a part of a batch is never seen as a part of an insert', async () => {
  const store = faultyStore();
  const stream = newStream();
  const events = stream
    .events(0, 8)
    .map((event, i) => ({ ...event, ts: `${1_764_000_000 + (i % 3) * 86_400}000000000` }));
  const batch = { name: 't/0/1-1', frames: [{ bytes: frame(events), origin: 'o' }] };
  store.script = ['ok', 'late'];
  await expect(ingestOn(store).take(batch, AbortSignal.abort())).rejects.toThrow();
  expect(await ingestOn(store).take(batch, never)).toMatchObject({ stored: 6, duplicates: 3 });
  store.land();
  expect(numbersOf(store)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  for (const { lines } of store.inserts) {
    const days = Buffer.from(lines)
      .toString()
      .matchAll(/"ts":"(\d+)"/g);
    const distinct = new Set([...days].map(([, ts]) => BigInt(ts as string) / 86_400_000_000_000n));
    expect(distinct.size).toBe(1);
  }
});
