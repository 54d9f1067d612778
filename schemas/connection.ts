/**
 * How a connection to brokers is secured, as plain data that a service hands to its client unread,
 * and what a person can do where securing a connection fails.
 */

/** SASL mechanisms, by their names in kafkajs (RFC 4616, RFC 5802 and RFC 7677). */
export const SASL_MECHANISMS = ['plain', 'scram-sha-256', 'scram-sha-512'] as const;
export type SaslMechanism = (typeof SASL_MECHANISMS)[number];

/** One type for each mechanism, as kafkajs tells them apart. */
export type SaslAccount = {
  [M in SaslMechanism]: {
    readonly mechanism: M;
    readonly username: string;
    readonly password: string;
  };
}[SaslMechanism];

/** TLS and SASL of a Kafka client, in kafkajs' words; certificates and keys are PEM texts. */
export interface KafkaSecurity {
  readonly ssl?: true | { readonly ca?: string; readonly cert?: string; readonly key?: string };
  readonly sasl?: SaslAccount;
}

/** What a user sets, by name, so that an advice can say it. */
export interface TrustNames {
  readonly ca: string;
  readonly clientCertificate: string;
  readonly account: string;
}

export const KAFKA_TRUST: TrustNames = {
  ca: '--kafka-ca FILE (KAFKA_CA_FILE)',
  clientCertificate: '--kafka-cert FILE and --kafka-key FILE',
  account: '--kafka-user, --kafka-password-file and --kafka-mechanism',
};

/** Of what goes over `fetch`: Node itself reads the authorities. */
export const FETCH_TRUST: TrustNames = {
  ca: 'NODE_EXTRA_CA_CERTS=FILE',
  clientCertificate: 'a proxy that has one',
  account: 'TELLTALE_TOKEN',
};

type Advice = (names: TrustNames) => string;

const unknownIssuer: Advice = ({ ca }) =>
  `its certificate is of no authority that is known here: give the authority's with ${ca}`;
const noTls: Advice = () =>
  'what listens there does not speak TLS: give the port of its TLS listener, or leave TLS off';
const clientRefused: Advice = ({ clientCertificate }) =>
  `it wants a client's certificate of an authority that it knows: give ${clientCertificate}`;
const account: Advice = (names) =>
  `it refuses the account: check ${names.account} against the account on the server`;

/** Error codes of OpenSSL and of Node's TLS, and names of kafkajs' errors. */
const ADVICE: Readonly<Record<string, Advice>> = {
  CERT_HAS_EXPIRED: () => 'its certificate has expired: renew it on the server',
  CERT_NOT_YET_VALID: () => 'its certificate is not valid yet: compare the clocks of both machines',
  CERT_REVOKED: () => 'its certificate was revoked: renew it on the server',
  SELF_SIGNED_CERT_IN_CHAIN: unknownIssuer,
  DEPTH_ZERO_SELF_SIGNED_CERT: unknownIssuer,
  UNABLE_TO_GET_ISSUER_CERT: unknownIssuer,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownIssuer,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownIssuer,
  CERT_SIGNATURE_FAILURE: unknownIssuer,
  ERR_TLS_CERT_ALTNAME_INVALID: () =>
    'its certificate is for another name: connect by a name that it has, or have one made for this',
  ERR_SSL_WRONG_VERSION_NUMBER: noTls,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: noTls,
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: clientRefused,
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: clientRefused,
  'ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE': clientRefused,
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: clientRefused,
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: clientRefused,
  KafkaJSSASLAuthenticationError: account,
};

/** An error has a cause, and that a cause; a circle of them must end too. */
const DEPTH_MAX = 8;

interface Linked {
  readonly name?: unknown;
  readonly code?: unknown;
  readonly cause?: unknown;
  readonly errors?: readonly unknown[];
}

/**
 * What to do about a connection that could not be secured: told by the codes and names of the error
 * and of its causes, never by their texts. Undefined where the error is another one.
 */
export function connectionAdvice(error: unknown, names: TrustNames): string | undefined {
  let at: unknown = error;
  for (let depth = 0; depth < DEPTH_MAX && typeof at === 'object' && at !== null; depth++) {
    const { name, code, cause, errors }: Linked = at;
    for (const key of [code, name])
      if (typeof key === 'string' && Object.hasOwn(ADVICE, key)) return ADVICE[key]?.(names);
    at = cause ?? errors?.[0];
  }
  return undefined;
}
