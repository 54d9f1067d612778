/**
 * Alerts: what a rule found, once. An alert is a pure function of the rule and of the events that
 * matched it, so the live engine, a restart and a backtest give the same one, and its
 * *fingerprint* (rule, key, first event) keeps it single.
 */
import { createHash } from 'node:crypto';
import { DATABASE } from './table.ts';

export const ALERTS_TABLE = `${DATABASE}.alerts`;
export const ALERT_STATES_TABLE = `${DATABASE}.alert_states`;

/** Sigma's levels, the mildest first. */
export const ALERT_LEVELS = ['informational', 'low', 'medium', 'high', 'critical'] as const;
export type AlertLevel = (typeof ALERT_LEVELS)[number];

/**
 * What may become of an alert after it was raised. `withdrawn`: an event that came late changed
 * the order of things, and in the true order the rule does not match. `standing`: it does after
 * all. `delivered`: the receiver in `note` has it. `withdrawal_delivered`: it was told of the
 * withdrawal, too.
 */
export const ALERT_STATES = [
  'withdrawn',
  'standing',
  'delivered',
  'withdrawal_delivered',
  'acknowledged',
  'resolved',
] as const;
export type AlertState = (typeof ALERT_STATES)[number];

/** One event that took part, in the order in which the rule matched. */
export interface AlertEvent {
  readonly id: string;
  /** Nanoseconds since 1970, decimal. */
  readonly ts: string;
}

export interface AlertRule {
  readonly id: string;
  readonly title: string;
  readonly level: AlertLevel;
  readonly author: string;
  readonly license: string;
  readonly tags: readonly string[];
}

export interface Alert {
  readonly tenant: string;
  readonly fingerprint: string;
  readonly rule: AlertRule;
  /** The session of the first event. */
  readonly session_id: string;
  /** What the rule groups by: field -> value. */
  readonly key: Readonly<Record<string, string>>;
  readonly events: readonly AlertEvent[];
  /** Why, in words: the surprising step of a learned baseline, the count of a threshold. */
  readonly reason: string;
}

const TITLE_CHARACTERS_MAX = 500;
/** Events that one alert names; a threshold of a million is told by its first and last ones. */
export const ALERT_EVENTS_MAX = 256;

/** Sorted by code units, so that equal keys are equal text. */
function keyText(key: Readonly<Record<string, string>>): string {
  const names = Object.keys(key).sort();
  return JSON.stringify(names.map((name) => [name, key[name]]));
}

/** The stable name of an alert: 32 hex characters of SHA-256 over rule, key and first event. */
export function alertFingerprint(
  tenant: string,
  ruleId: string,
  key: Readonly<Record<string, string>>,
  firstEvent: string,
): string {
  const parts = ['telltale-alert/1', JSON.stringify([tenant, ruleId, firstEvent]), keyText(key)];
  return createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 32);
}

/** An alert of a rule over the events that matched, in order. At least one event. */
export function makeAlert(match: Omit<Alert, 'fingerprint'>): Alert {
  const first = match.events[0];
  if (first === undefined) throw new Error('an alert needs the event that it is about');
  const { events } = match;
  const half = ALERT_EVENTS_MAX / 2;
  const named =
    events.length <= ALERT_EVENTS_MAX ? events : [...events.slice(0, half), ...events.slice(-half)];
  const fingerprint = alertFingerprint(match.tenant, match.rule.id, match.key, first.id);
  return { ...match, events: named, fingerprint };
}

/** The row of an alert as JSONEachRow, without a newline. */
export function alertLine({ rule, ...alert }: Alert): string {
  return JSON.stringify({
    tenant: alert.tenant,
    fingerprint: alert.fingerprint,
    rule_id: rule.id,
    rule_title: rule.title.toWellFormed().slice(0, TITLE_CHARACTERS_MAX),
    rule_author: rule.author.toWellFormed().slice(0, TITLE_CHARACTERS_MAX),
    rule_license: rule.license.toWellFormed().slice(0, TITLE_CHARACTERS_MAX),
    level: rule.level,
    tags: rule.tags,
    session_id: alert.session_id,
    key: alert.key,
    event_ids: alert.events.map(({ id }) => id),
    event_times: alert.events.map(({ ts }) => ts),
    first_ts: alert.events[0]?.ts,
    last_ts: alert.events.at(-1)?.ts,
    reason: alert.reason.toWellFormed(),
  });
}

/** Columns of an alert as `alertOf` reads them. */
export const ALERT_COLUMNS = `tenant, toString(fingerprint) AS fingerprint, rule_id, rule_title,
  rule_author, rule_license, level, tags, session_id, key, event_ids, event_times, reason`;

/** The alert that a stored row is; `row` has `ALERT_COLUMNS`, as JSONEachRow gives them. */
export function alertOf(row: Readonly<Record<string, unknown>>): Alert {
  const text = (name: string) => String(row[name] ?? '');
  const list = (name: string) => (row[name] as readonly unknown[]).map(String);
  const times = list('event_times');
  return {
    tenant: text('tenant'),
    fingerprint: text('fingerprint'),
    rule: {
      id: text('rule_id'),
      title: text('rule_title'),
      level: text('level') as AlertLevel,
      author: text('rule_author'),
      license: text('rule_license'),
      tags: list('tags'),
    },
    session_id: text('session_id'),
    key: row.key as Record<string, string>,
    events: list('event_ids').map((id, at) => ({ id, ts: times[at] as string })),
    reason: text('reason'),
  };
}

/** The row of a change of state as JSONEachRow, without a newline; `changedMs` since 1970. */
export function alertStateLine(
  { tenant, fingerprint }: Pick<Alert, 'tenant' | 'fingerprint'>,
  state: AlertState,
  actor: string,
  note: string,
  changedMs: number,
): string {
  return JSON.stringify({
    tenant,
    fingerprint,
    state,
    actor: actor.toWellFormed(),
    note: note.toWellFormed(),
    changed_at: (changedMs / 1000).toFixed(3),
  });
}

/** CREATE TABLE of the alerts: one row an alert, never changed. */
export function alertsTable(): string {
  return `CREATE TABLE ${ALERTS_TABLE} (
  tenant LowCardinality(String),
  fingerprint FixedString(32) COMMENT 'Rule, key and first event; the same match has the same one.',
  rule_id LowCardinality(String),
  rule_title LowCardinality(String),
  rule_author LowCardinality(String),
  rule_license LowCardinality(String),
  level LowCardinality(String) COMMENT 'informational, low, medium, high, critical.',
  tags Array(LowCardinality(String)) COMMENT 'ATT&CK and ATLAS techniques, as the rule has them.',
  session_id UUID COMMENT 'The session of the first event.',
  key Map(LowCardinality(String), String) COMMENT 'What the rule groups by.',
  event_ids Array(String) COMMENT 'The events that matched, in order.' CODEC(ZSTD(1)),
  event_times Array(Int64) COMMENT 'Their times, nanoseconds since 1970.' CODEC(ZSTD(1)),
  first_ts DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
  last_ts DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
  reason String COMMENT 'Why, in words.' CODEC(ZSTD(1)),
  raised_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC'),
  INDEX ix_fingerprint fingerprint TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = MergeTree
PARTITION BY toYYYYMM(raised_at)
ORDER BY (tenant, session_id, first_ts, fingerprint)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1`;
}

/** CREATE TABLE of what became of alerts; the newest row of a fingerprint counts. */
export function alertStatesTable(): string {
  return `CREATE TABLE ${ALERT_STATES_TABLE} (
  tenant LowCardinality(String),
  fingerprint FixedString(32),
  state LowCardinality(String) COMMENT 'withdrawn, standing, delivered, acknowledged, resolved.',
  actor LowCardinality(String) COMMENT 'Who: the engine, or a person.',
  note String,
  changed_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
) ENGINE = MergeTree
ORDER BY (tenant, fingerprint, changed_at)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1`;
}
