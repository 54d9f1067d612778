/**
 * All events of a timeline in its order, page by page, in memory that does not grow with it. Each
 * page is one statement of its own, so that a reader may take as long as it likes, and so large that
 * its text stays near `PAGE_CHARACTERS`. Events that come in behind the page that is being read are
 * read; those before it are not.
 */
import { ALL_FIELDS, type QueryLimits, type Row, StoreError } from '#schemas';
import type { EventPlace } from '../cursor.ts';
import { QueryError } from '../errors.ts';
import { eventOf, placeOf } from '../render.ts';
import type { Runner } from '../run.ts';
import type { FlatEvent } from '../timeline/view.ts';
import { type Narrowing, timelinePlan } from '../timeline-plan.ts';

const FIRST_ROWS = 256;
/**
 * Above the 1000 for which the engine filters by the best so far, and so few that the page and what is
 * made of it die young: of 4096 rows they outlived the young heap, and lay in the old one as garbage.
 */
const ROWS_MAX = 1024;
const PAGE_CHARACTERS = 2 * 1024 ** 2;
const LIMITS: QueryLimits = {
  timeMs: 30_000,
  memoryBytesMax: 768 * 1024 ** 2,
  rowsMax: ROWS_MAX + 1,
};
const COLUMNS = Object.keys(ALL_FIELDS);

const isLimit = (error: unknown): boolean => {
  const cause = error instanceof QueryError ? error.cause : error;
  return cause instanceof StoreError && cause.fault.code === 'limit';
};

function charactersOf(row: Row): number {
  let sum = 0;
  for (const value of Object.values(row)) {
    if (typeof value === 'string') sum += value.length;
    else if (Array.isArray(value)) for (const item of value) sum += String(item).length;
  }
  return sum;
}

/** The events, in pages. Rejects with `QueryError`; a walk that ended is whole. */
export async function* walkTimeline(
  run: Runner,
  session: string,
  narrowing: Narrowing,
): AsyncGenerator<readonly FlatEvent[]> {
  let size = FIRST_ROWS;
  let after: EventPlace | undefined;
  for (;;) {
    let rows: readonly Row[];
    try {
      const window = { after, asStored: true };
      const plan = timelinePlan(run.tenant, session, size, narrowing, window, COLUMNS);
      rows = await run.rows<Row>(plan, LIMITS);
    } catch (error) {
      if (size === 1 || !isLimit(error)) throw error;
      size = Math.ceil(size / 4);
      continue;
    }
    const more = rows.length > size;
    const events = rows.slice(0, size).map(eventOf);
    const last = events.at(-1);
    if (last === undefined) return;
    after = placeOf(last);
    const each = rows.reduce((sum, row) => sum + charactersOf(row), 0) / rows.length;
    yield events;
    if (!more) return;
    size = Math.max(1, Math.min(ROWS_MAX, Math.floor(PAGE_CHARACTERS / Math.max(each, 1))));
  }
}
