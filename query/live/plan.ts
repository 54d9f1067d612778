/** What came in since -> the statements that read it. Pure; every value is bound. */
import { selectEvent } from '#schemas';
import { ranges } from '../account-plan.ts';
import { ALERT_ROW, type AlertFilter, alertConditions } from '../alerts.ts';
import { type EventFilter, eventConditions } from '../event-filter.ts';
import { ofSession } from '../plan.ts';
import { condition, type ScopedSql, select } from '../sql.ts';
import type { Arrivals } from './arrivals.ts';

const stamp = (column: string) => `toString(toUnixTimestamp64Milli(${column}))`;
const stampedAfter = (column: string, ms: number) =>
  condition(`${column} > fromUnixTimestamp64Milli({settled:Int64}, 'UTC')`, { settled: ms });

/** Rows whose number is not among those that were passed on. */
function notPassed({ passed }: Arrivals) {
  const ranges = [...passed].flatMap(([stream, list]) =>
    list.map(({ first, last }) => ({ stream, first, last })),
  );
  if (ranges.length === 0) return undefined;
  return condition(
    'NOT arrayExists((s, a, b) -> toString(stream_id) = s AND seq >= a AND seq <= b, ' +
      '{streams:Array(String)}, {firsts:Array(UInt32)}, {lasts:Array(UInt32)})',
    {
      streams: ranges.map(({ stream }) => stream),
      firsts: ranges.map(({ first }) => first),
      lasts: ranges.map(({ last }) => last),
    },
  );
}

/**
 * Events of a session that are new to a state, by stamp; each says whether the filter wants it. Those
 * that it does not want are read as well, so that a state holds whole ranges.
 */
export function eventArrivalsPlan(
  tenant: string,
  session: string,
  state: Arrivals,
  filter: EventFilter,
  columns: readonly string[],
  limit: number,
): ScopedSql {
  const wanted = eventConditions(filter).filter((item) => item !== undefined);
  const text = wanted.length === 0 ? '1' : wanted.map((item) => `(${item.text})`).join(' AND ');
  return select(tenant, {
    columns: `${stamp('ingested_at')} AS stamp_ms, (${text}) AS wanted, ${selectEvent(columns)}`,
    from: 'events',
    where: [
      ofSession(session),
      stampedAfter('ingested_at', state.settledMs),
      notPassed(state),
      // True of every row: it binds what stands among the columns, and shows what they look at.
      ...wanted.map((item) => condition(`1 = 1 OR (${item.text})`, item.params)),
    ],
    orderBy: 'ingested_at, toString(stream_id), seq',
    limit,
  });
}

/** The newest stamp of a session's events; no row where it has none. */
export const newestEventPlan = (tenant: string, session: string): ScopedSql =>
  select(tenant, {
    columns: `${stamp('max(ingested_at)')} AS newest_ms`,
    from: 'events',
    where: [ofSession(session)],
    having: [condition('count() > 0')],
  });

/** Alerts that a filter wants, stamped after, and not among those that were passed on; by stamp. */
export const alertArrivalsPlan = (
  tenant: string,
  settledMs: number,
  passed: readonly string[],
  filter: AlertFilter,
  limit: number,
): ScopedSql =>
  select(tenant, {
    columns: ALERT_ROW,
    from: 'alerts',
    where: [
      stampedAfter('raised_at', settledMs),
      condition('NOT has({passed:Array(String)}, substring(fingerprint, 1, 16))', { passed }),
      ...alertConditions(filter),
    ],
    orderBy: 'raised_at, fingerprint',
    limit,
  });

/** When some alerts were raised first. */
export const firstRaisedPlan = (tenant: string, fingerprints: readonly string[]): ScopedSql =>
  select(tenant, {
    columns: `toString(fingerprint) AS id, ${stamp('min(raised_at)')} AS first_ms`,
    from: 'alerts',
    where: [
      condition('has({fingerprints:Array(String)}, toString(fingerprint))', { fingerprints }),
    ],
    groupBy: 'fingerprint',
    limit: fingerprints.length,
  });

/** The numbers of a session that are stamped after a time, as ranges per stream. */
export const stampedRangesPlan = (tenant: string, session: string, afterMs: number): ScopedSql =>
  ranges(
    tenant,
    select(tenant, {
      columns: 'DISTINCT toString(stream_id) AS stream, toInt64(seq) AS number',
      from: 'events',
      where: [ofSession(session), stampedAfter('ingested_at', afterMs)],
    }),
  );

/** The newest stamp of all alerts; no row where there are none. */
export const newestAlertPlan = (tenant: string): ScopedSql =>
  select(tenant, {
    columns: `${stamp('max(raised_at)')} AS newest_ms`,
    from: 'alerts',
    having: [condition('count() > 0')],
  });
