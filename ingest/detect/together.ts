/**
 * Reads of many sessions at once what beginning them takes: a batch may begin dozens, and a query for
 * each would hold up all of them.
 */
import { type Store, StoreError, type TelltaleEvent } from '#schemas';
import type { Writer } from '../write.ts';
import {
  countsOfSessions,
  historyOfSessions,
  type SessionKey,
  type StoredAlert,
  storedAlerts,
} from './history.ts';

/** Events that are read of several sessions at once; what is longer is read alone. */
const TOGETHER_EVENTS_MAX = 20_000;

/** What the table has of a session; of a long one its events are read as they are needed. */
export interface Found {
  readonly stored: readonly StoredAlert[];
  readonly events: readonly TelltaleEvent[] | undefined;
}

/** Events of a batch by their session, named as `nameOf` does. */
export type Batch = ReadonlyMap<string, readonly TelltaleEvent[]>;

export interface TogetherDeps {
  readonly store: Store;
  readonly writer: Pick<Writer, 'persist'>;
}

/** Whether an error means that nothing more is to be done. */
export const isOver = (error: unknown, signal: AbortSignal): boolean =>
  signal.aborted || (error instanceof StoreError && error.fault.code === 'closed');

/** Each number once, in the order in which the table gives a session. */
function asStored(events: readonly TelltaleEvent[]): readonly TelltaleEvent[] {
  const first = new Map<string, TelltaleEvent>();
  for (const event of events) {
    const place = `${event.stream_id}-${event.seq}`;
    if (!first.has(place)) first.set(place, event);
  }
  return [...first.values()].sort((a, b) => {
    if (a.observed_ts !== b.observed_ts) return a.observed_ts < b.observed_ts ? -1 : 1;
    if (a.stream_id !== b.stream_id) return a.stream_id < b.stream_id ? -1 : 1;
    return a.seq - b.seq;
  });
}

async function find(
  { store, writer }: TogetherDeps,
  batch: Batch,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Found>> {
  const keys = [...batch.values()].map(([first]) => first as TelltaleEvent);
  const read = <T>(work: () => Promise<T>, what: string) => writer.persist(work, what, signal);
  const alerts = await read(() => storedAlerts(store, keys), 'alerts');
  const counts = await read(() => countsOfSessions(store, keys), 'history');
  const whole = new Map<string, readonly TelltaleEvent[]>();
  const short: SessionKey[] = [];
  let room = TOGETHER_EVENTS_MAX;
  for (const [name, events] of batch) {
    const count = counts.get(name) ?? 0;
    const here = asStored(events);
    if (here.length === count) whole.set(name, here);
    else if (count <= room) {
      short.push(here[0] as TelltaleEvent);
      room -= count;
    }
  }
  const together =
    short.length === 0 ? whole : await read(() => historyOfSessions(store, short), 'history');
  return new Map(
    [...batch.keys()].map((name) => {
      const events = whole.get(name) ?? together.get(name);
      return [name, { stored: alerts.get(name) ?? [], events }];
    }),
  );
}

/**
 * What the table has of sessions that are not known yet, where they are short; one of which it has
 * no more events than the batch is all there. Nothing where that can't be read: then each session
 * is read by itself and tells its own trouble. Rejects where `signal` is aborted or the store is closed.
 */
export async function findTogether(
  deps: TogetherDeps,
  batch: Batch,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Found>> {
  if (batch.size === 0) return new Map();
  try {
    return await find(deps, batch, signal);
  } catch (error) {
    if (isOver(error, signal)) throw error;
    return new Map();
  }
}
