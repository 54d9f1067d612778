/**
 * Creates the topics that the services need, and reads how far they were worked off. An
 * administration client, apart from the two files that produce and consume; nothing else uses it.
 */
import { Kafka, logLevel } from 'kafkajs';
import {
  ALERTS_TOPIC,
  ALERTS_TOPIC_SETTINGS,
  connectionAdvice,
  EVENTS_TOPIC,
  EVENTS_TOPIC_SETTINGS,
  KAFKA_TRUST,
  type KafkaSecurity,
  type Log,
} from '#schemas';

export interface TopicSettings {
  readonly partitions: number;
  /** Copies of each partition; at most the number of brokers, and 3 by default. */
  readonly replicationFactor?: number;
}

export const TOPIC_DEFAULTS: TopicSettings = { partitions: 12 };
/** Alerts are few; a consumer that wants them all reads all partitions. */
const ALERT_PARTITIONS = 3;

const RETRIES = 10;

const adminOf = (
  brokers: readonly string[],
  log: Log,
  security: KafkaSecurity,
  retries: number = RETRIES,
) =>
  new Kafka({
    clientId: 'telltale-admin',
    brokers: [...brokers],
    ...security,
    retry: { retries, initialRetryTime: 200, maxRetryTime: 2_000 },
    logLevel: logLevel.ERROR,
    logCreator: () => (entry) => log.debug('kafkajs', { message: entry.log.message }),
  }).admin();

type Admin = ReturnType<Kafka['admin']>;

/**
 * A connected client. The first attempt is made once: the client would go on trying where a
 * certificate or an account is at fault, which only a person can mend.
 */
async function connect(
  brokers: readonly string[],
  log: Log,
  security: KafkaSecurity,
): Promise<Admin> {
  const first = adminOf(brokers, log, security, 0);
  try {
    await first.connect();
  } catch (error) {
    const advice = connectionAdvice(error, KAFKA_TRUST);
    if (advice !== undefined) throw new Error(`Kafka: ${advice}`, { cause: error });
  } finally {
    await first.disconnect();
  }
  const admin = adminOf(brokers, log, security);
  await admin.connect();
  return admin;
}

/** The offsets that a group has committed in the events topic, by partition. */
export async function committedOffsets(
  brokers: readonly string[],
  groupId: string,
  log: Log,
  security: KafkaSecurity = {},
): Promise<ReadonlyMap<number, bigint>> {
  const admin = await connect(brokers, log, security);
  try {
    const [found] = await admin.fetchOffsets({ groupId, topics: [EVENTS_TOPIC] });
    return new Map(found?.partitions.map(({ partition, offset }) => [partition, BigInt(offset)]));
  } finally {
    await admin.disconnect();
  }
}

/** How long a new topic may take to be led everywhere, and how often that is looked at. */
const LEADERS_MS_MAX = 60_000;
const LEADERS_POLL_MS = 200;

/**
 * Waits until each partition of a topic has a leader. The client's own wait gives up at once where
 * the broker that it asks has not heard of the topic yet, as happens on several busy brokers.
 */
async function led(admin: Admin, topic: string): Promise<void> {
  const ends = performance.now() + LEADERS_MS_MAX;
  for (;;) {
    try {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
      const partitions = topics[0]?.partitions ?? [];
      if (partitions.length > 0 && partitions.every(({ leader }) => leader >= 0)) return;
    } catch (error) {
      if ((error as { retriable?: unknown }).retriable !== true) throw error;
    }
    if (performance.now() > ends)
      throw new Error(
        `topic ${topic} was created, but its partitions have no leader after ${LEADERS_MS_MAX / 1000} s: see whether all brokers run`,
      );
    await new Promise((resolve) => setTimeout(resolve, LEADERS_POLL_MS));
  }
}

async function create(
  admin: Admin,
  topic: string,
  numPartitions: number,
  copies: number,
  settings: Readonly<Record<string, string>>,
): Promise<boolean> {
  const configEntries = [
    ...Object.entries(settings).map(([name, value]) => ({ name, value })),
    { name: 'min.insync.replicas', value: String(copies > 1 ? copies - 1 : 1) },
  ];
  const created = await admin.createTopics({
    waitForLeaders: false,
    topics: [{ topic, numPartitions, replicationFactor: copies, configEntries }],
  });
  if (created) await led(admin, topic);
  return created;
}

/**
 * Creates the topics that are not there: events and alerts. An existing one is left as it is, and a
 * setting of the events topic that differs from ours is said so: batches are cut by the broker's
 * time stamps. What is given back is of the events topic.
 */
export async function ensureTopics(
  brokers: readonly string[],
  settings: TopicSettings,
  log: Log,
  security: KafkaSecurity = {},
): Promise<{ created: boolean; partitions: number }> {
  const admin = await connect(brokers, log, security);
  try {
    const cluster = await admin.describeCluster();
    const copies = settings.replicationFactor ?? Math.min(3, cluster.brokers.length);
    const { partitions } = settings;
    const created = await create(admin, EVENTS_TOPIC, partitions, copies, EVENTS_TOPIC_SETTINGS);
    if (!created) await compareSettings(admin, log);
    await create(admin, ALERTS_TOPIC, ALERT_PARTITIONS, copies, ALERTS_TOPIC_SETTINGS);
    const { topics } = await admin.fetchTopicMetadata({ topics: [EVENTS_TOPIC] });
    return { created, partitions: topics[0]?.partitions.length ?? 0 };
  } finally {
    await admin.disconnect();
  }
}

/** The broker's number of a topic among its resources (Kafka protocol, ConfigResource.Type). */
const TOPIC_RESOURCE = 2;

async function compareSettings(admin: Admin, log: Log): Promise<void> {
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: TOPIC_RESOURCE, name: EVENTS_TOPIC }],
  });
  for (const entry of resources[0]?.configEntries ?? []) {
    const wanted = EVENTS_TOPIC_SETTINGS[entry.configName];
    if (wanted !== undefined && entry.configValue !== wanted)
      log.warn('topic.setting_differs', {
        topic: EVENTS_TOPIC,
        setting: entry.configName,
        is: entry.configValue,
        wanted,
      });
  }
}
