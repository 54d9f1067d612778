/**
 * The ingest worker as a process of its own, wired as `telltale ingest` wires it; beside that it
 * tells its parent what the table has acknowledged, and how old some of those events were then.
 */
import { ALERTS_TABLE, EVENTS_TABLE, type Insert, type Store, type TelltaleEvent } from '#schemas';
import { createClock, systemRandom } from '../../../deploy/process/clock.ts';
import { serviceLog } from '../../../deploy/process/log.ts';
import { createMeter } from '../../../deploy/process/meter.ts';
import { createDetection, SHIPPED } from '../../../deploy/rules/detection.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { createConsumer } from '../../../ingest/consume.ts';
import { createIngest } from '../../../ingest/loop.ts';

export interface WorkerOptions {
  readonly brokers: readonly string[];
  readonly store: string;
  /** Whether the shipped rules run, as they do in `telltale ingest`. */
  readonly detect?: boolean;
}

/** What the worker tells: rows so far, and ages in ms of events that came in since it last told. */
export interface Progress {
  readonly stored: number;
  readonly agesMs: readonly number[];
  /** The same of alerts: from their last event to when the table has them. */
  readonly alertAgesMs: readonly Aged[];
  /** The same events again, by when they happened, with what had passed when the insert began. */
  readonly ages: readonly (Aged & { readonly beforeMs: number })[];
  /** How long the steps of batches took. */
  readonly steps: readonly Step[];
}

/** What a batch waits for: inserts of events and of alerts, and the rules with their reads. */
export interface Step {
  readonly step: 'events' | 'alerts' | 'rules';
  readonly ms: number;
}

/** How old something was when the table had it; `atMs`: when it happened, since 1970. */
export interface Aged {
  readonly atMs: number;
  readonly ageMs: number;
}

const TELL_MS = 250;
/** The age of one line in so many is looked at. */
const SAMPLE_LINES = 64;
const NEWLINE = 0x0a;
const NS_PER_MS = 1_000_000n;

const options = JSON.parse(process.argv[2] ?? '{}') as WorkerOptions;
const log = serviceLog('worker', 'warn');
let stored = 0;
let agesMs: number[] = [];
let ages: (Aged & { beforeMs: number })[] = [];
let alertAgesMs: Aged[] = [];
let steps: Step[] = [];

async function timed(step: Step['step'], work: () => Promise<void>): Promise<void> {
  const beganMs = performance.now();
  await work();
  steps.push({ step, ms: performance.now() - beganMs });
}

/** When it is called the rows of `insert` are in the table: the engine has answered. */
function acknowledged({ lines, rows }: Insert, beganMs: number): void {
  stored += rows;
  const nowMs = Date.now();
  const bytes = Buffer.from(lines.buffer, lines.byteOffset, lines.byteLength);
  for (let at = 0, n = 0; at < lines.length; n++) {
    const newline = lines.indexOf(NEWLINE, at);
    if (n % SAMPLE_LINES === 0) {
      const { ts } = JSON.parse(bytes.toString('utf8', at, newline)) as { ts: string };
      const atMs = Number(BigInt(ts) / NS_PER_MS);
      agesMs.push(nowMs - atMs);
      ages.push({ atMs, ageMs: nowMs - atMs, beforeMs: beganMs - atMs });
    }
    at = newline + 1;
  }
}

function alerted({ lines }: Insert): void {
  const nowMs = Date.now();
  for (const line of Buffer.from(lines).toString().split('\n').filter(Boolean)) {
    const { last_ts } = JSON.parse(line) as { last_ts: string };
    const atMs = Number(BigInt(last_ts) / NS_PER_MS);
    alertAgesMs.push({ atMs, ageMs: nowMs - atMs });
  }
}

const engine = await openStore(options.store, { log });
const store: Store = {
  ...engine,
  insert: async (one) => {
    const beganMs = Date.now();
    const step = one.table === ALERTS_TABLE ? 'alerts' : 'events';
    await timed(step, () => engine.insert(one));
    if (one.table === EVENTS_TABLE) acknowledged(one, beganMs);
    if (one.table === ALERTS_TABLE) alerted(one);
  },
};
const shared = { store, log, meter: createMeter(), clock: createClock(), random: systemRandom };
const detection = options.detect
  ? createDetection(
      { folders: SHIPPED.folders, fleetRules: true, queryUrl: () => 'http://127.0.0.1:1' },
      shared,
    )
  : undefined;
const timedDetect = () => ({
  see: (events: readonly TelltaleEvent[], signal: AbortSignal) =>
    timed('rules', async () => detection?.detect.see(events, signal)),
  forget: () => detection?.detect.forget(),
});
await detection?.start();
const consumer = createConsumer({
  ...shared,
  ingest: createIngest(detection === undefined ? shared : { ...shared, detect: timedDetect() }),
  brokers: options.brokers,
  groupId: 'bench',
});
consumer.failed.catch((error) => {
  log.error('bench.worker_failed', { error: String(error) });
  process.exit(1);
});
await consumer.start();
setInterval(() => {
  process.send?.({ stored, agesMs, alertAgesMs, ages, steps } satisfies Progress);
  agesMs = [];
  ages = [];
  alertAgesMs = [];
  steps = [];
}, TELL_MS);
process.on('message', async () => {
  await consumer.stop();
  await detection?.stop();
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
