/** Legal holds and removals by retention -> the statements that read them. */
import type { SessionPlace } from './cursor.ts';
import { has, ns, ofSession, TIME64 } from './plan.ts';
import type { SessionFilter } from './session-plan.ts';
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

/** The tombstones of sessions that began in a time, newest first, each session a row; `size` at most. */
export const tombstonesPlan = (
  tenant: string,
  size: number,
  {
    id,
    startedFrom,
    startedBefore,
  }: Pick<SessionFilter, 'startedFrom' | 'startedBefore'> & {
    readonly id?: string;
  },
  after?: SessionPlace,
): ScopedSql =>
  select(tenant, {
    columns: `toString(session_id) AS id, ${ns('min(began)')} AS started, ${ns('max(ended_at)')} AS ended,
  '' AS agent_name, '' AS host_name, '' AS user_name, sum(stored) AS events, max(by_policy) AS policy,
  max(after_days) AS days, max(who) AS actor, toString(toUnixTimestamp64Milli(max(at))) AS removed_ms`,
    // A run that was cut short may have written a stream's tombstone twice.
    from: select(tenant, {
      columns: `session_id, stream_id, min(first_ts) AS began, max(last_ts) AS ended_at, argMax(events, last_seq) AS stored,
  argMax(policy, removed_at) AS by_policy, argMax(policy_days, removed_at) AS after_days, argMax(actor, removed_at) AS who, max(removed_at) AS at`,
      from: 'removals',
      where: [has(id) ? ofSession(id) : undefined],
      groupBy: 'session_id, stream_id',
    }),
    groupBy: 'session_id',
    having: [
      has(startedFrom)
        ? condition(`min(began) >= {since:${TIME64}}`, { since: startedFrom })
        : undefined,
      has(startedBefore)
        ? condition(`min(began) < {until:${TIME64}}`, { until: startedBefore })
        : undefined,
      after === undefined
        ? undefined
        : condition(`(min(began), id) < ({after_ts:${TIME64}}, {after_id:String})`, {
            after_ts: after.startedNs,
            after_id: after.id,
          }),
    ],
    orderBy: 'min(began) DESC, id DESC',
    limit: size,
  });
