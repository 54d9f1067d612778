/**
 * The ingest worker as a process of its own, wired as `telltale ingest` wires it; beside that it
 * tells its parent what the table has acknowledged, and how old some of those events were then.
 */
import type { Insert, Store } from '#schemas';
import { createClock, systemRandom } from '../../../deploy/process/clock.ts';
import { serviceLog } from '../../../deploy/process/log.ts';
import { createMeter } from '../../../deploy/process/meter.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { createConsumer } from '../../../ingest/consume.ts';
import { createIngest } from '../../../ingest/loop.ts';

export interface WorkerOptions {
  readonly brokers: readonly string[];
  readonly store: string;
}

/** What the worker tells: rows so far, and ages in ms of events that came in since it last told. */
export interface Progress {
  readonly stored: number;
  readonly agesMs: readonly number[];
}

const TELL_MS = 250;
/** The age of one line in so many is looked at. */
const SAMPLE_LINES = 16;
const NEWLINE = 0x0a;
const NS_PER_MS = 1_000_000n;

const options = JSON.parse(process.argv[2] ?? '{}') as WorkerOptions;
const log = serviceLog('worker', 'warn');
let stored = 0;
let agesMs: number[] = [];

/** When it is called the rows of `insert` are in the table: the engine has answered. */
function acknowledged({ lines, rows }: Insert): void {
  stored += rows;
  const nowMs = Date.now();
  const bytes = Buffer.from(lines.buffer, lines.byteOffset, lines.byteLength);
  for (let at = 0, n = 0; at < lines.length; n++) {
    const newline = lines.indexOf(NEWLINE, at);
    if (n % SAMPLE_LINES === 0) {
      const { ts } = JSON.parse(bytes.toString('utf8', at, newline)) as { ts: string };
      agesMs.push(nowMs - Number(BigInt(ts) / NS_PER_MS));
    }
    at = newline + 1;
  }
}

const engine = await openStore(options.store, { log });
const store: Store = {
  ...engine,
  insert: async (one) => {
    await engine.insert(one);
    acknowledged(one);
  },
};
const shared = { store, log, meter: createMeter(), clock: createClock(), random: systemRandom };
const consumer = createConsumer({
  ...shared,
  ingest: createIngest(shared),
  brokers: options.brokers,
  groupId: 'bench',
});
consumer.failed.catch((error) => {
  log.error('bench.worker_failed', { error: String(error) });
  process.exit(1);
});
await consumer.start();
setInterval(() => {
  process.send?.({ stored, agesMs } satisfies Progress);
  agesMs = [];
}, TELL_MS);
process.on('message', async () => {
  await consumer.stop();
  const [row] = await engine.query(
    {
      text: 'SELECT count() AS rows, uniqExact(stream_id, seq) AS ids FROM telltale.events',
      params: {},
    },
    { timeMs: 120_000, memoryBytesMax: 8e9, rowsMax: 10 },
  );
  process.send?.({ rows: Number(row?.rows), ids: Number(row?.ids) });
  await engine.close();
  process.exit(0);
});
