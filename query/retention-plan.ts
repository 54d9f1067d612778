/** Legal holds and removals by retention -> the statements that read them. */
import { ofSession } from './plan.ts';
import { condition, type ScopedSql, select } from './sql.ts';

/** Sessions that may be held at one time, and streams of one removed session. */
const HOLDS_MAX = 100_000;
const STREAMS_MAX = 10_000;

/** The sessions that are held now. */
export const holdsPlan = (tenant: string): ScopedSql =>
  select(tenant, {
    columns: `toString(session_id) AS session, argMax(action, changed_at) AS last, argMax(actor, changed_at) AS who,
  argMax(reason, changed_at) AS why, toString(toUnixTimestamp64Milli(max(changed_at))) AS since`,
    from: 'holds',
    groupBy: 'session_id',
    having: [condition("last = 'placed'")],
    limit: HOLDS_MAX,
  });

/** The tombstones of a session, a row a stream. */
export const removalPlan = (tenant: string, session: string): ScopedSql =>
  select(tenant, {
    columns: `toString(stream_id) AS stream, max(last_seq) AS last, argMax(events, last_seq) AS stored,
  argMax(policy, removed_at) AS by_policy, argMax(policy_days, removed_at) AS after_days, argMax(actor, removed_at) AS who,
  toString(toUnixTimestamp64Milli(max(removed_at))) AS at`,
    from: 'removals',
    where: [ofSession(session)],
    groupBy: 'stream_id',
    orderBy: 'stream',
    limit: STREAMS_MAX,
  });
