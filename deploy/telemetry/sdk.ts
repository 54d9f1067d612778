/**
 * OpenTelemetry's SDK, put together by hand: three providers, an exporter each. It is loaded only
 * where something is told, and registers nothing globally, so that two services in one process, and
 * two tests, keep apart.
 */
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import type { Signal } from './settings.ts';

const SCOPE = 'telltale';
/** How long the last export may hold a service up that stops. */
const STOP_MS_MAX = 3_000;

export interface SdkOptions {
  readonly service: string;
  readonly version: string;
  readonly instance: string;
  readonly otlp: ReadonlySet<Signal>;
  readonly metricsEveryMs: number;
  readonly prometheus: boolean;
}

/** Opens the SDK. `OTEL_*` say where and how exporters send, and may name the resource. */
export function openSdk(options: SdkOptions) {
  const { otlp } = options;
  const resource = resourceFromAttributes({
    'service.namespace': 'telltale',
    'service.name': `telltale-${options.service}`,
    'service.version': options.version,
    'service.instance.id': options.instance,
  }).merge(detectResources({ detectors: [envDetector] }));
  const contexts = new AsyncLocalStorageContextManager().enable();

  const prometheus = options.prometheus
    ? new PrometheusExporter({ preventServerStart: true })
    : undefined;
  const periodic = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter(),
    exportIntervalMillis: options.metricsEveryMs,
    exportTimeoutMillis: Math.min(options.metricsEveryMs, 10_000),
  });
  const metrics = new MeterProvider({
    resource,
    readers: [
      ...(otlp.has('metrics') ? [periodic] : []),
      ...(prometheus === undefined ? [] : [prometheus]),
    ],
  });
  const traces = new BasicTracerProvider({
    resource,
    spanProcessors: otlp.has('traces') ? [new BatchSpanProcessor(new OTLPTraceExporter())] : [],
  });
  const logs = new LoggerProvider({
    resource,
    processors: otlp.has('logs')
      ? [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter() })]
      : [],
  });

  /** Prometheus' text of all metrics, gathered now. */
  async function scrape(): Promise<string> {
    if (prometheus === undefined) throw new Error('there is no Prometheus endpoint');
    const { resourceMetrics } = await prometheus.collect();
    return new PrometheusSerializer(undefined, false, undefined, false, true).serialize(
      resourceMetrics,
    );
  }

  async function stop(): Promise<void> {
    const all = Promise.allSettled([metrics, traces, logs].map((one) => one.shutdown()));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, STOP_MS_MAX);
    });
    await Promise.race([all, late]);
    clearTimeout(timer);
    contexts.disable();
  }

  return {
    contexts,
    instruments: metrics.getMeter(SCOPE, options.version),
    tracer: otlp.has('traces') ? traces.getTracer(SCOPE, options.version) : undefined,
    logger: otlp.has('logs') ? logs.getLogger(SCOPE, options.version) : undefined,
    scrape: prometheus === undefined ? undefined : scrape,
    stop,
  };
}
