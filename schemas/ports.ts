/**
 * The small interfaces that the services are handed by `deploy/`. Nothing here does I/O: these are
 * the shapes that a real part, a fake and the simulation all have.
 */
import type { CounterName, GaugeName, HistogramName, LabelsOf } from './metrics.ts';

/** A value that may be bound to a `{name:Type}` placeholder of a statement. */
export type SqlValue = string | number | bigint | boolean | null | Uint8Array | readonly SqlValue[];

/** A statement with typed placeholders: `SELECT … WHERE tenant = {tenant:String}`. */
export interface Sql {
  readonly text: string;
  readonly params: Readonly<Record<string, SqlValue>>;
}

/** What one query may cost in the engine; every query has all three. */
export interface QueryLimits {
  readonly timeMs: number;
  readonly memoryBytesMax: number;
  readonly rowsMax: number;
  /**
   * Rows that the engine works on at once, where it matters: of statements with many conditions a
   * block costs nearly as much as its rows. Absent: as the store sees fit.
   */
  readonly blockRows?: number;
}

/** A row as the engine gives it in JSONEachRow: 64-bit integers are strings. */
export type Row = Readonly<Record<string, unknown>>;

/** A result by its columns, each in the order of the rows; values as in a `Row`. */
export type Columns = Readonly<Record<string, readonly unknown[]>>;

/** One insert: rows as JSON lines, already encoded, each ending in a newline. */
export interface Insert {
  readonly table: string;
  /** JSONEachRow bytes. */
  readonly lines: Uint8Array;
  readonly rows: number;
  /** Two inserts with the same token into one table store their rows once. */
  readonly dedupToken: string;
  readonly timeMs: number;
}

/** Why a store call failed, as typed facts. `judge` decides on these, never on message text. */
export interface StoreFault {
  readonly code: StoreFaultCode;
  /** The engine's own error number, where it answered at all. */
  readonly engineCode?: number;
  readonly message: string;
}

/**
 * - `unreachable`: no connection was made; nothing was sent.
 * - `unknown`: sent, and no answer came: the insert may or may not be stored.
 * - `refused`: the engine answered that this statement or its data can never work.
 * - `busy`: the engine answered that it can't now (limits, too many parts, read-only).
 * - `limit`: the query hit its own time, memory or row limit.
 * - `closed`: the store was closed.
 */
export type StoreFaultCode = 'unreachable' | 'unknown' | 'refused' | 'busy' | 'limit' | 'closed';

/** The error that every `Store` method rejects with. */
export class StoreError extends Error {
  readonly fault: StoreFault;
  constructor(fault: StoreFault, options?: ErrorOptions) {
    super(fault.message, options);
    this.name = 'StoreError';
    this.fault = fault;
  }
}

/** ClickHouse, over HTTP or embedded. Both pass the same contract tests. */
export interface Store {
  /** Rows of one SELECT. Rejects with `StoreError`; a result is whole or it is an error. */
  query<T extends Row = Row>(
    sql: Sql,
    limits: QueryLimits,
    signal?: AbortSignal,
  ): Promise<readonly T[]>;
  /** The same rows by column: a quarter of what it costs to read them one by one. */
  columns(sql: Sql, limits: QueryLimits, signal?: AbortSignal): Promise<Columns>;
  /** The same, in blocks, in memory that does not grow with the result. */
  stream<T extends Row = Row>(
    sql: Sql,
    limits: QueryLimits,
    signal?: AbortSignal,
  ): AsyncIterable<readonly T[]>;
  insert(insert: Insert): Promise<void>;
  /** One DDL statement of ours (migrations); never text from outside. */
  command(text: string): Promise<void>;
  ping(): Promise<void>;
  close(): Promise<void>;
}

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Structured log. WARN: nothing was lost; ERROR: something was lost or a person is needed. */
export interface Log {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

/** Counters, gauges and histograms of `METRICS`: names and label values are closed lists. */
export interface Meter {
  count<N extends CounterName>(name: N, by: number, labels?: LabelsOf<N>): void;
  gauge<N extends GaugeName>(name: N, value: number, labels?: LabelsOf<N>): void;
  /** One measurement of a histogram, in the metric's unit. */
  record<N extends HistogramName>(name: N, value: number, labels?: LabelsOf<N>): void;
}

export type SpanKind = 'internal' | 'server' | 'client' | 'producer' | 'consumer';

/** What a span is said to be; names and attributes by OpenTelemetry's semantic conventions. */
export interface SpanStart {
  /** A word of ours: texts that were recorded stand in attributes at most. */
  readonly name: string;
  readonly kind?: SpanKind;
  readonly attributes?: Readonly<Record<string, string | number>>;
  /** W3C `traceparent`s of spans that led to this one; what is none of them is left out. */
  readonly links?: readonly (string | undefined)[];
}

/** Traces of the services' own work. Without an SDK a span costs one call. */
export interface Tracer {
  /** Runs `work` within a span, a child of the one it is called in; ends it when `work` has ended. */
  span<T>(start: SpanStart, work: () => Promise<T>): Promise<T>;
  /** The span that this is called in, as a W3C `traceparent`; undefined where none is recorded. */
  traceparent(): string | undefined;
}

/** Traces nothing. */
export const NO_TRACER: Tracer = { span: (_start, work) => work(), traceparent: () => undefined };

/** Time. Wall time may jump back; monotonic time never does. */
export interface Clock {
  /** Nanoseconds since 1970, UTC. */
  wallNs(): bigint;
  /** Nanoseconds since an arbitrary start; never decreases. */
  monotonicNs(): bigint;
  /** Rejects when `signal` is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls `work` every `ms` until the function given back is called; keeps no process alive. */
  every(ms: number, work: () => void): () => void;
}

/** Randomness, so that the simulation can replay a run. */
export interface Random {
  bytes(count: number): Uint8Array;
}

/** Every part that runs. `stop` may be called twice and returns when everything is flushed. */
export interface Part {
  start(): Promise<void>;
  stop(): Promise<void>;
}
