/**
 * The smallest OTLP/HTTP sender: spans and log records by the GenAI semantic conventions, as any
 * agent may send them. It stands in for an agent's own telemetry in the demo.
 */
import { randomBytes } from 'node:crypto';

export type Attributes = Readonly<Record<string, string | number | boolean>>;

export interface Telemetry {
  readonly traceId: string;
  span(name: string, startMs: number, attributes: Attributes, error?: string): Promise<void>;
  log(eventName: string, attributes: Attributes): Promise<void>;
}

const SPAN_STATUS_ERROR = 2;

const nano = (ms: number): string => `${Math.round(ms * 1000)}000`;
const now = (): number => performance.timeOrigin + performance.now();

function keyValues(attributes: Attributes) {
  return Object.entries(attributes).map(([key, value]) => ({
    key,
    value:
      typeof value === 'string'
        ? { stringValue: value }
        : typeof value === 'boolean'
          ? { boolValue: value }
          : { intValue: String(value) },
  }));
}

/** Sends to `endpoint`/v1/…; one trace a turn. Does nothing without an endpoint. */
export function startTelemetry(endpoint: string | undefined, service: string): Telemetry {
  const traceId = randomBytes(16).toString('hex');
  const resource = { attributes: keyValues({ 'service.name': service }) };
  const scope = { name: 'telltale-demo-agent' };

  async function post(signal: string, body: object): Promise<void> {
    if (endpoint === undefined) return;
    const response = await fetch(`${endpoint}/v1/${signal}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!response.ok) console.error(`telemetry: ${response.status} ${await response.text()}`);
  }

  return {
    traceId,
    span: (name, startMs, attributes, error) =>
      post('traces', {
        resourceSpans: [
          {
            resource,
            scopeSpans: [
              {
                scope,
                spans: [
                  {
                    traceId,
                    spanId: randomBytes(8).toString('hex'),
                    name,
                    kind: 1,
                    startTimeUnixNano: nano(startMs),
                    endTimeUnixNano: nano(now()),
                    attributes: keyValues(attributes),
                    ...(error === undefined
                      ? {}
                      : { status: { code: SPAN_STATUS_ERROR, message: error } }),
                  },
                ],
              },
            ],
          },
        ],
      }),
    log: (eventName, attributes) =>
      post('logs', {
        resourceLogs: [
          {
            resource,
            scopeLogs: [
              {
                scope,
                logRecords: [
                  {
                    timeUnixNano: nano(now()),
                    observedTimeUnixNano: nano(now()),
                    eventName,
                    traceId,
                    attributes: keyValues({ 'event.name': eventName, ...attributes }),
                  },
                ],
              },
            ],
          },
        ],
      }),
  };
}

export { now as nowMs };
