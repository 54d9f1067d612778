/** The account of a stream always adds up, whatever ranges it is made of; and sets of numbers. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  accountFor,
  addRange,
  countRanges,
  factsOf,
  hasNumber,
  missingRanges,
  normalRanges,
  type Range,
  type Ranges,
  SEQ_MAX,
  toRanges,
  upTo,
  withoutRanges,
} from '#schemas';
import { CLOSE_SEQ, recordedStream } from './streams.ts';

const events = recordedStream();
const LAST = 40;
const numbers = fc.uniqueArray(fc.integer({ min: 0, max: LAST }));
const range = fc
  .tuple(fc.integer({ min: 0, max: LAST }), fc.integer({ min: 0, max: LAST }))
  .map(([a, b]): Range => [Math.min(a, b), Math.max(a, b)]);
const gap = fc.oneof(
  range.map(([gap_first_seq, gap_last_seq]) => ({ gap_first_seq, gap_last_seq })),
  fc.record({ gap_count: fc.nat(9) }, { requiredKeys: [] }),
  // A range the wrong way round declares no numbers.
  fc.constant({ gap_first_seq: 3, gap_last_seq: 2, gap_count: 1 }),
);
const facts = fc
  .record({
    stored: numbers.map(toRanges),
    parked: numbers.map(toRanges),
    gaps: fc.array(gap, { maxLength: 5 }),
    closed: fc.boolean(),
  })
  .map(({ closed, ...rest }) => {
    const highest = rest.stored.at(-1)?.[1];
    return { ...rest, ...(closed && highest !== undefined ? { closeCount: highest } : {}) };
  });

describe('the account of a stream', () => {
  it('adds up: produced = stored + parked + declared + unaccounted', () => {
    fc.assert(
      fc.property(facts, (one) => {
        const account = accountFor(one);
        const { stored, parked, declaredMissing, unaccounted } = account;
        const sum = stored + parked + declaredMissing + countRanges(unaccounted);
        expect(sum).toBe(account.produced);
      }),
    );
  });

  it('counts each number once, under the best that is known of it', () => {
    fc.assert(
      fc.property(facts, (one) => {
        const account = accountFor(one);
        const declared: Range[] = [];
        for (const { gap_first_seq: from, gap_last_seq: to } of one.gaps as {
          gap_first_seq?: number;
          gap_last_seq?: number;
        }[])
          if (from !== undefined && to !== undefined && from <= to) declared.push([from, to]);
        const tally = { stored: 0, parked: 0, declaredMissing: 0 };
        for (let n = 0; n < account.produced; n++) {
          if (hasNumber(one.stored, n)) tally.stored++;
          else if (hasNumber(one.parked, n)) tally.parked++;
          else if (declared.some(([from, to]) => from <= n && n <= to)) tally.declaredMissing++;
          else expect(hasNumber(account.unaccounted, n)).toBe(true);
        }
        expect(account).toMatchObject(tally);
      }),
    );
  });

  it('calls complete only what is closed, stored in full and without a gap', () => {
    fc.assert(
      fc.property(facts, (one) => {
        const account = accountFor(one);
        const whole = account.stored === account.produced;
        const lossless = account.unnumberedLost === 0 && !account.unknownLoss;
        expect(account.verdict === 'complete').toBe(account.closed && whole && lossless);
        expect(account.verdict === 'incomplete').toBe(account.unaccounted.length > 0);
        expect(account.closed).toBe(one.closeCount !== undefined);
      }),
    );
  });

  it('is complete for a stream as recorded, and open for none of it', () => {
    const whole = { verdict: 'complete', produced: events.length, stored: events.length };
    expect(accountFor(factsOf(events))).toMatchObject(whole);
    const none = { verdict: 'open', produced: 0, stored: 0, unaccounted: [] };
    expect(accountFor(factsOf([]))).toMatchObject(none);
  });

  it('misses what a stored close counts', () => {
    const close = events.filter((event) => event.seq === CLOSE_SEQ);
    const missing = { verdict: 'incomplete', unaccounted: [[0, CLOSE_SEQ - 1]] };
    expect(accountFor(factsOf(close))).toMatchObject(missing);
  });
});

const anyNumber = fc.oneof(
  fc.maxSafeNat(),
  fc.constantFrom(0, SEQ_MAX - 1, SEQ_MAX, SEQ_MAX + 1, Number.MAX_SAFE_INTEGER),
);
const anyRange = fc.tuple(anyNumber, anyNumber).map(([a, b]): Range => [a, b]);

describe('the account of a stream that lies', () => {
  const hostile = fc.record(
    {
      stored: fc.array(range).map(normalRanges),
      parked: fc.array(fc.oneof(range, anyRange)),
      gaps: fc.array(
        fc.record(
          { gap_first_seq: anyNumber, gap_last_seq: anyNumber, gap_count: anyNumber },
          { requiredKeys: [] },
        ),
      ),
      closeCount: anyNumber,
    },
    { requiredKeys: ['stored', 'parked', 'gaps'] },
  );

  it('adds up whatever it claims, and at once', () => {
    fc.assert(
      fc.property(hostile, (one) => {
        const account = accountFor(one);
        const { stored, parked, declaredMissing, unaccounted } = account;
        const sum = stored + parked + declaredMissing + countRanges(unaccounted);
        expect(sum).toBe(account.produced);
        expect(account.produced).toBeLessThanOrEqual(SEQ_MAX + 1);
        expect(isNormal(unaccounted)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  const closed = factsOf(events);
  const whole = { verdict: 'complete', produced: CLOSE_SEQ + 1, stored: CLOSE_SEQ + 1 };

  it('believes no dead letter that claims numbers behind the close', () => {
    const parked: Ranges = [[SEQ_MAX, SEQ_MAX]];
    expect(accountFor({ ...closed, parked })).toMatchObject({ ...whole, parked: 0 });
    const { closeCount: _none, ...open } = closed;
    expect(accountFor({ ...open, parked })).toMatchObject({
      verdict: 'incomplete',
      produced: SEQ_MAX + 1,
      parked: 1,
      unaccounted: [[CLOSE_SEQ + 1, SEQ_MAX - 1]],
    });
  });

  it('believes no gap that declares numbers which were never given out', () => {
    const gaps = [{ gap_first_seq: 4, gap_last_seq: 2 ** 53 - 1, gap_count: 2 ** 53 - 1 }];
    const absurd = accountFor({ ...closed, gaps });
    expect(absurd).toMatchObject({ produced: CLOSE_SEQ + 1, declaredMissing: 0 });
    expect(absurd.verdict).toBe('declared');
    const far = [{ gap_first_seq: 4, gap_last_seq: SEQ_MAX, gap_count: 7 }];
    expect(accountFor({ ...closed, gaps: far })).toMatchObject({ produced: CLOSE_SEQ + 1 });
  });

  it('calls nothing complete where events stand behind the close', () => {
    const stored: Ranges = [[0, CLOSE_SEQ + 1]];
    expect(accountFor({ ...closed, stored })).toMatchObject({ verdict: 'incomplete' });
  });

  it('costs what its pieces cost: a hundred thousand gaps and holes', () => {
    const stored = Array.from({ length: 100_000 }, (_, n): Range => [4 * n, 4 * n]);
    const gaps = stored.map(([n]) => ({ gap_first_seq: n + 1, gap_last_seq: n + 2 }));
    const started = process.cpuUsage();
    const account = accountFor({ stored, parked: [], gaps });
    expect(process.cpuUsage(started).user / 1000).toBeLessThan(2000);
    expect(countRanges(account.unaccounted)).toBe(99_999);
  });
});

/** Sorted, disjoint, and no two that touch. */
function isNormal(ranges: Ranges): boolean {
  return ranges.every(([from, to], index) => {
    const before = ranges[index - 1];
    return from <= to && (before === undefined || before[1] + 1 < from);
  });
}
const members = (ranges: Ranges): number[] =>
  ranges.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, i) => from + i));

describe('ranges', () => {
  const pieces = fc.array(range);

  it('are put in order, and taken from one another, as the numbers are', () => {
    fc.assert(
      fc.property(pieces, pieces, fc.nat(LAST), (a, b, last) => {
        const [left, right] = [normalRanges(a), normalRanges(b)];
        expect(left).toEqual(toRanges(members(a)));
        const rest = withoutRanges(left, right);
        expect(isNormal(rest)).toBe(true);
        const taken = new Set(members(right));
        expect(members(rest)).toEqual(members(left).filter((n) => !taken.has(n)));
        expect(members(upTo(left, last))).toEqual(members(left).filter((n) => n <= last));
      }),
      { numRuns: 500 },
    );
  });

  const list = fc.array(fc.integer({ min: 0, max: LAST }));

  it('hold the very numbers they were made from', () => {
    fc.assert(
      fc.property(list, (given) => {
        const ranges = toRanges(given);
        const wanted = [...new Set(given)].sort((a, b) => a - b);
        expect(members(ranges)).toEqual(wanted);
        expect(isNormal(ranges)).toBe(true);
        expect(countRanges(ranges)).toBe(wanted.length);
        for (let n = -1; n <= LAST + 1; n++) expect(hasNumber(ranges, n)).toBe(wanted.includes(n));
      }),
    );
  });

  it('take a range in, stay normal, and leave the given set alone', () => {
    fc.assert(
      fc.property(list, range, (given, [from, to]) => {
        const ranges = toRanges(given);
        const copy = structuredClone(ranges);
        const sum = addRange(ranges, from, to);
        expect(sum).toEqual(toRanges([...given, ...members([[from, to]])]));
        expect(ranges).toEqual(copy);
      }),
    );
  });

  it('and what is missing make 0..last, without overlap', () => {
    fc.assert(
      fc.property(list, fc.integer({ min: -1, max: LAST + 5 }), (given, last) => {
        const missing = missingRanges(toRanges(given), last);
        expect(isNormal(missing)).toBe(true);
        const wanted = Array.from({ length: last + 1 }, (_, n) => n);
        expect(members(missing)).toEqual(wanted.filter((n) => !given.includes(n)));
      }),
    );
  });
});
