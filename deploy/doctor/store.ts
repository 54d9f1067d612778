/** A ClickHouse server: whether it answers, its version, schema, room and clock. */
import type { QueryLimits, Row, Store } from '#schemas';
import { MigrationError, requireSchema } from '../migrate.ts';
import { openStore } from '../stores/open.ts';
import {
  type Check,
  check,
  fail,
  type Look,
  messageOf,
  redacted,
  silent,
  warn,
  withoutSecrets,
} from './check.ts';
import { roomOf } from './files.ts';

const LIMITS: QueryLimits = { timeMs: 10_000, memoryBytesMax: 256 * 1024 ** 2, rowsMax: 1000 };
/** The text index is general from here on, and errors are told behind status 200. */
const VERSION_MIN = [26, 2] as const;
/** Beyond the first the sealer's late sweep loses as much; beyond the second it finds nothing late. */
const SKEW_WARN_MS = 2_000;
const SKEW_FAIL_MS = 60_000;

const one = async (store: Store, text: string): Promise<Row> =>
  (await store.query({ text, params: {} }, LIMITS))[0] ?? {};

/** What a server's version means. */
export function versionOf(text: string): Look {
  const [major = 0, minor = 0] = text.split('.').map(Number);
  const [wantMajor, wantMinor] = VERSION_MIN;
  const old = major < wantMajor || (major === wantMajor && minor < wantMinor);
  if (!old) return `ClickHouse ${text}`;
  const want = VERSION_MIN.join('.');
  return fail(`ClickHouse ${text}`, `${want} or newer is needed: upgrade the server`);
}

/** What a difference of clocks means; `aheadMs` is the server's clock before this machine's. */
export function skewOf(aheadMs: number, askedMs: number): Look {
  const text = `the store's clock is ${Math.round(aheadMs)} ms ahead of this machine's, give or take ${Math.round(askedMs / 2)}`;
  const beyond = Math.abs(aheadMs) - askedMs / 2;
  const next = 'let both follow NTP: late rows are sealed, and sessions age, by these clocks';
  if (beyond > SKEW_FAIL_MS) return fail(text, next);
  return beyond > SKEW_WARN_MS ? warn(text, next) : text;
}

async function schema(store: Store): Promise<Look> {
  try {
    await requireSchema(store);
    return 'as this version wants it';
  } catch (error) {
    if (!(error instanceof MigrationError)) throw error;
    return fail(error.message, 'run "telltale migrate --dry-run", then "telltale migrate"');
  }
}

async function skew(store: Store): Promise<Look> {
  const before = Date.now();
  const { at } = await one(store, 'SELECT toString(toUnixTimestamp64Milli(now64(3))) AS at');
  const asked = Date.now() - before;
  return skewOf(Number(at) - (before + asked / 2), asked);
}

async function disks(store: Store): Promise<Look> {
  const text =
    'SELECT min(free_space) AS free, argMin(total_space, free_space) AS total FROM system.disks';
  const { free, total } = await one(store, text);
  return roomOf('the server', Number(free), Number(total));
}

/** Each look at a server; one that can't be opened is one line. */
export async function lookAtStore(url: string): Promise<Check[]> {
  const reach = 'look whether the server runs, and at --store, account and password';
  let store: Store;
  try {
    store = await openStore(url, { log: silent });
    await store.ping();
  } catch (error) {
    return [{ name: 'store', level: 'fail', text: redacted(messageOf(error), url), next: reach }];
  }
  try {
    const version = async () =>
      versionOf(String((await one(store, 'SELECT version() AS version')).version));
    const grant = 'the account may lack SELECT on it';
    const checks = [
      await check('store', () => `${withoutSecrets(url)} answers`, reach),
      await check('store version', version, reach),
      await check('schema', () => schema(store), grant),
      await check('disk of the store', () => disks(store), `${grant}: system.disks`),
      await check('clocks', () => skew(store), reach),
    ];
    return checks.map((each) => ({ ...each, text: redacted(each.text, url) }));
  } finally {
    await store.close();
  }
}
