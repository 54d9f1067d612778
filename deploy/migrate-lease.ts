/**
 * One migrator at a time on a server that many can reach, without Keeper: a lease is a table whose
 * comment says who has it and until when, by the server's own clock. Whoever wants it makes a table
 * of a random name and then lists them all; who sees another's live lease takes its own away. Of two
 * that begin together at least one lists after both tables are there, so both can't go on. The
 * holder renews it while it works; one that died is passed over when its time is up.
 *
 * On replicas each server has leases of its own: migrate through one address.
 */
import {
  type Clock,
  DATABASE,
  type QueryLimits,
  type Random,
  type Store,
  StoreError,
} from '#schemas';
import { literal } from './stores/literal.ts';

export const LEASE_MS = 60_000;
const RENEW_MS = 15_000;
/** Two that began together may both have stepped back: they try again, at different times. */
const TRIES_MAX = 5;
const AGAIN_MS_MAX = 1_000;
const LIMITS: QueryLimits = { timeMs: 30_000, memoryBytesMax: 64 * 1024 ** 2, rowsMax: 10_000 };
const PREFIX = 'migration_lease_';

export interface LeaseDeps {
  readonly clock: Clock;
  readonly random: Random;
  /** Who asks, for the message to others: host and process. */
  readonly holder: string;
}

interface Found {
  readonly name: string;
  readonly holder: string;
  /** Milliseconds until it ends, by the server's clock. */
  readonly leftMs: number;
}

/** Somebody else migrates this store now. */
export class LeaseError extends Error {
  override readonly name = 'LeaseError';
}

async function leases(store: Store): Promise<Found[]> {
  const rows = await store.query<{ name: string; comment: string; now_ms: string }>(
    {
      text: `SELECT name, comment, toUnixTimestamp64Milli(now64(3)) AS now_ms FROM system.tables
WHERE database = {database:String} AND startsWith(name, {prefix:String})`,
      params: { database: DATABASE, prefix: PREFIX },
    },
    LIMITS,
  );
  return rows.map(({ name, comment, now_ms }) => {
    const [until = '0', ...holder] = comment.split(' ');
    return { name, holder: holder.join(' '), leftMs: Number(until) - Number(now_ms) };
  });
}

async function serverMs(store: Store): Promise<number> {
  const text = 'SELECT toUnixTimestamp64Milli(now64(3)) AS now_ms';
  const [row] = await store.query<{ now_ms: string }>({ text, params: {} }, LIMITS);
  return Number(row?.now_ms);
}

const words = async (store: Store, holder: string): Promise<string> =>
  literal('String', `${(await serverMs(store)) + LEASE_MS} ${holder}`);

/** Takes a lease, or says who has it. Resolves to the table's name. */
async function take(store: Store, { clock, random, holder }: LeaseDeps): Promise<string> {
  for (let tries = 1; ; tries++) {
    const name = `${PREFIX}${Buffer.from(random.bytes(8)).toString('hex')}`;
    await store.command(`CREATE TABLE ${DATABASE}.${name} (held UInt8) ENGINE = MergeTree ORDER BY held
COMMENT ${await words(store, holder)}`);
    const others = (await leases(store)).filter((one) => one.name !== name);
    const alive = others.find(({ leftMs }) => leftMs > 0);
    if (alive === undefined) {
      for (const dead of others) await drop(store, dead.name);
      return name;
    }
    await drop(store, name);
    if (tries === TRIES_MAX)
      throw new LeaseError(
        `another migration is running: ${alive.holder}; if it is dead, its lease ends in ${Math.ceil(alive.leftMs / 1000)} s`,
      );
    const [byte = 0] = random.bytes(1);
    await clock.sleep((AGAIN_MS_MAX * (byte + 1)) / 256);
  }
}

const drop = (store: Store, name: string): Promise<void> =>
  store.command(`DROP TABLE IF EXISTS ${DATABASE}.${name} SYNC`);

/**
 * Runs `work` while holding the lease; `hold` rejects once it was lost, and is to be called before
 * each step. The database must be there. Rejects with `LeaseError` where somebody else has it.
 */
export async function withLease<T>(
  store: Store,
  deps: LeaseDeps,
  work: (hold: () => Promise<void>) => Promise<T>,
): Promise<T> {
  const name = await take(store, deps);
  let lost: Error | undefined;
  let renewing: Promise<void> = Promise.resolve();
  const renew = async () => {
    const comment = await words(store, deps.holder);
    await store.command(`ALTER TABLE ${DATABASE}.${name} MODIFY COMMENT ${comment}`);
  };
  const renewed = () => {
    renewing = renew().catch((error: unknown) => {
      // Away for a moment is no loss: the lease outlives several renewals.
      if (error instanceof StoreError && error.fault.code === 'refused') lost = error;
    });
  };
  const stop = deps.clock.every(RENEW_MS, renewed);
  try {
    return await work(async () => {
      renewed();
      await renewing;
      if (lost !== undefined)
        throw new LeaseError('the lease was lost: another migration took over', { cause: lost });
    });
  } finally {
    stop();
    await renewing;
    await drop(store, name);
  }
}
