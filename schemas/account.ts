/**
 * The account of a stream: which of its numbers are stored, parked, declared missing, or none of
 * these. Everything here is arithmetic on ranges, so that a gap or a dead letter that claims
 * billions of numbers costs no more than one that claims a few.
 */
import {
  countRanges,
  normalRanges,
  type Range,
  type Ranges,
  toRanges,
  upTo,
  withoutRanges,
} from './ranges.ts';
import type { TelltaleEvent } from './registry.ts';

/** The highest number that a stream can give out. */
export const SEQ_MAX = 4_294_967_295;

/** What is needed of a stream to account for it; the query service reads it with SQL. */
export interface StreamFacts {
  readonly stored: Ranges;
  /** Numbers that arrived but were parked as dead letters. */
  readonly parked: Ranges;
  readonly gaps: readonly {
    readonly gap_first_seq?: number;
    readonly gap_last_seq?: number;
    readonly gap_count?: number;
  }[];
  /** `chain_count` of session.close, where it is stored. */
  readonly closeCount?: number;
}

export interface Completeness {
  /** `complete`: closed, and every number is stored. `declared`: what is missing is declared. */
  readonly verdict: 'complete' | 'declared' | 'open' | 'incomplete';
  /** How many numbers are known to have been given out. */
  readonly produced: number;
  readonly stored: number;
  readonly parked: number;
  /** Numbers that gap events declare lost. */
  readonly declaredMissing: number;
  /** Events lost before they were numbered: at least so many. */
  readonly unnumberedLost: number;
  /** A gap whose size nobody knows. */
  readonly unknownLoss: boolean;
  /** Neither stored, nor parked, nor declared. */
  readonly unaccounted: Ranges;
  readonly closed: boolean;
}

/** The numbers that a gap declares; a range that no stream can have declares none. */
function declaredRange(gap: StreamFacts['gaps'][number]): Range | undefined {
  const { gap_first_seq: first, gap_last_seq: last } = gap;
  if (first === undefined || last === undefined) return undefined;
  return first >= 0 && first <= last && last <= SEQ_MAX ? [first, last] : undefined;
}

const highest = (ranges: Ranges): number => ranges.at(-1)?.[1] ?? -1;
const numbersOf = (ranges: Ranges): Ranges =>
  normalRanges(ranges.map(([first, last]): Range => [Math.max(first, 0), Math.min(last, SEQ_MAX)]));

/**
 * The last number that the stream is known to have given out. A stored event proves its number
 * and so does a close; of a closed stream no parked bytes can claim more. A gap proves none: it is
 * stamped after what it declares lost, so it could only overstate.
 */
function lastNumber(stored: Ranges, parked: Ranges, closeCount: number | undefined): number {
  if (closeCount === undefined) return Math.max(highest(stored), highest(parked));
  return Math.max(highest(stored), Math.min(closeCount, SEQ_MAX));
}

/** Adds up without leaving the integers that are exact. */
const plus = (a: number, b: number): number => Math.min(a + b, Number.MAX_SAFE_INTEGER);

/** The account of one stream: produced = stored + parked + declared + unaccounted, always. */
export function accountFor(facts: StreamFacts): Completeness {
  const { closeCount } = facts;
  const stored = numbersOf(facts.stored);
  const arrived = numbersOf(facts.parked);
  const last = lastNumber(stored, arrived, closeCount);
  const given: Ranges = last < 0 ? [] : [[0, last]];
  const parked = withoutRanges(upTo(arrived, last), stored);
  const numbered = facts.gaps.map(declaredRange).filter((range) => range !== undefined);
  const known = normalRanges([...stored, ...parked]);
  const declared = withoutRanges(upTo(normalRanges(numbered), last), known);
  const unaccounted = withoutRanges(given, normalRanges([...known, ...declared]));
  const unnumbered = facts.gaps.filter((gap) => declaredRange(gap) === undefined);
  const unknownLoss = unnumbered.some((gap) => gap.gap_count === undefined);
  const unnumberedLost = unnumbered.reduce((sum, gap) => plus(sum, gap.gap_count ?? 0), 0);
  const closed = closeCount !== undefined;
  // What is stored behind a close contradicts it: where the stream ends is not known.
  const contradicted = closed && highest(stored) > closeCount;
  const lost = countRanges(declared) + countRanges(parked) + unnumberedLost;
  return {
    verdict:
      unaccounted.length > 0 || contradicted
        ? 'incomplete'
        : !closed
          ? 'open'
          : lost === 0 && !unknownLoss
            ? 'complete'
            : 'declared',
    produced: last + 1,
    stored: countRanges(stored),
    parked: countRanges(parked),
    declaredMissing: countRanges(declared),
    unnumberedLost,
    unknownLoss,
    unaccounted,
    closed,
  };
}

/** The facts of a stream from all its events at hand; for bundles and tests. */
export function factsOf(events: readonly TelltaleEvent[]): StreamFacts {
  const gaps = events.filter((event) => event.kind === 'gap');
  const close = events.find((event) => event.kind === 'session.close');
  return {
    stored: toRanges(events.map((event) => event.seq)),
    parked: [],
    gaps,
    ...(close === undefined ? {} : { closeCount: close.chain_count }),
  };
}
