/** Legal holds, and the tombstones of sessions that were removed by policy. */
import { DATABASE } from './table.ts';

export const HOLDS_TABLE = `${DATABASE}.holds`;
export const REMOVALS_TABLE = `${DATABASE}.removals`;

/** What a row of `holds` says; the newest one of a session holds. */
export const HOLD_ACTIONS = ['placed', 'released'] as const;
export type HoldAction = (typeof HOLD_ACTIONS)[number];

/** CREATE TABLE of the holds: a session with one is never removed by retention. */
export function holdsTable(): string {
  return `CREATE TABLE ${HOLDS_TABLE} (
  tenant LowCardinality(String),
  session_id UUID,
  action LowCardinality(String) COMMENT 'placed or released; the newest row of a session counts.',
  actor String COMMENT 'Who.',
  reason String COMMENT 'Why, in words.',
  changed_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
) ENGINE = MergeTree
ORDER BY (tenant, session_id, changed_at)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1`;
}

/**
 * CREATE TABLE of the removals: one row a stream of each session that retention removed, written
 * before anything goes. It is what tells a removal by policy from a loss.
 */
export function removalsTable(): string {
  return `CREATE TABLE ${REMOVALS_TABLE} (
  tenant LowCardinality(String),
  session_id UUID,
  stream_id UUID,
  last_seq UInt32 COMMENT 'The highest number that was stored of the stream.',
  events UInt64 COMMENT 'How many of its events were stored.',
  first_ts DateTime64(9, 'UTC'),
  last_ts DateTime64(9, 'UTC'),
  policy LowCardinality(String) COMMENT 'The policy by its name.',
  policy_days UInt32 COMMENT 'After how many days it removes a session.',
  actor String COMMENT 'Who ran it.',
  removed_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
) ENGINE = MergeTree
ORDER BY (tenant, session_id, stream_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1`;
}
