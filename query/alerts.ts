/** Alerts as stored: pages of them, newest first, each with what became of it. */
import {
  ALERT_COLUMNS,
  ALERT_LEVELS,
  type Alert,
  type AlertLevel,
  alertOf,
  type Row,
} from '#schemas';
import { type AlertPlace, alertCursor, isUuid } from './cursor.ts';
import { badInput } from './errors.ts';
import { has } from './plan.ts';
import type { Page } from './render.ts';
import type { Runner } from './run.ts';
import { type Condition, condition, type ScopedSql, select } from './sql.ts';

const FILTER_CHARACTERS_MAX = 200;

export interface AlertFilter {
  readonly session?: string | null | undefined;
  readonly rule?: string | null | undefined;
  readonly levels?: readonly string[] | null | undefined;
  /** Decimal nanoseconds; raised at or after. */
  readonly raisedFrom?: string | null | undefined;
  readonly raisedBefore?: string | null | undefined;
}

/** An alert as it is told: with when it was raised, and the newest word on it. */
export interface StoredAlert extends Alert {
  readonly raisedMs: number;
  /** `raised` where nothing was said since. */
  readonly state: string;
}

const msOf = (ns: string) => (BigInt(ns) / 1_000_000n).toString();
const time = (name: string) => `fromUnixTimestamp64Milli({${name}:Int64}, 'UTC')`;

function levelsOf(levels: readonly string[]): readonly AlertLevel[] {
  const unknown = levels.find((level) => !(ALERT_LEVELS as readonly string[]).includes(level));
  if (unknown !== undefined) throw badInput(`levels: they are ${ALERT_LEVELS.join(', ')}`);
  return levels as readonly AlertLevel[];
}

/** The columns of an alert as it is told. */
export const ALERT_ROW = `${ALERT_COLUMNS}, toUnixTimestamp64Milli(raised_at) AS raised_ms`;

/** The conditions of a filter of alerts. Throws `QueryError` for what can't be meant. */
export function alertConditions(filter: AlertFilter): (Condition | undefined)[] {
  const { session, rule, levels, raisedFrom, raisedBefore } = filter;
  if (has(session) && !isUuid(session)) throw badInput('session: not a UUID');
  if (has(rule) && rule.length > FILTER_CHARACTERS_MAX) throw badInput('rule: too long');
  if (has(rule) && !rule.isWellFormed()) throw badInput('rule: holds a lone surrogate');
  return [
    has(session) ? condition('session_id = {session:UUID}', { session }) : undefined,
    has(rule) ? condition('rule_id = {rule:String}', { rule }) : undefined,
    has(levels)
      ? condition('has({levels:Array(String)}, toString(level))', { levels: levelsOf(levels) })
      : undefined,
    has(raisedFrom)
      ? condition(`raised_at >= ${time('since')}`, { since: msOf(raisedFrom) })
      : undefined,
    has(raisedBefore)
      ? condition(`raised_at < ${time('until')}`, { until: msOf(raisedBefore) })
      : undefined,
  ];
}

/** One page of alerts, newest first, and one row more. Throws `QueryError` for a filter it can't mean. */
export function alertsPlan(
  tenant: string,
  size: number,
  filter: AlertFilter = {},
  after?: AlertPlace,
): ScopedSql {
  return select(tenant, {
    columns: ALERT_ROW,
    from: 'alerts',
    where: [
      ...alertConditions(filter),
      after === undefined
        ? undefined
        : condition(`(raised_at, fingerprint) < (${time('after_ms')}, {after_id:String})`, {
            after_ms: String(after.raisedMs),
            after_id: after.fingerprint,
          }),
    ],
    orderBy: 'raised_at DESC, fingerprint DESC',
    limitBy: 'fingerprint',
    limit: size + 1,
  });
}

/** The newest word of the engine or a person on some alerts. */
const statesPlan = (tenant: string, fingerprints: readonly string[]): ScopedSql =>
  select(tenant, {
    columns: 'toString(fingerprint) AS id, argMax(state, changed_at) AS newest',
    from: 'alertStates',
    where: [
      condition('fingerprint IN {ids:Array(String)}', { ids: fingerprints }),
      condition("state NOT IN ('delivered', 'withdrawal_delivered')"),
    ],
    groupBy: 'fingerprint',
    limit: fingerprints.length,
  });

/** The alerts of rows of `ALERT_ROW`, each with the newest word on it. */
export async function storedAlerts(run: Runner, rows: readonly Row[]): Promise<StoredAlert[]> {
  const alerts = rows.map((row) => ({ ...alertOf(row), raisedMs: Number(row.raised_ms) }));
  const ids = alerts.map(({ fingerprint }) => fingerprint);
  const found = ids.length === 0 ? [] : await run.rows<Row>(statesPlan(run.tenant, ids));
  const states = new Map(found.map((row) => [String(row.id), String(row.newest)]));
  return alerts.map((alert) => {
    const said = states.get(alert.fingerprint);
    return { ...alert, state: said === undefined || said === 'standing' ? 'raised' : said };
  });
}

/** One page of stored alerts. */
export async function alertPage(
  run: Runner,
  size: number,
  filter: AlertFilter,
  after: AlertPlace | undefined,
): Promise<Page<StoredAlert>> {
  const rows = await run.rows<Row>(alertsPlan(run.tenant, size, filter, after));
  const alerts = await storedAlerts(run, rows.slice(0, size));
  const edges = alerts.map((node) => ({ cursor: alertCursor(node), node }));
  const endCursor = edges.at(-1)?.cursor ?? null;
  return { edges, pageInfo: { hasNextPage: rows.length > size, endCursor } };
}

const FINGERPRINT = /^[0-9a-f]{32}$/;

/**
 * One alert by its fingerprint, by the index that the table has on it. In a select of its own, since
 * behind the other one `fingerprint` is its text, which has no index.
 */
export const alertPlan = (tenant: string, fingerprint: string): ScopedSql =>
  select(tenant, {
    columns: ALERT_ROW,
    from: select(tenant, {
      columns: '*',
      from: 'alerts',
      where: [condition('fingerprint = {fingerprint:String}', { fingerprint })],
    }),
    orderBy: 'raised_ms DESC',
    limit: 1,
  });

/** One alert; undefined where there is none. Throws `QueryError` for what is no fingerprint. */
export async function alertByFingerprint(
  run: Runner,
  fingerprint: string,
): Promise<StoredAlert | undefined> {
  if (!FINGERPRINT.test(fingerprint))
    throw badInput('alert: a fingerprint has 32 digits, 0-9 and a-f');
  const plan = alertPlan(run.tenant, fingerprint);
  const [alert] = await storedAlerts(run, await run.rows<Row>(plan));
  return alert;
}
