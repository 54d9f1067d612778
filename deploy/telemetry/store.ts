/** A store that says how long each statement took, and has a span for it. */
import { type Clock, type Meter, type Sql, type Store, StoreError, type Tracer } from '#schemas';

type Operation = 'SELECT' | 'INSERT' | 'COMMAND' | 'PING';

/**
 * The text of a statement holds placeholders for all values, so nothing that was recorded is in it
 * (semantic conventions: a parameterized `db.query.text` needs no redaction).
 */
const QUERY_CHARACTERS_MAX = 1_000;

interface Deps {
  readonly meter: Meter;
  readonly tracer: Tracer;
  readonly clock: Clock;
}

export function observeStore(store: Store, { meter, tracer, clock }: Deps): Store {
  const database = { 'db.system.name': 'clickhouse' } as const;

  /** Notes how an operation that began at `startNs` ended. */
  function note(operation: Operation, startNs: bigint, error?: unknown): void {
    const seconds = Number(clock.monotonicNs() - startNs) / 1e9;
    const labels = { ...database, 'db.operation.name': operation };
    if (error === undefined) meter.record('db.client.operation.duration', seconds, labels);
    else {
      const code = error instanceof StoreError ? error.fault.code : 'unknown';
      meter.record('db.client.operation.duration', seconds, { ...labels, 'error.type': code });
    }
  }

  async function observed<T>(
    operation: Operation,
    attributes: Readonly<Record<string, string | number>>,
    work: () => Promise<T>,
  ): Promise<T> {
    const startNs = clock.monotonicNs();
    const all = { ...database, 'db.operation.name': operation, ...attributes };
    try {
      const result = await tracer.span({ name: operation, kind: 'client', attributes: all }, work);
      note(operation, startNs);
      return result;
    } catch (error) {
      note(operation, startNs, error);
      throw error;
    }
  }

  const textOf = ({ text }: Sql) => ({ 'db.query.text': text.slice(0, QUERY_CHARACTERS_MAX) });

  async function* stream(
    source: AsyncIterator<readonly never[]>,
    startNs: bigint,
  ): AsyncGenerator<readonly never[]> {
    let fault: unknown;
    try {
      for (;;) {
        const { done, value } = await source.next();
        if (done) return;
        yield value;
      }
    } catch (error) {
      fault = error;
      throw error;
    } finally {
      note('SELECT', startNs, fault);
      await source.return?.();
    }
  }

  return {
    query: (sql, limits, signal) =>
      observed('SELECT', textOf(sql), () => store.query(sql, limits, signal)),
    columns: (sql, limits, signal) =>
      observed('SELECT', textOf(sql), () => store.columns(sql, limits, signal)),
    // Whoever reads it may stop anywhere, so it has its time and no span.
    stream: (sql, limits, signal) =>
      stream(
        store.stream(sql, limits, signal)[Symbol.asyncIterator]() as AsyncIterator<never[]>,
        clock.monotonicNs(),
      ),
    insert: (insert) =>
      observed(
        'INSERT',
        { 'db.collection.name': insert.table, 'db.operation.batch.size': insert.rows },
        () => store.insert(insert),
      ),
    command: (text) => observed('COMMAND', {}, () => store.command(text)),
    ping: () => observed('PING', {}, () => store.ping()),
    close: () => store.close(),
  };
}
