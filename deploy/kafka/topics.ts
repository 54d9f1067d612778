/**
 * Creates the topics that the services need, and reads how far they were worked off. An
 * administration client, apart from the two files that produce and consume; nothing else uses it.
 */
import { Kafka, logLevel } from 'kafkajs';
import { EVENTS_TOPIC, EVENTS_TOPIC_SETTINGS, type Log } from '#schemas';

export interface TopicSettings {
  readonly partitions: number;
  /** Copies of each partition; at most the number of brokers, and 3 by default. */
  readonly replicationFactor?: number;
}

export const TOPIC_DEFAULTS: TopicSettings = { partitions: 12 };

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

/**
 * Creates the events topic when it is not there. An existing topic is left as it is, and a setting
 * of it that differs from ours is said so: batches are cut by the broker's time stamps.
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
    const created = await admin.createTopics({
      waitForLeaders: true,
      topics: [
        {
          topic: EVENTS_TOPIC,
          numPartitions: settings.partitions,
          replicationFactor: copies,
          configEntries: [
            ...Object.entries(EVENTS_TOPIC_SETTINGS).map(([name, value]) => ({ name, value })),
            { name: 'min.insync.replicas', value: String(copies > 1 ? copies - 1 : 1) },
          ],
        },
      ],
    });
    if (!created) await compareSettings(admin, log);
    const { topics } = await admin.fetchTopicMetadata({ topics: [EVENTS_TOPIC] });
    return { created, partitions: topics[0]?.partitions.length ?? 0 };
  } finally {
    await admin.disconnect();
  }
}

/** The broker's number of a topic among its resources (Kafka protocol, ConfigResource.Type). */
const TOPIC_RESOURCE = 2;

async function compareSettings(admin: ReturnType<Kafka['admin']>, log: Log): Promise<void> {
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
