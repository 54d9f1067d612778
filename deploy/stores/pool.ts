/**
 * Sessions of the embedded engine, lent out one query at a time.
 *
 * A query that fails leaves its half-written output on its session, and the next query there gets
 * it first: one tenant would read another's rows. So a session whose query did not end well is
 * washed before anyone else gets it, the wash is checked, and a session that does not come clean
 * is closed and replaced.
 */
import type { Session } from 'chdb';
import { type Log, StoreError } from '#schemas';

export interface Pool {
  /** Runs `work` alone on a session. Whatever it throws, the next borrower finds it clean. */
  use<T>(work: (session: Session) => Promise<T>): Promise<T>;
  close(): Promise<void>;
  /** Sessions that failed queries made dirty, and how many of them had to be replaced. */
  readonly washed: number;
  readonly replaced: number;
}

const WASH = "SELECT 'clean' AS wash";
const WASHED = '{"wash":"clean"}\n';
const WASHES_MAX = 3;

const closed = () => new StoreError({ code: 'closed', message: 'the store is closed' });

async function isClean(session: Session): Promise<boolean> {
  for (let i = 0; i < WASHES_MAX; i++) {
    // A wash may itself be handed the residue: only an exact answer proves the session clean.
    const answer = await session.queryAsync(WASH, { format: 'JSONEachRow' }).catch(() => undefined);
    if (answer?.text() === WASHED) return true;
  }
  return false;
}

/** A pool of at most `size` sessions, opened when first needed. */
export function createPool(size: number, open: () => Session, log: Log): Pool {
  const idle: Session[] = [];
  const waiting: { resolve: (session: Session) => void; reject: (error: Error) => void }[] = [];
  const busy = new Set<Promise<unknown>>();
  let opened = 0;
  let washed = 0;
  let replaced = 0;
  let ended = false;

  function acquire(): Promise<Session> {
    if (ended) return Promise.reject(closed());
    const session = idle.pop();
    if (session !== undefined) return Promise.resolve(session);
    if (opened < size) {
      opened++;
      try {
        return Promise.resolve(open());
      } catch (error) {
        opened--;
        return Promise.reject(error);
      }
    }
    return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
  }

  function release(session: Session): void {
    const next = waiting.shift();
    if (next !== undefined) next.resolve(session);
    else idle.push(session);
  }

  async function clean(session: Session): Promise<Session> {
    washed++;
    if (await isClean(session)) return session;
    replaced++;
    log.warn('store.session_replaced', { replaced });
    session.close();
    return open();
  }

  async function run<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const session = await acquire();
    try {
      const result = await work(session);
      release(session);
      return result;
    } catch (error) {
      release(await clean(session));
      throw error;
    }
  }

  return {
    use(work) {
      const running = run(work);
      const settled = running.catch(() => {}).finally(() => busy.delete(settled));
      busy.add(settled);
      return running;
    },
    async close() {
      ended = true;
      for (const waiter of waiting.splice(0)) waiter.reject(closed());
      await Promise.all(busy);
      for (const session of idle.splice(0)) session.close();
    },
    get washed() {
      return washed;
    },
    get replaced() {
      return replaced;
    },
  };
}
