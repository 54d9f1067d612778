/**
 * Settings, parsed once at the edge: flags first, then environment, then defaults. The only place
 * beside the commands that reads `process.env`. All faults of a command line are reported together.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ALERTS_TOPIC, type KafkaSecurity } from '#schemas';
import { UsageError } from './process/lifecycle.ts';
import { readSecret } from './tls.ts';

export const DEFAULT_PORT = 4560;
export const DEFAULT_URL = `http://127.0.0.1:${DEFAULT_PORT}`;
export const DEFAULT_TENANT = 'default';

const env = process.env;
const home = env.HOME ?? os.homedir();

/** Where what is recorded waits to be shipped (XDG base directories). */
export const spoolDir = (): string =>
  env.TELLTALE_SPOOL ??
  path.join(env.XDG_STATE_HOME ?? path.join(home, '.local/state'), 'telltale/spool');

/** Where the native supervisor is kept when it was compiled, and with which compiler it is. */
export const nativeHelper = () => ({
  dir: path.join(env.XDG_CACHE_HOME ?? path.join(home, '.cache'), 'telltale'),
  ...(env.CC === undefined || env.CC === '' ? {} : { compiler: env.CC }),
});

/** Where `telltale up` keeps its database. */
export const dataDir = (): string =>
  env.TELLTALE_DATA ?? path.join(env.XDG_DATA_HOME ?? path.join(home, '.local/share'), 'telltale');

export const destination = (): string => env.TELLTALE_TO ?? DEFAULT_URL;

/**
 * The store's address, with the password of `TELLTALE_STORE_PASSWORD_FILE` where that is set. Throws
 * a `UsageError` that names the file, where it can't be read or the address takes no password.
 */
export function storeUrl(): string | undefined {
  const [store, file] = [env.TELLTALE_STORE, env.TELLTALE_STORE_PASSWORD_FILE];
  if (store === undefined || file === undefined || file === '') return store;
  if (!URL.canParse(store) || !/^https?:$/.test(new URL(store).protocol))
    throw new UsageError('TELLTALE_STORE_PASSWORD_FILE: TELLTALE_STORE must be an http(s):// URL');
  const url = new URL(store);
  try {
    url.password = encodeURIComponent(fs.readFileSync(file, 'utf8').trimEnd());
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new UsageError(`TELLTALE_STORE_PASSWORD_FILE ${file}: can't be read (${why})`);
  }
  if (url.password === '' || url.username === '')
    throw new UsageError(`${file}: a user in TELLTALE_STORE and a password in the file are needed`);
  return url.href;
}

/** More replicas of a shard would be a mistake in the number. */
const REPLICAS_MAX = 9;

/** How many replicas each shard of the store has: `TELLTALE_STORE_REPLICAS`; one server without it. */
export function clusterSettings(): { readonly replicas?: number } {
  const text = env.TELLTALE_STORE_REPLICAS;
  if (text === undefined || text === '') return {};
  const replicas = Number(text);
  if (Number.isInteger(replicas) && replicas >= 1 && replicas <= REPLICAS_MAX) return { replicas };
  throw new UsageError(`TELLTALE_STORE_REPLICAS=${text}: give a number from 1 to ${REPLICAS_MAX}`);
}

export const tenant = (): string => env.TELLTALE_TENANT ?? DEFAULT_TENANT;
export const logLevel = (): string => env.TELLTALE_LOG ?? 'info';
export const brokers = (): string | undefined => env.KAFKA_BROKERS;

/** Flags of the services that run rules, for `parseArgs`. */
export const RULE_FLAGS = {
  rules: { type: 'string', multiple: true, default: [] as string[] },
  'no-rules': { type: 'boolean', default: false },
  baseline: { type: 'string' },
  'no-baseline': { type: 'boolean', default: false },
  alertmanager: { type: 'string' },
  webhook: { type: 'string' },
  'alert-topic': { type: 'string', default: ALERTS_TOPIC },
} as const;

interface RuleFlags {
  readonly rules: readonly string[];
  readonly 'no-rules': boolean;
  readonly baseline?: string | undefined;
  readonly 'no-baseline': boolean;
  readonly alertmanager?: string | undefined;
  readonly webhook?: string | undefined;
  readonly 'alert-topic': string;
}

const TOPIC_NAME = /^[A-Za-z0-9._-]{1,249}$/;

/** The topic of alerts where there are brokers; `none` is for no topic. */
function alertTopic(
  name: string,
  list: readonly string[] | undefined,
  security: KafkaSecurity | undefined,
) {
  if (list === undefined || name === 'none') return {};
  if (!TOPIC_NAME.test(name))
    throw new UsageError(`--alert-topic ${JSON.stringify(name)}: give a topic's name, or none`);
  return { alertTopic: { brokers: list, topic: name, ...(security && { security }) } };
}

function webUrl(flag: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
  throw new UsageError(`--${flag} ${text}: give an http:// or https:// URL`);
}

/** What comes with the product: rule folders, and the file of the learned baseline. */
export interface Shipped {
  readonly folders: readonly string[];
  readonly baseline: string;
}

/** Which rules run and where alerts go; `list`: the brokers, where there are some. */
export function ruleSettings(
  flags: RuleFlags,
  shipped: Shipped,
  list?: readonly string[],
  security?: KafkaSecurity,
) {
  const alertmanagerUrl = webUrl('alertmanager', flags.alertmanager ?? env.TELLTALE_ALERTMANAGER);
  const webhookUrl = webUrl('webhook', flags.webhook ?? env.TELLTALE_WEBHOOK);
  const secretFile = env.TELLTALE_WEBHOOK_SECRET_FILE;
  const webhookSecret = secretFile
    ? readSecret({ name: 'TELLTALE_WEBHOOK_SECRET_FILE', file: secretFile })
    : env.TELLTALE_WEBHOOK_SECRET;
  const off = flags['no-baseline'] || (flags['no-rules'] && flags.baseline === undefined);
  const baseline = off ? undefined : (flags.baseline ?? shipped.baseline);
  return {
    folders: [...(flags['no-rules'] ? [] : shipped.folders), ...flags.rules],
    ...(baseline === undefined ? {} : { baseline }),
    ...(alertmanagerUrl === undefined ? {} : { alertmanagerUrl }),
    ...(webhookUrl === undefined ? {} : { webhookUrl }),
    ...(webhookSecret === undefined ? {} : { webhookSecret }),
    ...alertTopic(flags['alert-topic'], list, security),
  };
}

/** A port number of a flag. */
export function portOf(text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port > 65_535)
    throw new UsageError(`--port ${text}: give a number from 0 to 65535`);
  return port;
}

/** A whole number of a flag within bounds. */
export function integerOf(
  flag: string,
  text: string | undefined,
  fallback: number,
  max: number,
): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!/^\d{1,12}$/.test(text) || value > max)
    throw new UsageError(`--${flag} ${text}: give a whole number from 0 to ${max}`);
  return value;
}
