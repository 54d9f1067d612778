/** Entities -> the statements that look them up. Pure. `schemas/entities.ts` says what is stored. */
import { domainToASCII, domainToUnicode } from 'node:url';
import {
  COLUMN_STAGE,
  CONTENT_ENTITY_TYPES,
  domainSql,
  ENTITY_TYPES,
  type StoredEntityType,
} from '#schemas';
import { badInput } from '../errors.ts';
import { checked, FILTER_ENTRIES_MAX, ns, ofSession, TIME64 } from '../plan.ts';
import { SESSION_COLUMNS } from '../session-plan.ts';
import { type Condition, condition, type ScopedSql, type Select, select } from '../sql.ts';

/** Sorts that every stream has one of; they stand in `streams`, by column. */
const OF_STREAMS: Readonly<Record<string, string>> = {
  agent: 'agent',
  machine: 'host',
  user: 'user',
};
const DOMAIN: StoredEntityType = 'domain';

/** All sorts that can be asked for. */
export const ENTITY_TYPE_NAMES: readonly string[] = [
  ...Object.keys(ENTITY_TYPES),
  ...Object.keys(OF_STREAMS),
];
/** Sorts that a session has a list of. */
export const LISTED_TYPES: readonly string[] = Object.keys(ENTITY_TYPES);
/** Values of one session that are looked up among all; the earliest. */
export const VALUES_MAX = 5_000;

export function entityType(type: string): string {
  if (ENTITY_TYPE_NAMES.includes(type)) return type;
  throw badInput(`type: it is ${ENTITY_TYPE_NAMES.join(', ')}`);
}

/** Where rows of a sort are, and which of them a condition on `value` means. */
function rowsOf(type: string, stored: (value: string) => string): Pick<Select, 'from' | 'where'> {
  const column = OF_STREAMS[type];
  if (column !== undefined) return { from: 'streams', where: [condition(stored(column))] };
  return { from: 'entities', where: [condition(`type = '${type}'`), condition(stored('value'))] };
}

function withValue(type: string, value: string): Pick<Select, 'from' | 'where'> {
  const params = { value: checked('value', value) };
  if (type !== DOMAIN) {
    const { from, where = [] } = rowsOf(type, (column) => `${column} = {value:String}`);
    return { from, where: where.map((one) => one && { ...one, params: needed(one, params) }) };
  }
  return { from: 'entities', where: [condition(OF_DOMAIN, { names: namesOf(value) })] };
}

/** A domain as it may have been recorded: in Punycode, and in the letters that it stands for. */
function namesOf(domain: string): readonly string[] {
  const name = domain.toLowerCase().replace(/\.$/, '');
  return [...new Set([name, domainToASCII(name), domainToUnicode(name)])].filter(Boolean);
}

/**
 * The rows of a domain. What the engine takes for a registrable domain is stored as one, and is found
 * by its key; of any other name (a subdomain, a suffix that the engine lacks) it is the hosts below.
 * Which of both is the case follows from the names alone, so the engine reads for one of them only.
 */
const KEPT = `arrayAll(name -> ${domainSql("concat('x.', name)")} = name, {names:Array(String)})`;
const BELOW =
  "arrayExists(name -> endsWith(concat('.', lower(trimRight(value, '.'))), concat('.', name)), {names:Array(String)})";
const OF_DOMAIN = `(${KEPT} AND type = 'domain' AND value IN {names:Array(String)}) OR (NOT ${KEPT} AND type = 'host' AND NOT isIPv4String(value) AND ${BELOW})`;

const needed = ({ text }: Condition, params: Condition['params']): Condition['params'] =>
  Object.fromEntries(Object.entries(params).filter(([name]) => text.includes(`{${name}:`)));

const SEEN = `uniqExact(session_id) AS sessions, ${ns('min(first_ts)')} AS first, ${ns('max(last_ts)')} AS last`;

/** In how many sessions an entity is, and when first and last. */
export const entityPlan = (tenant: string, type: string, value: string): ScopedSql =>
  select(tenant, { columns: SEEN, ...withValue(entityType(type), value), limit: 1 });

/** How many sessions there are in all. */
export const fleetPlan = (tenant: string): ScopedSql =>
  select(tenant, { columns: 'uniqExact(session_id) AS sessions', from: 'streams', limit: 1 });

/** Behind which session a page begins. */
export interface SightingPlace {
  readonly startedNs: string;
  readonly id: string;
}

/** Sessions that an entity is in, by when it was first seen in them, newest first. */
export const sightingsPlan = (
  tenant: string,
  type: string,
  value: string,
  limit: number,
  after?: SightingPlace,
): ScopedSql =>
  select(tenant, {
    columns: `toString(session_id) AS session, ${ns('min(first_ts)')} AS first, ${ns('max(last_ts)')} AS last`,
    ...withValue(entityType(type), value),
    groupBy: 'session_id',
    having: [
      after === undefined
        ? undefined
        : condition(`(min(first_ts), session) < ({after_ts:${TIME64}}, {after_id:String})`, {
            after_ts: after.startedNs,
            after_id: after.id,
          }),
    ],
    orderBy: 'min(first_ts) DESC, session DESC',
    limit,
  });

/** The heads of some sessions. */
export const sessionsByIdPlan = (tenant: string, ids: readonly string[]): ScopedSql =>
  select(tenant, {
    columns: SESSION_COLUMNS,
    from: 'streams',
    where: [condition('session_id IN {ids:Array(UUID)}', { ids })],
    groupBy: 'session_id',
    limit: ids.length,
  });

/** Sorts of which a fleet has few values, so that all of them may be listed. */
const FEW: ReadonlySet<string> = new Set(['tool', 'mcp_server', 'agent', 'machine', 'user']);

/** Values of a sort that begin with `prefix`, in order, behind `after`. */
export function valuesPlan(
  tenant: string,
  type: string,
  prefix: string,
  limit: number,
  after?: string,
): ScopedSql {
  if (prefix === '' && !FEW.has(entityType(type)))
    throw badInput(`prefix: give the first character at least; only ${[...FEW]} are listed whole`);
  const column = OF_STREAMS[entityType(type)] ?? 'value';
  return select(tenant, {
    columns: `${column} AS found, ${SEEN}`,
    from: column === 'value' ? 'entities' : 'streams',
    where: [
      column === 'value' ? condition(`type = '${type}'`) : undefined,
      condition(`startsWith(${column}, {prefix:String})`, { prefix: checked('prefix', prefix) }),
      after === undefined
        ? undefined
        : condition(`${column} > {after:String}`, { after: checked('after', after) }),
    ],
    groupBy: column,
    orderBy: column,
    limit,
  });
}

/** Sorts of a list, checked: all that are listed where none is given. */
export function listedTypes(types: readonly string[] | null | undefined): readonly string[] {
  if (types === null || types === undefined || types.length === 0) return LISTED_TYPES;
  const unknown =
    types.length > FILTER_ENTRIES_MAX || types.some((one) => !LISTED_TYPES.includes(one));
  if (unknown) throw badInput(`types: they are ${LISTED_TYPES.join(', ')}`);
  return types;
}

const listed = (first: string, last: string): string =>
  `type AS sort, value AS found, ${ns(`min(${first})`)} AS first, ${ns(`max(${last})`)} AS last`;

/**
 * The values that a session has of some sorts, the earliest first. Those that stand in columns are
 * read from its own rows; `entities` is sorted by value, so only its few sorts that are made of
 * command lines are looked through for a session.
 */
export function sessionValuesPlans(
  tenant: string,
  session: string,
  types: readonly string[],
): readonly ScopedSql[] {
  const wanted = condition('has({types:Array(String)}, toString(type))', { types });
  const words = types.filter((type) => CONTENT_ENTITY_TYPES.includes(type));
  const columns = select(tenant, {
    columns: COLUMN_STAGE.columns,
    from: 'events',
    where: [ofSession(session), condition(COLUMN_STAGE.where)],
  });
  const shared = { groupBy: 'type, value', orderBy: 'first, sort, found', limit: VALUES_MAX };
  const plans: ScopedSql[] = [];
  if (words.length < types.length)
    plans.push(
      select(tenant, {
        columns: listed('ts', 'ts'),
        from: columns,
        where: [wanted],
        ...shared,
      }),
    );
  if (words.length > 0)
    plans.push(
      select(tenant, {
        columns: listed('first_ts', 'last_ts'),
        from: 'entities',
        where: [
          condition(`type IN (${words.map((type) => `'${type}'`).join(', ')})`),
          ofSession(session),
        ],
        ...shared,
      }),
    );
  return plans;
}

/** Values by sort. */
export type Values = ReadonlyMap<string, readonly string[]>;

/** The rows of some values; what no value is asked of is not read. */
function anyOf(values: Values): Condition {
  const params: Record<string, readonly string[]> = {};
  const parts = [...values].map(([type, list], index) => {
    params[`values_${index}`] = list;
    return `(type = '${type}' AND value IN {values_${index}:Array(String)})`;
  });
  return condition(parts.join(' OR ') || 'false', params);
}

/** In how many sessions each of some values is, and when first and last. */
export const raritiesPlan = (tenant: string, values: Values, limit: number): ScopedSql =>
  select(tenant, {
    columns: `type AS sort, value AS found, ${SEEN}`,
    from: 'entities',
    where: [anyOf(values)],
    groupBy: 'type, value',
    limit,
  });

/** What a value weighs when sessions are compared. */
export interface Weighted {
  readonly type: string;
  readonly value: string;
  readonly weight: number;
}

const SHOWN_SHARED = 20;

/** Other sessions by the weight of the values that they share with one; the heaviest first. */
export function similarPlan(
  tenant: string,
  session: string,
  weighted: readonly Weighted[],
  limit: number,
): ScopedSql {
  const values = new Map<string, string[]>();
  for (const { type, value } of weighted) {
    const list = values.get(type) ?? [];
    list.push(value);
    values.set(type, list);
  }
  const weight =
    "transform(concat(toString(type), ' ', value), {keys:Array(String)}, {weights:Array(Float64)}, 0.0)";
  return select(tenant, {
    columns: `toString(session_id) AS session, sum(weight) AS shared, arraySlice(arrayReverseSort(one -> one.1, groupArray((weight, toString(type), value))), 1, ${SHOWN_SHARED}) AS why, count() AS entities`,
    from: select(tenant, {
      columns: `session_id, type, value, ${weight} AS weight`,
      params: {
        keys: weighted.map(({ type, value }) => `${type} ${value}`),
        weights: weighted.map((one) => one.weight),
      },
      from: 'entities',
      where: [anyOf(values)],
      groupBy: 'session_id, type, value',
    }),
    where: [condition('session_id != {session:UUID}', { session })],
    groupBy: 'session_id',
    orderBy: 'shared DESC, session DESC',
    limit,
  });
}
