/**
 * The control: a producer that sends over several partitions at once, as kafkajs invites one to.
 * When a leader moves it loses messages that it has acknowledged (tulios/kafkajs#1303); the oracle
 * must say which. Nothing outside test/ may send so: see `producerSends` in tidy.test.ts.
 */
import { Kafka, logLevel, Partitioners } from 'kafkajs';
import { EVENTS_TOPIC, type Log, partitionOf } from '#schemas';
import type { Transport } from '../../collector/ship.ts';

interface Waiting {
  readonly key: string;
  readonly value: Buffer;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** So long frames of all sessions wait for each other, to travel in one send. */
const GATHER_MS = 20;
const SENDS_MAX = 100;

/** Transports that share one careless producer, so that one send has frames of many sessions. */
export function carelessTransports(to: string, log: Log) {
  const kafka = new Kafka({
    clientId: 'telltale-careless',
    brokers: to.slice('kafka://'.length).split(','),
    requestTimeout: 10_000,
    retry: { retries: 20, initialRetryTime: 200, maxRetryTime: 3_000 },
    logLevel: logLevel.ERROR,
    logCreator: () => (entry) => log.debug('kafkajs', { message: entry.log.message }),
  });
  const producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    createPartitioner: Partitioners.DefaultPartitioner,
  });
  let partitions = 0;
  let connecting: Promise<void> | undefined;
  let waiting: Waiting[] = [];
  let pumping = false;

  async function connect(): Promise<void> {
    const admin = kafka.admin();
    await admin.connect();
    const { topics } = await admin.fetchTopicMetadata({ topics: [EVENTS_TOPIC] });
    partitions = topics[0]?.partitions.length ?? 0;
    await admin.disconnect();
    await producer.connect();
  }

  async function pump(): Promise<void> {
    while (waiting.length > 0) {
      await new Promise((resolve) => setTimeout(resolve, GATHER_MS));
      const sent = waiting.slice(0, SENDS_MAX);
      waiting = waiting.slice(SENDS_MAX);
      const messages = sent.map(({ key, value }) => ({
        key,
        value,
        partition: partitionOf(key, partitions),
      }));
      try {
        await producer.send({ topic: EVENTS_TOPIC, acks: -1, messages });
        for (const { resolve } of sent) resolve();
      } catch (error) {
        for (const { reject } of sent) reject(error);
      }
    }
  }

  const transport = (): Transport => ({
    name: to,
    connect: () => (connecting ??= connect()),
    close: async () => {},
    send: (key, value) =>
      new Promise<void>((resolve, reject) => {
        waiting.push({ key, value, resolve, reject });
        if (pumping) return;
        pumping = true;
        void pump().finally(() => {
          pumping = false;
        });
      }),
  });
  return { transport, close: () => producer.disconnect() };
}
