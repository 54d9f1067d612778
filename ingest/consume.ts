/**
 * Kafka -> ingest. The only file that consumes. The commit point: an offset is committed when the
 * whole batch before it is stored or parked, and never before; everything after the last commit is
 * the redo zone, which `cut.ts` and the tokens make safe to redo. See README.md.
 */
import { type EachBatchPayload, type Batch as Fetched, Kafka, type KafkaMessage } from 'kafkajs';
import {
  type Clock,
  EVENTS_TOPIC,
  FRAME_BYTES_MAX,
  type Log,
  type Meter,
  type Part,
  type Random,
  type Store,
  StoreError,
} from '#schemas';
import {
  BATCH_LIMITS,
  type BatchLimits,
  createTailWatch,
  cutBatches,
  type TailWatch,
} from './cut.ts';
import type { Ingest } from './loop.ts';
import type { Batch } from './outcome.ts';

export interface ConsumerDeps {
  readonly store: Store;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly random: Random;
  readonly ingest: Ingest;
  readonly brokers: readonly string[];
  readonly groupId: string;
  readonly limits?: BatchLimits;
  /** `EVENTS_TOPIC`, but for tests that share a broker. */
  readonly topic?: string;
}

export interface Consumer extends Part {
  /** Rejects when the worker can't go on; the process should end and be started again. */
  readonly failed: Promise<never>;
}

/** A member that is silent for so long is taken for dead. */
const SESSION_MS = 15_000;
const HEARTBEAT_MS = 3_000;
/** Added to the window before a quiet tail is closed. */
const TAIL_SLACK_MS = 500;
/** Between two looks at a tail that is still open. */
const TAIL_POLL_MS = 50;
/** How long stopping waits for the batch at hand. */
const STOP_GRACE_MS = 8_000;
const CONNECT_RETRY_MS = 2_000;
const PARTITIONS_AT_ONCE = 4;
/** A fetch must hold a whole batch and the message that ends it. */
const fetchBytes = (limits: BatchLimits) => limits.bytesMax + FRAME_BYTES_MAX + 1024 * 1024;

type Message = KafkaMessage & { readonly offset: string };

function batchOf(topic: string, partition: number, messages: readonly Message[]): Batch {
  const first = messages[0]?.offset;
  const last = messages.at(-1)?.offset;
  const frames = messages.map((message) => ({
    bytes: message.value ?? new Uint8Array(),
    origin: `${topic}/${partition}/${message.offset}`,
  }));
  return { name: `${topic}/${partition}/${first}-${last}`, frames };
}

const nextOffset = (messages: readonly Message[]): string =>
  (BigInt(messages.at(-1)?.offset ?? '-1') + 1n).toString();

/** A worker of the consumer group `groupId`. `start` returns at once; brokers may be away. */
export function createConsumer(deps: ConsumerDeps): Consumer {
  const { log, meter, clock, ingest } = deps;
  const limits = deps.limits ?? BATCH_LIMITS;
  const topicName = deps.topic ?? EVENTS_TOPIC;
  const stopping = new AbortController();
  const abandon = new AbortController();
  const tails = new Map<number, TailWatch>();
  let fail: (error: unknown) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {});
  let running: Promise<void> | undefined;

  const kafka = new Kafka({
    clientId: 'telltale-ingest',
    brokers: [...deps.brokers],
    logCreator: () => (entry) => kafkaLog(log, entry),
    retry: { retries: 8, initialRetryTime: 200, maxRetryTime: 3_000 },
  });
  const consumer = kafka.consumer({
    groupId: deps.groupId,
    sessionTimeout: SESSION_MS,
    heartbeatInterval: HEARTBEAT_MS,
    maxBytesPerPartition: fetchBytes(limits),
    maxBytes: 2 * fetchBytes(limits),
    maxWaitTimeInMs: 250,
    allowAutoTopicCreation: false,
    retry: { retries: 8, restartOnFailure: async () => !stopping.signal.aborted },
  });
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    // Another worker may have written since; what was known of streams and tails is void.
    ingest.forget();
    tails.clear();
    const partitions = Object.values(payload.memberAssignment).flat().length;
    log.info('ingest.assigned', { group: deps.groupId, partitions });
  });
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    log.warn('ingest.consumer_crashed', {
      error: payload.error.message,
      restart: payload.restart,
    });
    if (!payload.restart) fail(payload.error);
  });

  /** Stores one batch, with heartbeats; false when the worker is stopping before it is done. */
  async function store(batch: Batch, heartbeat: () => Promise<void>): Promise<boolean> {
    const ousted = new AbortController();
    let lost: unknown;
    const timer = setInterval(() => {
      heartbeat().catch((error) => {
        lost = error;
        ousted.abort();
      });
    }, HEARTBEAT_MS);
    try {
      const summary = await ingest.take(batch, AbortSignal.any([ousted.signal, abandon.signal]));
      log.debug('ingest.batch', { name: batch.name, ...summary });
      return true;
    } catch (error) {
      if (abandon.signal.aborted) return false;
      if (lost !== undefined) throw lost;
      if (!(error instanceof StoreError) || error.fault.code !== 'closed')
        log.error('ingest.batch_failed', { name: batch.name, error: String(error) });
      fail(error);
      throw error;
    } finally {
      clearInterval(timer);
    }
  }

  function tailOf(partition: number): TailWatch {
    const found = tails.get(partition);
    if (found !== undefined) return found;
    const made = createTailWatch(clock.monotonicNs, limits.windowMs + TAIL_SLACK_MS);
    tails.set(partition, made);
    return made;
  }

  /** The batches of a fetch that are whole: all closed ones, and the tail when its time has come. */
  function wholeBatches(fetched: Fetched): readonly (readonly Message[])[] {
    const { closed, tail } = cutBatches<Message>(fetched.messages, limits);
    const first = tail[0];
    if (first === undefined) return closed;
    const atEnd = nextOffset(tail) === fetched.highWatermark;
    return tailOf(fetched.partition).isClosed(first.offset, atEnd) ? [...closed, tail] : closed;
  }

  async function eachBatch(payload: EachBatchPayload): Promise<void> {
    const { batch: fetched, heartbeat } = payload;
    const { topic, partition } = fetched;
    const batches = wholeBatches(fetched);
    meter.gauge('telltale.ingest.lag', Number(fetched.offsetLagLow()));
    for (const messages of batches) {
      if (stopping.signal.aborted || !payload.isRunning() || payload.isStale()) return;
      if (!(await store(batchOf(topic, partition, messages), heartbeat))) return;
      const offset = nextOffset(messages);
      await payload.commitOffsetsIfNecessary({
        topics: [{ topic, partitions: [{ partition, offset }] }],
      });
      payload.resolveOffset((BigInt(offset) - 1n).toString());
      meter.count('telltale.ingest.batches', 1);
      await heartbeat();
    }
    if (batches.length === 0) await clock.sleep(TAIL_POLL_MS, stopping.signal).catch(() => {});
  }

  async function connect(): Promise<void> {
    for (let attempt = 0; !stopping.signal.aborted; attempt++) {
      try {
        await consumer.connect();
        await consumer.subscribe({ topic: topicName, fromBeginning: true });
        await consumer.run({
          autoCommit: false,
          eachBatchAutoResolve: false,
          partitionsConsumedConcurrently: PARTITIONS_AT_ONCE,
          eachBatch,
        });
        return;
      } catch (error) {
        const fields = { brokers: deps.brokers.join(','), topic: topicName };
        log.warn('ingest.broker_away', { ...fields, attempt, error: String(error) });
        await clock.sleep(CONNECT_RETRY_MS, stopping.signal).catch(() => {});
      }
    }
  }

  return {
    failed,
    async start() {
      running ??= connect();
    },
    async stop() {
      stopping.abort();
      const timer = setTimeout(() => abandon.abort(), STOP_GRACE_MS);
      await running;
      await consumer.disconnect().catch((error) => {
        log.warn('ingest.disconnect_failed', { error: String(error) });
      });
      clearTimeout(timer);
    },
  };
}

/** Kafka's own troubles lose nothing: the client tries again, and so they are warnings at most. */
function kafkaLog(log: Log, entry: { level: number; log: { message: string } }): void {
  const fields = { message: entry.log.message.slice(0, 500) };
  if (entry.level <= 2) log.warn('ingest.kafka', fields);
  else log.debug('ingest.kafka', fields);
}
