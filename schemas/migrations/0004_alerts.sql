-- Alerts and what became of them. From schemas/alerts.ts.
CREATE TABLE IF NOT EXISTS telltale.alerts (
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
  raised_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
) ENGINE = MergeTree
PARTITION BY toYYYYMM(raised_at)
ORDER BY (tenant, session_id, first_ts, fingerprint)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1
-- ;;
CREATE TABLE IF NOT EXISTS telltale.alert_states (
  tenant LowCardinality(String),
  fingerprint FixedString(32),
  state LowCardinality(String) COMMENT 'withdrawn, standing, delivered, acknowledged, resolved.',
  actor LowCardinality(String) COMMENT 'Who: the engine, or a person.',
  note String,
  changed_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
) ENGINE = MergeTree
ORDER BY (tenant, fingerprint, changed_at)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1
