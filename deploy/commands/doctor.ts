import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { Kafka, logLevel as kafkaLogLevel } from 'kafkajs';
import {
  connectionAdvice,
  type Draft,
  EVENTS_TOPIC,
  KAFKA_TRUST,
  type KafkaSecurity,
  type Log,
} from '#schemas';
import { systemDisk } from '../../collector/disk.ts';
import { createLadder } from '../../collector/sensors/ladder.ts';
import { abandonedStreams } from '../../collector/spool.ts';
import { escapeText } from '../../query/timeline/escape.ts';
import { KAFKA_FLAGS, kafkaSecurity } from '../kafka/security.ts';
import { createClock } from '../process/clock.ts';
import { brokers, nativeHelper, spoolDir, storeUrl } from '../settings.ts';
import { openStore } from '../stores/open.ts';

const NODE_MAJOR_MIN = 20;
const NODE_MINOR_MIN = 19;
const SENSOR_MS_MAX = 20_000;
const BROKER_MS_MAX = 8_000;

/** What one look showed. Never a secret: addresses are told without user and password. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly text: string;
}

/** Nothing of the parts' own logs belongs into the doctor's answer. */
const silent: Log = { debug() {}, info() {}, warn() {}, error() {} };

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

/** An address without what may be a secret in it. */
export function withoutSecrets(text: string): string {
  if (!URL.canParse(text)) return text;
  const url = new URL(text);
  const secret = url.username !== '' || url.password !== '' || url.search !== '';
  url.username = '';
  url.password = '';
  url.search = '';
  return secret ? `${url.href} (with credentials)` : url.href;
}

/** Takes the secrets of `address` out of what an engine or driver says of it. */
function redacted(text: string, address: string): string {
  let out = text.replaceAll(address, withoutSecrets(address));
  if (!URL.canParse(address)) return out;
  const { username, password } = new URL(address);
  for (const secret of [password, decodeURIComponent(password), username])
    if (secret !== '') out = out.replaceAll(secret, '***');
  return out;
}

async function check(name: string, look: () => Promise<string> | string): Promise<Check> {
  try {
    return { name, ok: true, text: await look() };
  } catch (error) {
    return { name, ok: false, text: messageOf(error) };
  }
}

async function within<T>(work: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} within ${ms / 1000} s`)), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

function nodeVersion(): string {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < NODE_MAJOR_MIN || (major === NODE_MAJOR_MIN && minor < NODE_MINOR_MIN))
    throw new Error(`${process.version} is too old: ${NODE_MAJOR_MIN}.${NODE_MINOR_MIN} is needed`);
  return process.version;
}

/** Runs `true` under the real sensor: its self-check says what it covers. */
async function sensor(): Promise<string> {
  const seen: Draft[] = [];
  const ladder = createLadder({ log: silent, clock: createClock(), native: nativeHelper() });
  const command = { argv: ['true'], env: { PATH: process.env.PATH ?? '' }, cwd: os.tmpdir() };
  const work = async () => {
    const running = await ladder.run(command, async (drafts) => {
      seen.push(...drafts);
    });
    await running.exited;
    await running.stop();
  };
  await within(work(), SENSOR_MS_MAX, 'the sensor gave no answer');
  const sensors = seen.filter((draft) => draft.kind === 'sensor');
  const state = sensors.at(-1);
  const refused = sensors
    .slice(0, -1)
    .map((draft) => `; rung ${draft.sensor_rung} refused: ${draft.reason}`);
  const runs = seen.filter((draft) => draft.kind === 'exec' && draft.outcome !== 'failure').length;
  if (state === undefined) throw new Error('it told no coverage');
  const words = `coverage ${state.coverage}${state.reason === undefined ? '' : `: ${state.reason}`}${refused.join('')}`;
  if (state.coverage !== 'complete') throw new Error(words);
  if (runs === 0) throw new Error(`${words}, and yet the run of "true" was not seen`);
  return `rung ${state.sensor_rung ?? '?'} (${state.attrs?.supervisor ?? state.sensor_name}), ${words}`;
}

async function embedded(): Promise<string> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-doctor-'));
  try {
    const store = await openStore(`chdb:${dir}`, { log: silent });
    await store.ping().finally(() => store.close());
    return 'opens and answers';
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

async function server(url: string): Promise<string> {
  try {
    const store = await openStore(url, { log: silent });
    await store.ping().finally(() => store.close());
  } catch (error) {
    throw new Error(redacted(messageOf(error), url));
  }
  return `${withoutSecrets(url)} answers`;
}

async function kafka(list: string, security: KafkaSecurity): Promise<string> {
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
    const look = async () => {
      await admin.connect();
      const { brokers: known } = await admin.describeCluster();
      const topics = await admin.listTopics();
      if (!topics.includes(EVENTS_TOPIC))
        throw new Error(
          `${known.length} brokers, but no topic ${EVENTS_TOPIC}: "telltale migrate --kafka ${list}" makes it`,
        );
      const { topics: found } = await admin.fetchTopicMetadata({ topics: [EVENTS_TOPIC] });
      return `${known.length} brokers, topic ${EVENTS_TOPIC} with ${found[0]?.partitions.length} partitions`;
    };
    return await within(look(), BROKER_MS_MAX, 'no broker answered');
  } catch (error) {
    const advice = connectionAdvice(error, KAFKA_TRUST);
    throw advice === undefined ? error : new Error(`${messageOf(error)}: ${advice}`);
  } finally {
    await admin.disconnect().catch(() => {});
  }
}

function spool(dir: string): string {
  fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  const probe = fs.mkdtempSync(path.join(dir, '.doctor-'));
  fs.rmdirSync(probe);
  const waiting = abandonedStreams(dir, systemDisk).length;
  const rest =
    waiting === 0
      ? 'nothing waits'
      : `${waiting} ${waiting === 1 ? 'stream waits' : 'streams wait'}: "telltale collect" ships them`;
  return `${dir} is writable; ${rest}`;
}

export interface DoctorOptions {
  readonly store?: string | undefined;
  readonly kafka?: string | undefined;
  readonly security?: KafkaSecurity;
  readonly spool: string;
}

/** All that can be looked at here, one after the other. */
export async function examine(options: DoctorOptions): Promise<readonly Check[]> {
  const checks = [
    await check('node', nodeVersion),
    await check('kernel', () => `${os.type()} ${os.release()} ${os.arch()}`),
    await check('sensor', sensor),
    await check('spool', () => spool(options.spool)),
    await check('embedded store', embedded),
  ];
  const { store, kafka: list, security = {} } = options;
  if (store !== undefined) checks.push(await check('store', () => server(store)));
  if (list !== undefined) checks.push(await check('kafka', () => kafka(list, security)));
  return checks;
}

/** `telltale doctor`: exit code 0 when all that was looked at works. */
export async function doctor(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: { store: { type: 'string' }, kafka: { type: 'string' }, ...KAFKA_FLAGS },
  });
  const checks = await examine({
    store: values.store ?? storeUrl(),
    kafka: values.kafka ?? brokers(),
    security: kafkaSecurity(values),
    spool: spoolDir(),
  });
  const lines = checks.map(
    ({ name, ok, text }) => `${ok ? 'ok   ' : 'FAILS'}  ${name.padEnd(15)} ${escapeText(text)}\n`,
  );
  process.stdout.write(lines.join(''));
  return checks.every(({ ok }) => ok) ? 0 : 1;
}
