/**
 * Creates the topics that the services need, and reads how far they were worked off. An
 * administration client, apart from the two files that produce and consume; nothing else uses it.
 */
import { Kafka, logLevel } from 'kafkajs';
import {
  ALERTS_TOPIC,
  ALERTS_TOPIC_SETTINGS,
  EVENTS_TOPIC,
  EVENTS_TOPIC_SETTINGS,
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

const adminOf = (brokers: readonly string[], log: Log) =>
  new Kafka({
    clientId: 'telltale-admin',
    brokers: [...brokers],
    retry: { retries: 10, initialRetryTime: 200, maxRetryTime: 2_000 },
    logLevel: logLevel.ERROR,
    logCreator: () => (entry) => log.debug('kafkajs', { message: entry.log.message }),
  }).admin();

/** The offsets that a group has committed in the events topic, by partition. */
export async function committedOffsets(
  brokers: readonly string[],
  groupId: string,
  log: Log,
): Promise<ReadonlyMap<number, bigint>> {
  const admin = adminOf(brokers, log);
  await admin.connect();
  try {
    const [found] = await admin.fetchOffsets({ groupId, topics: [EVENTS_TOPIC] });
    return new Map(found?.partitions.map(({ partition, offset }) => [partition, BigInt(offset)]));
  } finally {
    await admin.disconnect();
  }
}

type Admin = ReturnType<Kafka['admin']>;

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
  return admin.createTopics({
    waitForLeaders: true,
    topics: [{ topic, numPartitions, replicationFactor: copies, configEntries }],
  });
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
): Promise<{ created: boolean; partitions: number }> {
  const admin = adminOf(brokers, log);
  await admin.connect();
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
