-- The kind `syscall`. From schemas/table.ts.
ALTER TABLE telltale.events ADD COLUMN IF NOT EXISTS syscall LowCardinality(String) COMMENT 'Name of the system call.'
