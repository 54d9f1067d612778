/**
 * Rows a second of `Store.insert` into the events table of the embedded engine, by batch size:
 *     UV_THREADPOOL_SIZE=16 node --conditions=telltale-source --import tsx test/bench/store-insert.ts
 * Prints one JSON line. Median of several runs; lines are encoded before the clock starts.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { openStore } from '../../deploy/stores/open.ts';
import { fakeLog } from '../fakes/ports.ts';

const SIZES = [1, 100, 1000, 10_000];
const RUNS = 5;
/** Inserts in one run, so that a run of single rows is long enough to time. */
const insertsOf = (rows: number) => Math.max(1, Math.min(50, 2000 / rows));

const TABLE = `CREATE TABLE events (
  tenant LowCardinality(String), session_id UUID, ts DateTime64(9, 'UTC'), seq UInt64,
  kind LowCardinality(String), pid UInt32, ppid UInt32, exe LowCardinality(String),
  argv Array(String), cwd String, path String, host String, attrs Map(String, String), body String,
  INDEX ix_cmd argv TYPE text(tokenizer = splitByNonAlpha)
) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY (tenant, session_id, ts, seq)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 1000, fsync_after_insert = 1`;

let seq = 0;
function line(): string {
  seq++;
  const id = `0193a5e0-0000-7000-8000-${String(seq % 40).padStart(12, '0')}`;
  const words = `cargo build --release -p crate-${seq % 97} 2>&1 | tee /tmp/build-${seq}.log`;
  return `${JSON.stringify({
    tenant: `tenant-${seq % 4}`,
    session_id: id,
    ts: String(1_764_000_000_000_000_000n + BigInt(seq) * 1_000_003n),
    seq: String(seq),
    kind: ['exec', 'file', 'net', 'tool.call'][seq % 4],
    pid: 1000 + (seq % 3000),
    ppid: 1000 + (seq % 300),
    exe: '/usr/bin/bash',
    argv: ['/bin/bash', '-lc', words],
    cwd: `/home/agent/work/project-${seq % 13}`,
    path: `/home/agent/work/project-${seq % 13}/src/module_${seq % 991}.rs`,
    host: 'crates.io',
    attrs: { 'tool.name': 'shell', 'call.id': `call_${seq}` },
    body: `Compiling crate-${seq % 97} v0.${seq % 31}.0 `.repeat(12),
  })}\n`;
}

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-bench-'));
const store = await openStore(`chdb:${dir}`, { log: fakeLog() });
await store.command(TABLE);
const result: Record<string, number> = {};
let bytes = 0;
for (const rows of SIZES) {
  const rates: number[] = [];
  for (let run = 0; run <= RUNS; run++) {
    const batches = Array.from({ length: insertsOf(rows) }, () =>
      Buffer.from(Array.from({ length: rows }, line).join('')),
    );
    bytes = (batches[0]?.length ?? 0) / rows;
    const began = performance.now();
    for (const [i, lines] of batches.entries()) {
      const dedupToken = `${rows}:${run}:${i}`;
      await store.insert({ table: 'events', lines, rows, dedupToken, timeMs: 60_000 });
    }
    const took = (performance.now() - began) / 1000;
    // The first run warms up.
    if (run > 0) rates.push((rows * batches.length) / took);
  }
  rates.sort((a, b) => a - b);
  result[rows] = Math.round(rates[RUNS >> 1] as number);
}
console.log(
  JSON.stringify({
    bench: 'store-insert',
    unit: 'rows/s',
    medianOf: RUNS,
    bytesPerRow: Math.round(bytes),
    result,
  }),
);
await store.close();
fs.rmSync(dir, { recursive: true, force: true });
