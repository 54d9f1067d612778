import { LOOPBACK } from './ports.ts';

/** The largest record batch that the brokers take and pass on, in bytes. */
export const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;
const REPLICATION_MAX = 3;
/** Kafka's default is 50; fewer make the first group and the first transaction start sooner. */
const INTERNAL_TOPIC_PARTITIONS = 4;

/** One broker's place in the cluster. `node` counts from 1. */
export interface Place {
  readonly node: number;
  readonly clientPort: number;
  readonly controllerPort: number;
}

/** `host:port` of a broker, as a Kafka client wants it. */
export function address(place: Place): string {
  return `${LOOPBACK}:${place.clientPort}`;
}

/** The text of `server.properties` for one broker, which is also a KRaft controller. */
export function serverProperties(place: Place, all: readonly Place[], logsDir: string): string {
  const replicas = Math.min(all.length, REPLICATION_MAX);
  const inSync = Math.max(1, replicas - 1);
  const voters = all.map((each) => `${each.node}@${LOOPBACK}:${each.controllerPort}`);
  const settings: Readonly<Record<string, string | number | boolean>> = {
    'process.roles': 'broker,controller',
    'node.id': place.node,
    'controller.quorum.voters': voters.join(','),
    listeners: `PLAINTEXT://${address(place)},CONTROLLER://${LOOPBACK}:${place.controllerPort}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAINTEXT',
    'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT',
    'log.dirs': logsDir,
    'num.partitions': 4,
    'default.replication.factor': replicas,
    'min.insync.replicas': inSync,
    'offsets.topic.replication.factor': replicas,
    'offsets.topic.num.partitions': INTERNAL_TOPIC_PARTITIONS,
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': inSync,
    'transaction.state.log.num.partitions': INTERNAL_TOPIC_PARTITIONS,
    'group.initial.rebalance.delay.ms': 0,
    'auto.create.topics.enable': false,
    'message.max.bytes': MESSAGE_BYTES_MAX,
    // Without this a follower could not copy what the leader has taken.
    'replica.fetch.max.bytes': MESSAGE_BYTES_MAX,
  };
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${escapeValue(String(value))}\n`)
    .join('');
}

/**
 * A value in the grammar of java.util.Properties, which Kafka reads as ISO 8859-1: everything
 * that is not printable ASCII is written as `\uXXXX`, the backslash is doubled.
 */
function escapeValue(value: string): string {
  return value
    .replaceAll('\\', '\\\\')
    .replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
