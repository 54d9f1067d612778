/** What the learned baseline reads of the store: steps of a stream, and counts of an agent. */
import {
  BASELINE_TABLE,
  EVENTS_TABLE,
  knownEventOf,
  type NgramCount,
  type QueryLimits,
  type Row,
  type Store,
  selectEvent,
  type TelltaleEvent,
} from '#schemas';

/** A stream, as its events name it. */
export type StreamName = Pick<TelltaleEvent, 'tenant' | 'session_id' | 'stream_id'>;

/** Whose model it is. */
export interface Place {
  readonly tenant: string;
  readonly agent: string;
  readonly workspace: string;
}

const LIMITS: QueryLimits = { timeMs: 60_000, memoryBytesMax: 1024 ** 3, rowsMax: 1_000_000 };
/** All that a step is made of, and who took it. */
const COLUMNS = selectEvent([
  ...['tenant', 'session_id', 'stream_id', 'seq', 'kind', 'ts', 'observed_ts', 'agent', 'cwd'],
  ...['exe', 'tool', 'file_op', 'net_op', 'decision', 'net_host', 'net_ip', 'file_path'],
  ...['exit_code', 'outcome'],
]);
const OF_STREAM = `FROM ${EVENTS_TABLE} WHERE tenant = {tenant:String}
  AND session_id = {session:UUID} AND stream_id = {stream:UUID}`;

const named = ({ tenant, session_id, stream_id }: StreamName) => ({
  tenant,
  session: session_id,
  stream: stream_id,
});

/** The event that opened a stream; undefined where it is not stored. */
export async function firstEvent(
  store: Store,
  stream: StreamName,
): Promise<TelltaleEvent | undefined> {
  const text = `SELECT ${COLUMNS} ${OF_STREAM} AND seq = 0 LIMIT 1`;
  const [row] = await store.query<Row>({ text, params: named(stream) }, LIMITS);
  return row === undefined ? undefined : knownEventOf(row);
}

/** The newest events before number `seq`, at most `limit`, in order. */
export async function eventsBefore(
  store: Store,
  stream: StreamName,
  seq: number,
  limit: number,
): Promise<readonly TelltaleEvent[]> {
  const text = `SELECT * FROM (SELECT ${COLUMNS} ${OF_STREAM} AND seq < {seq:UInt32}
    ORDER BY seq DESC LIMIT {limit:UInt32}) ORDER BY seq`;
  const params = { ...named(stream), seq, limit };
  const rows = await store.query<Row>({ text, params }, LIMITS);
  return rows.flatMap((row) => knownEventOf(row) ?? []);
}

/** The first `limit` events of a stream in blocks, in order. */
export async function* eventsOfStream(
  store: Store,
  stream: StreamName,
  limit: number,
  signal: AbortSignal,
): AsyncGenerator<readonly TelltaleEvent[]> {
  const text = `SELECT ${COLUMNS} ${OF_STREAM} ORDER BY seq LIMIT {limit:UInt32}`;
  const params = { ...named(stream), limit };
  for await (const rows of store.stream<Row>({ text, params }, LIMITS, signal))
    yield rows.flatMap((row) => knownEventOf(row) ?? []);
}

/** The counts of a model, the highest first, at most `limit`. */
export async function countsOf(
  store: Store,
  { tenant, agent, workspace }: Place,
  limit: number,
): Promise<readonly NgramCount[]> {
  const text = `SELECT context, token, sum(count) AS times
    FROM ${BASELINE_TABLE} WHERE tenant = {tenant:String} AND agent = {agent:String}
      AND workspace = {workspace:String}
    GROUP BY context, token ORDER BY times DESC, context, token LIMIT {limit:UInt32}`;
  const rows = await store.query({ text, params: { tenant, agent, workspace, limit } }, LIMITS);
  return rows.map((row) => ({
    context: String(row.context),
    token: String(row.token),
    count: Number(row.times),
  }));
}

/** The rows of a session's counts, as JSONEachRow with newlines. */
export function countLines(place: Place, counts: Iterable<NgramCount>): readonly string[] {
  return [...counts].map((one) => `${JSON.stringify({ ...place, ...one })}\n`);
}
