/**
 * Kafka -> ingest. The only file that consumes: it puts kafkajs under a worker (`work.ts`), which
 * decides everything. See README.md.
 */
import { type EachBatchPayload, Kafka } from 'kafkajs';
import {
  type Clock,
  connectionAdvice,
  EVENTS_TOPIC,
  FRAME_BYTES_MAX,
  KAFKA_TRUST,
  type KafkaSecurity,
  type Log,
  type Meter,
  type Part,
  type Random,
  type Store,
} from '#schemas';
import { BATCH_LIMITS, type BatchLimits } from './cut.ts';
import { watchLag } from './lag.ts';
import type { Ingest } from './loop.ts';
import { type Committed, createWorker, HEARTBEAT_MS, type Membership } from './work.ts';

export interface ConsumerDeps {
  readonly store: Store;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly random: Random;
  readonly ingest: Ingest;
  readonly brokers: readonly string[];
  /** How the brokers are spoken to; plain text without an account where absent. */
  readonly security?: KafkaSecurity;
  readonly groupId: string;
  readonly limits?: BatchLimits;
  /** `EVENTS_TOPIC`, but for tests that share a broker. */
  readonly topic?: string;
}

/** How a worker stands with its group; times are the clock's monotonic ones. */
export interface ConsumerState {
  /** Whether it is a member of the group now, and of how many partitions. */
  readonly joined: boolean;
  readonly partitions: number;
  /** When a fetch came back last, with messages or without; undefined before the first. */
  readonly polledNs: bigint | undefined;
  /** Since when the oldest fetch is worked on that is not done; undefined where none is. */
  readonly busySinceNs: bigint | undefined;
}

export interface Consumer extends Part {
  readonly state: ConsumerState;
  /** Rejects when the worker can't go on; the process should end and be started again. */
  readonly failed: Promise<never>;
}

/** A member that is silent for so long is taken for dead. */
const SESSION_MS = 15_000;
const CONNECT_RETRY_MS = 2_000;
const PARTITIONS_AT_ONCE = 4;
/** As Kafka has it for a group that has committed nothing yet. */
const NOTHING_COMMITTED: Committed = { offset: '-1', note: '' };
/**
 * A fetch brings a whole batch of each partition, with room for what Kafka puts around it: also one
 * that a worker of another version began and wrote down, which may be as large as a frame. Were it
 * less, such a batch would never be there whole, and its partition would stand still.
 */
const partitionBytes = (limits: BatchLimits) =>
  Math.max(limits.bytesMax, FRAME_BYTES_MAX) + 1024 * 1024;
/** From all partitions of one broker; a single message may be larger. */
const FETCH_BYTES_MAX = 48 * 1024 * 1024;

/** A worker's membership, as kafkajs gives it with each fetch. */
function membershipOf(payload: EachBatchPayload): Membership {
  const { topic, partition } = payload.batch;
  return {
    heartbeat: () => payload.heartbeat(),
    // kafkajs sends `metadata` along, as the protocol has it; only its types leave it out.
    commit: (offset, note) => {
      const one = { partition, offset, metadata: note };
      return payload.commitOffsetsIfNecessary({ topics: [{ topic, partitions: [one] }] });
    },
    resolve: (offset) => payload.resolveOffset((BigInt(offset) - 1n).toString()),
    isCurrent: () => payload.isRunning() && !payload.isStale(),
  };
}

/** A worker of the consumer group `groupId`. `start` returns at once; brokers may be away. */
export function createConsumer(deps: ConsumerDeps): Consumer {
  const { log, meter, clock, ingest, groupId } = deps;
  const limits = deps.limits ?? BATCH_LIMITS;
  const topic = deps.topic ?? EVENTS_TOPIC;
  let fail: (error: unknown) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {});
  let running: Promise<void> | undefined;

  const kafka = new Kafka({
    clientId: 'telltale-ingest',
    brokers: [...deps.brokers],
    ...deps.security,
    logCreator: () => (entry) => kafkaLog(log, entry),
    retry: { retries: 8, initialRetryTime: 200, maxRetryTime: 3_000 },
  });
  const admin = kafka.admin();
  const consumer = kafka.consumer({
    groupId,
    sessionTimeout: SESSION_MS,
    heartbeatInterval: HEARTBEAT_MS,
    maxBytesPerPartition: partitionBytes(limits),
    maxBytes: FETCH_BYTES_MAX,
    maxWaitTimeInMs: 250,
    allowAutoTopicCreation: false,
    retry: { retries: 8, restartOnFailure: async () => !worker.stopping.aborted },
  });

  /** What is committed, and the notes beside it: read once after each group join. */
  let commits: Promise<ReadonlyMap<number, Committed>> | undefined;
  async function readCommits(): Promise<ReadonlyMap<number, Committed>> {
    const [found] = await admin.fetchOffsets({ groupId, topics: [topic] });
    return new Map(
      found?.partitions.map(({ partition, offset, metadata }) => [
        partition,
        { offset, note: metadata ?? '' },
      ]),
    );
  }
  async function committedOf(partition: number): Promise<Committed> {
    commits ??= readCommits();
    try {
      return (await commits).get(partition) ?? NOTHING_COMMITTED;
    } catch (error) {
      commits = undefined;
      throw error;
    }
  }

  const state = { joined: false, partitions: 0, polledNs: undefined as bigint | undefined };
  /** When each fetch began that is worked on, by partition. */
  const busy = new Map<number, bigint>();

  const worker = createWorker({ log, meter, clock, ingest, topic, limits, committedOf, fail });
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    commits = undefined;
    worker.joined();
    const partitions = Object.values(payload.memberAssignment).flat().length;
    Object.assign(state, { joined: true, partitions, polledNs: clock.monotonicNs() });
    log.info('ingest.assigned', { group: groupId, partitions });
  });
  const left = () => void Object.assign(state, { joined: false, partitions: 0 });
  consumer.on(
    consumer.events.FETCH,
    () => void Object.assign(state, { polledNs: clock.monotonicNs() }),
  );
  consumer.on(consumer.events.REBALANCING, left);
  consumer.on(consumer.events.STOP, left);
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    left();
    log.warn('ingest.consumer_crashed', {
      error: payload.error.message,
      restart: payload.restart,
    });
    if (!payload.restart) fail(payload.error);
  });

  async function eachBatch(payload: EachBatchPayload): Promise<void> {
    const { batch } = payload;
    busy.set(batch.partition, clock.monotonicNs());
    try {
      await worker.work(batch, membershipOf(payload));
    } finally {
      busy.delete(batch.partition);
    }
  }

  let endLag = () => {};

  async function connect(): Promise<void> {
    for (let attempt = 0; !worker.stopping.aborted; attempt++) {
      try {
        await admin.connect();
        await consumer.connect();
        await consumer.subscribe({ topic, fromBeginning: true });
        await consumer.run({
          autoCommit: false,
          eachBatchAutoResolve: false,
          partitionsConsumedConcurrently: PARTITIONS_AT_ONCE,
          eachBatch,
        });
        endLag = watchLag({ admin, topic, groupId, clock, log, meter });
        return;
      } catch (error) {
        const fields = { brokers: deps.brokers.join(','), topic };
        brokerAway(log, { ...fields, attempt }, error);
        await clock.sleep(CONNECT_RETRY_MS, worker.stopping).catch(() => {});
      }
    }
  }

  async function disconnect(): Promise<void> {
    await consumer.disconnect();
    await admin.disconnect();
  }

  return {
    failed,
    get state() {
      const [busySinceNs] = [...busy.values()].sort((a, b) => (a < b ? -1 : 1));
      return { ...state, busySinceNs };
    },
    async start() {
      running ??= connect();
    },
    async stop() {
      const endGrace = worker.stop();
      await running;
      endLag();
      await disconnect().catch((error) => {
        log.warn('ingest.disconnect_failed', { error: String(error) });
      });
      endGrace();
    },
  };
}

/** Waiting mends a broker that is away; a certificate or an account only a person does. */
function brokerAway(log: Log, fields: Record<string, string | number>, error: unknown): void {
  const advice = connectionAdvice(error, KAFKA_TRUST);
  const told = { ...fields, error: String(error) };
  if (advice === undefined) log.warn('ingest.broker_away', told);
  else log.error('ingest.broker_refused', { ...told, advice });
}

/** Kafka's own troubles lose nothing: the client tries again, and so they are warnings at most. */
function kafkaLog(log: Log, entry: { level: number; log: { message: string } }): void {
  const fields = { message: entry.log.message.slice(0, 500) };
  if (entry.level <= 2) log.warn('ingest.kafka', fields);
  else log.debug('ingest.kafka', fields);
}
