/**
 * Live views: how many there may be, how often they ask the store, and how they end. A view ends
 * when its caller goes, when the service stops, and after an hour, so that whoever follows is looked
 * at again; its cursor makes going on free.
 */
import { type Clock, type Meter, StoreError } from '#schemas';
import { QueryError } from '../errors.ts';

/** Live views of one process: each asks the store at most every `POLL_MIN_MS`. */
export const LIVE_MAX = 32;
/** How long is waited after something came; doubled while nothing does. */
const POLL_MIN_MS = 500;
const POLL_MAX_MS = 4_000;
const LIVE_HOURS_MS = 3_600_000;
/** Times in a row that the store may be away before a view gives up. */
const FAILURES_MAX = 5;
const STOP_STEP_MS = 50;
const STOP_STEPS_MAX = 40;

/** What one look at the store found: a message or none, and whether there may be more already. */
export interface Look<T> {
  readonly message: T | undefined;
  readonly more: boolean;
}

/** The live views of one request. */
export interface LiveViews {
  /** The header `Last-Event-ID`, by which a browser says where it stopped. */
  readonly lastEventId: string | undefined;
  /**
   * Messages of `look`, one look after the other and only when the last message was taken. Throws
   * `QueryError` where there are too many views.
   */
  follow<T>(look: () => Promise<Look<T>>): AsyncIterable<T>;
}

/** What a request says of its views. */
export interface LiveRequest {
  /** Aborted when the caller goes. */
  readonly signal: AbortSignal;
  readonly lastEventId: string | undefined;
}

export interface LiveHub {
  views(request: LiveRequest): LiveViews;
  /** Ends all views and waits, for a bounded time, until they have said so. New ones end at once. */
  stop(): Promise<void>;
}

const isAway = (error: unknown): boolean =>
  error instanceof QueryError
    ? error.code === 'STORE_UNAVAILABLE'
    : error instanceof StoreError && error.fault.code === 'busy';

/** The hub of one service. */
export function createLiveHub(deps: { readonly clock: Clock; readonly meter: Meter }): LiveHub {
  const { clock, meter } = deps;
  const stopping = new AbortController();
  let running = 0;
  const count = (by: number) => {
    running += by;
    meter.gauge('telltale.query.live_views', running);
  };

  async function* looks<T>(look: () => Promise<Look<T>>, end: AbortSignal): AsyncGenerator<T> {
    const untilNs = clock.monotonicNs() + BigInt(LIVE_HOURS_MS) * 1_000_000n;
    let waitMs = POLL_MIN_MS;
    let failures = 0;
    while (!end.aborted && clock.monotonicNs() < untilNs) {
      let found: Look<T> = { message: undefined, more: false };
      try {
        found = await look();
        failures = 0;
      } catch (error) {
        if (end.aborted) return;
        if (!isAway(error) || ++failures >= FAILURES_MAX) throw error;
      }
      if (found.message !== undefined) yield found.message;
      if (found.more) continue;
      waitMs = found.message === undefined ? Math.min(waitMs * 2, POLL_MAX_MS) : POLL_MIN_MS;
      await clock.sleep(waitMs, end).catch(() => {});
    }
  }

  function follow<T>(look: () => Promise<Look<T>>, request: LiveRequest): AsyncIterable<T> {
    const leaving = new AbortController();
    const source = looks(look, AbortSignal.any([stopping.signal, leaving.signal, request.signal]));
    let ended = false;
    if (running >= LIVE_MAX)
      throw new QueryError('QUERY_LIMIT_REACHED', `${LIVE_MAX} live views are open: try later`);
    count(1);
    const end = () => {
      if (!ended) count(-1);
      ended = true;
    };
    return {
      [Symbol.asyncIterator]: () => ({
        async next() {
          try {
            const result = await source.next();
            if (result.done) end();
            return result;
          } catch (error) {
            end();
            throw error;
          }
        },
        // A generator takes its end only between two steps: it is woken from its sleep first.
        async return() {
          leaving.abort();
          end();
          await source.return(undefined);
          return { value: undefined, done: true as const };
        },
      }),
    };
  }

  async function stop(): Promise<void> {
    stopping.abort();
    if (running === 0) return;
    for (let i = 0; i < STOP_STEPS_MAX && running > 0; i++) await clock.sleep(STOP_STEP_MS);
    // What they said last is still on its way to the sockets.
    await clock.sleep(STOP_STEP_MS);
  }

  return {
    views: (request) => ({
      lastEventId: request.lastEventId,
      follow: (look) => follow(look, request),
    }),
    stop,
  };
}
