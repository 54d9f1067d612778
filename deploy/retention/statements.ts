/** The statements of retention: what is old, and how whole sessions go. */
import {
  ALERT_STATES_TABLE,
  ALERTS_TABLE,
  DEAD_TABLE,
  ENTITIES_TABLE,
  EVENTS_TABLE,
  JOURNAL_AGENTS,
  REMOVALS_TABLE,
  REPLAYS_TABLE,
  type Sql,
  STREAMS_TABLE,
} from '#schemas';
import type { Layout } from '../clickhouse/layout.ts';
import { literal } from '../stores/literal.ts';

const text = (value: string): string => literal('String', value);
const JOURNALS = JOURNAL_AGENTS.map(text).join(', ');

/** Tenants that have anything stored. */
export const TENANTS: Sql = {
  text: `SELECT DISTINCT tenant FROM ${STREAMS_TABLE} ORDER BY tenant`,
  params: {},
};

/**
 * Sessions whose last event was written before a time, oldest first; the service's own journals are
 * not among them. `sealed` counts events that still have content.
 */
export const oldSessions = (tenant: string, beforeMs: number): Sql => ({
  text: `SELECT toString(session_id) AS session, count() AS events, countIf(content_salt != '') AS sealed,
  toString(toUnixTimestamp64Milli(max(ingested_at))) AS written
FROM ${EVENTS_TABLE}
WHERE tenant = {tenant:String} AND session_id NOT IN (
  SELECT session_id FROM ${STREAMS_TABLE} WHERE tenant = {tenant:String}
  GROUP BY session_id HAVING max(sensed) = 0 AND max(agent) IN (${JOURNALS}) AND min(agent) IN (${JOURNALS}))
GROUP BY session_id HAVING toUnixTimestamp64Milli(max(ingested_at)) < {before:Int64}
ORDER BY max(ingested_at), session_id`,
  params: { tenant, before: beforeMs },
});

/** What a tombstone says of each stream of some sessions. */
export const streamsOf = (tenant: string, sessions: readonly string[]): Sql => ({
  text: `SELECT toString(session_id) AS session, toString(stream_id) AS stream, max(seq) AS last_seq,
  count() AS events, toString(min(ts)) AS first_ts, toString(max(ts)) AS last_ts
FROM ${EVENTS_TABLE} WHERE tenant = {tenant:String} AND session_id IN {sessions:Array(UUID)}
GROUP BY session_id, stream_id ORDER BY session_id, stream_id`,
  params: { tenant, sessions },
});

/** Which tombstones are there already: a run that was cut short is taken up again. */
export const tombstonesOf = (tenant: string, sessions: readonly string[]): Sql => ({
  text: `SELECT DISTINCT toString(stream_id) AS stream, last_seq FROM ${REMOVALS_TABLE}
WHERE tenant = {tenant:String} AND session_id IN {sessions:Array(UUID)}`,
  params: { tenant, sessions },
});

/** Every table that holds rows of a session; what tells who did what to it stays. */
export const TABLES = [
  EVENTS_TABLE,
  DEAD_TABLE,
  REPLAYS_TABLE,
  STREAMS_TABLE,
  ENTITIES_TABLE,
  ALERTS_TABLE,
] as const;

/** These have the session as text. */
const TEXT_TABLES: ReadonlySet<string> = new Set([DEAD_TABLE, REPLAYS_TABLE]);

function condition(table: string, tenant: string, sessions: readonly string[]): string {
  const type = TEXT_TABLES.has(table) ? 'String' : 'UUID';
  const list = sessions.map((session) => literal(type, session)).join(', ');
  return `tenant = ${text(tenant)} AND session_id IN (${list})`;
}

/** The alerts of some sessions: their states go with them, and so before them. */
export const alertsOf = (tenant: string, sessions: readonly string[]): Sql => ({
  text: `SELECT DISTINCT fingerprint FROM ${ALERTS_TABLE} WHERE ${condition(ALERTS_TABLE, tenant, sessions)}`,
  params: {},
});

/** By name and not by a subquery: each replica must remove the same rows. */
export const dropAlertStates = (
  at: Layout,
  tenant: string,
  fingerprints: readonly string[],
): string =>
  `ALTER TABLE ${at.rowsOf(ALERT_STATES_TABLE)} DELETE WHERE tenant = ${text(tenant)} AND fingerprint IN (${fingerprints.map(text).join(', ')})
SETTINGS mutations_sync = 2`;

export const dropRows = (
  at: Layout,
  table: string,
  tenant: string,
  sessions: readonly string[],
): string =>
  `ALTER TABLE ${at.rowsOf(table)} DELETE WHERE ${condition(table, tenant, sessions)} SETTINGS mutations_sync = 2`;

/** How many rows of some sessions are left in a table. */
export const leftIn = (table: string, tenant: string, sessions: readonly string[]): Sql => ({
  text: `SELECT count() AS rows FROM ${table} WHERE ${condition(table, tenant, sessions)}`,
  params: {},
});

/** Bytes on disk for each row of `events`, on the average. */
export const BYTES_PER_ROW: Sql = {
  text: `SELECT sum(bytes_on_disk) / greatest(sum(rows), 1) AS bytes FROM system.parts
WHERE active AND concat(database, '.', table) IN (${text(EVENTS_TABLE)}, ${text(`${EVENTS_TABLE}_local`)})`,
  params: {},
};
