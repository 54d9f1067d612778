/** What the questions of `health.ts` look at, one function each. */
import fs from 'node:fs/promises';
import { type Clock, type Store, StoreError } from '#schemas';
import type { Consumer } from '../../ingest/consume.ts';
import type { Sealer } from '../../ingest/seal/sealer.ts';
import { MigrationError, migrate } from '../migrate.ts';
import { type Check, type HealthReason, LOOK_MS_MAX } from './health.ts';

const STORE_LIMITS = { timeMs: LOOK_MS_MAX, memoryBytesMax: 64 * 1024 ** 2, rowsMax: 10 };
/** A schema changes when somebody migrates; it need not be read with each probe. */
const SCHEMA_FRESH_MS = 30_000;
/** A consumer that waits for messages polls several times a second. */
const POLLED_MS_MAX = 60_000;
/** The sealer begins a round each second; the longest look far back. */
const ROUND_MS_MAX = 120_000;
/** What is at work for so long although the store answers will not end: a restart helps. */
const STUCK_MS = 15 * 60_000;
/** Less room than this and what is promised to be on the disk soon can't be. */
const ROOM_BYTES_MIN = 16 * 1024 ** 2;

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** The store answers a statement. */
async function storeReason(store: Store): Promise<HealthReason | undefined> {
  try {
    await store.query({ text: 'SELECT 1 AS one', params: {} }, STORE_LIMITS);
    return undefined;
  } catch (error) {
    if (error instanceof StoreError) return error.fault.code;
    throw error;
  }
}

/** The store has exactly this program's schema. */
async function schemaReason(store: Store): Promise<HealthReason | undefined> {
  try {
    const { applied } = await migrate(store, { log: silent, dryRun: true });
    return applied.length > 0 ? 'store_older' : undefined;
  } catch (error) {
    if (error instanceof MigrationError) return 'store_differs';
    if (error instanceof StoreError) return error.fault.code;
    throw error;
  }
}

export const storeChecks = (store: Store): readonly Check[] => [
  { name: 'store', of: 'ready', look: () => storeReason(store) },
  { name: 'schema', of: 'ready', look: () => schemaReason(store), freshMs: SCHEMA_FRESH_MS },
];

/** Whether something that began at `sinceNs` has been at work for longer than `ms`. */
const longer = (clock: Clock, sinceNs: bigint | undefined, ms: number) =>
  sinceNs !== undefined && clock.monotonicNs() - sinceNs > BigInt(ms) * 1_000_000n;

/** Stuck is what goes on for too long while the store answers: without it, waiting is right. */
async function stuck(store: Store, clock: Clock, sinceNs: bigint | undefined) {
  if (!longer(clock, sinceNs, STUCK_MS)) return undefined;
  return (await storeReason(store)) === undefined ? ('stuck' as const) : undefined;
}

export function consumerChecks(
  consumer: Pick<Consumer, 'state'>,
  store: Store,
  clock: Clock,
): readonly Check[] {
  async function ready(): Promise<HealthReason | undefined> {
    const { joined, partitions, polledNs, busySinceNs } = consumer.state;
    if (!joined) return 'not_joined';
    // One worker more than there are partitions has nothing to poll, and stands by.
    if (partitions === 0 || busySinceNs !== undefined) return undefined;
    return longer(clock, polledNs, POLLED_MS_MAX) ? 'not_polled' : undefined;
  }
  async function live(): Promise<HealthReason | undefined> {
    const { joined, partitions, polledNs, busySinceNs } = consumer.state;
    const idle = joined && partitions > 0 && busySinceNs === undefined;
    return stuck(store, clock, idle ? polledNs : busySinceNs);
  }
  return [
    { name: 'consumer', of: 'ready', look: ready },
    { name: 'consumer', of: 'live', look: live },
  ];
}

export function sealerChecks(
  sealer: Pick<Sealer, 'state'>,
  store: Store,
  clock: Clock,
): readonly Check[] {
  async function ready(): Promise<HealthReason | undefined> {
    const { doneNs, failing } = sealer.state;
    if (failing) return 'failing';
    if (doneNs === undefined) return 'not_started';
    return longer(clock, doneNs, ROUND_MS_MAX) ? 'stuck' : undefined;
  }
  return [
    { name: 'sealer', of: 'ready', look: ready },
    { name: 'sealer', of: 'live', look: () => stuck(store, clock, sealer.state.busySinceNs) },
  ];
}

/** A directory in which something must be kept before it is promised takes it. */
export function diskCheck(dir: string): Check {
  async function look(): Promise<HealthReason | undefined> {
    try {
      await fs.access(dir, fs.constants.W_OK);
      const { bavail, bsize } = await fs.statfs(dir);
      return bavail * bsize < ROOM_BYTES_MIN ? 'full' : undefined;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
      return 'not_writable';
    }
  }
  return { name: 'disk', of: 'ready', look };
}
