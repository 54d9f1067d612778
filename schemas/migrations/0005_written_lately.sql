-- Rows that were written lately, without reading all: the sealer looks for them every second.
ALTER TABLE telltale.events ADD INDEX IF NOT EXISTS ix_ingested_at ingested_at TYPE minmax GRANULARITY 1
-- ;;
ALTER TABLE telltale.events MATERIALIZE INDEX IF EXISTS ix_ingested_at
