/**
 * A real Kafka for tests. At the top of a test file:
 *
 *     const kafka = await requireKafka();
 *     describe.skipIf('skip' in kafka)('...', () => {
 *       const brokers = brokersOf(kafka);
 *
 * The broker is shared by all test files of the run: give topics and groups names of your own
 * (`uniqueName`), and never stop it. Tests that kill brokers take `requireKafkaCluster(n)`.
 */
import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { inject } from 'vitest';
import type { KafkaCluster } from '../../deploy/kafka/cluster.ts';
import { KafkaFault } from '../../deploy/kafka/fault.ts';
import type { ListenerSecurity } from '../../deploy/kafka/properties.ts';
import { openTemporaryCluster, type TemporaryCluster } from './temporary.ts';

const CONNECT_MS = 5_000;

/** What global-setup.ts sends back, as one line of JSON. */
export type Answer =
  | { readonly brokers: readonly string[] }
  | { readonly fault: string; readonly machineLacks: boolean };

export interface Skip {
  /** Why there is no broker. */
  readonly skip: string;
}

export interface Kafka {
  readonly brokers: string[];
  /** Present only on a cluster of one's own. */
  readonly cluster?: KafkaCluster;
}

/**
 * The broker of this test run: that of KAFKA_BROKERS (`host:port,host:port`) when it is set, else
 * one that is started for the first who asks. Skips, with a line on the console, when the machine
 * has no Java or no way to the jars; throws instead under CI=true, and everywhere when a broker
 * should be there and is not.
 */
export async function requireKafka(): Promise<Kafka | Skip> {
  const given = process.env.KAFKA_BROKERS;
  if (given) return { brokers: await reachable(given) };
  const answer = await ask(socketPath());
  if ('brokers' in answer) return { brokers: [...answer.brokers] };
  return skipOrThrow(answer.fault, answer.machineLacks);
}

/**
 * A cluster of one's own, for tests that kill its brokers. The caller closes it (`afterAll`).
 * KAFKA_BROKERS has no say here: nobody's brokers but ours are killed.
 */
export async function requireKafkaCluster(
  brokers: number,
  security?: ListenerSecurity,
): Promise<TemporaryCluster | Skip> {
  try {
    return await openTemporaryCluster(brokers, security);
  } catch (error) {
    if (!(error instanceof KafkaFault)) throw error;
    return skipOrThrow(error.message, error.machineLacks);
  }
}

/** The brokers, for use inside a `describe.skipIf`, whose body runs even when it is skipped. */
export function brokersOf(kafka: Kafka | Skip): string[] {
  return 'skip' in kafka ? [] : kafka.brokers;
}

/** A name for a topic or a group that no other test has. */
export function uniqueName(prefix: string): string {
  return `${prefix}-${randomUUID()}`;
}

/** Skipping is for what a machine lacks; where CI says that it lacks nothing, it is a failure. */
export function skipOrThrow(reason: string, machineLacks: boolean, env = process.env): Skip {
  const mustRun = env.CI === 'true' || env.CI === '1';
  if (mustRun || !machineLacks) throw new Error(`These tests need Kafka. ${reason}`);
  console.warn(`SKIPPED: these tests need Kafka. ${reason}`);
  return { skip: reason };
}

function socketPath(): string {
  const given = inject('kafkaSocket');
  if (given !== undefined) return given;
  throw new Error(
    "requireKafka needs `globalSetup: ['test/kafka/global-setup.ts']` in vitest.config.ts.",
  );
}

/** Waits as long as the owner needs: it has its own time limits, and it always answers. */
function ask(path: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(path);
    socket.setEncoding('utf8');
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.once('error', reject);
    socket.once('end', () => {
      if (text.endsWith('\n')) resolve(JSON.parse(text));
      else reject(new Error('The test run ended while Kafka was starting.'));
    });
  });
}

/** KAFKA_BROKERS as a list, once at least one of them accepts a connection. */
async function reachable(list: string): Promise<string[]> {
  const brokers = list.split(',').flatMap((each) => each.trim() || []);
  const tries = await Promise.allSettled(brokers.map(tryConnect));
  if (tries.some(({ status }) => status === 'fulfilled')) return brokers;
  const [first] = tries;
  throw new Error(
    `KAFKA_BROKERS is "${list}", and none of them can be reached ` +
      `(${first?.status === 'rejected' ? first.reason : 'the list is empty'}). ` +
      'Correct it, or unset it: then the tests start a broker themselves.',
  );
}

function tryConnect(broker: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const colon = broker.lastIndexOf(':');
    const [host, port] = [broker.slice(0, colon), Number(broker.slice(colon + 1))];
    if (colon < 1 || !(port > 0 && port < 65_536)) {
      reject(new Error(`"${broker}" is not host:port`));
      return;
    }
    const socket = connect({ host: host.replace(/^\[|\]$/g, ''), port });
    socket.setTimeout(CONNECT_MS, () => socket.destroy(new Error(`no answer from ${broker}`)));
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
  });
}
