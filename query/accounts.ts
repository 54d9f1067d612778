/**
 * Completeness of a session's streams, from the table alone: the engine gives the stored ranges,
 * declared gaps, closing counts and parked numbers; `accountFor` gives the verdict.
 */
import {
  accountFor,
  type Completeness,
  factsOf,
  type Range,
  type Ranges,
  type Row,
  type TelltaleEvent,
} from '#schemas';
import {
  closesPlan,
  gapsPlan,
  parkedRangesPlan,
  RANGES_MAX,
  storedRangesPlan,
} from './account-plan.ts';
import { QueryError } from './errors.ts';
import { type Runner, SESSION_LIMITS } from './run.ts';
import { flat, kindsWith } from './timeline/view.ts';

export type Accounts = ReadonlyMap<string, Completeness>;
export type Verdict = Completeness['verdict'];

interface RangeRow extends Row {
  readonly stream: string;
  readonly first: string;
  readonly last: string;
}
interface GapRow extends Row {
  readonly stream: string;
  readonly gap_first_seq: string | null;
  readonly gap_last_seq: string | null;
  readonly gap_count: string | null;
}
interface CloseRow extends Row {
  readonly stream: string;
  readonly count: string;
}

function grouped<T extends { readonly stream: string }>(rows: readonly T[]): Map<string, T[]> {
  if (rows.length > RANGES_MAX)
    throw new QueryError(
      'SESSION_TOO_LARGE',
      `the session’s numbers lie in more than ${RANGES_MAX} pieces`,
    );
  const out = new Map<string, T[]>();
  for (const row of rows) {
    const list = out.get(row.stream);
    if (list === undefined) out.set(row.stream, [row]);
    else list.push(row);
  }
  return out;
}

const rangesOf = (rows: readonly RangeRow[] = []): Range[] =>
  rows.map(({ first, last }) => [Number(first), Number(last)]);

function gapOf({ gap_first_seq, gap_last_seq, gap_count }: GapRow) {
  return Object.fromEntries(
    Object.entries({ gap_first_seq, gap_last_seq, gap_count })
      .filter(([, value]) => value !== null)
      .map(([name, value]) => [name, Number(value)]),
  );
}

/** The numbers of each stream of a session that the table holds. */
export async function storedRangesOf(
  run: Runner,
  session: string,
): Promise<ReadonlyMap<string, Ranges>> {
  const plan = storedRangesPlan(run.tenant, session);
  const rows = grouped(await run.rows<RangeRow>(plan, SESSION_LIMITS));
  return new Map([...rows].map(([stream, list]) => [stream, rangesOf(list)]));
}

/** The account of each stream of a session that has a stored or parked number. */
export async function accountsOf(run: Runner, session: string): Promise<Accounts> {
  const { tenant } = run;
  const [stored, parked, gaps, closes] = await Promise.all([
    run.rows<RangeRow>(storedRangesPlan(tenant, session), SESSION_LIMITS).then(grouped),
    run.rows<RangeRow>(parkedRangesPlan(tenant, session), SESSION_LIMITS).then(grouped),
    run.rows<GapRow>(gapsPlan(tenant, session), SESSION_LIMITS).then(grouped),
    run.rows<CloseRow>(closesPlan(tenant, session), SESSION_LIMITS).then(grouped),
  ]);
  const streams = new Set([...stored.keys(), ...parked.keys()]);
  return new Map(
    [...streams].sort().map((stream) => {
      const close = closes.get(stream)?.[0];
      return [
        stream,
        accountFor({
          stored: rangesOf(stored.get(stream)),
          parked: rangesOf(parked.get(stream)),
          gaps: (gaps.get(stream) ?? []).map(gapOf),
          ...(close === undefined ? {} : { closeCount: Number(close.count) }),
        }),
      ];
    }),
  );
}

/** The parked numbers of each stream of a session. */
export async function parkedRangesOf(
  run: Runner,
  session: string,
): Promise<ReadonlyMap<string, Ranges>> {
  const plan = parkedRangesPlan(run.tenant, session);
  const rows = grouped(await run.rows<RangeRow>(plan, SESSION_LIMITS));
  return new Map([...rows].map(([stream, list]) => [stream, rangesOf(list)]));
}

const CLOSES = new Set(kindsWith('close_reason'));

/** The same accounts as `accountsOf`, where all rows of the session are at hand. */
export function accountsFrom(
  events: ReadonlyMap<string, readonly TelltaleEvent[]>,
  parked: ReadonlyMap<string, Ranges>,
): Accounts {
  const streams = [...new Set([...events.keys(), ...parked.keys()])].sort();
  return new Map(
    streams.map((stream) => {
      const list = events.get(stream) ?? [];
      const closes = list.flatMap((event) =>
        CLOSES.has(event.kind) ? (flat(event).chain_count ?? []) : [],
      );
      const facts = { ...factsOf(list), parked: parked.get(stream) ?? [] };
      // Of two closes, one of which somebody put there, the higher counts, as for the engine.
      return [
        stream,
        accountFor(closes.length > 1 ? { ...facts, closeCount: Math.max(...closes) } : facts),
      ];
    }),
  );
}

const WORST_FIRST: readonly Verdict[] = ['incomplete', 'open', 'declared', 'complete'];

/** The verdict of a session: its worst stream's. Without any stream nothing is known: incomplete. */
export function sessionVerdict(verdicts: Iterable<Verdict>): Verdict {
  const all = new Set(verdicts);
  return WORST_FIRST.find((verdict) => all.has(verdict)) ?? 'incomplete';
}
