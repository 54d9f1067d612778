/**
 * The heads of streams, out of the table of events. Rows are looked for by when they were written:
 *
 *     SELECT … WHERE kind IN (heads) AND ingested_at >= {since} GROUP BY stream
 *
 * gives for each stream what there is to seal, a row a stream; the events themselves are then read
 * by their places. Both are bounded, whatever the table holds.
 */
import {
  EVENTS_TABLE,
  FINAL_KINDS,
  fromRow,
  HEAD_KINDS,
  type Head,
  headOf,
  type QueryLimits,
  type Sql,
  type Store,
  selectEvent,
} from '#schemas';

/** Places whose events are read at once. */
export const PLACES_PER_READ = 500;
const LIMITS: QueryLimits = { timeMs: 60_000, memoryBytesMax: 1024 ** 3, rowsMax: 50_000_000 };

/** What the table holds of one stream's heads, in a window of time. */
export interface Sighting {
  readonly tenant: string;
  readonly session_id: string;
  readonly stream_id: string;
  /** The highest number among them. */
  readonly lastSeq: number;
  readonly hasOpen: boolean;
  /** The number of the close; undefined where it is not among them. */
  readonly finalSeq: number | undefined;
  /** When an open or a close of it was written last, in milliseconds; 0 where none is there. */
  readonly endsMs: number;
  /** A number stands in more than one row. */
  readonly doubled: boolean;
}

/** The place of an event. */
export interface Place {
  readonly tenant: string;
  readonly session_id: string;
  readonly stream_id: string;
  readonly seq: number;
}

const SIGHTINGS = `SELECT tenant, session_id, stream_id, max(seq) AS last,
  countIf(seq = 0) AS opens, countIf(kind IN {finals:Array(String)}) AS finals,
  maxIf(seq, kind IN {finals:Array(String)}) AS final_seq,
  toUnixTimestamp64Milli(maxIf(ingested_at, seq = 0 OR kind IN {finals:Array(String)})) AS ends,
  count() > uniqExact(seq) AS doubled
  FROM ${EVENTS_TABLE}
  WHERE kind IN {kinds:Array(String)} AND ingested_at >= fromUnixTimestamp64Milli({since:Int64})
  GROUP BY tenant, session_id, stream_id`;

/** Streams with heads that were written since `sinceMs` (milliseconds, UTC), in no order. */
export async function* sightings(store: Store, sinceMs: number): AsyncGenerator<Sighting> {
  const since = Math.max(0, Math.floor(sinceMs));
  const params = { kinds: HEAD_KINDS, finals: FINAL_KINDS, since };
  for await (const rows of store.stream({ text: SIGHTINGS, params }, LIMITS))
    for (const row of rows)
      yield {
        tenant: String(row.tenant),
        session_id: String(row.session_id),
        stream_id: String(row.stream_id),
        lastSeq: Number(row.last),
        hasOpen: Number(row.opens) > 0,
        finalSeq: Number(row.finals) > 0 ? Number(row.final_seq) : undefined,
        endsMs: Math.max(0, Number(row.ends)),
        doubled: Number(row.doubled) > 0,
      };
}

function placesSql(columns: string, places: readonly Place[]): Sql {
  const unique = (values: readonly string[]) => [...new Set(values)];
  return {
    text: `SELECT ${columns} FROM ${EVENTS_TABLE} WHERE tenant IN {tenants:Array(String)}
  AND session_id IN {sessions:Array(UUID)} AND kind IN {kinds:Array(String)}
  AND concat(toString(stream_id), '-', toString(seq)) IN {places:Array(String)}
  AND stream_id IN {streams:Array(UUID)}`,
    params: {
      kinds: HEAD_KINDS,
      tenants: unique(places.map(({ tenant }) => tenant)),
      sessions: unique(places.map(({ session_id }) => session_id)),
      streams: unique(places.map(({ stream_id }) => stream_id)),
      places: unique(places.map(({ stream_id, seq }) => `${stream_id}-${seq}`)),
    },
  };
}

/** Each row that stands at one of `places`, at most `PLACES_PER_READ` of them, as a head. */
export async function headsAt(store: Store, places: readonly Place[]): Promise<Head[]> {
  if (places.length === 0) return [];
  const rows = await store.query(placesSql(selectEvent(), places), LIMITS);
  return rows.flatMap((row) => headOf(fromRow(row)) ?? []);
}

/** When the newest of these rows was written, in milliseconds; undefined where none is there. */
export async function writtenMs(
  store: Store,
  places: readonly Place[],
): Promise<number | undefined> {
  if (places.length === 0) return undefined;
  const columns = 'count() AS rows, toString(toUnixTimestamp64Milli(max(ingested_at))) AS at';
  const [row] = await store.query(placesSql(columns, places), LIMITS);
  return Number(row?.rows ?? 0) === 0 ? undefined : Number(row?.at);
}
