/** TLS and SASL towards brokers: flags, then environment; secrets come by file alone. */
import { type KafkaSecurity, SASL_MECHANISMS, type SaslMechanism } from '#schemas';
import { UsageError } from '../process/lifecycle.ts';
import { pairOf, readAuthority, readIdentity, readSecret } from '../tls.ts';

/** For `parseArgs`, of every command that speaks to brokers. */
export const KAFKA_FLAGS = {
  'kafka-tls': { type: 'boolean' },
  'kafka-ca': { type: 'string' },
  'kafka-cert': { type: 'string' },
  'kafka-key': { type: 'string' },
  'kafka-user': { type: 'string' },
  'kafka-password-file': { type: 'string' },
  'kafka-mechanism': { type: 'string' },
} as const;

export interface KafkaFlags {
  readonly 'kafka-tls'?: boolean | undefined;
  readonly 'kafka-ca'?: string | undefined;
  readonly 'kafka-cert'?: string | undefined;
  readonly 'kafka-key'?: string | undefined;
  readonly 'kafka-user'?: string | undefined;
  readonly 'kafka-password-file'?: string | undefined;
  readonly 'kafka-mechanism'?: string | undefined;
}

const DEFAULT_MECHANISM: SaslMechanism = 'scram-sha-512';
const SWITCH: Readonly<Record<string, boolean>> = { '': false, false: false, true: true };

const isMechanism = (text: string): text is SaslMechanism =>
  (SASL_MECHANISMS as readonly string[]).includes(text);

function sslOf(flags: KafkaFlags, env: NodeJS.ProcessEnv): KafkaSecurity['ssl'] {
  const text = env.KAFKA_TLS ?? '';
  const on = flags['kafka-tls'] ?? SWITCH[text];
  if (on === undefined) throw new UsageError(`KAFKA_TLS=${text}: give true or false`);
  const ca = flags['kafka-ca'] ?? env.KAFKA_CA_FILE;
  const pair = pairOf(
    { name: '--kafka-cert', file: flags['kafka-cert'] ?? env.KAFKA_CERT_FILE },
    { name: '--kafka-key', file: flags['kafka-key'] ?? env.KAFKA_KEY_FILE },
  );
  if (!ca && pair === undefined) return on ? true : undefined;
  return {
    ...(ca ? { ca: readAuthority({ name: '--kafka-ca', file: ca }) } : {}),
    ...(pair === undefined ? {} : readIdentity(...pair)),
  };
}

function saslOf(flags: KafkaFlags, env: NodeJS.ProcessEnv): KafkaSecurity['sasl'] {
  const username = flags['kafka-user'] ?? env.KAFKA_SASL_USERNAME;
  const file = flags['kafka-password-file'] ?? env.KAFKA_SASL_PASSWORD_FILE;
  const mechanism = (flags['kafka-mechanism'] ?? env.KAFKA_SASL_MECHANISM ?? '').toLowerCase();
  if (mechanism !== '' && !isMechanism(mechanism))
    throw new UsageError(`--kafka-mechanism ${mechanism}: give ${SASL_MECHANISMS.join(', ')}`);
  if (!username && !file && mechanism === '') return undefined;
  if (!username || !file)
    throw new UsageError('SASL needs --kafka-user NAME and --kafka-password-file FILE');
  const password = readSecret({ name: '--kafka-password-file', file });
  return { mechanism: mechanism === '' ? DEFAULT_MECHANISM : mechanism, username, password };
}

/**
 * How brokers are spoken to; empty is plain text without an account. TLS is on where an authority, a
 * certificate, or `--kafka-tls` (the system's authorities) is given. Throws a `UsageError` that
 * names the setting, also for PLAIN without TLS, which would send the password in clear text.
 */
export function kafkaSecurity(
  flags: KafkaFlags,
  env: NodeJS.ProcessEnv = process.env,
): KafkaSecurity {
  const [ssl, sasl] = [sslOf(flags, env), saslOf(flags, env)];
  if (sasl?.mechanism === 'plain' && ssl === undefined)
    throw new UsageError(
      'SASL PLAIN without TLS would send the password in clear text: add --kafka-ca FILE or --kafka-tls',
    );
  return { ...(ssl === undefined ? {} : { ssl }), ...(sasl === undefined ? {} : { sasl }) };
}
