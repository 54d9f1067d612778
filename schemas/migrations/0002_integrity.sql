-- Commitments to content, keys of checkpoints, and who erased what. From schemas/table.ts.
ALTER TABLE telltale.events
  ADD COLUMN IF NOT EXISTS content_salt String COMMENT 'Random key of the commitments to the event’s content; there exactly when it has content.' CODEC(ZSTD(1)) AFTER altered,
  ADD COLUMN IF NOT EXISTS erased Map(LowCardinality(String), String) COMMENT 'Content that was erased since: the commitment to it, by field.' CODEC(ZSTD(1)) AFTER content_salt,
  ADD COLUMN IF NOT EXISTS next_public_key String COMMENT 'Ed25519 public key of the next checkpoint, base64 (raw 32 bytes); this one’s key is destroyed.' CODEC(ZSTD(1)) AFTER chain_head
-- ;;
CREATE TABLE IF NOT EXISTS telltale.erasures (
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
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1
