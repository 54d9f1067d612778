/**
 * A search over texts -> statements. Pure. Two a page: the first finds places, newest first, and
 * reads little; the second reads the events of one page with the texts around their hits.
 */
import { compileRegex, selectEvent } from '#schemas';
import { badInput } from '../errors.ts';
import { checked, equals, FILTER_ENTRIES_MAX, has, ns, ofSession, TIME64 } from '../plan.ts';
import { type Condition, condition, type ScopedSql, select } from '../sql.ts';
import { wholeWords, wordsOf, wordsOfPattern } from './words.ts';

/** What is searched, and the columns that hold it. */
export const SEARCH_FIELDS = {
  commands: ['command', 'argv_line'],
  prompts: ['prompt'],
  messages: ['text'],
  arguments: ['arguments'],
  outputs: ['output'],
} as const satisfies Readonly<Record<string, readonly string[]>>;
export type SearchField = keyof typeof SEARCH_FIELDS;
export const SEARCH_MODES = ['words', 'substring', 'regex'] as const;
export type SearchMode = (typeof SEARCH_MODES)[number];

/** Columns with an index over words, which compares without regard to case by itself. */
const INDEXED: ReadonlySet<string> = new Set(SEARCH_FIELDS.commands);
const WORDS_MAX = 20;
/** Characters that a hit is shown with before it, and in all. */
export const SNIPPET_BEFORE = 80;
export const SNIPPET_CHARACTERS = 320;

export interface SearchFilter {
  readonly kinds?: readonly string[] | null | undefined;
  readonly session?: string | null | undefined;
  readonly agent?: string | null | undefined;
  readonly machine?: string | null | undefined;
  readonly user?: string | null | undefined;
  readonly from?: string | null | undefined;
  readonly before?: string | null | undefined;
}

/** A search, checked. */
export interface Search {
  readonly mode: SearchMode;
  readonly text: string;
  /** Words that are whole in every hit, in lower case; in mode `words` all that must be there. */
  readonly words: readonly string[];
  readonly columns: readonly string[];
  readonly filter: SearchFilter;
}

/** Whether the index over words can serve the search: it is asked of nothing else. */
export const isIndexed = ({ words, columns }: Search): boolean =>
  words.length > 0 && columns.every((column) => INDEXED.has(column));

function columnsOf(fields: readonly string[] | null | undefined): string[] {
  const named = has(fields) && fields.length > 0 ? fields : ['commands'];
  return [...new Set(named)].flatMap((name) => {
    if (!Object.hasOwn(SEARCH_FIELDS, name))
      throw badInput(`in: what is searched is ${Object.keys(SEARCH_FIELDS).join(', ')}`);
    return [...SEARCH_FIELDS[name as SearchField]];
  });
}

function wordsFor(mode: SearchMode, text: string): string[] {
  if (mode === 'substring') return wholeWords(text);
  if (mode === 'words') {
    const words = wordsOf(text);
    if (words.length === 0) throw badInput('query: holds no word; search for it as a substring');
    return words;
  }
  // The second holds the pattern as `snippet` sends it: an unended \Q would swallow its end.
  for (const pattern of [text, `(?s)^(.*?)(?:${text})`]) {
    const compiled = compileRegex(pattern);
    if (!compiled.ok) throw badInput(`query: ${compiled.reason}`);
  }
  return wordsOfPattern(text);
}

/** Checks what a caller asks for. Throws `QueryError` where it can't be meant. */
export function searchOf(
  text: string,
  mode: string,
  fields: readonly string[] | null | undefined,
  filter: SearchFilter,
): Search {
  if (!(SEARCH_MODES as readonly string[]).includes(mode))
    throw badInput(`mode: it is ${SEARCH_MODES.join(', ')}`);
  if (checked('query', text).trim() === '') throw badInput('query: give what to search for');
  if (text.includes('\0')) throw badInput('query: holds a NUL');
  const words = wordsFor(mode as SearchMode, text);
  if (words.length > WORDS_MAX) throw badInput(`query: at most ${WORDS_MAX} words`);
  if (has(filter.kinds) && filter.kinds.length > FILTER_ENTRIES_MAX)
    throw badInput(`kinds: at most ${FILTER_ENTRIES_MAX} entries`);
  return { mode: mode as SearchMode, text, words, columns: columnsOf(fields), filter };
}

/**
 * Whether a column holds all words. The index knows no case; without it, in a list of columns, the
 * engine compares as the words stand, so there it is given the text in lower case.
 */
const holdsWords = (column: string, asked: 'index' | 'row'): string =>
  INDEXED.has(column) && asked === 'index'
    ? `hasAllTokens(${column}, {words:Array(String)})`
    : `hasAllTokens(lower(${column}), {words:Array(String)})`;

/**
 * Whether a column has a hit. A pattern is matched over a copy of the text: on a plain column the
 * engine would look through the whole dictionary of the index for it, which is slower than reading.
 */
function matches({ mode, words }: Search, column: string, asked: 'index' | 'row'): string {
  const holds = holdsWords(column, asked);
  const found = {
    words: holds,
    substring: `positionCaseInsensitive(${column}, {query:String}) > 0`,
    regex: `match(concat(${column}, ''), {query:String})`,
  }[mode];
  return mode === 'words' || words.length === 0 ? found : `${holds} AND ${found}`;
}

const boundTo = ({ text, words }: Search) => ({ query: text, words });

/** Of some values those that a text names: a longer pattern than need be is not sent about. */
const named = (text: string, params: Condition['params']): Condition['params'] =>
  Object.fromEntries(Object.entries(params).filter(([name]) => text.includes(`{${name}:`)));

/** A place in the order of hits: newest first. */
export interface HitPlace {
  readonly ts: string;
  readonly seq: number;
  readonly streamId: string;
}

const ORDER = 'ts, seq, toString(stream_id)';

/** Times of one step of a search: from `since` on, and before `until`; nanoseconds. */
export interface Span {
  readonly since?: string | undefined;
  readonly until?: string | undefined;
}

/** Places of hits within a span and behind `after`, newest first, `limit` at most. */
export function placesPlan(
  tenant: string,
  search: Search,
  { since, until }: Span,
  after: HitPlace | undefined,
  limit: number,
): ScopedSql {
  const { filter, columns } = search;
  const any = columns.map((column) => `(${matches(search, column, 'index')})`).join(' OR ');
  const at = (name: string, than: string, value: string | null | undefined) =>
    has(value) ? condition(`ts ${than} {${name}:${TIME64}}`, { [name]: value }) : undefined;
  return select(tenant, {
    columns: `toString(session_id) AS session, toString(stream_id) AS stream, seq, ${ns('ts')} AS at`,
    from: 'events',
    where: [
      at('since', '>=', since),
      at('until', '<', until),
      at('filter_since', '>=', filter.from),
      at('filter_until', '<', filter.before),
      at('after_ts', '<=', after?.ts),
      after === undefined
        ? undefined
        : condition(
            `(${ORDER}) < ({after_ts:${TIME64}}, {after_seq:UInt32}, {after_stream:String})`,
            { after_ts: after.ts, after_seq: after.seq, after_stream: after.streamId },
          ),
      has(filter.session) ? ofSession(filter.session) : undefined,
      equals('agent', 'agent', filter.agent),
      equals('host', 'machine', filter.machine),
      equals('user', 'user_name', filter.user),
      has(filter.kinds)
        ? condition('has({kinds:Array(String)}, toString(kind))', { kinds: filter.kinds })
        : undefined,
      condition(any, named(any, boundTo(search))),
    ],
    // By the time as text, all of nineteen digits: ordered by `ts` itself with a limit, the engine
    // leaves the index for the rows, and compares words with regard to case (a test holds this).
    orderBy: 'at DESC, seq DESC, stream DESC',
    limit,
  });
}

/** Where in a column a hit begins, in characters from 1. */
const BEGINS: Readonly<Record<SearchMode, (column: string) => string>> = {
  words: (column) => `positionCaseInsensitiveUTF8(${column}, {longest:String})`,
  substring: (column) => `positionCaseInsensitiveUTF8(${column}, {query:String})`,
  regex: (column) => `lengthUTF8(extract(${column}, {before:String})) + 1`,
};

/** Which events of a page, and what of each. */
export interface HitKeys {
  readonly sessions: readonly string[];
  readonly times: readonly string[];
  readonly ids: readonly string[];
}

/** The events of one page: `columns` of each, and of each searched column the text at its hit. */
export function hitsPlan(
  tenant: string,
  search: Search,
  keys: HitKeys,
  columns: readonly string[],
): ScopedSql {
  const { mode, text, words } = search;
  const begin = BEGINS[mode];
  const texts = search.columns.flatMap((column, index) => [
    `if(${matches(search, column, 'row')}, ${begin(column)}, 0) AS begin_${index}`,
    `if(begin_${index} > 0, substringUTF8(${column}, greatest(begin_${index} - ${SNIPPET_BEFORE}, 1), ${SNIPPET_CHARACTERS}), '') AS cut_${index}`,
    mode === 'regex'
      ? `if(begin_${index} > 0, lengthUTF8(extract(${column}, {whole:String})), 0) AS length_${index}`
      : `0 AS length_${index}`,
  ]);
  const id = "concat(toString(stream_id), '-', toString(seq))";
  const listed = [selectEvent(columns), `${id} AS hit_id`, ...texts].join(', ');
  return select(tenant, {
    columns: listed,
    params: named(listed, {
      ...boundTo(search),
      longest: [...words].sort((a, b) => b.length - a.length)[0] ?? '',
      before: `(?s)^(.*?)(?:${text})`,
      whole: `(${text})`,
    }),
    from: 'events',
    where: [
      condition('session_id IN {sessions:Array(UUID)}', { sessions: keys.sessions }),
      condition(`ts IN {times:Array(${TIME64})}`, { times: keys.times }),
      condition(`has({ids:Array(String)}, ${id})`, { ids: keys.ids }),
    ],
    limit: keys.ids.length,
  });
}

/** From when until when a tenant has anything, by the streams' own account. */
export const extentPlan = (tenant: string): ScopedSql =>
  select(tenant, {
    columns: `${ns('min(first_ts)')} AS first, ${ns('max(last_ts)')} AS last, count() AS streams`,
    from: 'streams',
    limit: 1,
  });
