import { type ChildProcess, spawn } from 'node:child_process';
import { access, mkdir, open, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '#schemas';
import { KafkaFault } from './fault.ts';
import type { Guard } from './guard.ts';
import { run, tail } from './run.ts';

/** An open port is not the sign: the broker listens before it can serve. */
const STARTED = 'Kafka Server started';
const LOG4J = new URL('./log4j2.properties', import.meta.url);
const JVM_OPTIONS = ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];
const HEAP_MB = 384;
const FORMAT_HEAP_MB = 128;
const FORMAT_MS = 60_000;
const POLL_MS = 50;
const TERM_MS = 10_000;
const TAIL_BYTES = 64 * 1024;

export interface BrokerOptions {
  /** Its number in the cluster, from 1. */
  readonly node: number;
  /** Its own folder: settings, data and `out.log`. */
  readonly dir: string;
  readonly jarsDir: string;
  readonly java: string;
  readonly clusterId: string;
  /** The text of server.properties. It is written anew before each launch. */
  readonly properties: string;
  /** More for the tool that formats the folder. */
  readonly formatArguments?: readonly string[];
  readonly startMs: number;
  readonly guard: Guard;
  readonly log: Log;
}

/** One broker: one folder, and at most one JVM at a time. */
export interface Broker {
  readonly node: number;
  /** Undefined while no process runs. */
  pid(): number | undefined;
  /** Formats the folder if it is new, starts the JVM, waits for its sign; aborting ends it. */
  launch(signal: AbortSignal): Promise<void>;
  /** Sends SIGSTOP or SIGCONT. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM, and after 10 s SIGKILL; resolves when the process is gone. */
  terminate(): Promise<void>;
}

/** The folder below a broker's own where Kafka keeps its data. */
export function logsDirOf(dir: string): string {
  return path.join(dir, 'logs');
}

/** Makes one broker; nothing runs before `launch`. All methods reject with `KafkaFault`. */
export function createBroker(options: BrokerOptions): Broker {
  const { node, dir, log } = options;
  const outFile = path.join(dir, 'out.log');
  let child: ChildProcess | undefined;
  /** Exits that were asked for; any other is reported. */
  const expected = new WeakSet<ChildProcess>();

  async function launch(signal: AbortSignal): Promise<void> {
    if (child) {
      throw new KafkaFault('bad_options', `Broker ${node} is running. Kill it first.`);
    }
    await prepare(options, signal);
    const offset = await sizeOf(outFile);
    const startedAt = performance.now();
    const launched = await spawnBroker(options, outFile);
    child = launched;
    // A death before the sign is thrown below, not logged.
    expected.add(launched);
    launched.once('exit', (code, signal) => {
      if (child === launched) child = undefined;
      if (expected.has(launched)) return;
      log.error('kafka.broker_exited', { node, code: code ?? -1, signal: signal ?? '', outFile });
    });
    try {
      await waitForSign(options, launched, { file: outFile, offset, signal });
    } catch (error) {
      await end(launched, 'SIGKILL');
      throw error;
    }
    expected.delete(launched);
    log.info('kafka.broker_started', { node, ms: Math.round(performance.now() - startedAt) });
  }

  async function end(running: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (isGone(running)) return;
    expected.add(running);
    // SIGTERM is not delivered to a stopped process before it continues.
    if (signal === 'SIGTERM') running.kill('SIGCONT');
    running.kill(signal);
    const deadline = performance.now() + TERM_MS;
    // Polled: brokers do not hold the event loop, so a bare wait for their exit would end it.
    while (!isGone(running)) {
      if (signal === 'SIGTERM' && performance.now() > deadline) running.kill('SIGKILL');
      await sleep(POLL_MS);
    }
  }

  return {
    node,
    pid: () => child?.pid,
    launch,
    signal(signal) {
      if (!child?.kill(signal)) {
        throw new KafkaFault('bad_options', `Broker ${node} is not running: no ${signal}.`);
      }
    },
    kill: async () => (child ? end(child, 'SIGKILL') : undefined),
    terminate: async () => (child ? end(child, 'SIGTERM') : undefined),
  };
}

function isGone(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Writes the settings and, in a new folder, lets Kafka's own tool format it. */
async function prepare(options: BrokerOptions, signal: AbortSignal): Promise<void> {
  const settings = path.join(options.dir, 'server.properties');
  await mkdir(options.dir, { recursive: true });
  await writeFile(settings, options.properties);
  // The tool writes this file last, so its presence means a finished format.
  if (await exists(path.join(logsDirOf(options.dir), 'meta.properties'))) return;
  const result = await run(
    options.java,
    [
      ...javaArgs(options, FORMAT_HEAP_MB),
      ...['kafka.tools.StorageTool', 'format', '-t', options.clusterId, '-c', settings],
      ...(options.formatArguments ?? []),
    ],
    { timeMs: FORMAT_MS, guard: options.guard, signal },
  );
  if (result.code === 0) return;
  throw new KafkaFault(
    'format_failed',
    `Kafka could not format ${options.dir} (code ${result.code}). Delete that folder and start ` +
      `again.\n${tail(result.output)}`,
  );
}

function javaArgs(options: BrokerOptions, heapMb: number): string[] {
  return [
    `-Xmx${heapMb}m`,
    ...JVM_OPTIONS,
    `-Dlog4j2.configurationFile=${LOG4J.href}`,
    '-cp',
    path.join(options.jarsDir, '*'),
  ];
}

/**
 * Output goes to a file, not a pipe: a broker must not block because this process is busy. The
 * process is detached, so that Ctrl-C leaves the order of stopping to us; the guard sees to the
 * case that we cannot.
 */
async function spawnBroker(options: BrokerOptions, outFile: string): Promise<ChildProcess> {
  const out = await open(outFile, 'a');
  try {
    const settings = path.join(options.dir, 'server.properties');
    const child = spawn(options.java, [...javaArgs(options, HEAP_MB), 'kafka.Kafka', settings], {
      cwd: options.dir,
      detached: true,
      stdio: ['ignore', out.fd, out.fd],
    });
    options.guard.watch(child);
    child.unref();
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    return child;
  } finally {
    await out.close();
  }
}

/** What a broker writes from one launch on, and what may end the waiting for it. */
interface Launch {
  readonly file: string;
  readonly offset: number;
  readonly signal: AbortSignal;
}

async function waitForSign(
  options: BrokerOptions,
  child: ChildProcess,
  launch: Launch,
): Promise<void> {
  const deadline = performance.now() + options.startMs;
  const out = await open(launch.file, 'r');
  try {
    const buffer = Buffer.alloc(TAIL_BYTES);
    let carry = '';
    let position = launch.offset;
    for (;;) {
      // Looked at before reading, so that the last words of a dead broker are read too.
      const gone = isGone(child);
      const { bytesRead } = await out.read(buffer, 0, buffer.length, position);
      position += bytesRead;
      const text = carry + buffer.toString('latin1', 0, bytesRead);
      if (text.includes(STARTED)) return;
      carry = text.slice(-STARTED.length);
      if (bytesRead === buffer.length) continue;
      if (launch.signal.aborted) {
        throw new KafkaFault('stopped', `Broker ${options.node} was stopped while it started.`);
      }
      if (gone) throw await died(options, child, launch);
      if (performance.now() > deadline) throw await late(options, launch);
      await sleep(POLL_MS);
    }
  } finally {
    await out.close();
  }
}

async function died(
  options: BrokerOptions,
  child: ChildProcess,
  launch: Launch,
): Promise<KafkaFault> {
  const how = child.signalCode ?? `code ${child.exitCode}`;
  return new KafkaFault(
    'broker_died',
    `Broker ${options.node} ended (${how}) before it had started. The cause is in ` +
      `${launch.file}; if its data is broken, delete ${options.dir}.\n${await readCause(launch)}`,
  );
}

async function late(options: BrokerOptions, launch: Launch): Promise<KafkaFault> {
  return new KafkaFault(
    'start_timeout',
    `Broker ${options.node} did not start within ${options.startMs} ms. Give a longer startMs on ` +
      `a busy machine; see ${launch.file}.\n${await readCause(launch)}`,
  );
}

/** The first error line, which names the cause, and the end of the log. */
async function readCause({ file, offset }: Launch): Promise<string> {
  const from = Math.max(offset, (await sizeOf(file)) - TAIL_BYTES);
  const out = await open(file, 'r');
  try {
    const { buffer, bytesRead } = await out.read(Buffer.alloc(TAIL_BYTES), 0, TAIL_BYTES, from);
    const text = buffer.toString('utf8', 0, bytesRead);
    const first = text.split('\n').find((line) => / (ERROR|FATAL) /.test(line));
    return `${first === undefined ? '' : `${first}\n...\n`}${tail(text)}`;
  } finally {
    await out.close();
  }
}

async function sizeOf(file: string): Promise<number> {
  return (await stat(file).catch(() => undefined))?.size ?? 0;
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
