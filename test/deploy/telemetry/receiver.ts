/** A receiver of OTLP over HTTP in JSON, as small as it gets: it keeps what it is sent. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';

interface Value {
  readonly stringValue?: string;
  readonly intValue?: string | number;
  readonly doubleValue?: number;
}
interface Attribute {
  readonly key: string;
  readonly value: Value;
}
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly attributes?: readonly Attribute[];
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly status?: { readonly code?: number };
}
export interface ReceivedLog {
  readonly traceId?: string;
  readonly spanId?: string;
  readonly severityText?: string;
  readonly body?: Value;
}
interface Point {
  readonly attributes?: readonly Attribute[];
  readonly asInt?: string | number;
  readonly asDouble?: number;
  readonly count?: string | number;
}
export interface ReceivedMetric {
  readonly name: string;
  readonly unit?: string;
  readonly sum?: { readonly dataPoints: readonly Point[] };
  readonly gauge?: { readonly dataPoints: readonly Point[] };
  readonly histogram?: { readonly dataPoints: readonly Point[] };
}

/** Attributes as an object, values as texts. */
export const attributesOf = ({ attributes = [] }: { attributes?: readonly Attribute[] }) =>
  Object.fromEntries(
    attributes.map(({ key, value }) => [
      key,
      String(value.stringValue ?? value.intValue ?? value.doubleValue),
    ]),
  );

export const pointsOf = (metric: ReceivedMetric): readonly Point[] =>
  (metric.sum ?? metric.gauge ?? metric.histogram)?.dataPoints ?? [];

export async function openReceiver() {
  const spans: ReceivedSpan[] = [];
  const logs: ReceivedLog[] = [];
  const metrics: ReceivedMetric[] = [];
  const services = new Set<string>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const bytes = Buffer.concat(chunks);
      const gzip = request.headers['content-encoding'] === 'gzip';
      const body = JSON.parse((gzip ? gunzipSync(bytes) : bytes).toString());
      const all = body.resourceSpans ?? body.resourceLogs ?? body.resourceMetrics ?? [];
      for (const one of all) {
        services.add(attributesOf(one.resource)['service.name'] ?? '');
        for (const scope of one.scopeSpans ?? []) spans.push(...scope.spans);
        for (const scope of one.scopeLogs ?? []) logs.push(...scope.logRecords);
        for (const scope of one.scopeMetrics ?? []) metrics.push(...scope.metrics);
      }
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    ...{ spans, logs, metrics, services },
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () => {
      server.closeAllConnections();
      return new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
}
