/**
 * Grafana's alert rules, as provisioning reads them (apiVersion 1). Variables do not exist here, so
 * they look at all tenants that the data source's account may see; each answers (labels, value).
 */
import { RUNBOOKS } from '../telemetry/rules.ts';
import { DATASOURCE_UID, targetOf } from './datasource.ts';

const EXPRESSIONS = '__expr__';
const LAG_SECONDS_MAX = 60;
const COVERED_PCT_MIN = 90;
const DENIED_MAX = 20;
/** A row is on its way for less than this; what is missing longer is lost. */
const SETTLE = 'INTERVAL 5 MINUTE';

export interface AlertRule {
  readonly uid: string;
  readonly title: string;
  readonly summary: string;
  /** What to look at first. */
  readonly description: string;
  /** Its page below `deploy/runbooks`. */
  readonly runbook: string;
  readonly severity: 'warning' | 'critical';
  /** How far back the statement looks. */
  readonly windowSeconds: number;
  readonly forMinutes: number;
  readonly sql: string;
  readonly columns: Readonly<Record<string, string>>;
  /** Fires where `value` is above (or below). */
  readonly fires: { readonly when: 'gt' | 'lt'; readonly than: number };
}

const SENSED = "kind NOT IN ('access', 'annotation')";

export const ALERT_RULES: readonly AlertRule[] = [
  {
    uid: 'telltale-loss',
    runbook: 'events-missing',
    title: 'Events are missing that nobody declared',
    summary: 'Streams lack numbers although nothing was written to them for five minutes.',
    description:
      'Open "Pipeline health and completeness", table "Streams that are not whole". Missing numbers of a dead collector come when it is started again; else look at dead letters, then at the broker’s retention.',
    severity: 'critical',
    windowSeconds: 3600,
    forMinutes: 5,
    sql: `SELECT tenant_name, sum(missing) AS value
FROM (SELECT toString(tenant) AS tenant_name, toInt64(max(seq)) + 1 - toInt64(uniqExact(seq))
    - toInt64(sumIf(assumeNotNull(gap_last_seq) - assumeNotNull(gap_first_seq) + 1, kind = 'gap' AND isNotNull(gap_first_seq))) AS missing
  FROM telltale.events
  WHERE $__timeFilter(ts)
  GROUP BY tenant, session_id, stream_id
  HAVING min(seq) = 0 AND max(ingested_at) < now() - ${SETTLE})
GROUP BY tenant_name`,
    columns: { tenant_name: 'String', value: 'Int64' },
    fires: { when: 'gt', than: 0 },
  },
  {
    uid: 'telltale-lag',
    runbook: 'ingest-lag',
    title: 'Events come late',
    summary: `One in a hundred events took more than ${LAG_SECONDS_MAX} s from the collector to the table.`,
    description:
      'Is the store slow (merges, disk), or are there too few workers for the partitions? `telltale ingest` logs each insert that it repeats. Collectors keep what is not acknowledged, so nothing is lost until their spools are full.',
    severity: 'warning',
    windowSeconds: 900,
    forMinutes: 5,
    sql: `SELECT toString(tenant) AS tenant_name, quantile(0.99)(greatest(0, toUnixTimestamp64Milli(ingested_at) - toUnixTimestamp64Milli(observed_ts))) / 1e3 AS value
FROM telltale.events
WHERE $__timeFilter(ingested_at)
GROUP BY tenant_name`,
    columns: { tenant_name: 'String', value: 'Float64' },
    fires: { when: 'gt', than: LAG_SECONDS_MAX },
  },
  {
    uid: 'telltale-coverage',
    runbook: 'coverage-drop',
    title: 'Sessions run without a kernel sensor',
    summary: `Fewer than ${COVERED_PCT_MIN} % of the sessions that began have a sensor that covers all.`,
    description:
      'Run `telltale doctor` on a host of the table "Sensors and what they cover": it says why a rung was refused. Until then those sessions hold the agent’s word alone.',
    severity: 'warning',
    windowSeconds: 3600,
    forMinutes: 10,
    sql: `SELECT tenant_name, avg(covered) * 100 AS value
FROM (SELECT toString(tenant) AS tenant_name, max(kind = 'sensor' AND isNotNull(sensor_rung) AND coverage = 'complete') AS covered
  FROM telltale.events
  WHERE $__timeFilter(ts) AND kind IN ('session.open', 'sensor') AND agent != 'telltale'
  GROUP BY tenant, session_id
  HAVING countIf(kind = 'session.open') > 0)
GROUP BY tenant_name`,
    columns: { tenant_name: 'String', value: 'Float64' },
    fires: { when: 'lt', than: COVERED_PCT_MIN },
  },
  {
    uid: 'telltale-denied',
    runbook: 'denied-burst',
    title: 'A session is denied again and again',
    summary: `One session met more than ${DENIED_MAX} refusals in five minutes: it looks for a way out, or its policy does not fit its work.`,
    description:
      'Open the session by its id; table "Approvals and policy decisions" says what it tried.',
    severity: 'warning',
    windowSeconds: 300,
    forMinutes: 0,
    sql: `SELECT toString(session_id) AS session, count() AS value
FROM telltale.events
WHERE $__timeFilter(ts) AND ${SENSED} AND decision IN ('deny', 'denied')
GROUP BY session
ORDER BY value DESC
LIMIT 100`,
    columns: { session: 'String', value: 'UInt64' },
    fires: { when: 'gt', than: DENIED_MAX },
  },
  {
    uid: 'telltale-sequences',
    runbook: 'rule-alert',
    title: 'A rule raised a high or critical alert',
    summary: 'Telltale’s own rules found an anomalous sequence.',
    description:
      'Open the session by its id; the alert’s events are in GraphQL (`alerts`) and in its triage.',
    severity: 'critical',
    windowSeconds: 300,
    forMinutes: 0,
    sql: `SELECT toString(session_id) AS session, toString(rule_id) AS rule, uniqExact(fingerprint) AS value
FROM telltale.alerts
WHERE $__timeFilter(raised_at) AND level IN ('high', 'critical')
GROUP BY session, rule
ORDER BY session, rule
LIMIT 100`,
    columns: { session: 'String', rule: 'String', value: 'UInt64' },
    fires: { when: 'gt', than: 0 },
  },
];

/** Provisioning of alerts puts variables of the environment in for `$NAME`; `$$` is a dollar. */
const escaped = (text: string): string => text.replaceAll('$', '$$$$');

const provisioned = (rule: AlertRule) => ({
  uid: rule.uid,
  title: rule.title,
  condition: 'Fires',
  data: [
    {
      refId: 'Value',
      relativeTimeRange: { from: rule.windowSeconds, to: 0 },
      datasourceUid: DATASOURCE_UID,
      model: targetOf('Value', escaped(rule.sql), 'table'),
    },
    {
      refId: 'Fires',
      relativeTimeRange: { from: 0, to: 0 },
      datasourceUid: EXPRESSIONS,
      model: {
        refId: 'Fires',
        type: 'threshold',
        expression: 'Value',
        datasource: { type: EXPRESSIONS, uid: EXPRESSIONS },
        conditions: [{ evaluator: { type: rule.fires.when, params: [rule.fires.than] } }],
      },
    },
  ],
  // Nothing at all in a quiet hour is no loss; a store that is away is.
  noDataState: 'OK',
  execErrState: 'Error',
  for: `${rule.forMinutes}m`,
  annotations: {
    summary: rule.summary,
    description: rule.description,
    runbook: `${RUNBOOKS}/${rule.runbook}.md`,
  },
  labels: { service: 'telltale', severity: rule.severity },
});

/** Provisioning of all alert rules. */
export const alertingProvisioning = () => ({
  apiVersion: 1,
  groups: [
    {
      orgId: 1,
      name: 'telltale',
      folder: 'Telltale',
      interval: '1m',
      rules: ALERT_RULES.map(provisioned),
    },
  ],
});
