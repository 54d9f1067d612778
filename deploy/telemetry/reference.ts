/** The reference of all metrics, written from their catalog. */
import { METRICS, type Metric, type MetricName, OTHER_VALUE } from '#schemas';
import { prometheusName } from './rules.ts';
import { servicesOf } from './services.ts';

function row(name: MetricName): string {
  const { instrument, unit, doc, labels = {} }: Metric = METRICS[name];
  const said = Object.keys(labels).map((label) => `\`${label}\``);
  const cells = [
    `\`${name}\``,
    instrument,
    `\`${unit}\``,
    said.join(', '),
    servicesOf(name).join(', '),
    doc,
  ];
  return `| ${cells.join(' | ')} |`;
}

/** All labels with all their values: a label of one name may have other values elsewhere. */
function labelRows(): string[] {
  const known = new Map<string, Set<string>>();
  for (const metric of Object.values(METRICS) as Metric[])
    for (const [label, values] of Object.entries(metric.labels ?? {})) {
      const all = known.get(label) ?? new Set();
      for (const value of values) all.add(value);
      known.set(label, all);
    }
  return [...known].map(
    ([label, values]) => `| \`${label}\` | ${[...values].map((one) => `\`${one}\``).join(' ')} |`,
  );
}

/** `deploy/telemetry/METRICS.md`. */
export function metricsReference(): string {
  const names = Object.keys(METRICS) as MetricName[];
  const longest = names.find((name) => METRICS[name].instrument === 'counter') as MetricName;
  return `# Metrics

Generated from \`schemas/metrics.ts\` by \`npm run gen\`. Over OTLP they have these names; on \`/metrics\`
dots are underscores and a counter ends in \`_total\`: \`${longest}\` is \`${prometheusName(longest)}\`.

| metric | instrument | unit | labels | of | what |
|---|---|---|---|---|---|
${names.map(row).join('\n')}

## Labels

These are all values that a label can have, and \`${OTHER_VALUE}\` for what is none of them. No value is
ever taken from what was recorded.

| label | values |
|---|---|
${labelRows().join('\n')}
`;
}
