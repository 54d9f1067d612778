/** What was passed on: each row once, whatever order rows become visible in, over any break. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Arrival,
  type Arrivals,
  arrivalsCursor,
  CURSOR_RANGES_MAX,
  NOTHING_YET,
  pass,
  readArrivals,
  SETTLE_MS,
} from '../../../query/live/arrivals.ts';

const STREAMS = ['0193a5e0-0000-7000-8000-0000000000a1', 'f193a5e0-0000-7000-8000-0000000000a2'];
const START_MS = 1_764_000_000_000;

/** What the statement of a look does: rows after `settled` whose number was not passed on. */
function look(state: Arrivals, visible: readonly Arrival[], limit: number): Arrival[] {
  return visible
    .filter(({ stampMs }) => stampMs > state.settledMs)
    .filter(
      ({ stream, seq }) =>
        !state.passed.get(stream)?.some(({ first, last }) => seq >= first && seq <= last),
    )
    .toSorted((a, b) => a.stampMs - b.stampMs || (a.stream < b.stream ? -1 : 1) || a.seq - b.seq)
    .slice(0, limit);
}

/** Inserts: stamped when they begin, visible up to `SETTLE_MS` later. */
const inserts = fc.array(
  fc.record({
    stream: fc.constantFrom(...STREAMS),
    rows: fc.integer({ min: 1, max: 12 }),
    pauseMs: fc.integer({ min: 0, max: 40_000 }),
    tookMs: fc.integer({ min: 0, max: SETTLE_MS - 1 }),
  }),
  { minLength: 1, maxLength: 30 },
);

describe('a view', () => {
  it('passes every row on once, however late it can be read, over any number of breaks', () => {
    fc.assert(
      fc.property(inserts, fc.integer({ min: 1, max: 9 }), fc.boolean(), (list, limit, breaks) => {
        let now = START_MS;
        const next = new Map<string, number>();
        const rows: (Arrival & { visibleMs: number })[] = [];
        for (const { stream, rows: count, pauseMs, tookMs } of list) {
          now += pauseMs;
          for (let i = 0; i < count; i++) {
            const seq = next.get(stream) ?? 0;
            next.set(stream, seq + 1);
            rows.push({ stream, seq, stampMs: now, visibleMs: now + tookMs });
          }
        }
        let state = NOTHING_YET;
        const got: string[] = [];
        for (const at of [...rows.map(({ visibleMs }) => visibleMs).toSorted(), Infinity]) {
          const visible = rows.filter(({ visibleMs }) => visibleMs <= at);
          for (let more = true; more; ) {
            const found = look(state, visible, limit);
            state = pass(state, found);
            got.push(...found.map(({ stream, seq }) => `${stream}-${seq}`));
            if (breaks) state = readArrivals(arrivalsCursor(state));
            more = found.length === limit;
          }
        }
        const all = rows.map(({ stream, seq }) => `${stream}-${seq}`);
        expect(got.toSorted()).toEqual(all.toSorted());
      }),
      { numRuns: 300 },
    );
  });

  it('holds one range of a stream that comes in without holes, and forgets what is settled', () => {
    let state = NOTHING_YET;
    const stream = STREAMS[0] as string;
    for (let i = 0; i < 1000; i++)
      state = pass(state, [{ stream, seq: i, stampMs: START_MS + i * 1000 }]);
    expect(state.passed.get(stream)).toHaveLength(1);
    state = pass(state, [{ stream: STREAMS[1] as string, seq: 0, stampMs: START_MS * 2 }]);
    expect([...state.passed.keys()]).toEqual([STREAMS[1]]);
  });

  it('refuses to grow beyond its bound', () => {
    const holes = Array.from({ length: CURSOR_RANGES_MAX + 1 }, (_, i) => ({
      stream: STREAMS[0] as string,
      seq: i * 2,
      stampMs: START_MS,
    }));
    expect(() => pass(NOTHING_YET, holes)).toThrow('be followed');
  });
});

describe('a cursor', () => {
  it('is read back as it was, or refused', () => {
    const text = (body: string) => Buffer.from(body).toString('base64url');
    const [stream] = STREAMS;
    for (const bad of [
      '',
      'x',
      text('l1|1|2'),
      text('l2|1|2|'),
      text(`l1|1|2|${stream}:5-4`),
      text(`l1|1|2|${stream}:1-99999999999`),
      text(`l1|1|2|${stream}:1-2;${stream}:3-4`),
      text(`l1|1|2|${stream}:1-2 OR 1=1`),
      text(`l1|1|2|'--:1-2`),
      text(`l1|-1|2|`),
      'A'.repeat(200_000),
    ])
      expect(() => readArrivals(bad), bad.slice(0, 40)).toThrow('not a cursor');
    const state = pass(NOTHING_YET, [{ stream: stream as string, seq: 7, stampMs: START_MS }]);
    expect(readArrivals(arrivalsCursor(state))).toEqual(state);
  });
});
