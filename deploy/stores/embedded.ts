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
import { type ChdbQueryStream, Session } from 'chdb';
import {
  type Columns,
  type Insert,
  type Log,
  parseJson,
  type QueryLimits,
  type Row,
  type Sql,
  type Store,
  StoreError,
} from '#schemas';
import { embeddedFault } from './faults.ts';
import { createHatch } from './hatch.ts';
import { literal } from './literal.ts';
import { insertFastest } from './native.ts';
import { cancelledFault, closedFault, createPool } from './pool.ts';
import { bindLiterals, oneStatement, StatementError, tableName } from './statement.ts';

export interface EmbeddedSettings {
  /**
   * Queries that run side by side. Each holds one libuv thread, and Node has four unless
   * UV_THREADPOOL_SIZE says otherwise before it starts: two are left for the writer and files.
   */
  readonly readers: number;
  /** Memory of the whole engine. */
  readonly memoryBytesMax: number;
  readonly markCacheBytes: number;
  /** Whether BACKUP and RESTORE may reach files; only the commands for that ask for it. */
  readonly backups?: boolean;
}

export const EMBEDDED_DEFAULTS: EmbeddedSettings = {
  readers: 2,
  memoryBytesMax: 4 * 1024 ** 3,
  markCacheBytes: 256 * 1024 ** 2,
};

/** How long the engine may run past its own limit before it is killed. */
const WATCHDOG_GRACE_MS = 500;
/** A kill finds nothing when its query has not started yet: it is tried again until that ended. */
const KILL_AGAIN_MS = 100;
const CLOSE_WAIT_MS = 30_000;
/** Values are written into the text, so a statement may be large. */
const STATEMENT_BYTES_MAX = 64 * 1024 ** 2;
const STATEMENT_NODES_MAX = 1_000_000;
/**
 * Rows in one block of a stream. A block is held whole, as bytes and as objects, and the engine's
 * own 65,409 rows of 2 KB are 130 MB; leaving such a stream early took 2 s.
 */
const STREAM_ROWS = 2048;
/** ClickHouse's QUERY_WAS_CANCELLED. */
const CANCELLED = 394;

/** The engine keeps blocks small by their bytes as well. */
const blockSettings = ({ blockRows }: QueryLimits): string[] =>
  blockRows === undefined
    ? [`max_block_size = ${STREAM_ROWS}`]
    : [`max_block_size = ${Math.round(blockRows)}`, 'preferred_block_size_bytes = 0'];

/** On a line of its own, so that a comment at the end of the statement can't swallow it. */
function settingsClause(limits: QueryLimits, more: readonly string[]): string {
  const seconds = Math.max(limits.timeMs / 1000, 0.001);
  const settings = [
    `max_execution_time = ${seconds}`,
    "timeout_overflow_mode = 'throw'",
    `max_memory_usage = ${Math.round(limits.memoryBytesMax)}`,
    `max_result_rows = ${Math.round(limits.rowsMax)}`,
    "result_overflow_mode = 'throw'",
    'output_format_json_quote_64bit_integers = 1',
    // A string without an escape is read faster, and a path is full of them.
    'output_format_json_escape_forward_slashes = 0',
    ...more,
    'readonly = 1',
  ];
  return `\nSETTINGS ${settings.join(', ')}`;
}

/** Runs a check of a statement: what it throws is a `refused` fault. */
function checked<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof StatementError)) throw error;
    throw new StoreError({ code: 'refused', message: error.message }, { cause: error });
  }
}

/** The statement as it is sent: a marker to find it by, its literals, its limits. */
function prepare(sql: Sql, limits: QueryLimits, more: readonly string[] = []) {
  const marker = `telltale:${randomUUID()}`;
  const bound = checked(() => bindLiterals(sql));
  return { marker, text: `/* ${marker} */ ${bound}${settingsClause(limits, more)}` };
}

const insertSettings = ({ dedupToken, timeMs }: Insert) => ({
  insert_deduplication_token: dedupToken,
  async_insert: 0,
  max_execution_time: Math.max(timeMs / 1000, 0.001),
  input_format_skip_unknown_fields: 0,
});

/** The binding takes texts only; what is binary the engine reads from a file. */
function nativeInsert(table: string, columns: readonly string[], file: string, settings: object) {
  const quoted = (value: unknown) => (typeof value === 'string' ? literal('String', value) : value);
  const clause = Object.entries(settings).map(([name, value]) => `${name} = ${quoted(value)}`);
  return `INSERT INTO ${table} (${columns.join(', ')})
FROM INFILE ${literal('String', file)} SETTINGS ${clause.join(', ')} FORMAT Native`;
}

const parseLines = <T>(lines: readonly string[]): T[] =>
  lines.filter((line) => line !== '').map((line) => parseJson(line) as T);

/** What the engine is started with. */
export const engineArgs = (settings: EmbeddedSettings): string[] => [
  `--max_server_memory_usage=${settings.memoryBytesMax}`,
  `--mark_cache_size=${settings.markCacheBytes}`,
  `--max_query_size=${STATEMENT_BYTES_MAX}`,
  `--max_ast_elements=${STATEMENT_NODES_MAX}`,
  `--max_expanded_ast_elements=${STATEMENT_NODES_MAX}`,
  ...(settings.backups === true ? ['--backups.allowed_path=/'] : []),
];

function opener(dir: string, settings: EmbeddedSettings): () => Session {
  const connectionArgs = engineArgs(settings);
  return () => {
    try {
      return new Session(dir, { connectionArgs });
    } catch (error) {
      const message = `can't open the store in ${dir}: if it is open in another process, stop that or use its URL`;
      const reason = embeddedFault(error, false).message;
      throw new StoreError(
        { code: 'unreachable', message: `${message} (${reason})` },
        { cause: error },
      );
    }
  };
}

/** Opens the engine on `dir`. Rejects when another process has it open. */
export async function openEmbedded(
  dir: string,
  log: Log,
  settings: EmbeddedSettings = EMBEDDED_DEFAULTS,
): Promise<Store> {
  const open = opener(dir, settings);
  const control = createPool(1, open, log);
  const writers = createPool(1, open, log);
  const readers = createPool(settings.readers, open, log);
  await control.use(async () => {});
  // Only now is the folder known to be this process's own.
  const hatch = createHatch(dir);
  const watched = new Set<() => void>();
  let ended = false;

  /**
   * On this thread, not on libuv's: those may all be held by the queries that are to be killed.
   * ASYNC answers at once (6 ms).
   */
  function kill(marker: string): void {
    const text = `KILL QUERY WHERE position(query, '${marker}') > 0 AND query NOT LIKE 'KILL%' ASYNC`;
    control
      .use(async (session) => session.query(text))
      .catch((error) =>
        log.warn('store.kill_failed', { error: embeddedFault(error, false).message }),
      );
  }

  /** Kills the query when it outlives its limit, is aborted, or the store closes. */
  function watch(marker: string, timeMs: number, signal: AbortSignal | undefined, late = () => {}) {
    let again: NodeJS.Timeout | undefined;
    const end = () => {
      kill(marker);
      again ??= setInterval(() => kill(marker), KILL_AGAIN_MS);
      late();
    };
    const timer = setTimeout(end, timeMs + WATCHDOG_GRACE_MS);
    signal?.addEventListener('abort', end, { once: true });
    watched.add(end);
    return () => {
      clearTimeout(timer);
      clearInterval(again);
      signal?.removeEventListener('abort', end);
      watched.delete(end);
    };
  }

  function faultOf(error: unknown, signal: AbortSignal | undefined): StoreError {
    const fault = embeddedFault(error, false);
    if (fault.fault.engineCode !== CANCELLED) return fault;
    if (ended) return closedFault();
    return signal?.aborted ? cancelledFault() : fault;
  }

  /** The text of a whole answer. */
  async function read(sql: Sql, format: string, limits: QueryLimits, signal?: AbortSignal) {
    // A result is held whole, so its bytes are bounded as its memory in the engine is.
    const bytes = `max_result_bytes = ${Math.round(limits.memoryBytesMax)}`;
    const { marker, text } = prepare(sql, limits, [bytes]);
    return readers.use(async (session) => {
      const stop = watch(marker, limits.timeMs, signal);
      try {
        const result = await session.queryAsync(text, { format });
        if (signal?.aborted) throw cancelledFault();
        return result.text();
      } catch (error) {
        throw faultOf(error, signal);
      } finally {
        stop();
      }
    }, signal);
  }

  const query = async <T extends Row>(sql: Sql, limits: QueryLimits, signal?: AbortSignal) =>
    parseLines<T>((await read(sql, 'JSONEachRow', limits, signal)).split('\n'));
  const columns = async (sql: Sql, limits: QueryLimits, signal?: AbortSignal) =>
    parseJson(await read(sql, 'JSONColumns', limits, signal)) as Columns;

  async function* stream<T extends Row>(sql: Sql, limits: QueryLimits, signal?: AbortSignal) {
    const { marker, text } = prepare(sql, limits, blockSettings(limits));
    const { session, back } = await readers.borrow(signal);
    const state = { whole: false, idle: false, over: false };
    let source: ChdbQueryStream | undefined;
    const leave = (clean: boolean) => {
      source?.cancel();
      return back(clean);
    };
    // A reader who holds a block past the limit, or for ever, does not keep the session.
    const stop = watch(marker, limits.timeMs, signal, () => {
      if (!state.idle) return;
      state.over = true;
      void leave(false);
    });
    try {
      source = session.queryStream(text, { format: 'JSONEachRow' });
      for await (const lines of blocks(source)) {
        if (signal?.aborted) throw cancelledFault();
        state.idle = true;
        yield parseLines<T>(lines);
        state.idle = false;
        if (state.over) throw ended ? closedFault() : cancelledFault();
      }
      if (signal?.aborted) throw cancelledFault();
      state.whole = true;
    } catch (error) {
      throw faultOf(error, signal);
    } finally {
      stop();
      await leave(state.whole);
    }
  }

  async function insert(one: Insert): Promise<void> {
    const table = checked(() => tableName(one.table));
    const settings = insertSettings(one);
    const write = (work: (session: Session) => Promise<unknown>): Promise<void> =>
      writers.use(async (session) => {
        await work(session).catch((error) => {
          throw embeddedFault(error, true);
        });
      });
    await insertFastest(one, {
      // The file is there before the session is free: the engine need not wait for it, and the
      // block need not stay in memory until its turn has come.
      native: ({ columns, parts }) =>
        hatch.through(parts, (file) =>
          write((session) => session.queryAsync(nativeInsert(table, columns, file, settings))),
        ),
      // The binding writes the settings into the statement's own clause: they do not stick.
      json: () =>
        write((session) =>
          session.insert({ table, values: one.lines, format: 'JSONEachRow', settings }),
        ),
    });
  }

  const run = (pool: typeof control, statement: string) =>
    pool.use((session) =>
      session.queryAsync(statement).catch((error) => {
        throw embeddedFault(error, false);
      }),
    );

  async function command(text: string): Promise<void> {
    await run(
      writers,
      checked(() => oneStatement(text)),
    );
  }

  async function ping(): Promise<void> {
    await run(control, 'SELECT 1');
  }

  async function close(): Promise<void> {
    ended = true;
    for (const end of [...watched]) end();
    await Promise.all([readers.close(CLOSE_WAIT_MS), writers.close(CLOSE_WAIT_MS)]);
    await control.close(CLOSE_WAIT_MS);
  }

  return { query, columns, stream, insert, command, ping, close };
}

/** A stream's lines, block by block; a line or a character cut by a block is put together. */
async function* blocks(source: ChdbQueryStream): AsyncGenerator<string[]> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of source) {
    const lines = (rest + decoder.decode(chunk.raw(), { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    yield lines;
  }
  if (rest !== '') yield [rest];
}
