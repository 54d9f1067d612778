/**
 * The embedded engine (chDB) behind the `Store` port. Its traps, each with a regression test:
 *   - settings given to the client stick to the session: they are written into each statement;
 *   - bound parameters are serial for the whole process: literals are written in (`literal.ts`);
 *   - a failed query's output goes to the next one: sessions are washed (`pool.ts`);
 *   - abort does not cancel: every query has limits and a watchdog that kills it by its marker;
 *   - several statements in one text all run: refused (`statement.ts`);
 *   - one process per directory.
 */
import { randomUUID } from 'node:crypto';
import { Session } from 'chdb';
import {
  type Insert,
  type Log,
  type QueryLimits,
  type Row,
  type Sql,
  type Store,
  StoreError,
} from '#schemas';
import { embeddedFault } from './faults.ts';
import { createPool } from './pool.ts';
import { bindLiterals, oneStatement, StatementError } from './statement.ts';

export interface EmbeddedSettings {
  readonly readers: number;
  /** Memory of the whole engine. */
  readonly memoryBytesMax: number;
  readonly markCacheBytes: number;
}

export const EMBEDDED_DEFAULTS: EmbeddedSettings = {
  readers: 4,
  memoryBytesMax: 4 * 1024 ** 3,
  markCacheBytes: 256 * 1024 ** 2,
};

/** How long the engine may run past its own limit before it is killed. */
const WATCHDOG_GRACE_MS = 500;

function settingsClause(limits: QueryLimits): string {
  const seconds = Math.max(limits.timeMs / 1000, 0.001);
  return [
    ` SETTINGS max_execution_time = ${seconds}`,
    "timeout_overflow_mode = 'throw'",
    `max_memory_usage = ${Math.round(limits.memoryBytesMax)}`,
    `max_result_rows = ${Math.round(limits.rowsMax)}`,
    "result_overflow_mode = 'throw'",
    'output_format_json_quote_64bit_integers = 1',
    'async_insert = 0',
    'readonly = 1',
  ].join(', ');
}

function refuse(error: unknown): never {
  if (error instanceof StatementError)
    throw new StoreError({ code: 'refused', message: error.message }, { cause: error });
  throw error;
}

/** The statement as it is sent: a marker to find it by, its literals, its limits. */
function prepare(sql: Sql, limits: QueryLimits): { marker: string; text: string } {
  const marker = `telltale:${randomUUID()}`;
  try {
    const bound = bindLiterals(sql);
    return { marker, text: `/* ${marker} */ ${bound}${settingsClause(limits)}` };
  } catch (error) {
    return refuse(error);
  }
}

const parseLines = <T>(text: string): T[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);

/** Opens the engine on `dir`. Rejects when another process has it open. */
export async function openEmbedded(
  dir: string,
  log: Log,
  settings: EmbeddedSettings = EMBEDDED_DEFAULTS,
): Promise<Store> {
  const connectionArgs = [
    `--max_server_memory_usage=${settings.memoryBytesMax}`,
    `--mark_cache_size=${settings.markCacheBytes}`,
  ];
  const open = () => new Session(dir, { connectionArgs });
  let first: Session | undefined;
  try {
    first = open();
  } catch (error) {
    const message = `can't open the store in ${dir}: if it is open in another process, stop that or use its URL`;
    throw new StoreError({ code: 'unreachable', message }, { cause: error });
  }
  const openNext = () => {
    const session = first ?? open();
    first = undefined;
    return session;
  };
  const control = createPool(1, openNext, log);
  const writers = createPool(1, openNext, log);
  const readers = createPool(settings.readers, openNext, log);

  async function kill(marker: string): Promise<void> {
    const text = `KILL QUERY WHERE position(query, '${marker}') > 0 AND query NOT LIKE 'KILL%' ASYNC`;
    await control
      .use((session) => session.queryAsync(text))
      .catch((error) =>
        log.warn('store.kill_failed', { error: embeddedFault(error, false).message }),
      );
  }

  /** Calls `kill` when the query outlives its limit or is aborted, until `stop` is called. */
  function watch(marker: string, timeMs: number, signal: AbortSignal | undefined): () => void {
    const end = () => void kill(marker);
    const timer = setTimeout(end, timeMs + WATCHDOG_GRACE_MS);
    signal?.addEventListener('abort', end, { once: true });
    return () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
    };
  }

  async function query<T extends Row>(sql: Sql, limits: QueryLimits, signal?: AbortSignal) {
    const { marker, text } = prepare(sql, limits);
    return readers.use(async (session) => {
      throwIfAborted(signal);
      const stop = watch(marker, limits.timeMs, signal);
      try {
        const result = await session.queryAsync(text, { format: 'JSONEachRow' });
        throwIfAborted(signal);
        return parseLines<T>(result.text());
      } catch (error) {
        throw embeddedFault(error, false);
      } finally {
        stop();
      }
    });
  }

  async function* stream<T extends Row>(sql: Sql, limits: QueryLimits, signal?: AbortSignal) {
    const { marker, text } = prepare(sql, limits);
    const { lend, back } = borrow(readers);
    const session = await lend;
    let whole = false;
    const stop = watch(marker, limits.timeMs, signal);
    try {
      throwIfAborted(signal);
      let rest = '';
      for await (const chunk of session.queryStream(text, { format: 'JSONEachRow' })) {
        const lines = (rest + chunk.text()).split('\n');
        rest = lines.pop() ?? '';
        yield lines.filter((line) => line !== '').map((line) => JSON.parse(line) as T);
      }
      whole = true;
    } catch (error) {
      throw embeddedFault(error, false);
    } finally {
      stop();
      await back(whole);
    }
  }

  async function insert({ table, lines, dedupToken, timeMs }: Insert): Promise<void> {
    await writers.use(async (session) => {
      try {
        await session.insert({
          table,
          values: lines,
          format: 'JSONEachRow',
          settings: {
            insert_deduplication_token: dedupToken,
            async_insert: 0,
            max_execution_time: Math.ceil(timeMs / 1000),
            input_format_skip_unknown_fields: 0,
          },
        });
      } catch (error) {
        throw embeddedFault(error, true);
      }
    });
  }

  async function command(text: string): Promise<void> {
    let statement: string;
    try {
      statement = oneStatement(text);
    } catch (error) {
      return refuse(error);
    }
    await writers.use((session) =>
      session.queryAsync(statement).catch((error) => {
        throw embeddedFault(error, false);
      }),
    );
  }

  const ping = async () => {
    await control.use((session) => session.queryAsync('SELECT 1'));
  };

  async function close(): Promise<void> {
    await Promise.all([readers.close(), writers.close(), control.close()]);
    first?.close();
    first = undefined;
  }

  return { query, stream, insert, command, ping, close };
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted)
    throw new StoreError({ code: 'limit', message: 'the query was cancelled by its caller' });
}

/** Borrows a session over several turns of the event loop; `back(false)` has it washed. */
function borrow(pool: { use<T>(work: (session: Session) => Promise<T>): Promise<T> }) {
  let lendTo: (session: Session) => void = () => {};
  let failTo: (error: unknown) => void = () => {};
  let finish: (clean: boolean) => void = () => {};
  const lend = new Promise<Session>((resolve, reject) => {
    lendTo = resolve;
    failTo = reject;
  });
  const done = pool.use(
    (session) =>
      new Promise<void>((resolve, reject) => {
        finish = (clean) => (clean ? resolve() : reject(new Error('unclean')));
        lendTo(session);
      }),
  );
  const settled = done.catch((error) => failTo(error));
  return {
    lend,
    back: async (clean: boolean) => {
      finish(clean);
      await settled;
    },
  };
}
