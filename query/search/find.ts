/**
 * Finds hits, newest first, in steps back in time: a frequent word is found in the newest day, and
 * what no index can serve is read only until the page is full or a step runs out of time. Such a page
 * says how far back it has looked, and its cursor goes on from there.
 */
import type { QueryLimits, Row } from '#schemas';
import { eventCursor, readEventCursor } from '../cursor.ts';
import { QueryError } from '../errors.ts';
import { eventOf, type Page, placeOf } from '../render.ts';
import { PAGE_LIMITS, type Runner } from '../run.ts';
import type { FlatEvent } from '../timeline/view.ts';
import {
  extentPlan,
  type HitPlace,
  hitsPlan,
  isIndexed,
  placesPlan,
  type Search,
  SNIPPET_BEFORE,
  type Span,
} from './plan.ts';
import { wordsOf } from './words.ts';

/** What each step may take in the store. */
const STEP_LIMITS: QueryLimits = { ...PAGE_LIMITS, timeMs: 2_000 };
const DAY_NS = 86_400_000_000_000n;
const HOUR_NS = DAY_NS / 24n;
/** How far back each step reaches; behind the last comes all the rest. */
const STEPS_INDEXED = [2n * DAY_NS];
const STEPS_READ = [6n, 24n, 72n, 168n, 720n].map((hours) => hours * HOUR_NS);
const NO_STREAM = '00000000-0000-0000-0000-000000000000';

export interface Hit {
  readonly event: FlatEvent;
  /** The column that holds it. */
  readonly column: string;
  /** Where it begins in the column, in characters from 0, and how long it is. */
  readonly offset: number;
  readonly length: number;
  readonly snippet: string;
  /** Where the snippet begins in the column. */
  readonly snippetOffset: number;
}

export interface HitPage extends Page<Hit> {
  /** Nanoseconds; undefined where all was looked through. */
  readonly searchedFrom: string | undefined;
}

interface PlaceRow extends Row {
  readonly session: string;
  readonly stream: string;
  readonly seq: number;
  readonly at: string;
}

/** The steps back from `newest`, each a span of time; the first has no end and the last no begin. */
export function stepsBack(newest: bigint, oldest: bigint, reach: readonly bigint[]): Span[] {
  const edges = reach.map((span) => newest - span).filter((edge) => edge > oldest);
  const all = [undefined, ...edges.map(String), undefined];
  return all.slice(1).map((since, index) => ({ since, until: all[index] }));
}

interface Found {
  readonly rows: readonly PlaceRow[];
  readonly searchedFrom: string | undefined;
}

/** Collects up to `limit` places; a step that ran out of time ends it, if it is not the first. */
async function places(
  run: Runner,
  search: Search,
  after: HitPlace | undefined,
  limit: number,
): Promise<Found> {
  const [extent] = await run.rows<Row>(extentPlan(run.tenant));
  if (Number(extent?.streams ?? 0) === 0) return { rows: [], searchedFrom: undefined };
  const end = [after?.ts, search.filter.before].filter((one) => typeof one === 'string');
  const times = [BigInt(String(extent?.last)), ...end.map((one) => BigInt(one as string))];
  const newest = times.reduce((a, b) => (a < b ? a : b));
  const oldest = BigInt(search.filter.from ?? String(extent?.first));
  const rows: PlaceRow[] = [];
  for (const step of stepsBack(newest, oldest, isIndexed(search) ? STEPS_INDEXED : STEPS_READ)) {
    try {
      const plan = placesPlan(run.tenant, search, step, after, limit - rows.length);
      rows.push(...(await run.rows<PlaceRow>(plan, STEP_LIMITS)));
    } catch (error) {
      const late = error instanceof QueryError && error.code === 'QUERY_LIMIT_REACHED';
      if (!late || step.until === undefined) throw error;
      return { rows, searchedFrom: step.until };
    }
    if (rows.length >= limit) break;
  }
  return { rows, searchedFrom: undefined };
}

/** Where in a snippet the first of some words stands as a word, else anywhere; from 0. */
function wordIn(snippet: string, word: string): number {
  const text = snippet.replace(/[A-Z]+/g, (part) => part.toLowerCase());
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) {
    const around = text.slice(Math.max(0, at - 1), at + word.length + 1);
    if (wordsOf(around).includes(word)) return at;
  }
  return Math.max(0, text.indexOf(word));
}

const characters = (text: string): number => [...text].length;

/** The hit of a row, in the first column that has one. */
function hitOf(row: Row, search: Search): Hit | undefined {
  const index = search.columns.findIndex((_, at) => Number(row[`begin_${at}`]) > 0);
  if (index < 0) return undefined;
  const begin = Number(row[`begin_${index}`]) - 1;
  const snippet = String(row[`cut_${index}`]);
  const snippetOffset = Math.max(0, begin - SNIPPET_BEFORE);
  const shared = { event: eventOf(row), column: search.columns[index] as string };
  if (search.mode === 'regex')
    return {
      ...shared,
      offset: begin,
      length: Number(row[`length_${index}`]),
      snippet,
      snippetOffset,
    };
  if (search.mode === 'substring')
    return { ...shared, offset: begin, length: characters(search.text), snippet, snippetOffset };
  const word = [...search.words].sort((a, b) => b.length - a.length)[0] as string;
  const offset = snippetOffset + characters(snippet.slice(0, wordIn(snippet, word)));
  return { ...shared, offset, length: characters(word), snippet, snippetOffset };
}

async function hits(
  run: Runner,
  search: Search,
  rows: readonly PlaceRow[],
  columns: readonly string[],
): Promise<Hit[]> {
  if (rows.length === 0) return [];
  const idOf = ({ stream, seq }: PlaceRow) => `${stream}-${seq}`;
  const keys = {
    sessions: [...new Set(rows.map(({ session }) => session))],
    times: [...new Set(rows.map(({ at }) => at))],
    ids: rows.map(idOf),
  };
  const found = new Map<string, Hit>();
  for (const row of await run.rows<Row>(hitsPlan(run.tenant, search, keys, columns))) {
    const { hit_id: id, ...rest } = row;
    const hit = hitOf(rest, search);
    if (hit !== undefined) found.set(String(id), hit);
  }
  return rows.flatMap((row) => found.get(idOf(row)) ?? []);
}

/**
 * One page of hits. `columns` are those of their events. Rejects with `QueryError`: a search in a
 * time that is too full to be looked through even once is QUERY_LIMIT_REACHED.
 */
export async function searchPage(
  run: Runner,
  search: Search,
  size: number,
  after: string | null | undefined,
  columns: readonly string[],
): Promise<HitPage> {
  const place = typeof after === 'string' ? readEventCursor(after) : undefined;
  const { rows, searchedFrom } = await places(run, search, place, size + 1);
  const shown = await hits(run, search, rows.slice(0, size), columns);
  const edges = shown.map((node) => ({ cursor: eventCursor(placeOf(node.event)), node }));
  const more = rows.length > size;
  const endCursor =
    !more && searchedFrom !== undefined
      ? eventCursor({ ts: searchedFrom, seq: 0, streamId: NO_STREAM })
      : (edges.at(-1)?.cursor ?? null);
  return {
    edges,
    pageInfo: { hasNextPage: more || searchedFrom !== undefined, endCursor },
    searchedFrom: more ? undefined : searchedFrom,
  };
}
