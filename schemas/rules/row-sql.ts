/**
 * Tests of rows as conditions over the table of events, for what reads a database on behalf of
 * rules: the backtest, and the rules of a whole tenant. Values are bound; none stands in the text.
 */
import { REGISTRY } from '../registry.ts';
import type { Literals, RowNeed, RowTest } from './preselect.ts';

/** The most literals of one call; the engine takes 255 in one of its searches. */
const NEEDLES_MAX = 250;
/** Rows that start or end a process, for the names of those who act. */
export const PROCESS_KINDS: readonly string[] = [...REGISTRY.values()]
  .filter(({ role }) => role === 'process_start' || role === 'process_end')
  .map(({ kind }) => kind);

/** A column as it is compared: in lower case, all of it or what is behind its last slash. */
const folded = (column: string, whole: Literals['whole']): string =>
  whole === 'name'
    ? `arrayElement(splitByChar('/', lowerUTF8(${column})), -1)`
    : `lowerUTF8(${column})`;

export interface RowSql {
  /** What the conditions written so far bind. */
  readonly params: Readonly<Record<string, string | readonly string[]>>;
  /** A placeholder for one text. */
  one(value: string): string;
  /** A placeholder for these values. */
  bind(values: readonly string[], type: string): string;
  row(test: RowTest): string;
  /** Rows that pass any of the tests; `false` for none. */
  rows(tests: readonly RowTest[]): string;
  /** The same for rows that are known to be of one kind. */
  rowsOfKind(kind: string, tests: readonly RowTest[]): string;
}

/** Writes conditions, and binds each value once. */
export function createRowSql(): RowSql {
  const params: Record<string, string | readonly string[]> = {};
  const names = new Map<string, string>();

  function placeholder(value: string | readonly string[], type: string): string {
    const key = `${type}\n${JSON.stringify(value)}`;
    const known = names.get(key);
    const name = known ?? `v${names.size}`;
    if (known === undefined) {
      names.set(key, name);
      params[name] = value;
    }
    return `{${name}:${type}}`;
  }
  const bind = (values: readonly string[], type: string) => placeholder(values, `Array(${type})`);
  const one = (value: string) => placeholder(value, 'String');

  function literals({ columns, needles, whole }: Literals): string {
    const sorted = [...new Set(needles)].sort();
    // A set is looked up at once; a search of many words makes itself a table for each block.
    if (whole !== undefined)
      return columns
        .map((one) => `${folded(one, whole)} IN ${bind(sorted, 'String')}`)
        .join(' OR ');
    const chunks: string[] = [];
    for (let at = 0; at < sorted.length; at += NEEDLES_MAX) {
      const bound = bind(sorted.slice(at, at + NEEDLES_MAX), 'String');
      for (const column of columns) chunks.push(`multiSearchAny(lowerUTF8(${column}), ${bound})`);
    }
    return chunks.join(' OR ');
  }

  function needed(need: RowNeed): string {
    if ('needles' in need) return literals(need);
    if ('present' in need) return `${need.present} != ''`;
    // Of bytes there are as many as of characters, or more.
    if ('long' in need) return `length(${need.long}) >= ${need.charactersMin}`;
    if ('number' in need) return `ifNull(${need.number} ${need.operator} ${need.value}, false)`;
    const [parts, word] = 'all' in need ? [need.all, ' AND '] : [need.either, ' OR '];
    return parts.map((part) => `(${needed(part)})`).join(word);
  }

  function row({ kinds, need }: RowTest): string {
    const ofKind = `kind IN ${bind(kinds, 'String')}`;
    return need === undefined ? ofKind : `${ofKind} AND (${needed(need)})`;
  }

  const rows = (tests: readonly RowTest[]): string =>
    tests.length === 0 ? 'false' : tests.map((test) => `(${row(test)})`).join(' OR ');

  function rowsOfKind(kind: string, tests: readonly RowTest[]): string {
    const own = tests.filter(({ kinds }) => kinds.includes(kind)).map(({ need }) => need);
    if (own.includes(undefined)) return 'true';
    const needs = own.map((need) => `(${needed(need as RowNeed)})`);
    return needs.length === 0 ? 'false' : [...new Set(needs)].join(' OR ');
  }

  return { params, one, bind, row, rows, rowsOfKind };
}
