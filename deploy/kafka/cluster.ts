import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Log } from '#schemas';
import { type Broker, createBroker, logsDirOf } from './broker.ts';
import { KafkaFault } from './fault.ts';
import { type Guard, startGuard } from './guard.ts';
import { checkJava, defaultJava, ensureJars } from './jars.ts';
import { isPortFree, pickPorts } from './ports.ts';
import {
  address,
  type ListenerSecurity,
  type Place,
  scramArguments,
  serverProperties,
} from './properties.ts';

const START_MS = 90_000;
const BROKERS_MAX = 9;
const PORTS_A_BROKER = 2;
/** One more between brokers where clients come in over TLS. */
const PORTS_A_SECURE_BROKER = 3;
/** How often new ports are tried when another process took one between choice and use. */
const PORT_ATTEMPTS = 3;

export interface KafkaClusterOptions {
  /** Settings, data and logs of the brokers; made when missing, never deleted here. */
  readonly dir: string;
  /** 1 to 9. With 3 or more, topics get three replicas, two of which must be in sync. */
  readonly brokers: number;
  /** TLS and SASL for clients; in plain text without it. */
  readonly security?: ListenerSecurity;
  /** Two consecutive ports a broker (three with `security`); without it, free ones are chosen. */
  readonly basePort?: number;
  /** The broker's jars; downloaded into here when it does not exist. See `kafkaJarsDir`. */
  readonly jarsDir: string;
  readonly log: Log;
  /** How long a broker may take from launch to its sign. Default 90 s. */
  readonly startMs?: number;
  /** Default: `$JAVA_HOME/bin/java`, or `java` in PATH. */
  readonly java?: string;
  /** Default: `mvn` in PATH. */
  readonly mvn?: string;
}

/** A real Apache Kafka on the loopback address. Brokers are numbered from 1. */
export interface KafkaCluster {
  /** `host:port` of every broker; empty before the first `start`. */
  readonly bootstrap: readonly string[];
  /** Resolves with `bootstrap` when every broker serves. Data in `dir` is taken up again. */
  start(): Promise<string[]>;
  /** SIGKILL; resolves when the process is gone. Nothing happens if it is gone already. */
  kill(node: number): Promise<void>;
  /** Starts a killed broker on its ports and data; resolves when it serves. */
  restart(node: number): Promise<void>;
  /** SIGSTOP: connections stay open and nothing answers. */
  pause(node: number): void;
  /** SIGCONT. */
  resume(node: number): void;
  /** Process ids of the brokers that run now. */
  pids(): number[];
  /** Ends every process of the cluster. Safe to call twice and during `start`. */
  stop(): Promise<void>;
}

/**
 * Makes a cluster in KRaft mode, every broker also a controller. Nothing runs before `start`.
 * The brokers end with this process, whatever ends it (`guard.ts`). All methods reject with
 * `KafkaFault`, whose message says what to do next. Linux and macOS.
 * @throws KafkaFault `bad_options`
 */
export function createKafkaCluster(options: KafkaClusterOptions): KafkaCluster {
  const dir = checkOptions(options);
  let places: Place[] = [];
  let brokers: Broker[] = [];
  let guard: Guard | undefined;
  let starting: Promise<string[]> | undefined;
  let stopping: Promise<void> | undefined;
  let abort = new AbortController();

  async function begin(signal: AbortSignal): Promise<string[]> {
    const java = options.java ?? defaultJava();
    await checkJava(java);
    guard = await startGuard(options.log);
    await ensureJars({ ...options, guard, signal });
    const clusterId = await claimDir(dir, options.brokers);
    for (let attempt = 1; ; attempt++) {
      places = await choosePlaces(options);
      brokers = makeBrokers({ options, dir, java, guard, clusterId, places });
      const fault = await launchAll(brokers, signal);
      if (!fault) return places.map(address);
      const lost = signal.aborted ? undefined : await lostPort(places);
      if (lost === undefined) throw fault;
      if (options.basePort !== undefined || attempt >= PORT_ATTEMPTS) {
        throw new KafkaFault('port_taken', `Port ${lost} was taken meanwhile. Start again.`, {
          cause: fault,
        });
      }
      options.log.warn('kafka.port_lost', { port: lost, attempt });
    }
  }

  async function start(): Promise<string[]> {
    if (stopping) throw new KafkaFault('stopped', 'The cluster is being stopped.');
    if (starting) return starting;
    abort = new AbortController();
    const { signal } = abort;
    starting = begin(signal).catch(async (error) => {
      await end('kill');
      starting = undefined;
      if (!signal.aborted) throw error;
      throw new KafkaFault('stopped', 'The cluster was stopped while it started.', {
        cause: error,
      });
    });
    return starting;
  }

  async function stop(): Promise<void> {
    abort.abort();
    await starting?.catch(() => {});
    await end('terminate');
    starting = undefined;
  }

  async function end(how: 'kill' | 'terminate'): Promise<void> {
    await Promise.all(brokers.map((broker) => broker[how]()));
    await guard?.close();
    guard = undefined;
  }

  function brokerOf(node: number): Broker {
    const broker = brokers[node - 1];
    if (broker) return broker;
    throw new KafkaFault(
      'bad_options',
      `There is no broker ${node}: ${brokers.length} were started, numbered from 1.`,
    );
  }

  return {
    get bootstrap() {
      return places.map(address);
    },
    start,
    kill: async (node) => brokerOf(node).kill(),
    async restart(node) {
      const broker = brokerOf(node);
      if (!guard) throw new KafkaFault('stopped', 'The cluster is stopped. Call start first.');
      await broker.launch(abort.signal);
    },
    pause: (node) => brokerOf(node).signal('SIGSTOP'),
    resume: (node) => brokerOf(node).signal('SIGCONT'),
    pids: () => brokers.flatMap((broker) => broker.pid() ?? []),
    stop() {
      stopping ??= stop().finally(() => {
        stopping = undefined;
      });
      return stopping;
    },
  };
}

const portsOf = ({ security }: KafkaClusterOptions): number =>
  security === undefined ? PORTS_A_BROKER : PORTS_A_SECURE_BROKER;

function checkOptions(options: KafkaClusterOptions): string {
  const { brokers, basePort } = options;
  const faults: string[] = [];
  if (!Number.isInteger(brokers) || brokers < 1 || brokers > BROKERS_MAX)
    faults.push(`brokers is ${brokers}; give a whole number from 1 to ${BROKERS_MAX}`);
  const portMax = 65_536 - portsOf(options) * brokers;
  if (basePort !== undefined && !(Number.isInteger(basePort) && basePort > 0 && basePort < portMax))
    faults.push(`basePort is ${basePort}; give a whole number from 1 to ${portMax - 1}`);
  // `log.dirs` is a comma list, the class path a colon list, and neither can be escaped.
  if (options.dir.includes(',')) faults.push(`dir has a comma: ${options.dir}`);
  if (options.jarsDir.includes(path.delimiter))
    faults.push(`jarsDir has a "${path.delimiter}": ${options.jarsDir}`);
  if (faults.length > 0) {
    throw new KafkaFault('bad_options', `createKafkaCluster: ${faults.join('; ')}.`);
  }
  return path.resolve(options.dir);
}

/** The cluster's id, which is kept in `dir`, so that its data can be taken up again. */
async function claimDir(dir: string, brokers: number): Promise<string> {
  const file = path.join(dir, 'cluster.json');
  await mkdir(dir, { recursive: true });
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) {
    // Kafka's form of an id: 16 bytes as base64url. It refuses one that starts with a dash.
    const clusterId = randomBytes(16).toString('base64url').replace(/^-/, 'A');
    await writeFile(file, `${JSON.stringify({ clusterId, brokers })}\n`);
    return clusterId;
  }
  const known = parseClaim(text);
  if (known?.brokers === brokers) return known.clusterId;
  throw new KafkaFault(
    'dir_mismatch',
    `${dir} holds a cluster of ${known?.brokers ?? 'unknown'} brokers, not of ${brokers}. ` +
      'Delete that folder or give another dir.',
  );
}

function parseClaim(text: string): { clusterId: string; brokers: number } | undefined {
  try {
    const { clusterId, brokers } = JSON.parse(text);
    return typeof clusterId === 'string' && typeof brokers === 'number'
      ? { clusterId, brokers }
      : undefined;
  } catch {
    return undefined;
  }
}

async function choosePlaces(options: KafkaClusterOptions): Promise<Place[]> {
  const each = portsOf(options);
  const ports = await pickPorts(options.brokers * each, options.basePort);
  return Array.from({ length: options.brokers }, (_, i) => {
    const [clientPort, controllerPort, internalPort] = ports.slice(i * each, (i + 1) * each);
    return {
      node: i + 1,
      clientPort: clientPort as number,
      controllerPort: controllerPort as number,
      ...(internalPort === undefined ? {} : { internalPort }),
    };
  });
}

interface Made {
  readonly options: KafkaClusterOptions;
  readonly dir: string;
  readonly java: string;
  readonly guard: Guard;
  readonly clusterId: string;
  readonly places: readonly Place[];
}

function makeBrokers({ options, dir, places, ...rest }: Made): Broker[] {
  return places.map((place) => {
    const brokerDir = path.join(dir, String(place.node));
    return createBroker({
      ...rest,
      node: place.node,
      dir: brokerDir,
      jarsDir: path.resolve(options.jarsDir),
      properties: serverProperties(place, places, logsDirOf(brokerDir), options.security),
      formatArguments: scramArguments(options.security),
      startMs: options.startMs ?? START_MS,
      log: options.log,
    });
  });
}

/**
 * Launches all at once, because none serves before most controllers are up. When one fails, the
 * others are ended; the fault returned is that of the first, whose failure is the cause.
 */
async function launchAll(brokers: readonly Broker[], signal: AbortSignal): Promise<unknown> {
  let first: unknown;
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  await Promise.all(
    brokers.map((broker) =>
      broker.launch(either).catch((error) => {
        first ??= error;
        failed.abort();
      }),
    ),
  );
  return first;
}

/** A port that somebody else holds now that our brokers are gone. */
async function lostPort(places: readonly Place[]): Promise<number | undefined> {
  for (const { clientPort, controllerPort, internalPort = clientPort } of places)
    for (const port of [clientPort, controllerPort, internalPort])
      if (!(await isPortFree(port))) return port;
  return undefined;
}
