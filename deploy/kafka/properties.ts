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
  /** Between brokers, where clients come in over TLS. */
  readonly internalPort?: number;
}

/** TLS and SASL for clients; all texts are PEM, the key is PKCS #8 without a pass phrase. */
export interface ListenerSecurity {
  readonly cert: string;
  readonly key: string;
  /** The authority of clients' certificates; with it each client must have one. */
  readonly clientCa?: string;
  /** Accounts, for PLAIN and for both forms of SCRAM. */
  readonly users: readonly { readonly name: string; readonly password: string }[];
}

/** `host:port` of a broker, as a Kafka client wants it. */
export function address(place: Place): string {
  return `${LOOPBACK}:${place.clientPort}`;
}

const JAAS = 'org.apache.kafka.common.security';
const SCRAM = ['SCRAM-SHA-256', 'SCRAM-SHA-512'] as const;

/** A value in the grammar of JAAS. */
const jaas = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`;

type Settings = Readonly<Record<string, string | number | boolean>>;

/** The listener of clients, in plain text or by TLS and SASL; with it the one between brokers. */
function listenerSettings(place: Place, security: ListenerSecurity | undefined): Settings {
  const controller = `CONTROLLER://${LOOPBACK}:${place.controllerPort}`;
  if (security === undefined)
    return {
      listeners: `PLAINTEXT://${address(place)},${controller}`,
      'inter.broker.listener.name': 'PLAINTEXT',
      'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT',
    };
  const internal = `INTERNAL://${LOOPBACK}:${place.internalPort}`;
  const users = security.users.map(({ name, password }) => `user_${name}=${jaas(password)}`);
  const own = (name: string) => `listener.name.secure.${name}`;
  const { clientCa } = security;
  return {
    listeners: `SECURE://${address(place)},${internal},${controller}`,
    'inter.broker.listener.name': 'INTERNAL',
    'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,SECURE:SASL_SSL',
    [own('ssl.keystore.type')]: 'PEM',
    [own('ssl.keystore.certificate.chain')]: security.cert,
    [own('ssl.keystore.key')]: security.key,
    ...(clientCa === undefined
      ? {}
      : {
          [own('ssl.client.auth')]: 'required',
          [own('ssl.truststore.type')]: 'PEM',
          [own('ssl.truststore.certificates')]: clientCa,
        }),
    [own('sasl.enabled.mechanisms')]: ['PLAIN', ...SCRAM].join(','),
    [own('plain.sasl.jaas.config')]: `${JAAS}.plain.PlainLoginModule required ${users.join(' ')};`,
    ...Object.fromEntries(
      SCRAM.map((name) => [
        own(`${name.toLowerCase()}.sasl.jaas.config`),
        `${JAAS}.scram.ScramLoginModule required;`,
      ]),
    ),
  };
}

/** What the tool that formats a folder is told of accounts; SCRAM's are part of the metadata. */
export function scramArguments(security: ListenerSecurity | undefined): readonly string[] {
  return (security?.users ?? []).flatMap(({ name, password }) =>
    SCRAM.flatMap((mechanism) => [
      '--add-scram',
      `${mechanism}=[name="${name}",password="${password}"]`,
    ]),
  );
}

/** The text of `server.properties` for one broker, which is also a KRaft controller. */
export function serverProperties(
  place: Place,
  all: readonly Place[],
  logsDir: string,
  security?: ListenerSecurity,
): string {
  const replicas = Math.min(all.length, REPLICATION_MAX);
  const inSync = Math.max(1, replicas - 1);
  const voters = all.map((each) => `${each.node}@${LOOPBACK}:${each.controllerPort}`);
  const settings: Settings = {
    'process.roles': 'broker,controller',
    'node.id': place.node,
    'controller.quorum.voters': voters.join(','),
    ...listenerSettings(place, security),
    'controller.listener.names': 'CONTROLLER',
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
