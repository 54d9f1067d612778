/**
 * Counts over time, for dashboards: from the events themselves, so that they are exact and cost an
 * insert nothing. Partitions are days, so a shorter time reads less.
 */
import type { QueryLimits, Row } from '#schemas';
import { badInput } from '../errors.ts';
import { TIME64 } from '../plan.ts';
import { PAGE_LIMITS, type Runner } from '../run.ts';
import { condition, type ScopedSql, select } from '../sql.ts';

/** What counts can be parted by; each is a column of events. */
export const ACTIVITY_KEYS = [
  'kind',
  'agent',
  'host',
  'user',
  'model',
  'tool',
  'decision',
] as const;
export type ActivityKey = (typeof ACTIVITY_KEYS)[number];

/** Intervals of one answer, and how many keys each has: the most frequent. */
export const INTERVALS_MAX = 2_000;
export const KEYS_MAX = 50;
const RANGE_DAYS_MAX = 92;
const STEP_SECONDS_MIN = 1;
const LIMITS: QueryLimits = { ...PAGE_LIMITS, timeMs: 15_000 };
const NS_PER_S = 1_000_000_000n;

export interface ActivityQuery {
  /** Decimal nanoseconds. */
  readonly from: string;
  readonly before: string;
  readonly stepSeconds: number;
  readonly by?: string | null | undefined;
}

/** One interval, for one key. */
export interface Activity {
  readonly atNs: string;
  readonly key: string;
  readonly events: number;
  readonly sessions: number;
  readonly denied: number;
  readonly gaps: number;
  readonly lost: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** From what happened to the row: median and 95th percentile, in milliseconds. */
  readonly lagMsP50: number;
  readonly lagMsP95: number;
  /** Raised in the interval; 0 where counts are parted by a key, which alerts do not have. */
  readonly alerts: number;
}

/** Checks what a caller asks for. Throws `QueryError`. */
export function checkActivity({ from, before, stepSeconds, by }: ActivityQuery): void {
  const seconds = (BigInt(before) - BigInt(from)) / NS_PER_S;
  if (seconds <= 0n) throw badInput('before: must be later than from');
  if (seconds > BigInt(RANGE_DAYS_MAX * 86_400))
    throw badInput(`from: at most ${RANGE_DAYS_MAX} days`);
  if (!Number.isSafeInteger(stepSeconds) || stepSeconds < STEP_SECONDS_MIN)
    throw badInput('stepSeconds: give a whole number of seconds');
  if (seconds / BigInt(stepSeconds) > BigInt(INTERVALS_MAX))
    throw badInput(`stepSeconds: at most ${INTERVALS_MAX} intervals; take a longer one`);
  if (by !== null && by !== undefined && !(ACTIVITY_KEYS as readonly string[]).includes(by))
    throw badInput(`by: it is ${ACTIVITY_KEYS.join(', ')}`);
}

const START = (time: string) =>
  `toUnixTimestamp(toStartOfInterval(${time}, toIntervalSecond({step:UInt32})))`;
const within = (time: string, query: ActivityQuery) =>
  condition(`${time} >= {since:${TIME64}} AND ${time} < {until:${TIME64}}`, {
    since: query.from,
    until: query.before,
  });

export function activityPlan(tenant: string, query: ActivityQuery): ScopedSql {
  const key = query.by ?? undefined;
  return select(tenant, {
    columns: [
      `${START('ts')} AS at`,
      `${key === undefined ? "''" : `toString(${key})`} AS part`,
      'count() AS events',
      'uniq(session_id) AS sessions',
      "countIf(decision IN ('deny', 'denied')) AS denied",
      "countIf(kind = 'gap') AS gaps",
      'sum(ifNull(toInt64(gap_count), ifNull(toInt64(gap_last_seq) - toInt64(gap_first_seq) + 1, 0))) AS lost',
      'sum(ifNull(input_tokens, 0)) AS tokens_in',
      'sum(ifNull(output_tokens, 0)) AS tokens_out',
      "quantilesTDigest(0.5, 0.95)(greatest(dateDiff('millisecond', ts, ingested_at), 0)) AS lag",
    ].join(', '),
    params: { step: query.stepSeconds },
    from: 'events',
    where: [within('ts', query)],
    groupBy: 'at, part',
    orderBy: 'at, events DESC, part',
    limit: INTERVALS_MAX * KEYS_MAX,
  });
}

const alertsByTimePlan = (tenant: string, query: ActivityQuery): ScopedSql =>
  select(tenant, {
    columns: `${START('raised_at')} AS at, uniqExact(fingerprint) AS alerts`,
    params: { step: query.stepSeconds },
    from: 'alerts',
    where: [within('raised_at', query)],
    groupBy: 'at',
    limit: INTERVALS_MAX,
  });

/** The counts, interval by interval; an interval in which nothing happened has no row. */
export async function activity(run: Runner, query: ActivityQuery): Promise<readonly Activity[]> {
  checkActivity(query);
  const whole = query.by === null || query.by === undefined;
  const [rows, raised] = await Promise.all([
    run.rows<Row>(activityPlan(run.tenant, query), LIMITS),
    whole ? run.rows<Row>(alertsByTimePlan(run.tenant, query), LIMITS) : [],
  ]);
  const alerts = new Map(raised.map((row) => [Number(row.at), Number(row.alerts)]));
  const counts = rows.map((row) => {
    const lag = row.lag as readonly number[];
    const at = Number(row.at);
    const own = alerts.get(at) ?? 0;
    alerts.delete(at);
    return {
      atNs: String(BigInt(at) * NS_PER_S),
      key: String(row.part),
      events: Number(row.events),
      sessions: Number(row.sessions),
      denied: Number(row.denied),
      gaps: Number(row.gaps),
      lost: Number(row.lost),
      inputTokens: Number(row.tokens_in),
      outputTokens: Number(row.tokens_out),
      lagMsP50: Math.round(Number(lag[0] ?? 0)),
      lagMsP95: Math.round(Number(lag[1] ?? 0)),
      alerts: own,
    };
  });
  const silent = [...alerts].map(([at, raisedThen]) => ({
    ...NOTHING,
    atNs: String(BigInt(at) * NS_PER_S),
    alerts: raisedThen,
  }));
  return [...counts, ...silent].sort((a, b) => (BigInt(a.atNs) < BigInt(b.atNs) ? -1 : 1));
}

const NOTHING: Omit<Activity, 'atNs' | 'alerts'> = {
  key: '',
  events: 0,
  sessions: 0,
  denied: 0,
  gaps: 0,
  lost: 0,
  inputTokens: 0,
  outputTokens: 0,
  lagMsP50: 0,
  lagMsP95: 0,
};
