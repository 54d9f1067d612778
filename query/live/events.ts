/** Follows the events of one session: see `arrivals.ts` for what is new, and why nothing is missed. */
import { eventId, type Row } from '#schemas';
import { badInput } from '../errors.ts';
import type { EventFilter } from '../event-filter.ts';
import { has } from '../plan.ts';
import { processMembers } from '../process-scope.ts';
import { eventOf } from '../render.ts';
import type { Runner } from '../run.ts';
import { byTime, type FlatEvent } from '../timeline/view.ts';
import {
  type Arrival,
  type Arrivals,
  arrivalsCursor,
  NOTHING_YET,
  type Passed,
  pass,
  readArrivals,
  SETTLE_MS,
} from './arrivals.ts';
import type { Look } from './hub.ts';
import { eventArrivalsPlan, newestEventPlan, stampedRangesPlan } from './plan.ts';

/** Rows of one look. */
export const LIVE_ROWS_MAX = 1000;

export interface EventsMessage {
  readonly cursor: string;
  /** In the timeline's order; messages themselves come in the order of arrival. */
  readonly nodes: readonly FlatEvent[];
}

export interface EventsRequest {
  readonly session: string;
  readonly filter: EventFilter;
  readonly columns: readonly string[];
  /** Where to go on; absent: see `backlog`. */
  readonly after?: string | null | undefined;
  /** Whether what is stored already comes first, or only what comes in from here on. */
  readonly backlog: boolean;
}

const arrivalOf = (row: Row): Arrival => ({
  stream: String(row.stream_id),
  seq: Number(row.seq),
  stampMs: Number(row.stamp_ms),
});

/** The state in a cursor, which must be of this session: `latest` may mean another by now. */
function stateIn(cursor: string, session: string): Arrivals {
  if (!cursor.startsWith(`${session}.`))
    throw badInput('after: not a cursor of this session: follow it by its own id');
  return readArrivals(cursor.slice(session.length + 1));
}

/** The state in which all that is stored now was passed on. */
async function presentOf(run: Runner, session: string): Promise<Arrivals> {
  const [newest] = await run.rows<Row>(newestEventPlan(run.tenant, session));
  if (newest === undefined) return NOTHING_YET;
  const newestMs = Number(newest.newest_ms);
  const settledMs = Math.max(newestMs - SETTLE_MS, 0);
  const plan = stampedRangesPlan(run.tenant, session, settledMs);
  const passed = new Map<string, Passed[]>();
  for (const row of await run.rows<Row>(plan)) {
    const stream = String(row.stream);
    const range = { first: Number(row.first), last: Number(row.last), stampMs: newestMs };
    passed.set(stream, [...(passed.get(stream) ?? []), range]);
  }
  return pass({ settledMs, newestMs, passed }, []);
}

/** The looks of one view, each at what came in since the last. */
export function eventLooks(
  run: Runner,
  request: EventsRequest,
): () => Promise<Look<EventsMessage>> {
  const { session, filter, columns, after, backlog } = request;
  let state = has(after) ? stateIn(after, session) : backlog ? NOTHING_YET : undefined;

  /** Those in a process that the filter asks for, which may have got children since the last look. */
  async function inProcess(events: readonly FlatEvent[]): Promise<readonly FlatEvent[]> {
    const members = events.length === 0 ? undefined : await processMembers(run, session, filter);
    return members === undefined ? events : events.filter((event) => members(eventId(event)));
  }

  return async () => {
    state ??= await presentOf(run, session);
    const plan = eventArrivalsPlan(run.tenant, session, state, filter, columns, LIVE_ROWS_MAX);
    const rows = await run.rows<Row>(plan);
    const next = pass(state, rows.map(arrivalOf));
    const wanted = rows.filter((row) => Number(row.wanted) === 1).map(eventOf);
    const nodes = (await inProcess(wanted)).toSorted(byTime);
    // Only now: a look that failed is taken again, and must find the same rows.
    state = next;
    const cursor = `${session}.${arrivalsCursor(next)}`;
    const message = nodes.length === 0 ? undefined : { cursor, nodes };
    return { message, more: rows.length === LIVE_ROWS_MAX };
  };
}
