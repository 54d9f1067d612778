/** What a scenario on Kafka runs on: real brokers, one store, and workers to be killed. */
import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import { Kafka } from 'kafkajs';
import { EVENTS_TOPIC } from '#schemas';
import { createKafkaCluster, type KafkaCluster } from '../../deploy/kafka/cluster.ts';
import { kafkaJarsDir } from '../../deploy/kafka/jars.ts';
import { ensureTopics } from '../../deploy/kafka/topics.ts';
import { migrate } from '../../deploy/migrate.ts';
import { openStore } from '../../deploy/stores/open.ts';
import type { LoadOptions } from './load.ts';
import {
  createProcesses,
  logLines,
  type Processes,
  root,
  type Service,
  sleep,
} from './processes.ts';

const POLL_MS = 250;
/** A kafkajs client takes this long to see a new leader. */
const ADMIN_RETRY = { retries: 8, initialRetryTime: 200, maxRetryTime: 2_000 };

export interface SiteOptions {
  readonly brokers: number;
  readonly partitions: number;
  /** The engine lives in the one worker, and in whoever reads when that is gone. */
  readonly embedded?: boolean;
}

export interface Site extends Omit<Processes, 'load' | 'collect' | 'service'> {
  readonly cluster: KafkaCluster;
  readonly brokers: readonly string[];
  /** Where collectors send to. */
  readonly to: string;
  readonly store: Service;
  worker(name: string, more?: readonly string[]): ChildProcess;
  load(options: Omit<LoadOptions, 'to' | 'dir'>, name: string): ChildProcess;
  collect(name: string): ChildProcess;
  /** Resolves when the group has committed all that the topic holds. */
  drained(msMax: number): Promise<void>;
  progress(): Promise<{ readonly done: number; readonly waiting: number }>;
}

/** Resolves when a worker is a member of the group: before that, SIGTERM may meet no handler. */
export async function assigned(site: Site, name: string): Promise<void> {
  while (!logLines(site, `${name}.`).some((line) => line.event === 'ingest.assigned'))
    await sleep(POLL_MS);
}

/** The embedded engine behind HTTP, as a process of its own. */
export const storeService = (processes: Processes): Service =>
  processes.service(
    'test/live/store-main.ts',
    (port) => [path.join(processes.dir, 'store'), String(port)],
    'store',
  );

/** Makes the tables of an empty store. */
export async function makeTables(url: string, { log }: Processes): Promise<void> {
  const opened = await openStore(url, { log });
  await migrate(opened, { log });
  await opened.close();
}

/** Starts brokers and store, with topic and tables. */
export async function openSite(options: SiteOptions): Promise<Site> {
  const processes = createProcesses();
  const { dir, log } = processes;
  const store = options.embedded ? embeddedStore(path.join(dir, 'store')) : storeService(processes);
  const jarsDir = await kafkaJarsDir(path.join(root, '.cache'));
  const kafkaDir = path.join(dir, 'kafka');
  const cluster = createKafkaCluster({ dir: kafkaDir, brokers: options.brokers, jarsDir, log });

  async function close(): Promise<void> {
    await processes.close();
    await cluster.stop();
  }

  try {
    const brokers = await cluster.start();
    await ensureTopics(brokers, { partitions: options.partitions }, log);
    await store.start();
    await makeTables(store.url, processes);
    const kafka = new Kafka({ brokers, logCreator: () => () => {}, retry: ADMIN_RETRY });
    const progress = () => progressOf(kafka);
    const to = `kafka://${brokers.join(',')}`;
    const withKafka = ['--kafka', brokers.join(','), '--store', store.url];
    return {
      ...processes,
      cluster,
      brokers,
      to,
      store,
      worker: (name, more = []) => processes.telltale(['ingest', ...withKafka, ...more], name),
      load: (more, name) => processes.load({ ...more, to }, name),
      collect: (name) => processes.collect(to, name),
      progress,
      async drained(msMax) {
        for (const end = Date.now() + msMax; Date.now() < end; await sleep(POLL_MS)) {
          const at = await progress().catch(() => undefined);
          if (at?.waiting === 0) return;
        }
        throw new Error(`the workers did not catch up within ${msMax} ms: see ${dir}/worker*.log`);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function progressOf(kafka: Kafka) {
  const admin = kafka.admin();
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

const embeddedStore = (dir: string): Service => ({
  url: `chdb:${dir}`,
  pid: 0,
  start: async () => {},
  kill: async () => {},
  stop: async () => 0,
  signal: () => {},
});
