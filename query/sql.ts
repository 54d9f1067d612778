/**
 * The SQL builder: SELECT over our tables, always inside one tenant.
 *
 *     SELECT columns FROM table|subquery WHERE tenant = {tenant:String} AND … GROUP BY … HAVING …
 *     ORDER BY … LIMIT n
 *
 * A table can only be read through `select`, which writes the tenant's predicate itself; fragments
 * can't name a table. Values stand in `params` alone, as `{name:Type}`; text of a fragment is ours,
 * never a caller's.
 *
 * Each statement has a second text in which the columns of content are blank, whatever is done with
 * them: `run.ts` sends that one for a viewer without the scope. And the journal of accesses is
 * read only where `journal` is bound to 1, rows that are content whole where `content` is.
 */
import {
  ALERT_STATES_TABLE,
  ALERTS_TABLE,
  ALL_FIELDS,
  CONTENT_ENTITY_TYPES,
  DEAD_TABLE,
  ENTITIES_TABLE,
  ERASURES_TABLE,
  EVENTS_TABLE,
  HOLDS_TABLE,
  JOURNAL_AGENTS,
  REMOVALS_TABLE,
  REPLAYS_TABLE,
  type Sql,
  type SqlValue,
  STREAMS_TABLE,
} from '#schemas';

/** The tables that may be read; each has a `tenant` column. */
export const TABLES = {
  events: EVENTS_TABLE,
  streams: STREAMS_TABLE,
  /** All streams, the journal's as well: only for when a session's events are at all. */
  bounds: STREAMS_TABLE,
  dead: DEAD_TABLE,
  replays: REPLAYS_TABLE,
  erasures: ERASURES_TABLE,
  alerts: ALERTS_TABLE,
  alertStates: ALERT_STATES_TABLE,
  entities: ENTITIES_TABLE,
  holds: HOLDS_TABLE,
  removals: REMOVALS_TABLE,
} as const;
export type TableName = keyof typeof TABLES;

/** The blank of a column of some type; the type's own default is what an absent field is. */
const blank = (type: string) => `defaultValueOfTypeName('${type}')`;

/** What of each table is content, beside what stands in its place for those who may not see it. */
export const CONTENT_COLUMNS: Partial<Record<TableName, Readonly<Record<string, string>>>> = {
  events: Object.fromEntries(
    Object.entries(ALL_FIELDS)
      .filter(([, field]) => field.content === true)
      .map(([name, field]) => [name, blank(field.column.type)]),
  ),
  dead: { bytes_base64: "''", field: "''", detail: "''" },
  alerts: { key: blank('Map(LowCardinality(String), String)'), reason: "''" },
};
/** Columns that the engine makes of content; `*` does not give them, so they are added. */
const DERIVED: Partial<Record<TableName, Readonly<Record<string, string>>>> = {
  events: { argv_line: "''" },
};

/** A stream of recorded things, and none of the service's own; see `schemas/table.ts`. */
export const RECORDED = `sensed = 1 OR agent NOT IN (${JOURNAL_AGENTS.map((name) => `'${name}'`).join(', ')})`;
/** What of `streams` its reader may see. */
export const SEEN_STREAM = `{journal:UInt8} = 1 OR ${RECORDED}`;
/** Rows that are not of the journal of accesses; a journal's stream holds nothing that was sensed. */
const NO_JOURNAL: Partial<Record<TableName, string>> = {
  events: "{journal:UInt8} = 1 OR kind != 'access'",
  streams: SEEN_STREAM,
};
/** Rows that are made of content, whole: without the scope they are not there. */
const NO_CONTENT: Partial<Record<TableName, string>> = {
  entities: `{content:UInt8} = 1 OR type NOT IN (${CONTENT_ENTITY_TYPES.map((type) => `'${type}'`).join(', ')})`,
};

/** A condition of ours, with the values that it binds. */
export interface Condition {
  readonly text: string;
  readonly params: Readonly<Record<string, SqlValue>>;
}

declare const scoped: unique symbol;
/** A statement that reads one tenant only; only `select` makes one. */
export interface ScopedSql extends Sql {
  readonly [scoped]: true;
  /** The same statement over rows without their content. */
  readonly bare: string;
  /** Columns of content that its conditions look at; undefined where there are none. */
  readonly tests: string | undefined;
}

export interface Select {
  readonly columns: string;
  /**
   * Columns that say whether a row passes conditions, by their names: who may not see what these
   * look at may not ask them either.
   */
  readonly marks?: Readonly<Record<string, Condition>>;
  /** Values that the columns name. */
  readonly params?: Readonly<Record<string, SqlValue>>;
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
  const marks = Object.entries(query.marks ?? {});
  const conditions = [...where, ...having, ...marks.map(([, item]) => item)];
  const fragments = [query.columns, query.groupBy, query.orderBy, query.limitBy];
  for (const text of [...fragments, ...conditions.map((item) => item.text)])
    if (text !== undefined) checkFragment(text);
  const params: Record<string, SqlValue> = Object.assign(Object.create(null), { tenant });
  merge(params, query.params ?? {});
  for (const item of conditions) merge(params, item.params);
  const columns = [query.columns, ...marks.map(([name, { text }]) => `${text} AS ${name}`)].join(
    ', ',
  );
  const source = sourceOf(tenant, query.from, params);
  const rest =
    joined('WHERE', [...source.scope, ...where]) +
    (query.groupBy === undefined ? '' : ` GROUP BY ${query.groupBy}`) +
    joined('HAVING', having) +
    (query.orderBy === undefined ? '' : ` ORDER BY ${query.orderBy}`) +
    (query.limitBy === undefined ? '' : ` LIMIT 1 BY ${query.limitBy}`) +
    (query.limit === undefined ? '' : ` LIMIT ${limitOf(query.limit)}`);
  const text = `SELECT ${columns} FROM ${source.text}${rest}`;
  for (const [, name] of text.matchAll(PLACEHOLDER))
    if (name === undefined || !(name in params)) throw new ScopeError(`no value for {${name}}`);
  const bare = `SELECT ${columns} FROM ${source.bare}${rest}`;
  const tests = testsOf(conditions, source);
  return { text, bare, tests, params } as unknown as ScopedSql;
}

/**
 * The rows of several statements, one after the other; they have the same columns. Throws
 * `ScopeError` where they are of different tenants, or bind one name to two values.
 */
export function unionAll(parts: readonly ScopedSql[]): ScopedSql {
  const params: Record<string, SqlValue> = Object.create(null);
  for (const part of parts) merge(params, part.params);
  const named = new Set(parts.flatMap(({ tests }) => tests?.split(', ') ?? []));
  const all = (form: 'text' | 'bare') => parts.map((part) => part[form]).join(' UNION ALL ');
  const tests = named.size === 0 ? undefined : [...named].join(', ');
  return { text: all('text'), bare: all('bare'), tests, params } as unknown as ScopedSql;
}

const NAMED_TABLE = /\bFROM (telltale\.\w+)\b/g;

/**
 * A whole statement of ours, joins and subqueries in it, over one tenant's rows: each of its tables
 * stands behind its FROM by its full name, and is read through a subquery that holds the tenant's
 * predicate and all else that `select` puts on. Throws `ScopeError` for a table that it does not know
 * or can't put in its place.
 */
export function within(
  tenant: string,
  statement: string,
  values: Readonly<Record<string, SqlValue>>,
): ScopedSql {
  if (typeof tenant !== 'string' || tenant === '') throw new ScopeError('a query needs a tenant');
  const params: Record<string, SqlValue> = Object.assign(Object.create(null), { tenant });
  merge(params, values);
  const sources = new Map<string, { readonly text: string; readonly bare: string }>();
  for (const [, table = ''] of statement.matchAll(NAMED_TABLE)) {
    const name = Object.entries(TABLES).find(([, each]) => each === table)?.[0];
    const { text, bare, scope } = sourceOf(tenant, (name ?? table) as TableName, params);
    const derived = Object.keys(DERIVED[name as TableName] ?? {});
    const rows = `SELECT ${['*', ...derived].join(', ')} FROM ${text}${joined('WHERE', scope)}`;
    // A table without content has no bare form of its own.
    sources.set(table, { text: `(${rows})`, bare: bare === text ? `(${rows})` : bare });
  }
  const read = (form: 'text' | 'bare') =>
    statement.replace(NAMED_TABLE, (_, table) => `FROM ${sources.get(table)?.[form]}`);
  const named = statement.match(/\b(?:FROM|JOIN)\b(?! ?\()|\btelltale\./gi)?.length ?? 0;
  if (named !== 2 * (statement.match(NAMED_TABLE)?.length ?? 0) || /;|--|\/\*/.test(statement))
    throw new ScopeError(`each table stands behind a FROM, by its full name: ${statement}`);
  for (const [, name] of statement.matchAll(PLACEHOLDER))
    if (name === undefined || !(name in params)) throw new ScopeError(`no value for {${name}}`);
  return { text: read('text'), bare: read('bare'), tests: undefined, params } as ScopedSql;
}

interface Source {
  readonly text: string;
  readonly bare: string;
  readonly scope: readonly Condition[];
  /** Names of content in it. */
  readonly content: readonly string[];
  readonly tests: string | undefined;
}

/** What is read: a table within the tenant, or a statement over one. Binds what it needs. */
function sourceOf(tenant: string, from: Select['from'], params: Record<string, SqlValue>): Source {
  if (typeof from !== 'string') {
    if (from.params.tenant !== tenant) throw new ScopeError('a subquery of another tenant');
    merge(params, from.params);
    const content = from.tests === undefined ? [] : from.tests.split(', ');
    return {
      text: `(${from.text})`,
      bare: `(${from.bare})`,
      scope: [],
      content,
      tests: from.tests,
    };
  }
  const table = Object.hasOwn(TABLES, from) ? TABLES[from] : undefined;
  if (table === undefined) throw new ScopeError(`no such table: ${String(from)}`);
  const hidden = NO_JOURNAL[from];
  if (hidden !== undefined) params.journal = 0;
  const made = NO_CONTENT[from];
  if (made !== undefined) params.content = 0;
  const scope = ['tenant = {tenant:String}', hidden, made].filter((one) => one !== undefined);
  const content = CONTENT_COLUMNS[from] ?? {};
  const derived = DERIVED[from] ?? {};
  const as = (columns: Readonly<Record<string, string>>) =>
    Object.entries(columns).map(([name, value]) => `${value} AS ${name}`);
  const given = ['*', ...as(derived)]
    .join(', ')
    .replace('*', `* REPLACE (${as(content).join(', ')})`);
  const inside = joined(
    'WHERE',
    scope.map((text) => condition(text)),
  );
  return {
    text: table,
    bare: as(content).length === 0 ? table : `(SELECT ${given} FROM ${table}${inside})`,
    scope: scope.map((text) => condition(text)),
    content: [...Object.keys(content), ...Object.keys(derived)],
    tests: undefined,
  };
}

/** The columns of content that conditions name; texts and placeholders are none. */
function testsOf(conditions: readonly Condition[], source: Source): string | undefined {
  const words = new Set(
    conditions.flatMap(
      ({ text }) =>
        text
          .replace(PLACEHOLDER, ' ')
          .replace(/'(?:[^'\\]|\\.)*'/g, ' ')
          .match(/\w+/g) ?? [],
    ),
  );
  const named = source.content.filter((name) => words.has(name));
  const all = new Set([...named, ...(source.tests?.split(', ') ?? [])]);
  return all.size === 0 ? undefined : [...all].join(', ');
}

function limitOf(limit: number): string {
  if (!Number.isSafeInteger(limit) || limit < 0) throw new ScopeError(`no limit: ${limit}`);
  return String(limit);
}

const LIKE_SPECIAL = /[\\%_]/g;

/** A text as a LIKE pattern that finds it anywhere, with its wildcards taken literally. */
export const containing = (text: string): string =>
  `%${text.replace(LIKE_SPECIAL, (character) => `\\${character}`)}%`;
