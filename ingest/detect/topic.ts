/**
 * Alerts -> a Kafka topic: key = session id, value = the notice as JSON, as webhooks send it. It
 * produces by the rules of collector/ship.ts: one send is one message of one topic and one partition
 * that is named, one send is in flight, and the answer is checked. At least once: `data.fingerprint`
 * and `type` tell a repeat.
 */
import { Kafka, logLevel, Partitioners } from 'kafkajs';
import {
  ALERTS_TOPIC,
  connectionAdvice,
  isAcknowledged,
  KAFKA_TRUST,
  type KafkaSecurity,
  type Log,
  orAbort,
  partitionOf,
} from '#schemas';
import { createQueue, noticeBody, QUEUE_DEFAULTS, type QueueSettings } from './queue.ts';
import { DeliveryError, type Sink, type SinkDeps } from './sink.ts';

export interface TopicSinkSettings extends QueueSettings {
  readonly brokers: readonly string[];
  readonly topic: string;
  /** How the brokers are spoken to; plain text without an account where absent. */
  readonly security?: KafkaSecurity;
}

export const TOPIC_SINK_DEFAULTS = { ...QUEUE_DEFAULTS, topic: ALERTS_TOPIC } as const;

/** An error of the client as one of delivery; none of them is the message's fault. */
function away(what: string, cause: unknown): DeliveryError {
  const advice = connectionAdvice(cause, KAFKA_TRUST);
  const why = `${what}: ${cause instanceof Error ? cause.message : cause}`;
  return new DeliveryError(advice === undefined ? why : `${why}: ${advice}`, false, { cause });
}

/** The connection: made with the first message, and kept. */
function openTopic({ brokers, topic, security }: TopicSinkSettings, log: Log) {
  const kafka = new Kafka({
    clientId: 'telltale-alerts',
    brokers: [...brokers],
    ...security,
    requestTimeout: 30_000,
    retry: { retries: 5, initialRetryTime: 200, maxRetryTime: 3_000 },
    logLevel: logLevel.ERROR,
    logCreator: () => (entry) => log.debug('kafkajs', { message: entry.log.message }),
  });
  const producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    createPartitioner: Partitioners.DefaultPartitioner,
    // Few retries would make kafkajs warn that idempotence is off.
    retry: { retries: 1_000, initialRetryTime: 200, maxRetryTime: 3_000 },
  });
  let partitions = 0;

  async function connect(): Promise<void> {
    if (partitions > 0) return;
    const admin = kafka.admin();
    await admin.connect();
    try {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
      const found = topics[0]?.partitions.length ?? 0;
      if (found === 0) throw new Error('it has no partitions');
      await producer.connect();
      partitions = found;
    } finally {
      await admin.disconnect();
    }
  }

  async function put(key: string, value: string): Promise<void> {
    await connect();
    const partition = partitionOf(key, partitions);
    const answer = await producer.send({
      topic,
      acks: -1,
      messages: [{ key, value, partition }],
    });
    if (!isAcknowledged(answer, partition))
      throw new Error(`the broker did not acknowledge: ${JSON.stringify(answer)}`);
  }

  return { put, close: () => producer.disconnect() };
}

/** Sends alerts to a topic, which `telltale migrate` creates. */
export function createTopicSink(settings: TopicSinkSettings, deps: SinkDeps): Sink {
  const { topic } = settings;
  const open = openTopic(settings, deps.log);
  let last: Promise<void> = Promise.resolve();
  return createQueue(
    'topic',
    async (notice, signal) => {
      const before = last;
      const turn = before.then(() => open.put(notice.alert.session_id, noticeBody(notice, deps)));
      last = turn.catch(() => {});
      try {
        await orAbort(turn, signal, () => new DeliveryError('delivery was stopped', false));
      } catch (error) {
        throw error instanceof DeliveryError ? error : away(`topic ${topic}`, error);
      }
    },
    settings,
    deps,
    // An abandoned send may go on for long where no broker answers; the process need not wait for it.
    () => open.close().catch(() => {}),
  );
}
