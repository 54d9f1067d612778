-- Counts of the learned baseline. From schemas/table.ts.
CREATE TABLE IF NOT EXISTS telltale.baseline (
  tenant LowCardinality(String),
  agent LowCardinality(String),
  workspace String COMMENT 'Where the session began: its working directory.',
  context String COMMENT 'Up to three steps before it, the oldest first; ^ is the beginning.',
  token LowCardinality(String) COMMENT 'The step: kind, program or tool, path, host and outcome by class.',
  count UInt64
) ENGINE = SummingMergeTree(count)
ORDER BY (tenant, agent, workspace, context, token)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1
