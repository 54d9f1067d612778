/**
 * A ClickHouse server over HTTP behind the `Store` port. Values are bound by the server; an answer
 * is whole or it is an error, because results are awaited to their end before they count.
 */
import { type ClickHouseClient, ClickHouseError, createClient } from '@clickhouse/client';
import {
  type Insert,
  type QueryLimits,
  type Row,
  type Sql,
  type Store,
  StoreError,
  type StoreFaultCode,
} from '#schemas';
import { faultCodeOf } from './faults.ts';
import { httpParam } from './literal.ts';
import { oneStatement, placeholders } from './statement.ts';

const CONNECTIONS_MAX = 10;
/** The server ends a query by its own limit; the client gives up this much later. */
const CLIENT_GRACE_MS = 5_000;
const COMMAND_TIMEOUT_MS = 60_000;

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

function httpFault(error: unknown, insert: boolean): StoreError {
  if (error instanceof StoreError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof ClickHouseError) {
    const engineCode = Number(error.code);
    return new StoreError(
      { code: faultCodeOf(engineCode, insert), engineCode, message },
      { cause: error },
    );
  }
  const unreachable = UNREACHABLE.has(codeOf(error) ?? '');
  const code: StoreFaultCode = unreachable ? 'unreachable' : insert ? 'unknown' : 'busy';
  return new StoreError({ code, message }, { cause: error });
}

const limitsOf = (limits: QueryLimits) => ({
  max_execution_time: Math.max(Math.ceil(limits.timeMs / 1000), 1),
  timeout_overflow_mode: 'throw' as const,
  max_memory_usage: String(Math.round(limits.memoryBytesMax)),
  max_result_rows: String(Math.round(limits.rowsMax)),
  result_overflow_mode: 'throw' as const,
  output_format_json_quote_64bit_integers: 1 as const,
  cancel_http_readonly_queries_on_client_close: 1 as const,
  readonly: '2',
});

function boundParams(sql: Sql): Record<string, unknown> {
  const types = placeholders(sql.text);
  return Object.fromEntries(
    Object.entries(sql.params).map(([name, value]) => [
      name,
      httpParam(types.get(name) ?? 'String', value),
    ]),
  );
}

function timed(timeMs: number, signal: AbortSignal | undefined): AbortSignal {
  const late = AbortSignal.timeout(timeMs + CLIENT_GRACE_MS);
  return signal === undefined ? late : AbortSignal.any([late, signal]);
}

/** Opens a client. The database in the URL's path is only the default; tables are named in full. */
export function openHttp(url: URL): Store {
  const client: ClickHouseClient = createClient({
    url: url.origin,
    username: decodeURIComponent(url.username) || 'default',
    password: decodeURIComponent(url.password),
    max_open_connections: CONNECTIONS_MAX,
    request_timeout: 24 * 3600 * 1000,
    application: 'telltale',
    ...(url.pathname.length > 1 ? { database: decodeURIComponent(url.pathname.slice(1)) } : {}),
  });

  async function send(sql: Sql, limits: QueryLimits, signal: AbortSignal | undefined, wait: 0 | 1) {
    return client.query({
      query: oneStatement(sql.text),
      query_params: boundParams(sql),
      format: 'JSONEachRow',
      clickhouse_settings: { ...limitsOf(limits), wait_end_of_query: wait },
      abort_signal: timed(limits.timeMs, signal),
    });
  }

  async function query<T extends Row>(sql: Sql, limits: QueryLimits, signal?: AbortSignal) {
    try {
      return await (await send(sql, limits, signal, 1)).json<T>();
    } catch (error) {
      throw httpFault(error, false);
    }
  }

  async function* stream<T extends Row>(sql: Sql, limits: QueryLimits, signal?: AbortSignal) {
    try {
      const result = await send(sql, limits, signal, 0);
      for await (const rows of result.stream<T>()) yield rows.map((row) => row.json() as T);
    } catch (error) {
      throw httpFault(error, false);
    }
  }

  async function insert({ table, lines, dedupToken, timeMs }: Insert): Promise<void> {
    try {
      const { stream: answer } = await client.exec({
        query: `INSERT INTO ${table} FORMAT JSONEachRow`,
        values: (await import('node:stream')).Readable.from([lines]),
        clickhouse_settings: {
          insert_deduplication_token: dedupToken,
          async_insert: 0,
          max_execution_time: Math.max(Math.ceil(timeMs / 1000), 1),
          input_format_skip_unknown_fields: 0,
          wait_end_of_query: 1,
        },
        abort_signal: timed(timeMs, undefined),
      });
      for await (const _ of answer);
    } catch (error) {
      throw httpFault(error, true);
    }
  }

  async function command(text: string): Promise<void> {
    try {
      const statement = oneStatement(text);
      await client.command({
        query: statement,
        abort_signal: timed(COMMAND_TIMEOUT_MS, undefined),
      });
    } catch (error) {
      throw httpFault(error, false);
    }
  }

  async function ping(): Promise<void> {
    const answer = await client.ping();
    if (!answer.success) throw httpFault(answer.error, false);
  }

  return { query, stream, insert, command, ping, close: () => client.close() };
}
