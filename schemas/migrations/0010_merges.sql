-- Fewer merges and fewer files: rows were merged again when there were five parts like theirs, and a
-- merged part of ten thousand rows was 500 files, a pair for each column. From schemas/table.ts.
ALTER TABLE telltale.events MODIFY SETTING min_bytes_for_wide_part = 33554432, merge_selector_base = 10
