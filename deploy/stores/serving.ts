/** The store of a service: waited for at the start, and of the schema that this program works with. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Log, type Store, StoreError } from '#schemas';
import { requireSchema } from '../migrate.ts';
import { openStore } from './open.ts';

/**
 * How long a service waits for its store: a server that starts beside it, or an embedded one that a
 * process in its last breath still holds.
 */
const STORE_WAIT_MS = 30_000;
const STORE_RETRY_MS = 500;
/** A store that stays away is said again with every so many tries. */
const TELL_TRIES = 60;

/** Nothing is written yet, so an answer that did not come in time is asked for again as well. */
const isAway = (error: unknown): boolean =>
  error instanceof StoreError && ['unreachable', 'busy', 'unknown'].includes(error.fault.code);

async function openOnce(url: string, log: Log): Promise<Store> {
  const store = await openStore(url, { log });
  try {
    await requireSchema(store);
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Tries `work` again while the store can't be reached, for `waitMs`. */
async function whenThere<T>(work: () => Promise<T>, log: Log, waitMs: number): Promise<T> {
  const end = performance.now() + waitMs;
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!isAway(error) || performance.now() > end) throw error;
      if (attempt % TELL_TRIES === 0)
        log.warn('store.away_at_start', { attempt, error: (error as Error).message });
      await delay(STORE_RETRY_MS);
    }
  }
}

/**
 * Opens a service's store. Rejects with `MigrationError` where its schema is not this program's, with
 * `StoreError` where it can't be reached within `waitMs`: a worker gives `Infinity`, because what it
 * is for waits in Kafka meanwhile and needs nobody's help when the store is back.
 */
export const openServing = (url: string, log: Log, waitMs = STORE_WAIT_MS): Promise<Store> =>
  whenThere(() => openOnce(url, log), log, waitMs);

/** The same for a store that is open already. */
export const awaitSchema = (store: Store, log: Log): Promise<void> =>
  whenThere(() => requireSchema(store), log, STORE_WAIT_MS);
