import { METRICS, type Meter, type Metric } from '#schemas';
import { metricsOf, type ServiceName } from './services.ts';

/** A counter with more series than this is not begun with all of them. */
const SERIES_MAX = 32;

/** Every choice of one value for each label. */
function choices(labels: Metric['labels']): Record<string, string>[] {
  return Object.entries(labels ?? {}).reduce<Record<string, string>[]>(
    (all, [label, values]) =>
      all.flatMap((one) => values.map((value) => ({ ...one, [label]: value }))),
    [{}],
  );
}

/**
 * Says 0 of every counter of a service, with each of its labels. A counter that first appears as 1
 * has no growth that `increase()` could see, so the first dead letter would raise no alert. That
 * the labels are closed lists is what makes it possible.
 */
export function zeroCounters(meter: Meter, service: ServiceName): void {
  for (const name of metricsOf(service)) {
    const metric: Metric = METRICS[name];
    if (metric.instrument !== 'counter') continue;
    const all = choices(metric.labels);
    const count = meter.count as (name: string, by: number, labels: object) => void;
    if (all.length <= SERIES_MAX) for (const labels of all) count(name, 0, labels);
  }
}
