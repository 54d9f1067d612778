import { type Attributes, type Meter as Instruments, metrics } from '@opentelemetry/api';
import { METRICS, type Meter, type Metric, type MetricName, OTHER_VALUE } from '#schemas';

type Labels = Readonly<Record<string, string | undefined>>;

/**
 * The labels as they may be said. The types hold callers of ours to the list; this holds what came
 * past them, so that no text from outside ever becomes a time series.
 */
function closed(metric: Metric, labels: Labels | undefined): Attributes | undefined {
  if (labels === undefined) return undefined;
  const out: Attributes = {};
  for (const [name, value] of Object.entries(labels)) {
    const known = metric.labels?.[name];
    if (known === undefined || value === undefined) continue;
    out[name] = known.includes(value) ? value : OTHER_VALUE;
  }
  return out;
}

/** The port over one OpenTelemetry meter: by default the API's global one, which does nothing. */
export function createMeter(instruments: Instruments = metrics.getMeter('telltale')): Meter {
  const made = new Map<MetricName, (value: number, labels: Attributes | undefined) => void>();

  function make(name: MetricName) {
    const { instrument, unit, doc, bounds }: Metric = METRICS[name];
    const options = { unit, description: doc };
    if (instrument === 'counter') {
      const counter = instruments.createCounter(name, options);
      return (value: number, labels: Attributes | undefined) => counter.add(value, labels);
    }
    if (instrument === 'gauge') {
      const gauge = instruments.createGauge(name, options);
      return (value: number, labels: Attributes | undefined) => gauge.record(value, labels);
    }
    const advice = bounds === undefined ? {} : { explicitBucketBoundaries: [...bounds] };
    const histogram = instruments.createHistogram(name, { ...options, advice });
    return (value: number, labels: Attributes | undefined) => histogram.record(value, labels);
  }

  function say(name: MetricName, value: number, labels: Labels | undefined): void {
    let write = made.get(name);
    if (write === undefined) {
      write = make(name);
      made.set(name, write);
    }
    write(value, closed(METRICS[name], labels));
  }

  return { count: say, gauge: say, record: say };
}
