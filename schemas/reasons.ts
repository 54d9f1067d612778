/**
 * The closed list of reasons: why events were lost, and why bytes were parked. The same words are
 * the metric labels, so they are few and never made from data.
 */

/** Why a stream declares a gap. */
export const GAP_REASONS = [
  'spool_full',
  'sensor_overrun',
  'sensor_lost',
  'channel_lost',
  'collector_killed',
  'invalid',
  'other',
] as const;
export type GapReason = (typeof GAP_REASONS)[number];

/** Why bytes were parked instead of stored. */
export const DEAD_REASONS = [
  'not_utf8',
  'not_a_frame',
  'frame_version',
  'frame_truncated',
  'frame_mismatch',
  'not_json',
  'unknown_kind',
  'invalid',
  'not_well_formed',
  'not_canonical',
  'conflict',
  'store_refused',
] as const;
export type DeadReason = (typeof DEAD_REASONS)[number];
