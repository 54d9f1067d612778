/**
 * A ClickHouse server over HTTP behind the `Store` port. Values are bound by the server; an answer
 * is whole or it is an error, because results are awaited to their end before they count.
 */
import { Readable } from 'node:stream';
import {
  type ClickHouseClient,
  ClickHouseError,
  ClickHouseLogLevel,
  createClient,
} from '@clickhouse/client';
import {
  type Columns,
  connectionAdvice,
  type Insert,
  parseJson,
  type QueryLimits,
  type Row,
  type Sql,
  type Store,
  StoreError,
  type StoreFaultCode,
  type TrustNames,
} from '#schemas';
import { faultCodeOf } from './faults.ts';
import { httpParam } from './literal.ts';
import { insertFastest } from './native.ts';
import { cancelledFault, closedFault } from './pool.ts';
import { bindByServer, oneStatement, StatementError, tableName } from './statement.ts';

export interface HttpSettings {
  readonly connectionsMax: number;
  /** The server ends a query by its own limit; the client gives up this much later. */
  readonly graceMs: number;
  readonly commandMs: number;
  /** Of each shard, where the store is a cluster: all must have an insert before it counts. */
  readonly replicas?: number;
}

export const HTTP_DEFAULTS: HttpSettings = {
  connectionsMax: 10,
  graceMs: 5_000,
  commandMs: 60_000,
};

/** PEM texts: the authority that the server's certificate is of, and a certificate of our own. */
export interface StoreTls {
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
}

const STORE_TRUST: TrustNames = {
  ca: 'TELLTALE_STORE_CA_FILE',
  clientCertificate: 'TELLTALE_STORE_CERT_FILE and TELLTALE_STORE_KEY_FILE',
  account: 'TELLTALE_STORE and TELLTALE_STORE_PASSWORD_FILE',
};

const AUTHENTICATION_FAILED = 516;

function tlsOf({ ca, cert, key }: StoreTls) {
  const authority = { ca_cert: Buffer.from(ca) };
  const own = cert !== undefined && key !== undefined;
  const tls = own ? { ...authority, cert: Buffer.from(cert), key: Buffer.from(key) } : authority;
  return { tls };
}

/**
 * What an insert into a cluster needs to count once, and to be seen by every later read: the answer
 * comes when all replicas of each shard have it (deploy/clickhouse/README.md).
 */
const replicatedInsert = (replicas: number | undefined, timeMs: number) =>
  replicas === undefined
    ? {}
    : {
        insert_quorum: String(replicas),
        insert_quorum_parallel: 1 as const,
        insert_quorum_timeout: timeMs,
        distributed_foreground_insert: 1 as const,
        deduplicate_blocks_in_dependent_materialized_views: 1 as const,
      };

/** A subquery is asked once and sent to each shard; a shard that is away fails the query. */
const replicatedRead = (replicas: number | undefined) =>
  replicas === undefined
    ? {}
    : { distributed_product_mode: 'global' as const, skip_unavailable_shards: 0 as const };

/** Time is limited by a signal on each call; the client's own limit, for a socket, is out of the way. */
const NO_TIMEOUT_MS = 24 * 3600 * 1000;
const MESSAGE_MAX = 2000;
const LATE = new Error('no whole answer came in time');

/** System errors that say: no connection was made, so nothing was sent. */
const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
]);

function codeOf(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException).code;
  const inner = (error as { errors?: readonly NodeJS.ErrnoException[] }).errors?.[0]?.code;
  return code ?? inner;
}

/** What went wrong, as a typed fault. Without an answer an insert is `unknown`, a query `busy`. */
function httpFault(error: unknown, insert: boolean): StoreError {
  if (error instanceof StoreError) return error;
  const message = (error instanceof Error ? error.message : String(error)).slice(0, MESSAGE_MAX);
  const fault = (code: StoreFaultCode, engineCode?: number) =>
    new StoreError(
      { code, message, ...(engineCode === undefined ? {} : { engineCode }) },
      { cause: error },
    );
  if (error instanceof StatementError) return fault('refused');
  if (error instanceof ClickHouseError) {
    const engineCode = Number(error.code);
    const code = faultCodeOf(engineCode, insert);
    if (engineCode !== AUTHENTICATION_FAILED) return fault(code, engineCode);
    const what = `${message.trimEnd()} Check ${STORE_TRUST.account}.`;
    return new StoreError({ code, message: what, engineCode }, { cause: error });
  }
  const advice = connectionAdvice(error, STORE_TRUST);
  // Nothing was sent, and a person may mend it while the service waits.
  if (advice !== undefined)
    return new StoreError(
      { code: 'unreachable', message: `${message}: ${advice}` },
      { cause: error },
    );
  if (UNREACHABLE.has(codeOf(error) ?? '')) return fault('unreachable');
  return fault(insert ? 'unknown' : 'busy');
}

const seconds = (timeMs: number) => Math.max(timeMs / 1000, 0.001);

const limitsOf = (limits: QueryLimits) => ({
  max_execution_time: seconds(limits.timeMs),
  timeout_overflow_mode: 'throw' as const,
  max_memory_usage: String(Math.round(limits.memoryBytesMax)),
  max_result_rows: String(Math.round(limits.rowsMax)),
  result_overflow_mode: 'throw' as const,
  output_format_json_quote_64bit_integers: 1 as const,
  output_format_json_escape_forward_slashes: 0 as const,
  cancel_http_readonly_queries_on_client_close: 1 as const,
  // 2 and not 1: a read-only query may still be given these settings.
  readonly: '2',
  ...(limits.blockRows === undefined
    ? {}
    : {
        max_block_size: String(Math.round(limits.blockRows)),
        preferred_block_size_bytes: '0',
      }),
});

function timed(timeMs: number, signal: AbortSignal | undefined): AbortSignal {
  const late = AbortSignal.timeout(timeMs);
  return signal === undefined ? late : AbortSignal.any([late, signal]);
}

/** The client forgets its signal when the answer's head is there; its body can stall too. */
async function whileWaiting<T>(
  until: AbortSignal,
  result: { close(): void },
  work: () => Promise<T>,
): Promise<T> {
  const end = () => result.close();
  until.addEventListener('abort', end, { once: true });
  try {
    return await work();
  } finally {
    until.removeEventListener('abort', end);
  }
}

/** Opens a client. The database in the URL's path is only the default; tables are named in full. */
export function openHttp(url: URL, settings: HttpSettings = HTTP_DEFAULTS, tls?: StoreTls): Store {
  const client: ClickHouseClient = createClient({
    url: url.origin,
    username: decodeURIComponent(url.username) || 'default',
    password: decodeURIComponent(url.password),
    max_open_connections: settings.connectionsMax,
    ...(tls === undefined ? {} : tlsOf(tls)),
    // Long values go into the body: a URL has a limit.
    use_multipart_params_auto: true,
    request_timeout: NO_TIMEOUT_MS,
    application: 'telltale',
    // It would print statements and errors on the console; the faults say the same, to us.
    log: { level: ClickHouseLogLevel.OFF },
    json: { parse: <T>(text: string) => parseJson(text) as T },
    ...(url.pathname.length > 1 ? { database: decodeURIComponent(url.pathname.slice(1)) } : {}),
  });
  const closing = new AbortController();

  /** Runs `work`, which ends with the caller's patience, the store, or `timeMs` and the grace. */
  async function within<T>(
    timeMs: number,
    insert: boolean,
    caller: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    if (closing.signal.aborted) throw closedFault();
    if (caller?.aborted) throw cancelledFault();
    try {
      return await work(timed(timeMs + settings.graceMs, caller));
    } catch (error) {
      throw caller?.aborted && !insert ? cancelledFault() : httpFault(error, insert);
    }
  }

  function ask(
    sql: Sql,
    limits: QueryLimits,
    more: object,
    signal: AbortSignal,
    format = 'JSONEachRow',
  ) {
    const { text, values } = bindByServer(sql);
    const params = [...values].map(([name, { type, value }]) => [name, httpParam(type, value)]);
    return client.query({
      query: text,
      query_params: Object.fromEntries(params),
      // The client knows fewer formats than the server; of the others it gives the text.
      format: format as 'JSONEachRow',
      clickhouse_settings: { ...limitsOf(limits), ...more, ...replicatedRead(settings.replicas) },
      abort_signal: signal,
    });
  }

  /** The server keeps the answer until it is whole, so that an error has a status of its own. */
  const whole = ({ memoryBytesMax }: QueryLimits) => ({
    wait_end_of_query: 1,
    max_result_bytes: String(memoryBytesMax),
  });

  function query<T extends Row>(sql: Sql, limits: QueryLimits, signal?: AbortSignal) {
    const more = whole(limits);
    return within(limits.timeMs, false, signal, async (until) => {
      const result = await ask(sql, limits, more, until);
      return whileWaiting(until, result, async () => (await result.json<T>()) as readonly T[]);
    });
  }

  function columns(sql: Sql, limits: QueryLimits, signal?: AbortSignal) {
    return within(limits.timeMs, false, signal, async (until) => {
      const result = await ask(sql, limits, whole(limits), until, 'JSONColumns');
      return whileWaiting(until, result, async () => parseJson(await result.text()) as Columns);
    });
  }

  async function* stream<T extends Row>(sql: Sql, limits: QueryLimits, signal?: AbortSignal) {
    const until = timed(limits.timeMs + settings.graceMs, signal);
    const result = await within(limits.timeMs, false, signal, () => ask(sql, limits, {}, until));
    const end = () => result.close();
    until.addEventListener('abort', end, { once: true });
    try {
      for await (const rows of result.stream<T>()) {
        if (until.aborted) throw cancelledFault();
        yield rows.map((row) => row.json() as T);
      }
      if (until.aborted) throw cancelledFault();
    } catch (error) {
      throw until.aborted ? cancelledFault() : httpFault(error, false);
    } finally {
      until.removeEventListener('abort', end);
    }
  }

  /** Sends one INSERT and its body, and waits until the answer is whole. */
  function send(
    insert: string,
    body: readonly Uint8Array[],
    { dedupToken, timeMs }: Insert,
  ): Promise<void> {
    return within(timeMs, true, undefined, async (until) => {
      const { stream: answer } = await client.exec({
        query: insert,
        values: Readable.from(body, { objectMode: false }),
        clickhouse_settings: {
          insert_deduplication_token: dedupToken,
          async_insert: 0,
          max_execution_time: seconds(timeMs),
          input_format_skip_unknown_fields: 0,
          wait_end_of_query: 1,
          ...replicatedInsert(settings.replicas, timeMs),
        },
        abort_signal: until,
      });
      await whileWaiting(until, { close: () => answer.destroy(LATE) }, async () => {
        for await (const _ of answer);
      });
    });
  }

  async function insert(one: Insert): Promise<void> {
    const into = await within(one.timeMs, true, undefined, async () => tableName(one.table));
    await insertFastest(one, {
      native: ({ columns, parts }) =>
        send(`INSERT INTO ${into} (${columns.join(', ')}) FORMAT Native`, parts, one),
      json: () => send(`INSERT INTO ${into} FORMAT JSONEachRow`, [one.lines], one),
    });
  }

  function command(text: string): Promise<void> {
    return within(settings.commandMs, false, undefined, async (until) => {
      await client.command({
        query: oneStatement(text),
        clickhouse_settings: { wait_end_of_query: 1 },
        abort_signal: until,
      });
    });
  }

  function ping(): Promise<void> {
    return within(settings.commandMs, false, undefined, async (until) => {
      const answer = await client.ping({ select: true, abort_signal: until });
      if (!answer.success) throw answer.error;
    });
  }

  async function close(): Promise<void> {
    closing.abort();
    await client.close();
  }

  return { query, columns, stream, insert, command, ping, close };
}
