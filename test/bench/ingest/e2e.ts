/**
 * End to end on this machine: a load generator, a real Kafka broker, the worker with the embedded
 * store; each a process of its own, whose CPU time is counted apart. The clock runs from when the
 * load begins, after a warm-up, and what counts is what the table has acknowledged by then.
 */
import { type ChildProcess, fork } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { createKafkaCluster } from '../../../deploy/kafka/cluster.ts';
import { kafkaJarsDir } from '../../../deploy/kafka/jars.ts';
import { ensureTopics } from '../../../deploy/kafka/topics.ts';
import { serviceLog } from '../../../deploy/process/log.ts';
import { madeSession } from '../workload.ts';
import { ceilingOf, encoded, freshStore } from './engine.ts';
import { cpuSecondsOf, mainThreadSecondsOf, median, percentile, round, say } from './measure.ts';
import type { RecordersOptions } from './recorders.ts';
import type { ReplayOptions } from './replayer.ts';
import type { Progress, WorkerOptions } from './worker.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const PARTITIONS = 4;
const WARM_UP_MS = 5_000;
const log = serviceLog('bench', 'warn');
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function start(file: string, options: object): ChildProcess {
  return fork(path.join(import.meta.dirname, file), [JSON.stringify(options)], {
    execArgv: ['--conditions=telltale-source', '--import', 'tsx'],
    env: { ...process.env, UV_THREADPOOL_SIZE: '16' },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
}

/** The next message that has `key`; rejects when the process ends before. */
function told<T>(child: ChildProcess, key: keyof T & string): Promise<T> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null) => reject(new Error(`ended with ${code}, not ${key}`));
    const listen = (message: T) => {
      if (message[key] === undefined) return;
      child.off('message', listen as never);
      child.off('exit', ended);
      resolve(message);
    };
    child.on('message', listen as never);
    child.on('exit', ended);
  });
}

/** Kafka and a worker with a fresh store; `work` gets both, and all of it is ended after. */
async function withWorker<T>(
  work: (parts: { brokers: string[]; worker: ChildProcess; brokerPid: number }) => Promise<T>,
): Promise<T> {
  fs.mkdirSync(path.join(ROOT, '.cache'), { recursive: true });
  const dir = fs.mkdtempSync(path.join(ROOT, '.cache/bench-'));
  const jarsDir = await kafkaJarsDir(path.join(ROOT, '.cache'));
  const cluster = createKafkaCluster({ dir: path.join(dir, 'kafka'), brokers: 1, jarsDir, log });
  let worker: ChildProcess | undefined;
  try {
    const brokers = await cluster.start();
    await ensureTopics(brokers, { partitions: PARTITIONS }, log);
    const store = path.join(dir, 'store');
    await freshStore(store);
    const options: WorkerOptions = { brokers, store: `chdb:${store}` };
    worker = start('worker.ts', options);
    return await work({ brokers, worker, brokerPid: cluster.pids()[0] ?? 0 });
  } finally {
    worker?.kill('SIGKILL');
    await cluster.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

interface Costs {
  readonly workerJs: number;
  readonly engine: number;
  readonly broker: number;
  readonly generator: number;
}

function costsOf(worker: number, broker: number, generator: number): Costs {
  const js = mainThreadSecondsOf(worker);
  return {
    workerJs: js,
    engine: cpuSecondsOf(worker) - js,
    broker: cpuSecondsOf(broker),
    generator: cpuSecondsOf(generator),
  };
}

/** CPU microseconds an event between two looks. */
const perEvent = (before: Costs, after: Costs, events: number) =>
  Object.fromEntries(
    Object.entries(after).map(([name, seconds]) => [
      name,
      round(((seconds - before[name as keyof Costs]) * 1e6) / events),
    ]),
  );

/** Rows a second from Kafka to the table, as fast as it goes, and the engine's own ceiling. */
export async function throughput(seconds: number): Promise<object> {
  const sessions = [];
  for (let n = 0; n < 20; n++) sessions.push(await madeSession(0, n, 2000));
  const blocks = encoded(sessions);
  const [ceilings, ceilingMicros, dirs] = [[] as number[], [] as number[], [] as string[]];
  const ceiling = async () => {
    const dir = path.join(ROOT, `.cache/bench-ceiling-${process.pid}-${ceilings.length}`);
    dirs.push(dir);
    const found = await ceilingOf(dir, blocks, Math.max(5, seconds / 6));
    ceilings.push(found.rowsPerSecond);
    ceilingMicros.push(found.cpuMicrosPerRow);
    say(`ceiling: ${Math.round(found.rowsPerSecond)} rows/s, ${round(found.cpuMicrosPerRow)} us`);
  };
  await ceiling();
  const run = await withWorker(async ({ brokers, worker, brokerPid }) => {
    const load: ReplayOptions = { brokers, sessions: 40, eventsEach: 2000, aheadMax: 200_000 };
    const generator = start('replayer.ts', load);
    let [stored, inserts] = [0, 0];
    worker.on('message', (message: Progress) => {
      stored = message.stored ?? stored;
      inserts += message.steps?.filter(({ step }) => step === 'events').length ?? 0;
      if (generator.connected) generator.send({ stored });
    });
    await told<{ ready: boolean }>(generator, 'ready');
    await sleep(WARM_UP_MS);
    const pids = [worker.pid ?? 0, brokerPid, generator.pid ?? 0] as const;
    const [before, began] = [costsOf(...pids), performance.now()];
    const [storedBefore, insertsBefore] = [stored, inserts];
    await sleep(seconds * 1000);
    const [after, took] = [costsOf(...pids), (performance.now() - began) / 1000];
    const events = stored - storedBefore;
    const rowsPerInsert = Math.round(events / (inserts - insertsBefore));
    const sent = told<{ sent: number }>(generator, 'sent');
    generator.send({});
    const all = (await sent).sent;
    while (stored < all) await sleep(100);
    const found = told<{ rows: number; ids: number }>(worker, 'rows');
    worker.send({});
    const { rows, ids } = await found;
    const whole = rows === all && ids === all;
    if (!whole) throw new Error(`${all} sent, ${rows} rows, ${ids} numbers: lost or doubled`);
    const cpuMicros = perEvent(before, after, events);
    const eventsPerSecond = Math.round(events / took);
    return { seconds: round(took), eventsPerSecond, rows, rowsPerInsert, cpuMicros };
  });
  await ceiling();
  // Not before: ext4 without a journal looks for a new file's place among all that were removed in
  // the last minutes, and the next run would pay for it.
  for (const dir of dirs) fs.rmSync(dir, { recursive: true, force: true });
  const top = median(ceilings);
  return {
    ...run,
    ceilingRowsPerSecond: Math.round(top),
    ceilingMicros: round(median(ceilingMicros)),
    ratioToCeiling: round(run.eventsPerSecond / top, 2),
  };
}

/** How old events are when the table has them, at `rate` events a second. */
export async function latency(seconds: number, rate: number): Promise<object> {
  return withWorker(async ({ brokers, worker }) => {
    const load: RecordersOptions = { brokers, sessions: 20, perSecond: rate, seconds };
    const generator = start('recorders.ts', load);
    const ages: number[] = [];
    let stored = 0;
    worker.on('message', (message: Progress) => {
      stored = message.stored ?? stored;
      ages.push(...(message.agesMs ?? []));
    });
    await told<{ ready: boolean }>(generator, 'ready');
    const { sent } = await told<{ sent: number }>(generator, 'sent');
    while (stored < sent) await sleep(100);
    const found = told<{ rows: number; ids: number }>(worker, 'rows');
    worker.send({});
    const { rows, ids } = await found;
    if (rows !== sent || ids !== sent)
      throw new Error(`${sent} sent, ${rows} rows, ${ids} numbers: lost or doubled`);
    const sorted = ages.sort((a, b) => a - b);
    const at = (percent: number) => Math.round(percentile(sorted, percent));
    return { seconds, rate, rows, p50Ms: at(50), p99Ms: at(99), maxMs: at(100) };
  });
}
