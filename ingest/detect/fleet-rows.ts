/**
 * What the rules of a whole tenant read of the table of events: what was written lately, whatever
 * session it is of, and the days that their windows reach back to. Only rows that could matter to a
 * rule are read; the rules' own tests decide.
 */
import {
  ALERT_COLUMNS,
  ALERTS_TABLE,
  alertOf,
  columnsFor,
  createRowSql,
  EVENTS_TABLE,
  knownEventOf,
  needOf,
  PROCESS_KINDS,
  type QueryLimits,
  type Row,
  type Rule,
  type Store,
  selectEvent,
  type TelltaleEvent,
} from '#schemas';
import { newestStates, type StoredAlert } from './history.ts';

/** An event, and when its row was written: milliseconds since 1970 by the engine's clock. */
export interface WrittenEvent {
  readonly event: TelltaleEvent;
  readonly writtenMs: number;
}

/** The most alerts of one tenant that are read again; of more the newest. */
const ALERTS_MAX = 100_000;
const LIMITS: QueryLimits = { timeMs: 60_000, memoryBytesMax: 1024 ** 3, rowsMax: 1_000_000 };
const DAY_LIMITS: QueryLimits = {
  timeMs: 300_000,
  memoryBytesMax: 2 * 1024 ** 3,
  rowsMax: 50_000_000,
};

const DAY = 'toYYYYMMDD(ts)';

export interface FleetRows {
  /** The engine's clock: all of `writtenMs` is by it. */
  nowMs(): Promise<number>;
  /** Tenants of whom something was written since. */
  tenantsSince(sinceMs: number): Promise<readonly string[]>;
  /**
   * What was written since, the earliest first; at most `limit`, and all that was written in the
   * same millisecond as the last.
   */
  writtenSince(sinceMs: number, limit: number): Promise<readonly WrittenEvent[]>;
  /** Days of a tenant from a time on, the newest first: YYYYMMDD -> rows that could matter. */
  days(tenant: string, fromNs: bigint): Promise<ReadonlyMap<number, number>>;
  /** The rows of one day that could matter, each stream in the order of its numbers. */
  day(
    tenant: string,
    day: number,
    fromNs: bigint,
    signal: AbortSignal,
  ): AsyncGenerator<readonly WrittenEvent[]>;
  /** Alerts of the rules that the table has of a tenant since then. */
  alerts(tenant: string, sinceMs: number): Promise<readonly StoredAlert[]>;
}

function writtenEvents(rows: readonly Row[]): WrittenEvent[] {
  return rows.flatMap((row) => {
    const event = knownEventOf(row);
    return event === undefined ? [] : [{ event, writtenMs: Number(row.written_ms) }];
  });
}

/** All that these rules could need of the table. Its methods reject with `StoreError`. */
export function createFleetRows(store: Store, rules: readonly Rule[]): FleetRows {
  const needs = rules.map(needOf);
  const tests = needs.flatMap(({ rows }) => rows.flat());
  if (needs.some(({ lineage }) => lineage)) tests.push({ kinds: PROCESS_KINDS });
  const write = createRowSql();
  const matter = `(${write.rows(tests)})`;
  const columns = `${selectEvent(columnsFor(rules))},
    toString(toUnixTimestamp64Milli(ingested_at)) AS written_ms`;
  const ids = rules.map(({ meta }) => meta.id);
  const since = 'ingested_at >= fromUnixTimestamp64Milli({since:Int64})';

  return {
    async nowMs() {
      const text = 'SELECT toString(toUnixTimestamp64Milli(now64(3))) AS now';
      const [row] = await store.query({ text, params: {} }, LIMITS);
      return Number(row?.now);
    },
    async tenantsSince(sinceMs) {
      const text = `SELECT tenant FROM ${EVENTS_TABLE} WHERE ${since} GROUP BY tenant`;
      const rows = await store.query({ text, params: { since: sinceMs } }, LIMITS);
      return rows.map(({ tenant }) => String(tenant));
    },
    async writtenSince(sinceMs, limit) {
      const text = `SELECT ${columns} FROM ${EVENTS_TABLE} WHERE ${since} AND ${matter}
        ORDER BY ingested_at LIMIT {limit:UInt32} WITH TIES`;
      const params = { ...write.params, since: sinceMs, limit };
      return writtenEvents(await store.query<Row>({ text, params }, LIMITS));
    },
    async days(tenant, fromNs) {
      const text = `SELECT ${DAY} AS day, count() AS rows FROM ${EVENTS_TABLE}
        WHERE tenant = {tenant:String} AND ts >= fromUnixTimestamp64Nano({from:Int64}) AND ${matter}
        GROUP BY day ORDER BY day DESC`;
      const params = { ...write.params, tenant, from: fromNs };
      const rows = await store.query({ text, params }, DAY_LIMITS);
      return new Map(rows.map((row) => [Number(row.day), Number(row.rows)]));
    },
    async *day(tenant, day, fromNs, signal) {
      const text = `SELECT ${columns} FROM ${EVENTS_TABLE}
        WHERE tenant = {tenant:String} AND ${DAY} = {day:UInt32}
          AND ts >= fromUnixTimestamp64Nano({from:Int64}) AND ${matter}
        ORDER BY observed_ts, stream_id, seq`;
      const params = { ...write.params, tenant, day, from: fromNs };
      for await (const rows of store.stream<Row>({ text, params }, DAY_LIMITS, signal))
        yield writtenEvents(rows);
    },
    async alerts(tenant, sinceMs) {
      const text = `SELECT ${ALERT_COLUMNS}, newest FROM ${ALERTS_TABLE} AS a
        LEFT JOIN (${newestStates}) AS s ON a.fingerprint = s.of
        WHERE tenant = {tenant:String} AND has({ids:Array(String)}, rule_id)
          AND raised_at >= fromUnixTimestamp64Milli({since:Int64})
        ORDER BY raised_at DESC LIMIT 1 BY fingerprint LIMIT {limit:UInt32}`;
      const params = { tenant, ids, since: sinceMs, limit: ALERTS_MAX };
      const rows = await store.query({ text, params }, LIMITS);
      return rows.map((row) => ({ alert: alertOf(row), withdrawn: row.newest === 'withdrawn' }));
    },
  };
}
