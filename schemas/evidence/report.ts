/** The three verdicts, put together from the streams of a session. */
import type { Completeness } from '../account.ts';
import { ASSURANCES } from '../fields.ts';
import { countRanges } from '../ranges.ts';
import { type Counts, LEVELS, type Level } from './assurance.ts';
import type { Findings } from './findings.ts';
import { EVENTS, type Place } from './format.ts';
import type { StreamResult } from './stream-check.ts';

export interface IntegrityReport {
  readonly verdict: 'intact' | 'broken' | 'unverifiable';
  readonly first?: Place;
  readonly events: number;
  readonly checkpoints: number;
  /** Events of which content was erased or left out, under commitments that still hold. */
  readonly withoutContent: number;
  readonly faults: readonly Place[];
  readonly faultCount: number;
  readonly stretches: readonly Place[];
  readonly stretchCount: number;
  readonly anchor: Anchor;
}

/** What stands behind the keys that the streams name themselves. */
export interface Anchor {
  /** `log`: its key was given, and it vouches for every stream. */
  readonly by: 'log' | 'nothing';
  readonly why?: string;
  readonly origin?: string;
  readonly size?: number;
  readonly witnesses: number;
  /** Leaves that are proven to be in the log. */
  readonly leaves: number;
}

export interface CompletenessReport {
  readonly verdict: Completeness['verdict'];
  readonly first?: Place;
  readonly produced: number;
  readonly stored: number;
  readonly parked: number;
  readonly declared: number;
  readonly unaccounted: number;
  /** Lost before they were numbered: at least so many, and whether some gap does not know. */
  readonly unnumberedLost: number;
  readonly unknownLoss: boolean;
  readonly streams: readonly {
    readonly stream_id: string;
    readonly verdict: Completeness['verdict'];
    readonly produced: number;
    readonly stored: number;
  }[];
}

export interface AssuranceReport {
  readonly verdict: Level;
  readonly first?: Place;
  readonly counts: Counts;
  readonly coverage: Readonly<Record<'complete' | 'partial' | 'none', number>>;
  readonly gaps: number;
}

export interface Report {
  readonly tenant: string;
  readonly session_id: string;
  readonly content: 'full' | 'none';
  readonly integrity: IntegrityReport;
  readonly completeness: CompletenessReport;
  readonly assurance: AssuranceReport;
}

/** The account of a stream, and the first number of it that was parked or declared lost by a gap. */
export interface StreamAccount {
  readonly stream: string;
  readonly completeness: Completeness;
  readonly lostAt: number | undefined;
}

const WORST_FIRST = ['incomplete', 'open', 'declared', 'complete'] as const;

function placeOf({ stream, completeness, lostAt }: StreamAccount): Place | undefined {
  const { verdict, produced, unaccounted } = completeness;
  const at = (code: string, first: number, last: number, what: string): Place => ({
    code,
    file: EVENTS,
    stream_id: stream,
    first_seq: first,
    last_seq: last,
    what,
  });
  if (verdict === 'incomplete') {
    const [first, last] = unaccounted[0] ?? [produced - 1, produced - 1];
    return at('unaccounted', first, last, 'nobody accounts for these numbers');
  }
  if (verdict === 'open')
    return at('not_closed', produced - 1, produced - 1, 'the stream has no session.close');
  if (verdict === 'declared')
    return at('declared_lost', lostAt ?? 0, lostAt ?? 0, 'events were parked or declared lost');
  return undefined;
}

const withFirst = (first: Place | undefined) => (first === undefined ? {} : { first });

/** The session's account: the sums, and the verdict of its worst stream. */
export function completenessReport(accounts: readonly StreamAccount[]): CompletenessReport {
  const sum = (of: (one: Completeness) => number) =>
    accounts.reduce((total, { completeness }) => total + of(completeness), 0);
  const verdicts = accounts.map(({ completeness }) => completeness.verdict);
  const verdict = WORST_FIRST.find((word) => verdicts.includes(word)) ?? 'incomplete';
  const worst = accounts.find(({ completeness }) => completeness.verdict === verdict);
  const nothing = { code: 'no_events', file: EVENTS, what: 'there is no event at all' };
  return {
    verdict,
    ...withFirst(worst === undefined ? nothing : placeOf(worst)),
    produced: sum((one) => one.produced),
    stored: sum((one) => one.stored),
    parked: sum((one) => one.parked),
    declared: sum((one) => one.declaredMissing),
    unaccounted: sum((one) => countRanges(one.unaccounted)),
    unnumberedLost: sum((one) => one.unnumberedLost),
    unknownLoss: accounts.some(({ completeness }) => completeness.unknownLoss),
    streams: accounts.map(({ stream, completeness }) => ({
      stream_id: stream,
      verdict: completeness.verdict,
      produced: completeness.produced,
      stored: completeness.stored,
    })),
  };
}

/** The session's assurance: its worst stream's. */
export function assuranceReport(streams: readonly StreamResult[]): AssuranceReport {
  const all = streams.map(({ assurance }) => assurance);
  const verdict = LEVELS.find((level) => all.some((one) => one.level === level)) ?? 'none';
  const nothing = { code: 'no_events', file: EVENTS, what: 'there is no event at all' };
  const first = all.length === 0 ? nothing : all.find(({ level }) => level === verdict)?.first;
  const sums = <K extends string>(
    names: readonly K[],
    of: (one: (typeof all)[number], name: K) => number,
  ) =>
    Object.fromEntries(
      names.map((name) => [name, all.reduce((sum, one) => sum + of(one, name), 0)]),
    ) as Record<K, number>;
  return {
    verdict,
    ...withFirst(first),
    counts: sums(ASSURANCES, (one, name) => one.counts[name]),
    coverage: sums(['complete', 'partial', 'none'], (one, name) => one.coverage[name]),
    gaps: all.reduce((sum, one) => sum + one.gaps, 0),
  };
}

/** The verdict on all that was found. */
export function integrityReport(
  findings: Findings,
  streams: readonly StreamResult[],
  withoutContent: number,
  anchor: Anchor,
): IntegrityReport {
  const { faults, faultCount, stretches, stretchCount, first } = findings;
  const sum = (of: (one: StreamResult) => number) =>
    streams.reduce((total, one) => total + of(one), 0);
  return {
    verdict: faultCount > 0 ? 'broken' : stretchCount > 0 ? 'unverifiable' : 'intact',
    ...withFirst(first),
    events: sum(({ events }) => events),
    checkpoints: sum(({ integrity }) => integrity.checkpoints),
    withoutContent,
    faults,
    faultCount,
    stretches,
    stretchCount,
    anchor,
  };
}

/** Whether a report gives no reason to look further: what `telltale verify` exits with 0 for. */
export const isGood = ({ integrity, completeness, assurance }: Report): boolean =>
  integrity.verdict === 'intact' &&
  (completeness.verdict === 'complete' || completeness.verdict === 'declared') &&
  (assurance.verdict === 'full' || assurance.verdict === 'partial');
