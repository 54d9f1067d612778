/** Pages of a timeline, forwards and backwards, as the Relay specification has them. */
import type { Columns, Row } from '#schemas';
import { type EventPlace, eventCursor, readEventCursor } from './cursor.ts';
import { badInput } from './errors.ts';
import type { EventFilter } from './event-filter.ts';
import { has, pageSize } from './plan.ts';
import { processScope } from './process-scope.ts';
import { eventOf, type Known, type Page, placeOf, type SessionHead } from './render.ts';
import type { Runner } from './run.ts';
import type { FlatEvent } from './timeline/view.ts';
import { besidePlan, type Narrowing, timelinePlan } from './timeline-plan.ts';

/** The arguments of a page: `first` from the left of the window, or `last` from its right. */
export interface PageArguments {
  readonly first?: number | null | undefined;
  readonly after?: string | null | undefined;
  readonly last?: number | null | undefined;
  readonly before?: string | null | undefined;
}

export interface Span {
  readonly size: number;
  readonly backwards: boolean;
  readonly after: EventPlace | undefined;
  readonly before: EventPlace | undefined;
}

/** The window that arguments mean. Throws `QueryError` where they contradict each other. */
export function spanOf({ first, after, last, before }: PageArguments): Span {
  if (has(first) && has(last)) throw badInput('first, last: give one of them');
  const backwards = has(last) || (!has(first) && has(before) && !has(after));
  return {
    size: backwards ? pageSize(last, 'last') : pageSize(first),
    backwards,
    after: has(after) ? readEventCursor(after, 'after') : undefined,
    before: has(before) ? readEventCursor(before, 'before') : undefined,
  };
}

/** What of a page is known without its events: where each stands, and what lies beyond them. */
interface Ends {
  /** How many events the page has. */
  readonly count: number;
  /** Whether there is one more on the side that was read towards. */
  readonly more: boolean;
  /** Where the event at `at` stands, in the order of the page. */
  place(at: number): EventPlace;
}

interface Asked {
  readonly run: Runner;
  readonly session: string;
  readonly span: Span;
  readonly narrowing: Narrowing;
}

async function asked(
  run: Runner,
  { id: session, bounds }: Pick<SessionHead, 'id' | 'bounds'>,
  args: PageArguments,
  filter: EventFilter | null | undefined,
): Promise<Asked> {
  const span = spanOf(args);
  const scope = await processScope(run, session, filter);
  return { run, session, span, narrowing: { filter: filter ?? {}, scope, bounds } };
}

const planOf = ({ run, session, span, narrowing }: Asked, columns: readonly string[]) =>
  timelinePlan(run.tenant, session, span.size, narrowing, span, columns);

/**
 * The side that a page was read towards is known by one row more; the other side, and what lies
 * beyond the bound of the window, is looked up when it is asked for.
 */
function pageInfoOf(
  { run, session, span: { backwards, after, before }, narrowing }: Asked,
  { count, more, place }: Ends,
): Page<never>['pageInfo'] {
  function beside(side: 'after' | 'before'): Known {
    if (more && side === (backwards ? 'before' : 'after')) return true;
    const bound = side === 'after' ? before : after;
    // Nothing bounds this side, so the page reaches to the end of what there is.
    if (bound === undefined) return false;
    // Of an empty page its bound is the place, and stands beside the page itself.
    const from = count === 0 ? bound : place(side === 'after' ? count - 1 : 0);
    const found = besidePlan(run.tenant, session, narrowing, side, from, count === 0);
    return async () => (await run.rows(found)).length > 0;
  }
  return {
    hasNextPage: beside('after'),
    hasPreviousPage: beside('before'),
    startCursor: count === 0 ? null : eventCursor(place(0)),
    endCursor: count === 0 ? null : eventCursor(place(count - 1)),
  };
}

/** One page of events. */
export async function timelinePage(
  run: Runner,
  head: Pick<SessionHead, 'id' | 'bounds'>,
  args: PageArguments,
  filter: EventFilter | null | undefined,
  columns: readonly string[],
): Promise<Page<FlatEvent>> {
  const page = await asked(run, head, args, filter);
  const { size, backwards } = page.span;
  const rows = await run.rows<Row>(planOf(page, columns));
  const events = rows.slice(0, size).map(eventOf);
  if (backwards) events.reverse();
  const edges = events.map((node) => ({ cursor: eventCursor(placeOf(node)), node }));
  const more = rows.length > size;
  const place = (at: number) => placeOf(events[at] as FlatEvent);
  return { edges, pageInfo: pageInfoOf(page, { count: events.length, more, place }) };
}

/** A page as the store's columns, for whoever writes it out without making events of it. */
export interface ColumnPage extends Page<never> {
  readonly columns: Columns;
  /** The rows of the page in its order. */
  readonly order: readonly number[];
  place(at: number): EventPlace;
}

/** The same page by column. */
export async function timelineColumns(
  run: Runner,
  head: Pick<SessionHead, 'id' | 'bounds'>,
  args: PageArguments,
  filter: EventFilter | null | undefined,
  names: readonly string[],
): Promise<ColumnPage> {
  const page = await asked(run, head, args, filter);
  const { size, backwards } = page.span;
  const { columns, rows } = await run.columns(planOf(page, names));
  const order = Array.from({ length: Math.min(rows, size) }, (_, at) => at);
  if (backwards) order.reverse();
  const place = (at: number) => {
    const row = order[at] as number;
    return {
      ts: String(columns.ts_ns?.[row]),
      seq: Number(columns.seq?.[row]),
      streamId: String(columns.stream_id?.[row]),
    };
  };
  const ends = { count: order.length, more: rows > size, place };
  return { columns, order, place, edges: [], pageInfo: pageInfoOf(page, ends) };
}
