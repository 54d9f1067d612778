/**
 * What the table holds of sessions and of their alerts: from it a worker that has just started, or
 * was given a partition, makes its rules' state again.
 */
import {
  ALERT_COLUMNS,
  ALERT_STATES_TABLE,
  ALERTS_TABLE,
  type Alert,
  alertOf,
  EVENTS_TABLE,
  knownEventOf,
  type QueryLimits,
  type Row,
  type Store,
  selectEvent,
  type TelltaleEvent,
} from '#schemas';

/** The most events of one session that are read again; of a longer one the last count. */
export const HISTORY_EVENTS_MAX = 200_000;
const LIMITS: QueryLimits = {
  timeMs: 60_000,
  memoryBytesMax: 1024 ** 3,
  rowsMax: HISTORY_EVENTS_MAX,
};

export interface SessionKey {
  readonly tenant: string;
  readonly session_id: string;
}

const WHERE = 'WHERE tenant = {tenant:String} AND session_id = {session:UUID}';

/**
 * The events of a session in blocks, in the order in which the collector took them in: each stream
 * in the order of its numbers, and its streams side by side; of more than `eventsMax` the last.
 * Rejects with `StoreError`. A row that this program does not know the kind of is left out.
 */
export async function* sessionHistory(
  store: Store,
  { tenant, session_id }: SessionKey,
  eventsMax: number,
  signal: AbortSignal,
): AsyncGenerator<readonly TelltaleEvent[]> {
  const text = `SELECT ${selectEvent()} FROM ${EVENTS_TABLE} ${WHERE}
    AND (stream_id, seq) IN (SELECT stream_id, seq FROM ${EVENTS_TABLE} ${WHERE}
      ORDER BY observed_ts DESC LIMIT {limit:UInt32})
    ORDER BY observed_ts, stream_id, seq`;
  const params = { tenant, session: session_id, limit: eventsMax };
  for await (const rows of store.stream<Row>({ text, params }, LIMITS, signal))
    yield rows.flatMap((row) => knownEventOf(row) ?? []);
}

/** What is read of many sessions at once. */
const OF_SESSIONS =
  'WHERE tenant IN {tenants:Array(String)} AND session_id IN {sessions:Array(UUID)}';
const bound = (keys: readonly SessionKey[]) => ({
  tenants: [...new Set(keys.map(({ tenant }) => tenant))],
  sessions: [...new Set(keys.map(({ session_id }) => session_id))],
});

/** What tells a session from all others. */
export const nameOf = ({ tenant, session_id }: SessionKey): string => `${session_id}/${tenant}`;

/** How many events the table has of each session, by `nameOf`. Rejects with `StoreError`. */
export async function countsOfSessions(
  store: Store,
  keys: readonly SessionKey[],
): Promise<ReadonlyMap<string, number>> {
  const text = `SELECT tenant, session_id, uniqExact(stream_id, seq) AS events
    FROM ${EVENTS_TABLE} ${OF_SESSIONS} GROUP BY tenant, session_id`;
  const rows = await store.query({ text, params: bound(keys) }, LIMITS);
  return new Map(
    rows.map(({ tenant, session_id, events }) => [
      nameOf({ tenant: String(tenant), session_id: String(session_id) }),
      Number(events),
    ]),
  );
}

/** All events of some short sessions, each in the order of `sessionHistory`, by `nameOf`. */
export async function historyOfSessions(
  store: Store,
  keys: readonly SessionKey[],
): Promise<ReadonlyMap<string, readonly TelltaleEvent[]>> {
  const text = `SELECT ${selectEvent()} FROM ${EVENTS_TABLE} ${OF_SESSIONS}
    ORDER BY observed_ts, stream_id, seq`;
  const found = new Map<string, TelltaleEvent[]>(keys.map((key) => [nameOf(key), []]));
  for await (const rows of store.stream<Row>({ text, params: bound(keys) }, LIMITS))
    for (const row of rows) {
      const event = knownEventOf(row);
      if (event !== undefined) found.get(nameOf(event))?.push(event);
    }
  return found;
}

export interface StoredAlert {
  readonly alert: Alert;
  /** Whether the newest word on it is that it does not hold. */
  readonly withdrawn: boolean;
}

/** The newest word on whether an alert of {tenant} holds, by its fingerprint `of`. */
export const newestStates = `SELECT fingerprint AS of, argMax(state, changed_at) AS newest
  FROM ${ALERT_STATES_TABLE}
  WHERE tenant = {tenant:String} AND state IN ('withdrawn', 'standing') GROUP BY fingerprint`;

/** The alerts that the table has of some sessions, by `nameOf`. Rejects with `StoreError`. */
export async function storedAlerts(
  store: Store,
  keys: readonly SessionKey[],
): Promise<ReadonlyMap<string, readonly StoredAlert[]>> {
  const text = `SELECT ${ALERT_COLUMNS}, newest FROM ${ALERTS_TABLE} AS a
    LEFT JOIN (SELECT tenant AS whose, fingerprint AS of, argMax(state, changed_at) AS newest
      FROM ${ALERT_STATES_TABLE}
      WHERE tenant IN {tenants:Array(String)} AND state IN ('withdrawn', 'standing')
      GROUP BY whose, of) AS s ON a.fingerprint = s.of AND a.tenant = s.whose
    ${OF_SESSIONS} ORDER BY raised_at LIMIT 1 BY tenant, fingerprint`;
  const found = new Map<string, StoredAlert[]>(keys.map((key) => [nameOf(key), []]));
  for (const row of await store.query({ text, params: bound(keys) }, LIMITS)) {
    const alert = alertOf(row);
    found.get(nameOf(alert))?.push({ alert, withdrawn: row.newest === 'withdrawn' });
  }
  return found;
}

/** The alerts that the table has of one session. Rejects with `StoreError`. */
export const alertsOfSession = async (
  store: Store,
  key: SessionKey,
): Promise<readonly StoredAlert[]> => (await storedAlerts(store, [key])).get(nameOf(key)) ?? [];

/** Of which sink, and how far back, alerts are looked for that it was not told of. */
export interface Untold {
  readonly sink: string;
  readonly hours: number;
  /** Alerts not older than this count as not delivered in any case. */
  readonly repeatsMs: number;
  readonly limit: number;
}

/** What the sink was told of an alert last; of one moment the withdrawal came last. */
const LAST_TOLD = `argMaxIf(toString(state), (changed_at, toString(state)),
  state IN ('delivered', 'withdrawal_delivered') AND note = {sink:String})`;
/** Whether an alert holds, by the newest word on it. */
const LAST_TRUE = "argMaxIf(toString(state), changed_at, state IN ('withdrawn', 'standing'))";

/**
 * Alerts of all tenants that stand and that a sink's receiver was not noted to have, the oldest
 * first, by the engine's own clock. Rejects with `StoreError`.
 */
export async function undelivered(
  store: Store,
  { sink, hours, repeatsMs, limit }: Untold,
): Promise<readonly Alert[]> {
  const text = `SELECT ${ALERT_COLUMNS} FROM ${ALERTS_TABLE} AS a
    WHERE raised_at >= now64(3) - toIntervalHour({hours:UInt32})
      AND (raised_at >= now64(3) - toIntervalMillisecond({repeats:UInt32})
        OR a.fingerprint NOT IN (SELECT fingerprint FROM ${ALERT_STATES_TABLE}
          GROUP BY fingerprint HAVING ${LAST_TOLD} = 'delivered'))
      AND a.fingerprint NOT IN (SELECT fingerprint FROM ${ALERT_STATES_TABLE}
        GROUP BY fingerprint HAVING ${LAST_TRUE} = 'withdrawn')
    ORDER BY raised_at, first_ts LIMIT 1 BY fingerprint LIMIT {limit:UInt32}`;
  const params = { hours, repeats: repeatsMs, sink, limit };
  const rows = await store.query({ text, params }, LIMITS);
  return rows.map(alertOf);
}

/**
 * Alerts that were withdrawn and that a sink's receiver still takes for standing: it has them, and
 * was not told. Rejects with `StoreError`.
 */
export async function unwithdrawn(
  store: Store,
  { sink, hours, limit }: Untold,
): Promise<readonly Alert[]> {
  const text = `SELECT ${ALERT_COLUMNS} FROM ${ALERTS_TABLE} AS a
    WHERE raised_at >= now64(3) - toIntervalHour({hours:UInt32})
      AND a.fingerprint IN (SELECT fingerprint FROM ${ALERT_STATES_TABLE}
        GROUP BY fingerprint HAVING ${LAST_TRUE} = 'withdrawn' AND ${LAST_TOLD} = 'delivered')
    ORDER BY raised_at, first_ts LIMIT 1 BY fingerprint LIMIT {limit:UInt32}`;
  const rows = await store.query({ text, params: { hours, sink, limit } }, LIMITS);
  return rows.map(alertOf);
}
