/**
 * OTLP protobuf, decoded to the same object as OTLP/JSON, so that one parser reads both.
 *
 * The descriptor below holds the field numbers of opentelemetry-proto 1.9
 * (https://github.com/open-telemetry/opentelemetry-proto, Apache-2.0; common, resource, logs,
 * trace and metrics v1), reduced to the fields that are read here. Unknown fields are skipped by
 * the decoder, as protobuf wants it.
 */
import Long from 'long';
import protobuf from 'protobufjs/light.js';
import type { Signal } from './shape.ts';

const field = (type: string, id: number) => ({ type, id });
const many = (type: string, id: number) => ({ rule: 'repeated', type, id });

const COMMON = {
  AnyValue: {
    oneofs: {
      value: {
        oneof: [
          'stringValue',
          'boolValue',
          'intValue',
          'doubleValue',
          'arrayValue',
          'kvlistValue',
          'bytesValue',
        ],
      },
    },
    fields: {
      stringValue: field('string', 1),
      boolValue: field('bool', 2),
      intValue: field('int64', 3),
      doubleValue: field('double', 4),
      arrayValue: field('ArrayValue', 5),
      kvlistValue: field('KeyValueList', 6),
      bytesValue: field('bytes', 7),
    },
  },
  ArrayValue: { fields: { values: many('AnyValue', 1) } },
  KeyValueList: { fields: { values: many('KeyValue', 1) } },
  KeyValue: { fields: { key: field('string', 1), value: field('AnyValue', 2) } },
  Scope: { fields: { name: field('string', 1), version: field('string', 2) } },
  Resource: { fields: { attributes: many('KeyValue', 1) } },
};

const LOGS = {
  LogsRequest: { fields: { resourceLogs: many('ResourceLogs', 1) } },
  ResourceLogs: {
    fields: { resource: field('Resource', 1), scopeLogs: many('ScopeLogs', 2) },
  },
  ScopeLogs: { fields: { scope: field('Scope', 1), logRecords: many('LogRecord', 2) } },
  LogRecord: {
    fields: {
      timeUnixNano: field('fixed64', 1),
      observedTimeUnixNano: field('fixed64', 11),
      body: field('AnyValue', 5),
      attributes: many('KeyValue', 6),
      traceId: field('bytes', 9),
      spanId: field('bytes', 10),
      eventName: field('string', 12),
    },
  },
};

const TRACES = {
  TracesRequest: { fields: { resourceSpans: many('ResourceSpans', 1) } },
  ResourceSpans: {
    fields: { resource: field('Resource', 1), scopeSpans: many('ScopeSpans', 2) },
  },
  ScopeSpans: { fields: { scope: field('Scope', 1), spans: many('Span', 2) } },
  Status: { fields: { message: field('string', 2), code: field('int32', 3) } },
  Span: {
    fields: {
      traceId: field('bytes', 1),
      spanId: field('bytes', 2),
      parentSpanId: field('bytes', 4),
      name: field('string', 5),
      startTimeUnixNano: field('fixed64', 7),
      endTimeUnixNano: field('fixed64', 8),
      attributes: many('KeyValue', 9),
      status: field('Status', 15),
    },
  },
};

const METRICS = {
  MetricsRequest: { fields: { resourceMetrics: many('ResourceMetrics', 1) } },
  ResourceMetrics: {
    fields: { resource: field('Resource', 1), scopeMetrics: many('ScopeMetrics', 2) },
  },
  ScopeMetrics: { fields: { scope: field('Scope', 1), metrics: many('Metric', 2) } },
  // Points are only counted, so each kind's data points stay empty messages.
  Point: { fields: {} },
  Points: { fields: { dataPoints: many('Point', 1) } },
  Metric: {
    fields: {
      name: field('string', 1),
      gauge: field('Points', 5),
      sum: field('Points', 7),
      histogram: field('Points', 9),
      exponentialHistogram: field('Points', 10),
      summary: field('Points', 11),
    },
  },
};

// protobufjs looks for `long` by itself, and where it does not find it (under the resolve condition
// "import") it silently rounds 64-bit integers to doubles: times would lose their last digits.
protobuf.util.Long = Long;
protobuf.configure();

const root = protobuf.Root.fromJSON({ nested: { ...COMMON, ...LOGS, ...TRACES, ...METRICS } });
const TYPES: Readonly<Record<Signal, protobuf.Type>> = {
  logs: root.lookupType('LogsRequest'),
  traces: root.lookupType('TracesRequest'),
  metrics: root.lookupType('MetricsRequest'),
};

/** Decodes a request body. Throws where the bytes are no protobuf of that shape. */
export function decodeProtobuf(signal: Signal, bytes: Uint8Array): unknown {
  const type = TYPES[signal];
  return type.toObject(type.decode(bytes), { longs: String });
}

/** Encodes a request body; the inverse, for senders and tests. */
export function encodeProtobuf(signal: Signal, request: object): Uint8Array {
  const type = TYPES[signal];
  return type.encode(type.fromObject(request)).finish();
}
