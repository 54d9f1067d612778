/**
 * How old an event is when the table has the alert that it completed: sessions of a collector, a
 * real Kafka broker, a worker with the embedded store and the shipped rules, a process each.
 *
 *     node --conditions=telltale-source --import tsx test/bench/detect-latency.ts [SECONDS [RATE]]
 *
 * The clock runs from when the collector is given the event to the store's answer to the insert of
 * the alert. Alerts of absences wait for their time and are left out: their last event is no cause.
 * The first seconds, in which everything begins at once, are told apart from the rest.
 */
import { type ChildProcess, fork } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { createKafkaCluster } from '../../deploy/kafka/cluster.ts';
import { kafkaJarsDir } from '../../deploy/kafka/jars.ts';
import { ensureTopics } from '../../deploy/kafka/topics.ts';
import { serviceLog } from '../../deploy/process/log.ts';
import { freshStore } from './ingest/engine.ts';
import { percentile, say } from './ingest/measure.ts';
import type { RecordersOptions } from './ingest/recorders.ts';
import type { Aged, Progress, Step, WorkerOptions } from './ingest/worker.ts';

const CACHE = path.resolve(import.meta.dirname, '../../.cache');
const PARTITIONS = 4;
const SESSIONS = 40;
/** An absence is certain ten minutes behind; every alert before that is of an event. */
const ABSENCE_MS = 600_000;
/** Until then forty sessions, their streams and the worker's caches begin. */
const START_MS = 10_000;
const log = serviceLog('bench', 'warn');
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const start = (file: string, options: object): ChildProcess =>
  fork(path.join(import.meta.dirname, 'ingest', file), [JSON.stringify(options)], {
    execArgv: ['--conditions=telltale-source', '--import', 'tsx'],
    env: { ...process.env, UV_THREADPOOL_SIZE: '16' },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });

/** How many there are, and their median and 99th percentile. */
function spread(ages: readonly number[]) {
  const sorted = [...ages].sort((a, b) => a - b);
  const at = (percent: number) => Math.round(percentile(sorted, percent));
  return { count: ages.length, p50Ms: at(50), p99Ms: at(99) };
}

/** Ages at a rate of events: `{ start, steady }` each of events, of alerts, and before the insert. */
export async function measureLatency(seconds: number, rate: number) {
  fs.mkdirSync(CACHE, { recursive: true });
  const dir = fs.mkdtempSync(path.join(CACHE, 'bench-alerts-'));
  const jarsDir = await kafkaJarsDir(CACHE);
  const cluster = createKafkaCluster({ dir: path.join(dir, 'kafka'), brokers: 1, jarsDir, log });
  let worker: ChildProcess | undefined;
  try {
    const brokers = await cluster.start();
    await ensureTopics(brokers, { partitions: PARTITIONS }, log);
    await freshStore(path.join(dir, 'store'));
    const options: WorkerOptions = {
      brokers,
      store: `chdb:${path.join(dir, 'store')}`,
      detect: true,
    };
    worker = start('worker.ts', options);
    const events: (Aged & { beforeMs: number })[] = [];
    const alerts: Aged[] = [];
    const steps: Step[] = [];
    let stored = 0;
    worker.on('message', (message: Progress) => {
      stored = message.stored ?? stored;
      events.push(...(message.ages ?? []));
      steps.push(...(message.steps ?? []));
      alerts.push(...(message.alertAgesMs ?? []).filter(({ ageMs }) => ageMs < ABSENCE_MS));
    });
    const load: RecordersOptions = { brokers, sessions: SESSIONS, perSecond: rate, seconds };
    const generator = start('recorders.ts', load);
    const sent = await new Promise<number>((resolve, reject) => {
      generator.on('message', (message: { sent?: number }) => {
        if (message.sent !== undefined) resolve(message.sent);
      });
      generator.on('exit', (code) => reject(new Error(`the generator ended with ${code}`)));
    });
    while (stored < sent) await sleep(100);
    await sleep(1_000);
    const startedMs = Math.min(...events.map(({ atMs }) => atMs)) + START_MS;
    const early = <T extends Aged>(list: readonly T[]) => list.filter((x) => x.atMs < startedMs);
    const late = <T extends Aged>(list: readonly T[]) => list.filter((x) => x.atMs >= startedMs);
    const ages = (list: readonly Aged[]) => spread(list.map(({ ageMs }) => ageMs));
    if (alerts.length < 100) say(`only ${alerts.length} alerts: a 99th percentile says little`);
    return {
      ...{ seconds, rate, sent },
      events: { all: ages(events), start: ages(early(events)), steady: ages(late(events)) },
      alerts: { all: ages(alerts), start: ages(early(alerts)), steady: ages(late(alerts)) },
      beforeInsert: spread(late(events).map(({ beforeMs }) => beforeMs)),
      steps: Object.fromEntries(
        (['events', 'alerts', 'rules'] as const).map((name) => [
          name,
          spread(steps.filter(({ step }) => step === name).map(({ ms }) => ms)),
        ]),
      ),
    };
  } finally {
    worker?.kill('SIGKILL');
    await cluster.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

if (process.argv[1] === import.meta.filename) {
  const [seconds = 60, rate = 5000] = process.argv.slice(2).map(Number);
  const measured = await measureLatency(seconds, rate);
  process.stdout.write(`${JSON.stringify({ bench: 'detect-latency', ...measured })}\n`);
}
