/**
 * The SQL builder: SELECT over our tables, always inside one tenant.
 *
 *     SELECT columns FROM table|subquery WHERE tenant = {tenant:String} AND … GROUP BY … HAVING …
 *     ORDER BY … LIMIT n
 *
 * A table can only be read through `select`, which writes the tenant's predicate itself; fragments
 * can't name a table. Values stand in `params` alone, as `{name:Type}`; text of a fragment is ours,
 * never a caller's.
 */
import {
  ALERT_STATES_TABLE,
  ALERTS_TABLE,
  DEAD_TABLE,
  ERASURES_TABLE,
  EVENTS_TABLE,
  REPLAYS_TABLE,
  type Sql,
  type SqlValue,
  STREAMS_TABLE,
} from '#schemas';

/** The tables that may be read; each has a `tenant` column. */
export const TABLES = {
  events: EVENTS_TABLE,
  streams: STREAMS_TABLE,
  dead: DEAD_TABLE,
  replays: REPLAYS_TABLE,
  erasures: ERASURES_TABLE,
  alerts: ALERTS_TABLE,
  alertStates: ALERT_STATES_TABLE,
} as const;
export type TableName = keyof typeof TABLES;

/** A condition of ours, with the values that it binds. */
export interface Condition {
  readonly text: string;
  readonly params: Readonly<Record<string, SqlValue>>;
}

declare const scoped: unique symbol;
/** A statement that reads one tenant only; only `select` makes one. */
export interface ScopedSql extends Sql {
  readonly [scoped]: true;
}

export interface Select {
  readonly columns: string;
  readonly from: TableName | ScopedSql;
  readonly where?: readonly (Condition | undefined)[];
  readonly groupBy?: string;
  readonly having?: readonly (Condition | undefined)[];
  readonly orderBy?: string;
  /** The most rows that are read. */
  readonly limit?: number;
  readonly limitBy?: string;
}

/** A statement that the builder refuses; a fault of ours, never of a caller. */
export class ScopeError extends Error {
  override readonly name = 'ScopeError';
}

/** A condition; `text` is a constant of ours, values go in by `{name:Type}`. */
export const condition = (
  text: string,
  params: Readonly<Record<string, SqlValue>> = {},
): Condition => ({ text, params });

/** Words that would read a table behind the builder's back. */
const READS_A_TABLE = /\b(?:from|join|select|union|intersect|except|with)\b/i;
const PLACEHOLDER = /\{(\w+):[^{}]+\}/g;

function checkFragment(text: string): void {
  if (READS_A_TABLE.test(text) || text.includes(';') || text.includes('--') || text.includes('/*'))
    throw new ScopeError(`a fragment may only hold columns and conditions: ${text}`);
}

function merge(into: Record<string, SqlValue>, from: Readonly<Record<string, SqlValue>>): void {
  for (const [name, value] of Object.entries(from)) {
    if (name in into && into[name] !== value)
      throw new ScopeError(`two values are bound to {${name}}`);
    into[name] = value;
  }
}

function joined(word: string, conditions: readonly Condition[]): string {
  return conditions.length === 0
    ? ''
    : ` ${word} ${conditions.map(({ text }) => `(${text})`).join(' AND ')}`;
}

/**
 * Builds a SELECT over one tenant's rows. Throws `ScopeError` for an empty tenant, an unknown
 * table, a fragment that reads a table, or a placeholder without its value.
 */
export function select(tenant: string, query: Select): ScopedSql {
  if (typeof tenant !== 'string' || tenant === '') throw new ScopeError('a query needs a tenant');
  const where = (query.where ?? []).filter((item) => item !== undefined);
  const having = (query.having ?? []).filter((item) => item !== undefined);
  const fragments = [query.columns, query.groupBy, query.orderBy, query.limitBy];
  for (const text of [...fragments, ...[...where, ...having].map((item) => item.text)])
    if (text !== undefined) checkFragment(text);
  const params: Record<string, SqlValue> = Object.assign(Object.create(null), { tenant });
  for (const item of [...where, ...having]) merge(params, item.params);
  let from: string;
  let inside = where;
  if (typeof query.from === 'string') {
    const table = Object.hasOwn(TABLES, query.from) ? TABLES[query.from] : undefined;
    if (table === undefined) throw new ScopeError(`no such table: ${String(query.from)}`);
    from = table;
    inside = [condition('tenant = {tenant:String}'), ...where];
  } else {
    if (query.from.params.tenant !== tenant) throw new ScopeError('a subquery of another tenant');
    merge(params, query.from.params);
    from = `(${query.from.text})`;
  }
  const text =
    `SELECT ${query.columns} FROM ${from}${joined('WHERE', inside)}` +
    (query.groupBy === undefined ? '' : ` GROUP BY ${query.groupBy}`) +
    joined('HAVING', having) +
    (query.orderBy === undefined ? '' : ` ORDER BY ${query.orderBy}`) +
    (query.limitBy === undefined ? '' : ` LIMIT 1 BY ${query.limitBy}`) +
    (query.limit === undefined ? '' : ` LIMIT ${limitOf(query.limit)}`);
  for (const [, name] of text.matchAll(PLACEHOLDER))
    if (name === undefined || !(name in params)) throw new ScopeError(`no value for {${name}}`);
  return { text, params } as unknown as ScopedSql;
}

function limitOf(limit: number): string {
  if (!Number.isSafeInteger(limit) || limit < 0) throw new ScopeError(`no limit: ${limit}`);
  return String(limit);
}

const LIKE_SPECIAL = /[\\%_]/g;

/** A text as a LIKE pattern that finds it anywhere, with its wildcards taken literally. */
export const containing = (text: string): string =>
  `%${text.replace(LIKE_SPECIAL, (character) => `\\${character}`)}%`;
