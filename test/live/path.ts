/**
 * The whole path under fire: `telltale run` -> Kafka -> `telltale ingest` -> the embedded engine,
 * while processes are killed. One oracle: what the collector numbered is in the table, once each.
 *
 *     npm run live -- worker-kill [EVENTS]     the ingest worker gets SIGKILL twice on the way
 *     npm run live -- broker-kill [EVENTS]     three brokers, each gets SIGKILL once on the way
 *
 * Prints one JSON line and exits 1 when anything is missing, doubled or undeclared.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Kafka } from 'kafkajs';
import { accountFor, EVENTS_TOPIC, type Row, type Store } from '#schemas';
import { createKafkaCluster, type KafkaCluster } from '../../deploy/kafka/cluster.ts';
import { kafkaJarsDir } from '../../deploy/kafka/jars.ts';
import { serviceLog } from '../../deploy/process/log.ts';
import { openStore } from '../../deploy/stores/open.ts';

const root = path.resolve(import.meta.dirname, '../..');
const cli = path.join(root, 'dist/deploy/cli.js');
const [mode = 'worker-kill', eventsText = '200000'] = process.argv.slice(2);
const events = Number(eventsText);
fs.mkdirSync(path.join(root, '.cache'), { recursive: true });
const dir = fs.mkdtempSync(path.join(root, '.cache/live-'));
const log = serviceLog('live', 'warn');
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const say = (text: string) => process.stderr.write(`live: ${text}\n`);

const WORKLOAD = `
  const fs = require('fs');
  const [dir, pairs] = [process.argv[1], Number(process.argv[2])];
  for (let i = 0; i < pairs; i++) {
    const file = dir + '/f' + i;
    fs.closeSync(fs.openSync(file, 'w'));
    fs.unlinkSync(file);
  }`;

function start(args: readonly string[], name: string): ChildProcess {
  const out = fs.openSync(path.join(dir, `${name}.log`), 'a');
  const child = spawn(process.execPath, [cli, ...args], { cwd: dir, stdio: ['ignore', out, out] });
  fs.closeSync(out);
  return child;
}

const ended = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve(child.exitCode);
    else child.on('exit', (code) => resolve(code));
  });

interface Progress {
  /** Messages whose batch the worker has committed. */
  readonly done: number;
  readonly waiting: number;
}

async function progressOf(brokers: readonly string[]): Promise<Progress> {
  const admin = new Kafka({ brokers: [...brokers], logCreator: () => () => {} }).admin();
  await admin.connect();
  try {
    const ends = await admin.fetchTopicOffsets(EVENTS_TOPIC);
    const groups = await admin.fetchOffsets({ groupId: 'telltale-ingest', topics: [EVENTS_TOPIC] });
    const done = (groups[0]?.partitions ?? []).reduce((n, p) => n + Math.max(+p.offset, 0), 0);
    return { done, waiting: ends.reduce((n, p) => n + Number(p.high), 0) - done };
  } finally {
    await admin.disconnect();
  }
}

async function drained(brokers: readonly string[], msMax: number): Promise<void> {
  const end = Date.now() + msMax;
  while (Date.now() < end) {
    const progress = await progressOf(brokers).catch(() => undefined);
    if (progress?.waiting === 0) return;
    await sleep(500);
  }
  throw new Error(`the worker did not catch up within ${msMax} ms: see ${dir}/ingest.log`);
}

/**
 * Runs a worker, and SIGKILLs it `killsWanted` times, each time at work: when it has committed
 * something of its own, and up to four seconds later, so that it dies in any step.
 */
async function runWorkers(brokers: readonly string[], store: string, killsWanted: number) {
  const args = ['ingest', '--kafka', brokers.join(','), '--store', store];
  let worker = start(args, 'ingest');
  const killedAt: Progress[] = [];
  const killing = (async () => {
    for (let before = 0; killedAt.length < killsWanted; ) {
      await sleep(200);
      const progress = await progressOf(brokers).catch(() => undefined);
      if (progress === undefined || progress.done <= before) continue;
      await sleep(Math.random() * 4000);
      worker.kill('SIGKILL');
      await ended(worker);
      killedAt.push(progress);
      say(`worker killed (${killedAt.length}) at ${JSON.stringify(progress)}, the next one starts`);
      before = (await progressOf(brokers)).done;
      worker = start(args, 'ingest');
    }
  })();
  return {
    killing,
    killedAt: () => killedAt,
    stop: async () => {
      worker.kill('SIGTERM');
      return ended(worker);
    },
  };
}

async function killBrokers(cluster: KafkaCluster, everyMs: number): Promise<number> {
  for (const n of [1, 2, 3]) {
    await sleep(everyMs);
    say(`broker ${n} killed`);
    await cluster.kill(n);
    await sleep(4000);
    await cluster.restart(n);
  }
  return 3;
}

const one = async (store: Store, text: string): Promise<Row> =>
  (
    await store.query({ text, params: {} }, { timeMs: 60_000, memoryBytesMax: 4e9, rowsMax: 10 })
  )[0] ?? {};

/** What the table holds, from the table alone. */
async function oracle(url: string) {
  const store = await openStore(url, { log });
  try {
    const counts = await one(
      store,
      `SELECT count() AS rows, uniqExact(stream_id, seq) AS ids, max(seq) AS last,
         uniqExact(stream_id) AS streams, maxIf(chain_count, kind = 'session.close') AS closed,
         countIf(kind = 'gap') AS gaps FROM telltale.events`,
    );
    const n = (name: string) => Number(counts[name] ?? 0);
    const whole = n('ids') === n('last') + 1;
    const account = accountFor({
      stored: whole ? [[0, n('last')]] : [],
      parked: [],
      gaps: [],
      closeCount: n('closed'),
    });
    const dead = Number((await one(store, 'SELECT count() AS n FROM telltale.dead_letters')).n);
    return {
      rows: n('rows'),
      ids: n('ids'),
      produced: n('closed') + 1,
      streams: n('streams'),
      gaps: n('gaps'),
      dead,
      verdict: account.verdict,
    };
  } finally {
    await store.close();
  }
}

async function main(): Promise<boolean> {
  const store = `chdb:${path.join(dir, 'store')}`;
  const cluster = createKafkaCluster({
    dir: path.join(dir, 'kafka'),
    brokers: mode === 'broker-kill' ? 3 : 1,
    jarsDir: await kafkaJarsDir(path.join(root, '.cache')),
    log,
  });
  const brokers = await cluster.start();
  say(`brokers ${brokers.join(',')}, logs in ${dir}`);
  try {
    const topic = ['migrate', '--kafka', brokers.join(','), '--store', store, '--partitions', '4'];
    if ((await ended(start(topic, 'migrate'))) !== 0)
      throw new Error(`migrate failed: ${dir}/migrate.log`);
    const began = Date.now();
    const workers = await runWorkers(brokers, store, mode === 'worker-kill' ? 2 : 0);
    const work = path.join(dir, 'work');
    fs.mkdirSync(work);
    const command = [process.execPath, '-e', WORKLOAD, work, String(Math.ceil(events / 2))];
    const to = `kafka://${brokers.join(',')}`;
    const flags = ['--to', to, '--spool', path.join(dir, 'spool'), '--drain-ms', '300000'];
    const recorder = start(['run', ...flags, '--', ...command], 'run');
    const brokerKills = mode === 'broker-kill' ? killBrokers(cluster, 3_000) : Promise.resolve(0);
    const code = await ended(recorder);
    const producedMs = Date.now() - began;
    const killedBrokers = await brokerKills;
    await workers.killing;
    await drained(brokers, 300_000);
    await workers.stop();
    const seconds = (Date.now() - began) / 1000;
    const found = await oracle(store);
    const good =
      code === 0 &&
      found.rows === found.produced &&
      found.ids === found.produced &&
      found.produced >= events &&
      found.verdict === 'complete' &&
      workers.killedAt().length + killedBrokers === (mode === 'broker-kill' ? 3 : 2);
    const result = {
      mode,
      good,
      code,
      ...found,
      workerKills: workers.killedAt().length,
      brokerKills: killedBrokers,
      producedMs,
      seconds,
    };
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return good;
  } finally {
    await cluster.stop();
  }
}

const good = await main();
if (good) fs.rmSync(dir, { recursive: true, force: true });
process.exit(good ? 0 : 1);
