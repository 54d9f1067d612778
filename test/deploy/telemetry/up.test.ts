/**
 * `telltale up` and a collector with a real receiver of OTLP and a real scrape: what they tell
 * hangs together, and nothing that was recorded or asked becomes a label.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { HTTP_ROUTES, METRICS, type Metric, type MetricName, OTHER_VALUE } from '#schemas';
import { systemDisk } from '../../../collector/disk.ts';
import { createShipper, httpTransport, SHIP_DEFAULTS } from '../../../collector/ship.ts';
import { createSpool, SPOOL_DEFAULTS } from '../../../collector/spool.ts';
import { createUp, type Up } from '../../../deploy/commands/up.ts';
import { createClock } from '../../../deploy/process/clock.ts';
import { openTelemetry, type Telemetry } from '../../../deploy/telemetry/open.ts';
import { prometheusName } from '../../../deploy/telemetry/rules.ts';
import type { ServiceName } from '../../../deploy/telemetry/services.ts';
import { telemetrySettings } from '../../../deploy/telemetry/settings.ts';
import { type FakeLog, fakeLog } from '../../fakes/ports.ts';
import { stampStream } from '../../query/seed.ts';
import { attributesOf, openReceiver, pointsOf, type ReceivedSpan } from './receiver.ts';

/** Stands wherever an attacker may put a text. */
const HOSTILE = 'evil"}\n# TYPE x counter\nx{a="';
const SERVER = 2;
const TENANT = 'default';
const at = { host: '127.0.0.1', port: 0 };
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-telemetry-'));
const clock = createClock();
let receiver: Awaited<ReturnType<typeof openReceiver>>;
let up: Up;
let log: FakeLog;
let health = '';
const routes = new Set<string>();

async function telemetryOf(service: ServiceName, lines: FakeLog): Promise<Telemetry> {
  const settings = telemetrySettings(service === 'up' ? at : undefined);
  return openTelemetry({ service, settings, log: lines, level: 'info', clock });
}

/** A collector that ships one session, whose every text is hostile, and says so. */
async function record(): Promise<void> {
  const telemetry = await telemetryOf('collector', fakeLog());
  const own = { ts: '1764000000000000000', source: HOSTILE, assurance: 'reported' } as const;
  const events = stampStream({
    ...{ tenant: TENANT, agent: HOSTILE, host: HOSTILE, mark: HOSTILE },
    drafts: [
      { kind: 'prompt', ...own, prompt: HOSTILE },
      { kind: 'tool.call', ...own, tool_call_id: HOSTILE, tool: HOSTILE },
      { kind: 'sensor', ...own, sensor_name: HOSTILE, coverage: 'partial', sensor_rung: 1 },
      { kind: 'gap', ...own, gap_reason: 'sensor_lost', gap_count: 7, reason: HOSTILE },
    ],
  });
  const [first] = events;
  if (first === undefined) throw new Error('nothing to ship');
  const { session_id, stream_id } = first.event;
  const identity = { tenant: TENANT, session_id, stream_id, agent: HOSTILE, host: '', user: '' };
  const { meter, tracer } = telemetry;
  const spool = createSpool(
    identity,
    { ...SPOOL_DEFAULTS, dir },
    { disk: systemDisk, clock, log: telemetry.log },
  );
  spool.append(events);
  const shipper = createShipper({
    ...{ spool, log: telemetry.log, meter, clock, tracer },
    transport: httpTransport(new URL(up.url)),
    settings: { ...SHIP_DEFAULTS, lingerMs: 1 },
  });
  shipper.start();
  expect(await shipper.drain(10_000)).toBe(true);
  await shipper.stop();
  spool.close({ finished: true });
  await telemetry.stop();
}

const ask = (pathAndQuery: string, init: RequestInit = {}) =>
  fetch(`${up.url}${pathAndQuery}`, init).then((response) => response.status);

const graphql = (query: string) =>
  ask('/graphql', {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${up.token}`,
      traceparent: '00-11111111111111111111111111111111-2222222222222222-01',
    },
    body: JSON.stringify({ query }),
  });

beforeAll(async () => {
  receiver = await openReceiver();
  vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', receiver.url);
  vi.stubEnv('OTEL_METRIC_EXPORT_INTERVAL', '60000');
  vi.stubEnv('OTEL_RESOURCE_ATTRIBUTES', 'deployment.environment.name=test');
  log = fakeLog();
  const telemetry = await telemetryOf('up', log);
  const watched: Telemetry = {
    ...telemetry,
    requests(app) {
      app.addHook('onRoute', ({ url }) => void routes.add(url));
      telemetry.requests(app);
    },
  };
  const observed = { service: 'up' as const, telemetry: watched, log: telemetry.log, at };
  const data = path.join(dir, 'data');
  up = createUp({ data, port: 0, tenant: TENANT, log: telemetry.log, observed });
  await up.start();
  health = String(log.lines.find(({ event }) => event === 'health.serving')?.fields.url);
  await record();
  await ask('/v1/frames', {
    method: 'POST',
    headers: { 'content-type': 'application/x-telltale-frame', traceparent: HOSTILE.slice(0, 6) },
    body: `{"telltale":1}\n${HOSTILE}`,
  });
  await graphql('{ sessions(first: 5) { nodes { id } } }');
  await ask(`/v1/sessions/${encodeURIComponent(HOSTILE)}/story`);
  await ask(`/${encodeURIComponent(HOSTILE)}`, { method: 'PUT' });
}, 60_000);

let scraped = '';
afterAll(async () => {
  vi.unstubAllEnvs();
  await receiver.stop();
  fs.rmSync(dir, { recursive: true, force: true });
});

const named = (name: string) => receiver.spans.filter((span) => span.name === name);
const childrenOf = ({ spanId, traceId }: ReceivedSpan) =>
  receiver.spans.filter((one) => one.parentSpanId === spanId && one.traceId === traceId);

describe('telltale up', () => {
  it('answers its probes beside the service and on its own port', async () => {
    for (const url of [health, up.url]) {
      const ready = await fetch(`${url}/readyz`);
      expect(await ready.json()).toMatchObject({ status: 'pass', service: 'up' });
      expect((await fetch(`${url}/healthz`)).status).toBe(200);
    }
    scraped = await (await fetch(`${health}/metrics`)).text();
    await up.stop();
    await expect(fetch(`${health}/healthz`)).rejects.toThrow();
  });

  it('has one trace from the frame that was sent to the rows that were stored', () => {
    expect([...receiver.services].sort()).toEqual(['telltale-collector', 'telltale-up']);
    const [sent] = named('send telltale.events');
    const [shipped] = named('ship batch');
    expect(sent?.parentSpanId).toBe(shipped?.spanId);
    const processed = named('process telltale.events').find((span) =>
      span.links?.some(({ spanId }) => spanId === sent?.spanId),
    ) as ReceivedSpan;
    expect(processed.links?.[0]?.traceId).toBe(sent?.traceId);
    // Linked and not joined: what a sender says never decides which trace our work is in.
    expect(processed.traceId).not.toBe(sent?.traceId);
    const inserts = childrenOf(processed).filter(({ name }) => name === 'INSERT');
    expect(inserts.map((span) => attributesOf(span)['db.collection.name'])).toContain(
      'telltale.events',
    );
    expect(attributesOf(processed)['messaging.batch.message_count']).toBe('1');
  });

  it('has the statements of a question below its request', () => {
    const request = named('POST /graphql').find(({ kind }) => kind === SERVER) as ReceivedSpan;
    expect(request.links?.[0]?.spanId).toBe('2222222222222222');
    expect(request.traceId).not.toBe('11111111111111111111111111111111');
    const statements = childrenOf(request).filter(({ name }) => name === 'SELECT');
    expect(statements.length).toBeGreaterThan(0);
    const text = attributesOf(statements[0] as ReceivedSpan)['db.query.text'];
    expect(text).toContain('{tenant:String}');
  });

  it('puts the trace on log lines, and sends them', () => {
    const parked = receiver.logs.find(({ body }) => body?.stringValue === 'ingest.parked');
    expect(parked?.severityText).toBe('WARN');
    const spans = named('process telltale.events').map(({ traceId }) => traceId);
    expect(spans).toContain(parked?.traceId);
    const line = log.lines.find(({ event }) => event === 'ingest.parked');
    expect(line?.fields.trace_id).toBe(parked?.traceId);
  });

  it('measures what was stored, lost, covered and asked, the same on both ways', () => {
    const otlp = (name: MetricName, labels: Readonly<Record<string, string>> = {}) =>
      receiver.metrics
        .filter((metric) => metric.name === name)
        .flatMap(pointsOf)
        .filter((point) => {
          const said = attributesOf(point);
          return Object.entries(labels).every(([label, value]) => said[label] === value);
        })
        .map((point) => Number(point.asInt ?? point.asDouble ?? point.count))
        .reduce((most, one) => Math.max(most, one), -1);
    expect(otlp('telltale.ingest.stored')).toBeGreaterThan(5);
    expect(otlp('telltale.ingest.gaps', { reason: 'sensor_lost' })).toBe(1);
    expect(otlp('telltale.ingest.gap_events')).toBe(7);
    expect(otlp('telltale.ingest.sensors', { coverage: 'partial' })).toBe(1);
    expect(otlp('telltale.collector.events_shipped')).toBe(6);
    expect(otlp('messaging.client.sent.messages', { 'messaging.system': 'http' })).toBe(1);
    const once = { 'http.route': '/graphql', 'http.response.status_code': '200' };
    expect(otlp('http.server.request.duration', once)).toBe(1);
    expect(scraped).toContain('telltale_ingest_gaps_total{reason="sensor_lost"} 1\n');
    // What has not happened is there as well: a first one is a growth.
    expect(scraped).toContain('telltale_ingest_gaps_total{reason="spool_full"} 0\n');
    expect(scraped).toContain('telltale_health_check{check="store",probe="ready"} 1\n');
  });

  it('lets no text that was recorded or asked for become a label or a name', () => {
    expect(receiver.metrics.length).toBeGreaterThan(20);
    for (const metric of receiver.metrics) {
      const { labels = {}, unit }: Metric = METRICS[metric.name as MetricName];
      expect(metric.unit).toBe(unit);
      for (const point of pointsOf(metric))
        for (const [label, value] of Object.entries(attributesOf(point)))
          expect([...(labels[label] ?? []), OTHER_VALUE], `${metric.name} ${label}`).toContain(
            value,
          );
    }
    for (const span of receiver.spans) expect(span.name).not.toContain('evil');
    expect(scraped).not.toContain('evil');
    const names = (Object.keys(METRICS) as MetricName[]).map(prometheusName);
    for (const line of scraped.split('\n').filter((one) => one !== '' && !one.startsWith('#'))) {
      const name = /^[a-z_]+/.exec(line)?.[0].replace(/_(?:bucket|sum|count)$/, '') ?? line;
      const whole = /^[a-z_0-9]+/.exec(line)?.[0] ?? '';
      if (name !== 'target_info' && !names.includes(whole)) expect(names, line).toContain(name);
    }
    expect([...routes].filter((route) => !HTTP_ROUTES.some((one) => one === route))).toEqual([]);
    // A path that nobody serves, and a session's: patterns, or the word for all else.
    expect(scraped).toMatch(
      /http_server_request_duration_count\{http_request_method="PUT",http_route="_OTHER"/,
    );
    expect(scraped).toContain('http_route="/v1/sessions/:id/story"');
  });
});
