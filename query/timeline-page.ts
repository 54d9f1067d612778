/** Pages of a timeline, forwards and backwards, as the Relay specification has them. */
import type { Row } from '#schemas';
import { type EventPlace, eventCursor, readEventCursor } from './cursor.ts';
import { badInput } from './errors.ts';
import type { EventFilter } from './event-filter.ts';
import { has, pageSize } from './plan.ts';
import { processScope } from './process-scope.ts';
import { eventOf, type Known, type Page, placeOf, type SessionHead } from './render.ts';
import type { Runner } from './run.ts';
import type { FlatEvent } from './timeline/view.ts';
import { besidePlan, timelinePlan } from './timeline-plan.ts';

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

/**
 * One page. The side that it was read towards is known by one row more; the other side, and what lies
 * beyond the bound of the window, is looked up when it is asked for.
 */
export async function timelinePage(
  run: Runner,
  { id: session, bounds }: Pick<SessionHead, 'id' | 'bounds'>,
  args: PageArguments,
  filter: EventFilter | null | undefined,
  columns: readonly string[],
): Promise<Page<FlatEvent>> {
  const span = spanOf(args);
  const { size, backwards, after, before } = span;
  const scope = await processScope(run, session, filter);
  const narrowing = { filter: filter ?? {}, scope, bounds };
  const plan = timelinePlan(run.tenant, session, size, narrowing, span, columns);
  const rows = await run.rows<Row>(plan);
  const more = rows.length > size;
  const events = rows.slice(0, size).map(eventOf);
  if (backwards) events.reverse();
  const edges = events.map((node) => ({ cursor: eventCursor(placeOf(node)), node }));

  function beside(side: 'after' | 'before'): Known {
    if (more && side === (backwards ? 'before' : 'after')) return true;
    const bound = side === 'after' ? before : after;
    // Nothing bounds this side, so the page reaches to the end of what there is.
    if (bound === undefined) return false;
    const last = events.at(side === 'after' ? -1 : 0);
    // Of an empty page its bound is the place, and stands beside the page itself.
    const place = last === undefined ? bound : placeOf(last);
    const found = besidePlan(run.tenant, session, narrowing, side, place, last === undefined);
    return async () => (await run.rows(found)).length > 0;
  }

  return {
    edges,
    pageInfo: {
      hasNextPage: beside('after'),
      hasPreviousPage: beside('before'),
      endCursor: edges.at(-1)?.cursor ?? null,
    },
  };
}
