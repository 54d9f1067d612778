/** Brokers and the topic of events: reachable, and set so that nothing is lost. */
import { Kafka, logLevel as kafkaLogLevel } from 'kafkajs';
import { connectionAdvice, EVENTS_TOPIC, KAFKA_TRUST, type KafkaSecurity } from '#schemas';
import { type Check, check, type Look, messageOf, warn, within } from './check.ts';

const BROKER_MS_MAX = 8_000;
/** The broker's number of a topic among its resources (Kafka protocol, ConfigResource.Type). */
const TOPIC_RESOURCE = 2;
const HOUR_MS = 3_600_000;
/** Shorter than this and a weekend without a worker loses events. */
const RETENTION_HOURS_MIN = 72;

/** What a topic is set to, as far as it matters here. */
export interface TopicFacts {
  readonly brokers: number;
  readonly partitions: number;
  /** Copies of the partition that has the fewest. */
  readonly replicas: number;
  /** Partitions whose copies are not all in step. */
  readonly behind: number;
  readonly settings: Readonly<Record<string, string>>;
}

/** What the settings of the topic mean, each by itself. */
export function judgeTopic(facts: TopicFacts): Readonly<Record<string, Look>> {
  const { brokers, partitions, replicas, behind, settings } = facts;
  const inSync = Number(settings['min.insync.replicas'] ?? 1);
  const hours = Number(settings['retention.ms'] ?? -1) / HOUR_MS;
  const bytes = Number(settings['retention.bytes'] ?? -1);
  const copies = `${replicas} copies of each partition on ${brokers} brokers, min.insync.replicas ${inSync}`;
  const kept = `${hours < 0 ? 'for ever' : `${Math.round(hours)} hours`}${bytes < 0 ? '' : `, at most ${bytes} bytes a partition`}`;
  const set = 'kafka-configs --alter --topic telltale.events --add-config';
  return {
    'topic copies':
      replicas > 1 && inSync > 1 && inSync < replicas && behind === 0
        ? copies
        : warn(
            behind > 0 ? `${copies}; ${behind} partitions have copies that lag` : copies,
            replicas < 2
              ? 'one lost disk loses what was acknowledged: three brokers, replication 3, min.insync.replicas 2'
              : `${set} min.insync.replicas=2 with replication 3: fewer lose data, as many as copies stop at one broker's loss`,
          ),
    'topic retention':
      (hours < 0 || hours >= RETENTION_HOURS_MIN) && bytes < 0
        ? `kept ${kept}`
        : warn(
            `kept ${kept}`,
            `${set} retention.ms=604800000,retention.bytes=-1: what no worker took by then is lost`,
          ),
    'topic partitions':
      partitions > 1
        ? `${partitions} partitions`
        : warn(
            '1 partition',
            'one worker can be busy at a time: add partitions before there is load',
          ),
  };
}

/** Facts of the topic; where there is none, how many brokers there are. */
async function factsOf(admin: ReturnType<Kafka['admin']>): Promise<TopicFacts | number> {
  await admin.connect();
  const { brokers: known } = await admin.describeCluster();
  if (!(await admin.listTopics()).includes(EVENTS_TOPIC)) return known.length;
  const { topics } = await admin.fetchTopicMetadata({ topics: [EVENTS_TOPIC] });
  const partitions = topics[0]?.partitions ?? [];
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: TOPIC_RESOURCE, name: EVENTS_TOPIC }],
  });
  const entries = resources[0]?.configEntries ?? [];
  return {
    brokers: known.length,
    partitions: partitions.length,
    replicas: Math.min(...partitions.map(({ replicas }) => replicas.length)),
    behind: partitions.filter(({ isr, replicas }) => isr.length < replicas.length).length,
    settings: Object.fromEntries(
      entries.map(({ configName, configValue }) => [configName, configValue]),
    ),
  };
}

/** Each look at the brokers; where none answers that is one line. */
export async function lookAtKafka(list: string, security: KafkaSecurity): Promise<Check[]> {
  const client = new Kafka({
    clientId: 'telltale-doctor',
    brokers: list.split(','),
    ...security,
    connectionTimeout: 3_000,
    retry: { retries: 1 },
    logLevel: kafkaLogLevel.NOTHING,
  });
  const admin = client.admin();
  try {
    const facts = await within(factsOf(admin), BROKER_MS_MAX, 'no broker answered');
    if (typeof facts === 'number') {
      const next = `"telltale migrate --kafka ${list}" makes it`;
      return [
        { name: 'kafka', level: 'fail', text: `${facts} brokers, no topic ${EVENTS_TOPIC}`, next },
      ];
    }
    const looks = Object.entries(judgeTopic(facts));
    return [
      { name: 'kafka', level: 'ok', text: `${facts.brokers} brokers, topic ${EVENTS_TOPIC}` },
      ...(await Promise.all(looks.map(([name, look]) => check(name, () => look, '')))),
    ];
  } catch (error) {
    const next =
      connectionAdvice(error, KAFKA_TRUST) ?? 'look whether the brokers run, and at --kafka';
    return [{ name: 'kafka', level: 'fail', text: messageOf(error), next }];
  } finally {
    await admin.disconnect().catch(() => {});
  }
}
