import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import {
  countRanges,
  DEAD_TABLE,
  EVENTS_TABLE,
  encode,
  frame,
  frameLines,
  hasNumber,
  toRanges,
} from '#schemas';
import { createIngest, groupByDay } from '../../ingest/loop.ts';
import { type Arrival, type Batch, keyOf } from '../../ingest/outcome.ts';
import { type Placed, storedRanges, unite } from '../../ingest/sequence.ts';
import { fakeClock, fakeLog, fakeMeter } from '../fakes/ports.ts';
import { SALT } from '../schemas/arbitraries.ts';
import { deadOf, eventsOf, newStream, seqsOf, type TestStream, useEngine } from './engine.ts';
import { type Fate, type FaultyStore, faultyStore } from './faulty.ts';

const random = { bytes: (count: number) => new Uint8Array(count) };
const never = new AbortController().signal;

function ingestOn(store: FaultyStore | ReturnType<typeof useEngine>['store'], clock = fakeClock()) {
  const [log, meter] = [fakeLog(), fakeMeter()];
  return { ...createIngest({ store, log, meter, clock, random }), log, meter };
}

const batch = (name: string, ...frames: Uint8Array[]): Batch => ({
  name,
  frames: frames.map((bytes, i) => ({ bytes, origin: `${name}/${i}` })),
});

const numbersOf = (store: FaultyStore, stream: TestStream) =>
  store
    .rows(EVENTS_TABLE)
    .filter((row) => keyOf(row as never) === keyOf(stream))
    .map((row) => Number(row.seq));

describe('ingest: retries', () => {
  it('repeats the same bytes with the same token until the answer comes', async () => {
    const store = faultyStore();
    store.script = ['unreachable', 'busy', 'unknown', 'limit', 'lost', 'busy'];
    const ingest = ingestOn(store);
    const stream = newStream();
    const summary = await ingest.take(batch('t/0/1-1', frame(stream.events(0, 9))), never);
    expect(summary).toEqual({ stored: 10, duplicates: 0, parked: 0 });
    expect(store.inserts).toHaveLength(7);
    expect(new Set(store.inserts.map((one) => one.dedupToken)).size).toBe(1);
    expect(numbersOf(store, stream)).toEqual(stream.events(0, 9).map((event) => event.seq));
    expect(ingest.log.lines.filter((line) => line.level === 'error')).toEqual([]);
  });

  it('parks the rows that the engine refuses, and only those', async () => {
    const store = faultyStore();
    const stream = newStream();
    store.refuse = (line) => /"file_path":"\/work\/f(3|77)"/.test(line);
    const summary = await ingestOn(store).take(batch('b', frame(stream.events(0, 99))), never);
    expect(summary).toEqual({ stored: 98, duplicates: 0, parked: 2 });
    expect(numbersOf(store, stream).sort((a, b) => a - b)).toEqual(
      stream
        .events(0, 99)
        .map(({ seq }) => seq)
        .filter((seq) => seq !== 3 && seq !== 77),
    );
    const dead = store.rows(DEAD_TABLE);
    expect(dead.map((row) => [row.reason, row.seq, row.origin])).toEqual([
      ['store_refused', 3, 'b/0/3'],
      ['store_refused', 77, 'b/0/77'],
    ]);
    const bytes = Buffer.from(String(dead[0]?.bytes_base64), 'base64');
    expect(bytes.equals(encode(stream.event(3)))).toBe(true);
  });

  it('gives up when told to, and the same batch again is safe', async () => {
    const store = faultyStore();
    const stream = newStream();
    store.script = ['late', 'unknown'];
    const one = batch('b', frame(stream.events(0, 9)));
    const abort = new AbortController();
    abort.abort();
    const ingest = ingestOn(store);
    await expect(ingest.take(one, abort.signal)).rejects.toMatchObject({
      fault: { code: 'unknown' },
    });
    // The first insert lands after the table was read again, and before the second one.
    const { insert } = store;
    store.insert = async (next) => {
      store.land();
      return insert(next);
    };
    expect(await ingest.take(one, never)).toMatchObject({ stored: 10 });
    expect(numbersOf(store, stream)).toHaveLength(10);
  });

  it('never holds good rows against a missing table', async () => {
    const store = faultyStore();
    const insert = store.insert;
    const { StoreError } = await import('#schemas');
    let migrated = false;
    const ingest = ingestOn({
      ...store,
      insert: async (one) => {
        if (!migrated) {
          migrated = store.inserts.push(one) > 8;
          throw new StoreError({ code: 'refused', engineCode: 60, message: 'no table' });
        }
        return insert(one);
      },
    });
    const stream = newStream();
    expect(await ingest.take(batch('b', frame(stream.events(0, 4))), never)).toMatchObject({
      stored: 5,
    });
    expect(store.rows(DEAD_TABLE)).toEqual([]);
    expect(ingest.log.lines.some((line) => line.event === 'ingest.store_not_ready')).toBe(true);
  });
});

describe('ingest: numbers', () => {
  it('parks a second event with the same number and other bytes in one batch', async () => {
    const store = faultyStore();
    const stream = newStream();
    const other = frame([stream.event(1, { file_path: '/other' } as never)]);
    const one = batch('b', frame(stream.events(0, 2)), other, frame(stream.events(0, 2)));
    expect(await ingestOn(store).take(one, never)).toEqual({ stored: 3, duplicates: 3, parked: 1 });
    expect(store.rows(DEAD_TABLE)).toMatchObject([{ reason: 'conflict', seq: 1, origin: 'b/1/1' }]);
  });

  it('fills holes once, in any order', async () => {
    const store = faultyStore();
    const stream = newStream();
    const ingest = ingestOn(store);
    for (const [first, last] of [
      [10, 19],
      [0, 4],
      [3, 12],
      [30, 31],
      [0, 40],
    ] as const)
      await ingest.take(batch(`${first}`, frame(stream.events(first, last))), never);
    expect(numbersOf(store, stream).sort((a, b) => a - b)).toEqual(
      stream.events(0, 40).map(({ seq }) => seq),
    );
  });

  it('reads the table again when another worker may have written', async () => {
    const store = faultyStore();
    const stream = newStream();
    const [a, b] = [ingestOn(store), ingestOn(store)];
    await a.take(batch('a', frame(stream.events(0, 4))), never);
    // The partition goes to b and comes back; the next frames are cut in another place.
    await b.take(batch('b', frame(stream.events(5, 9))), never);
    a.forget();
    const summary = await a.take(batch('c', frame(stream.events(3, 12))), never);
    expect(summary).toEqual({ stored: 3, duplicates: 7, parked: 0 });
    expect(numbersOf(store, stream)).toEqual(stream.events(0, 12).map(({ seq }) => seq));
  });

  it('reads the table again after an insert without an answer', async () => {
    const store = faultyStore();
    const stream = newStream();
    const ingest = ingestOn(store);
    await ingest.take(batch('a', frame(stream.events(0, 4))), never);
    store.script = ['lost'];
    const gone = ingest.take(batch('b', frame(stream.events(5, 9))), AbortSignal.abort());
    await expect(gone).rejects.toMatchObject({ fault: { code: 'unknown' } });
    const summary = await ingest.take(batch('c', frame(stream.events(5, 12))), never);
    expect(summary).toEqual({ stored: 3, duplicates: 5, parked: 0 });
  });

  it('keeps streams of different tenants with the same ids apart', async () => {
    const store = faultyStore();
    const a = newStream('a');
    const b = { ...a, tenant: 'b' };
    const ofB = a.events(0, 2).map((event) => ({ ...event, tenant: 'b' }));
    const ingest = ingestOn(store);
    await ingest.take(batch('1', frame(a.events(0, 2))), never);
    expect(await ingest.take(batch('2', frame(ofB)), never)).toMatchObject({ stored: 3 });
    expect(numbersOf(store, b)).toEqual([0, 1, 2]);
  });

  const fate = fc.constantFrom<Fate>('ok', 'ok', 'lost', 'late', 'busy', 'unknown', 'unreachable');
  const step = fc.record({
    // Which part of the log a worker reads, and whether it is a new worker that reads it.
    from: fc.nat(6),
    restart: fc.boolean(),
    fates: fc.array(fate, { maxLength: 4 }),
    gives: fc.boolean(),
    lands: fc.boolean(),
  });

  it('stores each number once over any redo, restart, rebalance and lost answer', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
        const store = faultyStore();
        const streams = [newStream(), newStream()];
        // The log: 6 batches, each of overlapping pieces of both streams.
        const batches = Array.from({ length: 6 }, (_, i) =>
          batch(
            `t/0/${i}`,
            ...streams.map((one) => frame(one.events(Math.max(0, i * 3 - 2), i * 3 + 2))),
          ),
        );
        let ingest = ingestOn(store);
        let committed = 0;
        const go = async (from: number, signal: AbortSignal) => {
          for (let i = Math.min(from, committed); i < batches.length; i++) {
            await ingest.take(batches[i] as Batch, signal);
            committed = Math.max(committed, i + 1);
          }
        };
        for (const one of steps) {
          if (one.restart) ingest = ingestOn(store);
          else ingest.forget();
          store.script = [...one.fates];
          const abort = new AbortController();
          if (one.gives) abort.abort();
          await go(one.from, abort.signal).catch(() => {});
          // What is still on its way lands before the next worker has its first answer …
          if (one.lands || one.restart) store.land();
        }
        store.script = [];
        store.land();
        await go(0, never);
        store.land();
        for (const stream of streams)
          expect(numbersOf(store, stream).sort((a, b) => a - b)).toEqual(
            stream.events(0, 17).map(({ seq }) => seq),
          );
        expect(store.rows(DEAD_TABLE)).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });
});

describe('ingest: sets and cuts', () => {
  it('unites sets as sets are united', () => {
    const numbers = fc.array(fc.nat(60));
    fc.assert(
      fc.property(numbers, numbers, (a, b) => {
        expect(unite(toRanges(a), toRanges(b))).toEqual(toRanges([...a, ...b]));
      }),
    );
  });

  it('groups by day without losing a row or changing the order of a day', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(5)), (days) => {
        const placed: Placed[] = days.map((day, seq) => ({
          arrival: { day, seq } as Arrival,
          stored: false,
        }));
        const groups = groupByDay(placed);
        expect(groups.flat().sort((a, b) => a.arrival.seq - b.arrival.seq)).toEqual(placed);
        for (const group of groups)
          expect(group).toEqual(placed.filter((one) => one.arrival.day === group[0]?.arrival.day));
        expect(groups).toHaveLength(new Set(days).size);
      }),
    );
  });
});

describe('ingest on the real engine', () => {
  const engine = useEngine();

  it('reads stored numbers back as ranges, with holes and with doubles', async () => {
    const stream = newStream();
    const lines = (events: ReturnType<TestStream['events']>) =>
      Buffer.concat(events.map((event) => Buffer.concat([encode(event), Buffer.from('\n')])));
    const put = (first: number, last: number, token: string) =>
      engine.store.insert({
        table: EVENTS_TABLE,
        lines: lines(stream.events(first, last)),
        rows: last - first + 1,
        dedupToken: token,
        timeMs: 10_000,
      });
    expect(await storedRanges(engine.store, stream)).toEqual([]);
    await put(5, 9, 'a');
    expect(await storedRanges(engine.store, stream)).toEqual([[5, 9]]);
    await put(0, 1, 'b');
    await put(20, 20, 'c');
    await put(21, 21, 'd');
    await put(8, 9, 'doubled behind our back');
    const ranges = await storedRanges(engine.store, stream);
    expect(ranges).toEqual([
      [0, 1],
      [5, 9],
      [20, 21],
    ]);
    expect(countRanges(ranges)).toBe(9);
    expect(hasNumber(ranges, 7)).toBe(true);
  });

  it('drops the same insert by its token when the numbers were not known', async () => {
    const stream = newStream();
    const one = batch('t/0/5-9', frame(stream.events(0, 49)));
    // Two workers that both read the table before either had written.
    const [a, b] = [ingestOn(engine.store), ingestOn(engine.store)];
    await Promise.all([a.take(one, never), b.take(one, never)]);
    expect(await seqsOf(engine.store, stream.stream_id)).toHaveLength(50);
  });

  it('parks in dead letters once, however often the batch is redone', async () => {
    const stream = newStream();
    const lines = [encode(stream.event(0)), Buffer.from('not json'), encode(stream.event(2))];
    const one = batch('t/3/7-7', frameLines({ ...stream, first_seq: 0 }, lines));
    await ingestOn(engine.store).take(one, never);
    expect(await ingestOn(engine.store).take(one, never)).toMatchObject({
      stored: 0,
      duplicates: 2,
    });
    expect(await deadOf(engine.store, stream.session_id)).toMatchObject([
      { reason: 'not_json', seq: 1, origin: 't/3/7-7/0/1' },
    ]);
  });

  it.each([
    // Both sides of the end of a month, which is the end of a partition of the dead letters.
    ['2025-11-30T23:59:59.900Z', ['2025-11-30T23:59:59.950Z', '2025-12-01T00:00:09.000Z'], true],
    // A sender's clock makes no partitions at will.
    ['1970-01-01T00:00:00.000Z', ['2025-11-30T23:59:59.950Z'], false],
    ['2285-01-01T00:00:00.000Z', ['2025-11-30T23:59:59.950Z'], false],
  ])('parks what was logged at %s at that time, if it may be so', async (at, times, kept) => {
    const stream = newStream();
    const lines = [encode(stream.event(0)), Buffer.from('x')];
    const bodies = [
      frameLines({ ...stream, first_seq: 0 }, lines),
      frame([stream.event(0, { pid: 43 })]),
    ];
    const frames = bodies.map((bytes) => ({ bytes, origin: at, atMs: Date.parse(at) }));
    for (const time of times) {
      const clock = fakeClock(BigInt(Date.parse(time)) * 1_000_000n);
      await ingestOn(engine.store, clock).take({ name: at, frames }, never);
    }
    const letters = await deadOf(engine.store, stream.session_id);
    expect(letters.map(({ reason }) => reason)).toEqual(['conflict', 'not_json']);
    const text = at.replace('T', ' ').slice(0, -1);
    for (const letter of letters) expect(letter.parked_at === text).toBe(kept);
  });

  it('keeps the largest event that a frame may carry', async () => {
    const stream = newStream();
    const big = stream.event(0, {
      kind: 'prompt',
      prompt: 'ä'.repeat(4 * 1024 * 1024),
      content_salt: SALT,
      pid: undefined,
      file_op: undefined,
      file_path: undefined,
    } as never);
    const clean = JSON.parse(JSON.stringify(big));
    await ingestOn(engine.store).take(batch('big', frame([clean])), never);
    expect(await eventsOf(engine.store, stream.stream_id)).toEqual([clean]);
  });
});

describe('ingest: batches that overlap', () => {
  /** A store whose inserts wait until they are let go. */
  function gated() {
    const store = faultyStore();
    const { insert } = store;
    const waiting: (() => void)[] = [];
    const tokens: string[] = [];
    store.insert = async (one) => {
      tokens.push(one.dedupToken);
      await new Promise<void>((resolve) => waiting.push(resolve));
      return insert(one);
    };
    /** Lets go of the oldest, when there is one. */
    const letGo = async () => {
      await vi.waitFor(() => expect(waiting.length).toBeGreaterThan(0));
      waiting.shift()?.();
    };
    return { store, tokens, letGo };
  }

  it('hands the next one over while the first is written, and ends them in order', async () => {
    const { store, tokens, letGo } = gated();
    const ingest = ingestOn(store);
    const ended: string[] = [];
    const takes = ['a', 'b', 'c'].map((name) =>
      ingest.take(batch(name, frame(newStream().events(0, 9))), never).then(() => ended.push(name)),
    );
    await vi.waitFor(() => expect(tokens).toHaveLength(2));
    await letGo();
    await vi.waitFor(() => expect(tokens).toHaveLength(3));
    for (let i = 0; i < 2; i++) await letGo();
    await Promise.all(takes);
    expect(ended).toEqual(['a', 'b', 'c']);
    expect(tokens.map((token) => token[0])).toEqual(['a', 'b', 'c']);
  });

  it('does not compare a batch with the table while another has its stream', async () => {
    const { store, letGo } = gated();
    const ingest = ingestOn(store);
    const stream = newStream();
    const first = ingest.take(batch('a', frame(stream.events(0, 9))), never);
    const second = ingest.take(batch('b', frame(stream.events(5, 14))), never);
    await letGo();
    expect(await first).toEqual({ stored: 10, duplicates: 0, parked: 0 });
    await letGo();
    expect(await second).toEqual({ stored: 5, duplicates: 5, parked: 0 });
    expect(numbersOf(store, stream)).toEqual(stream.events(0, 14).map(({ seq }) => seq));
  });

  it('does not take for all what it stored while the rest was forgotten', async () => {
    const { store, tokens, letGo } = gated();
    const ingest = ingestOn(store);
    const stream = newStream();
    const early = ingest.take(batch('a', frame(stream.events(0, 9))), never);
    await letGo();
    await early;
    const late = ingest.take(batch('b', frame(stream.events(10, 19))), never);
    await vi.waitFor(() => expect(tokens).toHaveLength(2));
    ingest.forget();
    const other = ingest.take(batch('c', frame(newStream().events(0, 9))), never);
    await vi.waitFor(() => expect(tokens).toHaveLength(3));
    await letGo();
    await letGo();
    await Promise.all([late, other]);
    const again = await ingest.take(batch('d', frame(stream.events(0, 9))), never);
    expect(again).toEqual({ stored: 0, duplicates: 10, parked: 0 });
    expect(numbersOf(store, stream)).toHaveLength(20);
  });
});
