/**
 * Prometheus' alert rules over what `/metrics` gives, as code. An expression names metrics as
 * Prometheus has them (`telltale.ingest.lag` is `telltale_ingest_lag`, a counter ends in `_total`),
 * and a test holds each to `METRICS`.
 */
import { stringify } from 'yaml';
import { METRICS, type Metric, type MetricName } from '#schemas';

export const RUNBOOKS = 'deploy/runbooks';

export interface PrometheusAlert {
  readonly alert: string;
  /** What is wrong, in one sentence. */
  readonly summary: string;
  readonly severity: 'warning' | 'critical';
  readonly expr: string;
  /** How long it must hold, as Prometheus writes durations. */
  readonly for: string;
  /** Its page below `RUNBOOKS`. */
  readonly runbook: string;
}

/** A metric as Prometheus names it. */
export function prometheusName(name: MetricName): string {
  const base = name.replaceAll('.', '_');
  const { instrument }: Metric = METRICS[name];
  return instrument === 'counter' ? `${base}_total` : base;
}

const grown = (name: MetricName, window: string, by = '', filter = '') =>
  `sum${by}(increase(${prometheusName(name)}${filter}[${window}]))`;
const quantile = (q: number, name: MetricName, filter = '') =>
  `histogram_quantile(${q}, sum by (le) (rate(${prometheusName(name)}_bucket${filter}[5m])))`;

const LAG = prometheusName('telltale.ingest.lag');
const STORE_OPERATIONS = `${prometheusName('db.client.operation.duration')}_count`;
const REQUESTS = `${prometheusName('http.server.request.duration')}_count`;

/** Half of what a spool may hold (`SPOOL_DEFAULTS.bytesMax`). */
export const SPOOL_BYTES_WARN = 512 * 1024 ** 2;

/** Alerts on the services themselves. */
const SERVICE: readonly PrometheusAlert[] = [
  {
    alert: 'TelltaleDown',
    summary: 'A service does not answer Prometheus.',
    severity: 'critical',
    expr: 'up{job=~"telltale.*"} == 0',
    for: '2m',
    runbook: 'service-down',
  },
  {
    alert: 'TelltaleNotReady',
    summary: 'A service can’t do its work: one of its checks fails.',
    severity: 'warning',
    expr: `min by (job, instance, check) (${prometheusName('telltale.health.check')}) == 0`,
    for: '5m',
    runbook: 'not-ready',
  },
  {
    alert: 'TelltaleStoreErrors',
    summary: 'Statements of a service fail in the store.',
    severity: 'warning',
    expr: `sum by (job, error_type) (rate(${STORE_OPERATIONS}{error_type!=""}[5m])) > 0.1`,
    for: '5m',
    runbook: 'store-errors',
  },
  {
    alert: 'TelltaleInsertsSlow',
    summary: 'One in twenty inserts takes more than 10 s.',
    severity: 'warning',
    expr: `${quantile(0.95, 'db.client.operation.duration', '{db_operation_name="INSERT"}')} > 10`,
    for: '10m',
    runbook: 'store-errors',
  },
];

/** Alerts on what is recorded on its way into the table. */
const INGEST: readonly PrometheusAlert[] = [
  {
    alert: 'TelltaleIngestStopped',
    summary: 'Messages wait in the log, and no worker has stored a batch for five minutes.',
    severity: 'critical',
    expr: `max(${LAG}) > 0 and ${grown('telltale.ingest.batches', '5m')} == 0`,
    for: '2m',
    runbook: 'ingest-stopped',
  },
  {
    alert: 'TelltaleLagGrowing',
    summary: 'The workers fall further and further behind.',
    severity: 'warning',
    expr: `max(${LAG}) > 1000 and deriv(max(${LAG})[15m:1m]) > 0`,
    for: '10m',
    runbook: 'ingest-lag',
  },
  {
    alert: 'TelltaleEventsLate',
    summary: 'One in a hundred batches is stored more than 60 s after the log had it.',
    severity: 'warning',
    expr: `${quantile(0.99, 'telltale.ingest.watermark_delay')} > 60`,
    for: '5m',
    runbook: 'ingest-lag',
  },
  {
    alert: 'TelltaleDeadLetters',
    summary: 'Lines were parked as dead letters instead of stored.',
    severity: 'warning',
    expr: `${grown('telltale.ingest.parked', '15m', ' by (reason) ')} > 0`,
    for: '0m',
    runbook: 'dead-letters',
  },
  {
    alert: 'TelltaleGapsDeclared',
    summary: 'Collectors declare that events are missing.',
    severity: 'warning',
    expr: `${grown('telltale.ingest.gaps', '15m', ' by (reason) ')} > 0`,
    for: '0m',
    runbook: 'gaps-declared',
  },
  {
    alert: 'TelltaleCoverageDrop',
    summary: 'More than one in ten kernel sensors that began does not cover all.',
    severity: 'warning',
    expr: `${grown('telltale.ingest.sensors', '1h', '', '{coverage="complete"}')} / ${grown('telltale.ingest.sensors', '1h')} < 0.9`,
    for: '10m',
    runbook: 'coverage-drop',
  },
  {
    alert: 'TelltaleSpoolFilling',
    summary: 'A spool is more than half full: what it holds is not shipped.',
    severity: 'warning',
    expr: `max by (job, instance) (${prometheusName('telltale.collector.spool_size')}) > ${SPOOL_BYTES_WARN}`,
    for: '5m',
    runbook: 'spool-filling',
  },
  {
    alert: 'TelltaleEventsDropped',
    summary: 'A spool was full, and events were dropped; each is in a declared gap.',
    severity: 'critical',
    expr: `${grown('telltale.collector.events_dropped', '15m', ' by (job, instance) ')} > 0`,
    for: '0m',
    runbook: 'spool-filling',
  },
];

/** Alerts on proofs. */
const PROOFS: readonly PrometheusAlert[] = [
  {
    alert: 'TelltaleLogNotSealed',
    summary: 'The transparency log was not brought up to date for five minutes.',
    severity: 'critical',
    expr: `time() - max(${prometheusName('telltale.seal.round_time')}) > 300`,
    for: '2m',
    runbook: 'log-not-sealed',
  },
  {
    alert: 'TelltaleWitnessStale',
    summary: 'No witness has cosigned the log for half an hour.',
    severity: 'warning',
    expr: `time() - max(${prometheusName('telltale.seal.cosigned_time')}) > 1800`,
    for: '5m',
    runbook: 'witness-stale',
  },
  {
    alert: 'TelltaleTampering',
    summary: 'What is in the table contradicts what was sealed.',
    severity: 'critical',
    expr: `${grown('telltale.seal.contradictions', '1h')} > 0 or ${grown('telltale.seal.missing', '1h')} > 0`,
    for: '0m',
    runbook: 'tampering',
  },
];

/** Alerts on asking, and on rules. */
const READING: readonly PrometheusAlert[] = [
  {
    alert: 'TelltaleQueryRefusals',
    summary: 'Somebody without a right asks again and again.',
    severity: 'warning',
    expr: `sum by (code) (rate(${prometheusName('telltale.query.refused')}[5m])) > 0.5`,
    for: '5m',
    runbook: 'query-refusals',
  },
  {
    alert: 'TelltaleQueryErrors',
    summary: 'More than one in twenty requests fails.',
    severity: 'warning',
    expr: `sum by (job) (rate(${REQUESTS}{http_response_status_code=~"5..",http_route!~"/readyz|/healthz"}[5m])) / sum by (job) (rate(${REQUESTS}[5m])) > 0.05`,
    for: '5m',
    runbook: 'query-slow',
  },
  {
    alert: 'TelltaleQuerySlow',
    summary: 'One in twenty GraphQL requests takes more than 5 s.',
    severity: 'warning',
    expr: `${quantile(0.95, 'http.server.request.duration', '{http_route="/graphql"}')} > 5`,
    for: '10m',
    runbook: 'query-slow',
  },
  {
    alert: 'TelltaleJournalFailing',
    summary: 'Accesses can’t be written down, so every question is refused.',
    severity: 'critical',
    expr: `${grown('telltale.query.journal_failures', '5m', ' by (job, instance) ')} > 0`,
    for: '0m',
    runbook: 'journal-failing',
  },
  {
    alert: 'TelltaleDetectEvictions',
    summary: 'Rules let states go for want of room: a sequence may go unseen.',
    severity: 'warning',
    expr: `${grown('telltale.detect.evicted', '15m')} > 0 or max(delta(${prometheusName('telltale.fleet.evicted')}[15m])) > 0`,
    for: '0m',
    runbook: 'detect-evictions',
  },
  {
    alert: 'TelltaleRulesFailing',
    summary: 'A rule fails while it runs.',
    severity: 'warning',
    expr: `${grown('telltale.detect.failures', '15m')} + ${grown('telltale.fleet.failures', '15m')} > 0`,
    for: '0m',
    runbook: 'rules-failing',
  },
  {
    alert: 'TelltaleAlertsLate',
    summary: 'One in twenty alerts is raised more than 60 s after its last event.',
    severity: 'warning',
    expr: `${quantile(0.95, 'telltale.detect.alert_latency')} > 60`,
    for: '10m',
    runbook: 'alerts-late',
  },
  {
    alert: 'TelltaleAlertsNotDelivered',
    summary: 'A receiver of alerts did not take some; they are in the table.',
    severity: 'critical',
    expr: `${grown('telltale.alerts.given_up', '1h', ' by (sink) ')} > 0 or ${grown('telltale.alerts.refused', '1h', ' by (sink) ')} > 0`,
    for: '0m',
    runbook: 'alerts-not-delivered',
  },
];

const GROUPS: Readonly<Record<string, readonly PrometheusAlert[]>> = {
  'telltale-services': SERVICE,
  'telltale-ingest': INGEST,
  'telltale-proofs': PROOFS,
  'telltale-reading': READING,
};

export const PROMETHEUS_ALERTS: readonly PrometheusAlert[] = Object.values(GROUPS).flat();

const ruleOf = (one: PrometheusAlert) => ({
  alert: one.alert,
  expr: one.expr,
  for: one.for,
  labels: { service: 'telltale', severity: one.severity },
  annotations: { summary: one.summary, runbook: `${RUNBOOKS}/${one.runbook}.md` },
});

/** The file that Prometheus loads. */
export function prometheusRules(): string {
  const groups = Object.entries(GROUPS).map(([name, alerts]) => ({
    name,
    rules: alerts.map(ruleOf),
  }));
  return `# Generated from deploy/telemetry/rules.ts by npm run gen.\n${stringify({ groups }, { lineWidth: 0 })}`;
}
