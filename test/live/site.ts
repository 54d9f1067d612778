/** What a scenario runs on: real brokers, one store process, and `telltale` commands to be killed. */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Kafka } from 'kafkajs';
import { EVENTS_TOPIC, type Log } from '#schemas';
import { createKafkaCluster, type KafkaCluster } from '../../deploy/kafka/cluster.ts';
import { kafkaJarsDir } from '../../deploy/kafka/jars.ts';
import { ensureTopics } from '../../deploy/kafka/topics.ts';
import { migrate } from '../../deploy/migrate.ts';
import { serviceLog } from '../../deploy/process/log.ts';
import { openStore } from '../../deploy/stores/open.ts';
import type { LoadOptions } from './load.ts';

const root = path.resolve(import.meta.dirname, '../..');
/** The sources themselves, so that what runs is what is read. */
const SOURCE = ['--conditions=telltale-source', '--import', 'tsx'];
const POLL_MS = 250;
/** The group's rebalances while a test waits; a kafkajs client takes this long to see a new leader. */
const ADMIN_RETRY = { retries: 8, initialRetryTime: 200, maxRetryTime: 2_000 };

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
export const say = (text: string) => process.stderr.write(`live: ${text}\n`);

/** Resolves with the exit code when the process is gone; null when a signal ended it. */
export const ended = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve(child.exitCode);
    else child.once('exit', (code) => resolve(code));
  });

export const isGone = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;

export interface SiteOptions {
  readonly brokers: number;
  readonly partitions: number;
  /** The engine lives in the one worker, and in whoever reads when that is gone. */
  readonly embedded?: boolean;
}

export interface StoreProcess {
  readonly url: string;
  readonly pid: number;
  start(): Promise<void>;
  kill(): Promise<void>;
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
}

export interface Site {
  readonly dir: string;
  readonly log: Log;
  readonly cluster: KafkaCluster;
  readonly brokers: readonly string[];
  readonly store: StoreProcess;
  /** Runs `telltale` with these arguments; what it prints goes to `NAME.log`. */
  telltale(args: readonly string[], name: string): ChildProcess;
  worker(name: string): ChildProcess;
  load(options: Omit<LoadOptions, 'to' | 'dir'>, name: string): ChildProcess;
  /** Ships what a killed load generator left behind. */
  collect(name: string): ChildProcess;
  /** Folders with the truth of each load generator that was started. */
  readonly truthDirs: readonly string[];
  truthOf(name: string): string;
  /** Resolves when the group has committed all that the topic holds. */
  drained(msMax: number): Promise<void>;
  progress(): Promise<{ readonly done: number; readonly waiting: number }>;
  /** Ends every process. The folder stays: it is evidence until the caller removes it. */
  close(): Promise<void>;
}

/** Lines of JSON that the processes named so logged. */
export function logLines(site: Site, prefix: string): Record<string, unknown>[] {
  const names = fs.readdirSync(site.dir).filter((n) => n.startsWith(prefix) && n.endsWith('.log'));
  return names.flatMap((name) =>
    fs
      .readFileSync(path.join(site.dir, name), 'utf8')
      .split('\n')
      .flatMap((line) => {
        try {
          return [JSON.parse(line) as Record<string, unknown>];
        } catch {
          return [];
        }
      }),
  );
}

/** Resolves when a worker is a member of the group: before that, SIGTERM may meet no handler. */
export async function assigned(site: Site, name: string): Promise<void> {
  while (!logLines(site, `${name}.`).some((line) => line.event === 'ingest.assigned'))
    await sleep(POLL_MS);
}

/** Starts brokers and store, with topic and tables. */
export async function openSite(options: SiteOptions): Promise<Site> {
  fs.mkdirSync(path.join(root, '.cache'), { recursive: true });
  const dir = fs.mkdtempSync(path.join(root, '.cache/live-'));
  const log = serviceLog('live', 'warn');
  const children = new Set<ChildProcess>();
  const truthDirs: string[] = [];

  function start(script: string, args: readonly string[], name: string, pipeOut = false) {
    const out = fs.openSync(path.join(dir, `${name}.log`), 'a');
    const stdio: StdioOptions = ['ignore', pipeOut ? 'pipe' : out, out];
    const env = { ...process.env, TELLTALE_LOG: 'debug', UV_THREADPOOL_SIZE: '16' };
    const file = path.join(root, script);
    const child = spawn(process.execPath, [...SOURCE, file, ...args], { cwd: root, stdio, env });
    fs.closeSync(out);
    children.add(child);
    child.once('exit', () => children.delete(child));
    return child;
  }
  const telltale = (args: readonly string[], name: string) => start('deploy/cli.ts', args, name);

  const storeDir = path.join(dir, 'store');
  const store = options.embedded
    ? embeddedStore(storeDir)
    : storeProcess((port) =>
        start('test/live/store-main.ts', [storeDir, String(port)], 'store', true),
      );
  const jarsDir = await kafkaJarsDir(path.join(root, '.cache'));
  const kafkaDir = path.join(dir, 'kafka');
  const cluster = createKafkaCluster({ dir: kafkaDir, brokers: options.brokers, jarsDir, log });

  async function close(): Promise<void> {
    for (const child of children) {
      child.kill('SIGCONT');
      child.kill('SIGKILL');
    }
    await Promise.all([...children].map(ended));
    await cluster.stop();
  }

  try {
    const brokers = await cluster.start();
    await ensureTopics(brokers, { partitions: options.partitions }, log);
    await store.start();
    const opened = await openStore(store.url, { log });
    await migrate(opened, { log });
    await opened.close();
    const kafka = new Kafka({ brokers, logCreator: () => () => {}, retry: ADMIN_RETRY });
    const progress = () => progressOf(kafka);
    const to = `kafka://${brokers.join(',')}`;
    const withKafka = ['--kafka', brokers.join(','), '--store', store.url];
    const loadDir = (name: string) => path.join(dir, name);
    const truthOf = (name: string) => path.join(loadDir(name), 'truth');
    return {
      dir,
      log,
      cluster,
      brokers,
      store,
      telltale,
      worker: (name) => telltale(['ingest', ...withKafka], name),
      load(more, name) {
        truthDirs.push(truthOf(name));
        fs.mkdirSync(truthOf(name), { recursive: true });
        const all: LoadOptions = { ...more, to, dir: loadDir(name) };
        return start('test/live/load.ts', [JSON.stringify(all)], name);
      },
      collect: (name) => {
        const where = ['--spool', path.join(loadDir(name), 'spool'), '--to', to];
        return telltale(['collect', ...where, '--wait-ms', '600000'], `${name}-collect`);
      },
      truthDirs,
      truthOf,
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

const embeddedStore = (dir: string): StoreProcess => ({
  url: `chdb:${dir}`,
  pid: 0,
  start: async () => {},
  kill: async () => {},
  signal: () => {},
});

/** A process that comes back under the address that it had at first. */
function storeProcess(spawnStore: (port: number) => ChildProcess): StoreProcess {
  let child: ChildProcess | undefined;
  let url = '';
  return {
    get url() {
      return url;
    },
    get pid() {
      return child?.pid ?? 0;
    },
    async start() {
      const started = spawnStore(url === '' ? 0 : Number(new URL(url).port));
      child = started;
      url = await new Promise<string>((resolve, reject) => {
        started.stdout?.once('data', (data: Buffer) => resolve(data.toString().trim()));
        started.once('exit', () => reject(new Error('the store did not start: see store.log')));
      });
    },
    async kill() {
      child?.kill('SIGKILL');
      if (child !== undefined) await ended(child);
    },
    signal: (name) => void child?.kill(name),
  };
}
