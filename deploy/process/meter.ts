import { type Counter, type Gauge, metrics } from '@opentelemetry/api';
import type { Meter } from '#schemas';

/** Metrics through the OpenTelemetry API: a no-op until an SDK is registered. */
export function createMeter(): Meter {
  const meter = metrics.getMeter('telltale');
  const counters = new Map<string, Counter>();
  const gauges = new Map<string, Gauge>();
  return {
    count(name, by, labels) {
      const counter = counters.get(name) ?? meter.createCounter(name);
      counters.set(name, counter);
      counter.add(by, labels);
    },
    gauge(name, value, labels) {
      const gauge = gauges.get(name) ?? meter.createGauge(name);
      gauges.set(name, gauge);
      gauge.record(value, labels);
    },
  };
}
