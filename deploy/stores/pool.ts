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

/** A session on loan. It goes back exactly once; a second `back` does nothing. */
export interface Loan {
  readonly session: Session;
  /** Gives the session back; `clean` only when its query ended well. Resolves when it is clean. */
  back(clean: boolean): Promise<void>;
}

export interface Pool {
  /** Lends a session, or waits for one; an aborted wait rejects with a `limit` fault. */
  borrow(signal?: AbortSignal): Promise<Loan>;
  /** Runs `work` alone on a session. Whatever it throws, the next borrower finds it clean. */
  use<T>(work: (session: Session) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Refuses new loans, waits at most `waitMs` for the running ones, and closes all sessions. */
  close(waitMs: number): Promise<void>;
  /** Sessions that failed queries made dirty, and how many of them had to be replaced. */
  readonly washed: number;
  readonly replaced: number;
}

interface Waiter {
  readonly resolve: (session: Session) => void;
  readonly reject: (error: unknown) => void;
}

const WASH = "SELECT 'clean' AS wash";
const WASHED = '{"wash":"clean"}\n';
const WASHES_MAX = 3;

export const closedFault = () => new StoreError({ code: 'closed', message: 'the store is closed' });
export const cancelledFault = () =>
  new StoreError({ code: 'limit', message: 'the query was cancelled by its caller' });

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
  const waiting: Waiter[] = [];
  const lent = new Map<Session, Promise<void>>();
  let opened = 0;
  let washed = 0;
  let replaced = 0;
  let ended = false;

  function openOne(): Session {
    opened++;
    try {
      return open();
    } catch (error) {
      opened--;
      throw error;
    }
  }

  function wait(signal: AbortSignal | undefined): Promise<Session> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        waiting.splice(waiting.indexOf(waiter), 1);
        reject(cancelledFault());
      };
      const settle = () => signal?.removeEventListener('abort', leave);
      const waiter: Waiter = {
        resolve: (session) => {
          settle();
          resolve(session);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      signal?.addEventListener('abort', leave, { once: true });
      waiting.push(waiter);
    });
  }

  async function acquire(signal: AbortSignal | undefined): Promise<Session> {
    if (ended) throw closedFault();
    if (signal?.aborted) throw cancelledFault();
    return idle.pop() ?? (opened < size ? openOne() : wait(signal));
  }

  function release(session: Session): void {
    const next = waiting.shift();
    if (next !== undefined) next.resolve(session);
    else if (ended) session.close();
    else idle.push(session);
  }

  /** A session could not be replaced: those who wait get a chance of their own, or the error. */
  function lose(error: unknown): void {
    opened--;
    log.error('store.session_lost', { error: String(error) });
    for (const waiter of waiting.splice(0)) {
      try {
        waiter.resolve(openOne());
        return;
      } catch (again) {
        waiter.reject(again);
      }
    }
  }

  async function washAndRelease(session: Session): Promise<void> {
    washed++;
    if (await isClean(session)) return release(session);
    replaced++;
    log.warn('store.session_replaced', { replaced });
    session.close();
    let fresh: Session;
    try {
      fresh = open();
    } catch (error) {
      return lose(error);
    }
    release(fresh);
  }

  async function borrow(signal?: AbortSignal): Promise<Loan> {
    const session = await acquire(signal);
    let done = () => {};
    lent.set(session, new Promise((resolve) => (done = resolve)));
    let given: Promise<void> | undefined;
    const giveBack = async (clean: boolean) => {
      // Off the list before the next borrower puts it there again.
      if (!clean) await washAndRelease(session).finally(() => lent.delete(session));
      else {
        lent.delete(session);
        release(session);
      }
      done();
    };
    return { session, back: (clean) => (given ??= giveBack(clean)) };
  }

  async function use<T>(work: (session: Session) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const loan = await borrow(signal);
    let clean = false;
    try {
      const result = await work(loan.session);
      clean = true;
      return result;
    } finally {
      await loan.back(clean);
    }
  }

  async function close(waitMs: number): Promise<void> {
    ended = true;
    for (const waiter of waiting.splice(0)) waiter.reject(closedFault());
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, waitMs);
    });
    await Promise.race([Promise.all(lent.values()), late]);
    clearTimeout(timer);
    if (lent.size > 0) log.warn('store.closed_while_lent', { sessions: lent.size });
    for (const session of [...idle.splice(0), ...lent.keys()]) session.close();
  }

  return {
    borrow,
    use,
    close,
    get washed() {
      return washed;
    },
    get replaced() {
      return replaced;
    },
  };
}
