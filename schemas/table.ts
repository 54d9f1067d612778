/**
 * Registry -> tables. `eventsTable()` is the wanted state; `migrations/` is how a database gets
 * there, append-only; a test holds the two together.
 */
import type { Field } from './define.ts';
import { ALL_FIELDS, REGISTRY } from './registry.ts';

export const DATABASE = 'telltale';
export const EVENTS_TABLE = `${DATABASE}.events`;
export const DEAD_TABLE = `${DATABASE}.dead_letters`;
export const REPLAYS_TABLE = `${DATABASE}.dead_replays`;
export const ERASURES_TABLE = `${DATABASE}.erasures`;
export const STREAMS_TABLE = `${DATABASE}.streams`;
export const BASELINE_TABLE = `${DATABASE}.baseline`;
export const STREAMS_VIEW = `${DATABASE}.streams_of_events`;
export const MIGRATIONS_TABLE = `${DATABASE}.migrations`;

/** One column of `events`, as DDL. */
export function columnDdl(name: string, field: Field): string {
  const codec = field.column.codec === '' ? '' : ` CODEC(${field.column.codec})`;
  return `${name} ${field.column.type} COMMENT '${field.doc.replaceAll("'", '’')}'${codec}`;
}

/** The skip index of a column, as DDL; undefined where it has none. */
export function indexDdl(name: string, field: Field): string | undefined {
  return field.column.index === undefined
    ? undefined
    : `INDEX ix_${name} ${name} TYPE ${field.column.index}`;
}

/** CREATE TABLE of `events`. */
export function eventsTable(): string {
  const columns = Object.entries(ALL_FIELDS).map(([name, field]) => columnDdl(name, field));
  const indexes = Object.entries(ALL_FIELDS).flatMap(
    ([name, field]) => indexDdl(name, field) ?? [],
  );
  const derived = [
    "ingested_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When the row was written; not part of the event.' CODEC(Delta(8), ZSTD(1))",
    "argv_line String MATERIALIZED arrayStringConcat(argv, ' ') COMMENT 'argv joined by blanks, for search; not part of the event.' CODEC(ZSTD(1))",
    'INDEX ix_argv_line argv_line TYPE text(tokenizer = splitByNonAlpha, preprocessor = lower(argv_line))',
    'INDEX ix_stream_id stream_id TYPE bloom_filter(0.01) GRANULARITY 4',
    'INDEX ix_ingested_at ingested_at TYPE minmax GRANULARITY 1',
  ];
  return `CREATE TABLE ${EVENTS_TABLE} (
  ${[...columns, ...derived.slice(0, 2), ...indexes, ...derived.slice(2)].join(',\n  ')}
) ENGINE = MergeTree
PARTITION BY toYYYYMMDD(ts)
ORDER BY (tenant, session_id, ts, seq)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000, fsync_after_insert = 1,
  min_bytes_for_wide_part = 33554432, merge_selector_base = 10`;
}

/** CREATE TABLE of the dead letters: bytes that could not be stored, with their reason. */
export function deadTable(): string {
  return `CREATE TABLE ${DEAD_TABLE} (
  tenant LowCardinality(String) COMMENT 'As far as the header said.',
  session_id String,
  stream_id String,
  seq Nullable(UInt32),
  reason LowCardinality(String),
  field String COMMENT 'Which field or place is at fault.',
  detail String COMMENT 'What is wrong, in words.',
  bytes_base64 String COMMENT 'The very bytes.' CODEC(ZSTD(3)),
  origin String COMMENT 'topic/partition/offset/line, or the spool’s frame.',
  parked_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
) ENGINE = MergeTree
PARTITION BY toYYYYMM(parked_at)
ORDER BY (tenant, session_id, stream_id, parked_at)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1`;
}

/**
 * The id of a dead letter, as an expression over its row: where it came from, why and when it was
 * parked. Its bytes are no part of it, because they may be erased.
 */
export const LETTER_ID =
  "lower(hex(sipHash128(concat(origin, ' ', toString(reason), ' ', toString(parked_at)))))";

/** CREATE TABLE of what became of dead letters that were tried again; one without a row stands. */
export function replaysTable(): string {
  return `CREATE TABLE ${REPLAYS_TABLE} (
  tenant LowCardinality(String) COMMENT 'As the letter has it.',
  session_id String,
  stream_id String,
  letter_id String COMMENT 'Which letter.',
  outcome LowCardinality(String) COMMENT 'stored: its event is in the table. parked_again: a new letter stands for it.',
  replayed_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
) ENGINE = MergeTree
ORDER BY (tenant, session_id, letter_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1`;
}

/** CREATE TABLE of the erasures: who had which content erased, when and why. Never the content. */
export function erasuresTable(): string {
  return `CREATE TABLE ${ERASURES_TABLE} (
  tenant LowCardinality(String),
  session_id UUID,
  stream_id String COMMENT 'Of the event; with seq its id.',
  seq Nullable(UInt32),
  origin String COMMENT 'Of a dead letter instead of an event: where its bytes came from.',
  fields Array(LowCardinality(String)) COMMENT 'What was erased of it.',
  actor String COMMENT 'Who had it erased.',
  reason String COMMENT 'Why, in words.',
  erased_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
) ENGINE = MergeTree
ORDER BY (tenant, session_id, stream_id, erased_at)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1`;
}

/**
 * CREATE TABLE of `streams`: where each stream is. Only aggregates that may be applied twice
 * (min, max, any) stand here, so that a repeated insert can't make it lie; counts come from
 * `events`.
 */
export function streamsTable(): string {
  return `CREATE TABLE ${STREAMS_TABLE} (
  tenant LowCardinality(String),
  session_id UUID,
  stream_id UUID,
  first_ts SimpleAggregateFunction(min, DateTime64(9, 'UTC')),
  last_ts SimpleAggregateFunction(max, DateTime64(9, 'UTC')),
  last_seq SimpleAggregateFunction(max, UInt32),
  agent SimpleAggregateFunction(max, String),
  host SimpleAggregateFunction(max, String),
  user SimpleAggregateFunction(max, String),
  sensed SimpleAggregateFunction(max, UInt8) DEFAULT 1 COMMENT 'Whether anything but the protocol and the service’s own records is in it.'
) ENGINE = AggregatingMergeTree
ORDER BY (tenant, session_id, stream_id)`;
}

/** Agents of the streams that the query service records of itself: accesses, and casework. */
export const JOURNAL_AGENTS = ['telltale-access', 'telltale-casework'] as const;

/** Kinds that a journal's stream holds; with anything else it is a recorded agent's, whatever its name. */
const UNSENSED = [...REGISTRY.values()].filter(
  ({ role }) => role === 'protocol' || role === 'stored',
);

/** The view that fills `streams`. */
export function streamsView(): string {
  const unsensed = UNSENSED.map(({ kind }) => `'${kind}'`).join(', ');
  return `CREATE MATERIALIZED VIEW ${STREAMS_VIEW} TO ${STREAMS_TABLE} AS
SELECT tenant, session_id, stream_id, min(ts) AS first_ts, max(ts) AS last_ts, max(seq) AS last_seq,
  max(toString(agent)) AS agent, max(toString(host)) AS host, max(toString(user)) AS user,
  max(kind NOT IN (${unsensed})) AS sensed
FROM ${EVENTS_TABLE} GROUP BY tenant, session_id, stream_id`;
}

/**
 * CREATE TABLE of the learned baseline: how often a step came behind the steps before it, for an
 * agent in its workspace. Rows of the same n-gram add up.
 */
export function baselineTable(): string {
  return `CREATE TABLE ${BASELINE_TABLE} (
  tenant LowCardinality(String),
  agent LowCardinality(String),
  workspace String COMMENT 'Where the session began: its working directory.',
  context String COMMENT 'Up to three steps before it, the oldest first; ^ is the beginning.',
  token LowCardinality(String) COMMENT 'The step: kind, program or tool, path, host and outcome by class.',
  count UInt64
) ENGINE = SummingMergeTree(count)
ORDER BY (tenant, agent, workspace, context, token)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1`;
}

/**
 * The select list that `fromRow` reads back: every column of the event under its own name, times
 * as decimal nanoseconds, in the order of the table. `names` limits it to some columns.
 */
export function selectEvent(names: readonly string[] = Object.keys(ALL_FIELDS)): string {
  return names
    .map((name) => (isTime(name) ? `${eventColumn(name)} AS ${name}_ns` : name))
    .join(', ');
}

function isTime(name: string): boolean {
  const field = ALL_FIELDS[name];
  if (field === undefined) throw new Error(`no such column: ${name}`);
  return field.shape === 'time';
}

/** A column of the event as `selectEvent` gives it, without a name. */
export const eventColumn = (name: string): string =>
  isTime(name) ? `toString(toUnixTimestamp64Nano(${name}))` : name;

/** Renames the `_ns` columns of `selectEvent` back to their fields. */
export function rowOf(row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(row))
    out[name.endsWith('_ns') && name.slice(0, -3) in ALL_FIELDS ? name.slice(0, -3) : name] = value;
  return out;
}
