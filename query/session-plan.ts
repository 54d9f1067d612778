/** Sessions and their streams -> the statements that read them. */
import type { SessionPlace } from './cursor.ts';
import { equals, has, ns, ofSession, TIME64 } from './plan.ts';
import { condition, RECORDED, type ScopedSql, SEEN_STREAM, select } from './sql.ts';

export interface SessionFilter {
  readonly agent?: string | null | undefined;
  readonly host?: string | null | undefined;
  readonly user?: string | null | undefined;
  /** Decimal nanoseconds; sessions that started at or after. */
  readonly startedFrom?: string | null | undefined;
  /** Sessions that started before. */
  readonly startedBefore?: string | null | undefined;
  /** The service's own sessions instead of those of agents. */
  readonly journal?: boolean | null | undefined;
}

/** What `SessionRow` is read from, grouped by session. */
export const SESSION_COLUMNS = [
  'toString(session_id) AS id',
  `${ns('min(first_ts)')} AS started`,
  `${ns('max(last_ts)')} AS ended`,
  'max(agent) AS agent_name',
  'max(host) AS host_name',
  'max(user) AS user_name',
].join(', ');

/** One page of sessions, newest first, and one row more. */
export function sessionsPlan(
  tenant: string,
  size: number,
  filter: SessionFilter = {},
  after?: SessionPlace,
): ScopedSql {
  return select(tenant, {
    columns: SESSION_COLUMNS,
    from: 'streams',
    groupBy: 'session_id',
    having: [
      condition(`max(${RECORDED}) = {recorded:UInt8}`, { recorded: filter.journal ? 0 : 1 }),
      equals('agent_name', 'agent', filter.agent),
      equals('host_name', 'host', filter.host),
      equals('user_name', 'user', filter.user),
      has(filter.startedFrom)
        ? condition(`min(first_ts) >= {since:${TIME64}}`, { since: filter.startedFrom })
        : undefined,
      has(filter.startedBefore)
        ? condition(`min(first_ts) < {until:${TIME64}}`, { until: filter.startedBefore })
        : undefined,
      after === undefined
        ? undefined
        : condition(`(min(first_ts), id) < ({after_ts:${TIME64}}, {after_id:String})`, {
            after_ts: after.startedNs,
            after_id: after.id,
          }),
    ],
    orderBy: 'min(first_ts) DESC, id DESC',
    limit: size + 1,
  });
}

/**
 * One session, as `sessionsPlan` gives it, and between which times all of its events lie, those of
 * streams that the reader does not see as well.
 */
export const sessionPlan = (tenant: string, id: string): ScopedSql =>
  select(tenant, {
    columns: [
      'toString(session_id) AS id',
      `${ns(`minIf(first_ts, ${SEEN_STREAM})`)} AS started`,
      `${ns(`maxIf(last_ts, ${SEEN_STREAM})`)} AS ended`,
      ...['agent', 'host', 'user'].map((name) => `maxIf(${name}, ${SEEN_STREAM}) AS ${name}_name`),
      `${ns('min(first_ts)')} AS lowest`,
      `${ns('max(last_ts)')} AS highest`,
    ].join(', '),
    from: 'bounds',
    where: [ofSession(id)],
    groupBy: 'session_id',
    having: [condition(`max(${SEEN_STREAM})`, { journal: 0 })],
    limit: 1,
  });

/** The streams of a session, by start. */
export const streamsPlan = (tenant: string, id: string, limit: number): ScopedSql =>
  select(tenant, {
    columns: `toString(stream_id) AS stream, ${ns('min(first_ts)')} AS started, ${ns('max(last_ts)')} AS ended, max(last_seq) AS last_number`,
    from: 'streams',
    where: [ofSession(id)],
    groupBy: 'stream_id',
    orderBy: 'min(first_ts), stream',
    limit,
  });
