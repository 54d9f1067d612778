/** The meter holds its lists at compile time and at run time; the lists hold to what they list. */
import { createNoopMeter } from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import Fastify from 'fastify';
import { describe, expect, it } from 'vitest';
import { HTTP_ROUTES, labelOf, METRICS, type Metric, REFUSAL_CODES } from '#schemas';
import { createMeter } from '../../../deploy/process/meter.ts';
import { metricsOf, servicesOf } from '../../../deploy/telemetry/services.ts';
import { registerFrames } from '../../../ingest/http.ts';
import { registerLog, registerWitness } from '../../../ingest/seal/serve.ts';
import { QUERY_CODES } from '../../../query/errors.ts';
import { fakeLog } from '../../fakes/ports.ts';

const names = Object.keys(METRICS) as (keyof typeof METRICS)[];

describe('the meter', () => {
  it('says a word of the list, and one word for all others', async () => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 1e6 });
    const meter = createMeter(new MeterProvider({ readers: [reader] }).getMeter('t'));
    const text: string = 'DROP TABLE';
    meter.count('telltale.ingest.parked', 1, { reason: 'conflict' });
    // @ts-expect-error A text that is no word of the list does not compile.
    meter.count('telltale.ingest.parked', 1, { reason: text });
    // @ts-expect-error Nor does a label that the metric does not have, and none is said.
    meter.count('telltale.ingest.parked', 1, { reason: 'invalid', session: text });
    // @ts-expect-error Nor a metric that is not in the catalog.
    expect(() => meter.count('telltale.unknown', 1)).toThrow();
    // @ts-expect-error Nor a gauge that is a counter.
    meter.gauge('telltale.ingest.stored', 1);
    meter.record('db.client.operation.duration', 2, { 'error.type': 'busy' });
    await reader.forceFlush();
    const [batch] = exporter.getMetrics();
    const metrics = batch?.scopeMetrics[0]?.metrics ?? [];
    const said = metrics.find(({ descriptor }) => descriptor.name === 'telltale.ingest.parked');
    expect(said?.dataPoints.map(({ attributes }) => attributes)).toEqual([
      { reason: 'conflict' },
      { reason: '_OTHER' },
      { reason: 'invalid' },
    ]);
    expect(said?.descriptor.unit).toBe('{letter}');
    await reader.shutdown();
  });

  it('costs nothing that one would notice where nobody listens', () => {
    const meter = createMeter(createNoopMeter());
    const calls = 200_000;
    const startMs = performance.now();
    for (let i = 0; i < calls; i++) meter.count('telltale.ingest.retries', 1, { code: 'busy' });
    const microseconds = ((performance.now() - startMs) * 1000) / calls;
    // Measured 0.2 us; a batch has a dozen calls and takes tens of milliseconds.
    expect(microseconds).toBeLessThan(5);
  });
});

describe('the catalog', () => {
  it('is written as OpenTelemetry names things', () => {
    for (const name of names) {
      expect(name).toMatch(/^(?:telltale|db|http|messaging|process|nodejs)(?:\.[a-z][a-z0-9_]*)+$/);
      // Prometheus puts these behind a name itself; one standard name ends so all the same.
      if (name !== 'process.unix.file_descriptor.count') expect(name).not.toMatch(/total$|count$/);
      const { doc, unit, labels = {} }: Metric = METRICS[name];
      expect(doc).toMatch(/^[A-Z0-9].*\.$/);
      expect(unit).toMatch(/^(?:s|By|1|\{[a-z_]+\})$/);
      for (const values of Object.values(labels)) expect(new Set(values).size).toBe(values.length);
      expect(servicesOf(name).length).toBeGreaterThan(0);
    }
    expect(metricsOf('witness')).toContain('telltale.witness.answers');
  });

  it('lists the codes that callers are shown', () => {
    expect([...REFUSAL_CODES].sort()).toEqual([...QUERY_CODES].sort());
  });

  it('lists the routes of each service', async () => {
    const app = Fastify();
    const routes = new Set<string>();
    app.addHook('onRoute', ({ url }) => void routes.add(url));
    const nothing = {} as never;
    registerFrames(app, { ingest: { take: nothing, forget: nothing }, clock: nothing } as never);
    registerLog(app, nothing, () => true);
    registerWitness(app, { witness: nothing, log: fakeLog() });
    await app.ready();
    for (const route of routes) expect(HTTP_ROUTES).toContain(route);
    expect(labelOf(HTTP_ROUTES, '/etc/passwd')).toBe('_OTHER');
  });
});
