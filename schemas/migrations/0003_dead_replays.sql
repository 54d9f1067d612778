-- What became of dead letters that were tried again. From schemas/table.ts.
CREATE TABLE IF NOT EXISTS telltale.dead_replays (
  tenant LowCardinality(String) COMMENT 'As the letter has it.',
  session_id String,
  stream_id String,
  letter_id String COMMENT 'Which letter.',
  outcome LowCardinality(String) COMMENT 'stored: its event is in the table. parked_again: a new letter stands for it.',
  replayed_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
) ENGINE = MergeTree
ORDER BY (tenant, session_id, letter_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1
