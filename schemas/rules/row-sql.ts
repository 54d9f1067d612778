/**
 * Tests of rows as conditions over the table of events, for what reads a database on behalf of
 * rules: the backtest, and the rules of a whole tenant. Values are bound; none stands in the text.
 */
import { ALL_FIELDS, REGISTRY } from '../registry.ts';
import type { Literals, RowTest } from './preselect.ts';
import type { Rule } from './rule.ts';

/** The most literals of one call; the engine takes 255 in one of its searches. */
const NEEDLES_MAX = 250;
/** Rows that start or end a process, for the names of those who act. */
export const PROCESS_KINDS: readonly string[] = [...REGISTRY.values()]
  .filter(({ role }) => role === 'process_start' || role === 'process_end')
  .map(({ kind }) => kind);

export interface RowSql {
  /** What the conditions written so far bind. */
  readonly params: Readonly<Record<string, readonly string[]>>;
  /** A placeholder for these values. */
  bind(values: readonly string[], type: string): string;
  row(test: RowTest): string;
  /** Rows that pass any of the tests; `false` for none. */
  rows(tests: readonly RowTest[]): string;
}

/** Writes conditions, and binds each value once. */
export function createRowSql(): RowSql {
  const params: Record<string, readonly string[]> = {};
  const names = new Map<string, string>();

  function bind(values: readonly string[], type: string): string {
    const key = `${type}\n${JSON.stringify(values)}`;
    const name = names.get(key) ?? `v${names.size}`;
    names.set(key, name);
    params[name] = values;
    return `{${name}:Array(${type})}`;
  }

  function literals({ columns, needles }: Literals): string {
    const sorted = [...new Set(needles)].sort();
    const chunks: string[] = [];
    for (let at = 0; at < sorted.length; at += NEEDLES_MAX) {
      const bound = bind(sorted.slice(at, at + NEEDLES_MAX), 'String');
      for (const column of columns) chunks.push(`multiSearchAny(lowerUTF8(${column}), ${bound})`);
    }
    return chunks.join(' OR ');
  }

  function row({ kinds, literals: some }: RowTest): string {
    const ofKind = `has(${bind(kinds, 'String')}, toString(kind))`;
    return some === undefined ? ofKind : `${ofKind} AND (${some.map(literals).join(' OR ')})`;
  }

  const rows = (tests: readonly RowTest[]): string =>
    tests.length === 0 ? 'false' : tests.map((test) => `(${row(test)})`).join(' OR ');

  return { params, bind, row, rows };
}

/** Columns that hold long texts (prompts, outputs). */
const BODIES = Object.keys(ALL_FIELDS).filter((name) => ALL_FIELDS[name]?.body === true);
const NARROW = Object.keys(ALL_FIELDS).filter((name) => ALL_FIELDS[name]?.body !== true);

/** Columns that rules may read: the narrow ones, and long texts where a rule asks for them. */
export function columnsFor(rules: readonly Rule[]): readonly string[] {
  const inputs = rules.flatMap(({ matcher }) =>
    matcher.type === 'event' ? [matcher.test] : matcher.stream.inputs,
  );
  const asked = new Set(inputs.flatMap(({ fields }) => fields ?? BODIES));
  return [...NARROW, ...BODIES.filter((name) => asked.has(name))];
}
