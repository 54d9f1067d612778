/**
 * One neutral shape for what arrives as OTLP, whichever encoding it came in: what mappers read.
 *
 * It is parsed from OTLP/JSON or from the same object made of protobuf (`protobuf.ts`). Senders are
 * sloppy: integers are strings, keys repeat, values are empty, bodies are null. Nothing of that is
 * an error here. A record that is no object is left out and counted.
 */

export type Value =
  | string
  | number
  | boolean
  | null
  | readonly Value[]
  | { readonly [key: string]: Value };

export type Attributes = Readonly<Record<string, Value>>;

export interface LogRecord {
  readonly resource: Attributes;
  readonly scope: string;
  /** Nanoseconds as decimal digits; absent where the sender left it out or gave 0. */
  readonly timeNs?: string;
  readonly observedNs?: string;
  readonly eventName?: string;
  readonly body: Value;
  readonly attributes: Attributes;
  readonly traceId?: string;
  readonly spanId?: string;
}

export interface Span {
  readonly resource: Attributes;
  readonly scope: string;
  readonly name: string;
  readonly startNs?: string;
  readonly endNs?: string;
  readonly attributes: Attributes;
  readonly traceId?: string;
  readonly spanId?: string;
  readonly parentSpanId?: string;
  /** 0 unset, 1 ok, 2 error. */
  readonly statusCode: number;
  readonly statusMessage?: string;
}

/** What one body held. `malformed` counts records that were no objects. */
export interface Parsed {
  readonly logs: readonly LogRecord[];
  readonly spans: readonly Span[];
  readonly metricPoints: number;
  readonly malformed: number;
}

export type Signal = 'logs' | 'traces' | 'metrics';

/** A body that is no OTLP request of its signal. */
export class ShapeError extends Error {}

const DEPTH_MAX = 32;
const TOO_DEEP = '[nested too deep]';

type Loose = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Loose =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined;

const NS_DIGITS_MAX = 20;
/** Decimal digits of a fixed64; a JSON number has lost its last digits already, but not its time. */
function nsOf(value: unknown): string | undefined {
  const digits =
    typeof value === 'number' && Number.isFinite(value) && value > 0
      ? BigInt(Math.trunc(value)).toString()
      : value;
  if (typeof digits !== 'string' || digits.length > NS_DIGITS_MAX) return undefined;
  return /^[1-9][0-9]*$/.test(digits) ? digits : undefined;
}

/** Lower-case hex of `bytes` bytes, not all zero. */
function hexOf(value: unknown, bytes: number): string | undefined {
  const hex = value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
  if (typeof hex !== 'string' || hex.length !== bytes * 2) return undefined;
  return /^[0-9a-fA-F]+$/.test(hex) && !/^0+$/.test(hex) ? hex.toLowerCase() : undefined;
}

/** A 64-bit integer: a number where that is exact, its digits otherwise. */
function intOf(value: unknown): Value {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

function anyValue(any: unknown, depth: number): Value {
  if (!isObject(any)) return null;
  if (depth > DEPTH_MAX) return TOO_DEEP;
  if (typeof any.stringValue === 'string') return any.stringValue;
  if (typeof any.boolValue === 'boolean') return any.boolValue;
  if (any.intValue !== undefined) return intOf(any.intValue);
  if (any.doubleValue !== undefined) return Number(any.doubleValue);
  if (isObject(any.arrayValue))
    return listOf(any.arrayValue.values).map((item) => anyValue(item, depth + 1));
  if (isObject(any.kvlistValue)) return attributesOf(any.kvlistValue.values, depth + 1);
  if (any.bytesValue instanceof Uint8Array) return Buffer.from(any.bytesValue).toString('base64');
  return textOf(any.bytesValue) ?? null;
}

/**
 * Attributes by key, without a prototype. Where a key repeats the first value is kept, but text
 * wins over a number: Codex gives `thread.id` twice, the OS thread and then the conversation.
 */
function attributesOf(list: unknown, depth = 0): Attributes {
  const out: Record<string, Value> = Object.create(null);
  for (const item of listOf(list)) {
    if (!isObject(item) || typeof item.key !== 'string') continue;
    const value = anyValue(item.value, depth);
    if (!(item.key in out) || (typeof value === 'string' && typeof out[item.key] !== 'string'))
      out[item.key] = value;
  }
  return out;
}

/** The object without its absent fields. */
export function known<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}

interface Context {
  readonly resource: Attributes;
  readonly scope: string;
}

function logOf(record: Loose, { resource, scope }: Context): LogRecord {
  return known({
    resource,
    scope,
    timeNs: nsOf(record.timeUnixNano),
    observedNs: nsOf(record.observedTimeUnixNano),
    eventName: textOf(record.eventName),
    body: anyValue(record.body, 0),
    attributes: attributesOf(record.attributes),
    traceId: hexOf(record.traceId, 16),
    spanId: hexOf(record.spanId, 8),
  });
}

function spanOf(span: Loose, { resource, scope }: Context): Span {
  const status = isObject(span.status) ? span.status : {};
  return known({
    resource,
    scope,
    name: textOf(span.name) ?? '',
    startNs: nsOf(span.startTimeUnixNano),
    endNs: nsOf(span.endTimeUnixNano),
    attributes: attributesOf(span.attributes),
    traceId: hexOf(span.traceId, 16),
    spanId: hexOf(span.spanId, 8),
    parentSpanId: hexOf(span.parentSpanId, 8),
    statusCode: Number(status.code ?? 0),
    statusMessage: textOf(status.message),
  });
}

function pointsOf(metric: Loose): number {
  const kinds = ['gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary'];
  return kinds.reduce((sum, kind) => {
    const data = metric[kind];
    return sum + (isObject(data) ? listOf(data.dataPoints).length : 0);
  }, 0);
}

const KEYS = {
  logs: ['resourceLogs', 'scopeLogs', 'logRecords'],
  traces: ['resourceSpans', 'scopeSpans', 'spans'],
  metrics: ['resourceMetrics', 'scopeMetrics', 'metrics'],
} as const;

/** The records of one request. Throws `ShapeError` where it is no request of this signal. */
export function parseRequest(signal: Signal, request: unknown): Parsed {
  const [resourceKey, scopeKey, recordKey] = KEYS[signal];
  if (!isObject(request)) throw new ShapeError('the body is not an object');
  const resources = request[resourceKey] ?? [];
  if (!Array.isArray(resources)) throw new ShapeError(`${resourceKey} is not a list`);
  const logs: LogRecord[] = [];
  const spans: Span[] = [];
  let metricPoints = 0;
  let malformed = 0;
  for (const group of resources) {
    if (!isObject(group)) {
      malformed++;
      continue;
    }
    const resource = isObject(group.resource) ? attributesOf(group.resource.attributes) : {};
    for (const scoped of listOf(group[scopeKey])) {
      if (!isObject(scoped)) {
        malformed++;
        continue;
      }
      const scope = isObject(scoped.scope) ? (textOf(scoped.scope.name) ?? '') : '';
      for (const record of listOf(scoped[recordKey])) {
        if (!isObject(record)) malformed++;
        else if (signal === 'logs') logs.push(logOf(record, { resource, scope }));
        else if (signal === 'traces') spans.push(spanOf(record, { resource, scope }));
        else metricPoints += pointsOf(record);
      }
    }
  }
  return { logs, spans, metricPoints, malformed };
}
