/** Alerts and rules: what fires, where, and how soon after it happened. */
import type { Dashboard, Panel } from './panel.ts';
import { FLEET_VARIABLES, ofTenant, toSession } from './scope.ts';

const RAISED = ofTenant('raised_at');

const stat = (title: string, description: string, value: string, alarm: boolean): Panel => ({
  title,
  description,
  kind: 'stat',
  sql: `SELECT ${value} AS value FROM telltale.alerts WHERE ${RAISED}`,
  columns: { value: 'UInt64' },
  width: 6,
  height: 4,
  ...(alarm ? { alarmFrom: 1 } : {}),
});

const STATS: readonly Panel[] = [
  stat('Critical', 'Alerts of that level.', "uniqExactIf(fingerprint, level = 'critical')", true),
  stat('High', 'Alerts of that level.', "uniqExactIf(fingerprint, level = 'high')", true),
  stat('Rules that fired', 'Different ones.', 'uniqExact(rule_id)', false),
  stat('Sessions with alerts', 'Different ones.', 'uniqExact(session_id)', false),
];

const PANELS: readonly Panel[] = [
  {
    title: 'Alerts by level',
    description: 'When they were raised.',
    kind: 'timeseries',
    sql: `SELECT $__timeInterval(raised_at) AS time, toString(level) AS level, uniqExact(fingerprint) AS alerts
FROM telltale.alerts
WHERE ${RAISED}
GROUP BY time, level
ORDER BY time, level`,
    columns: { time: "DateTime('UTC')", level: 'String', alerts: 'UInt64' },
    width: 16,
    height: 8,
    stacked: true,
  },
  {
    title: 'Seconds from event to alert',
    description: 'From the last event that was needed to the raised alert.',
    kind: 'timeseries',
    sql: `SELECT $__timeInterval(raised_at) AS time, quantileExact(0.5)(toUnixTimestamp64Milli(raised_at) - toUnixTimestamp64Milli(last_ts)) / 1e3 AS p50,
  quantileExact(0.99)(toUnixTimestamp64Milli(raised_at) - toUnixTimestamp64Milli(last_ts)) / 1e3 AS p99
FROM telltale.alerts
WHERE ${RAISED}
GROUP BY time
ORDER BY time`,
    columns: { time: "DateTime('UTC')", p50: 'Float64', p99: 'Float64' },
    unit: 's',
    width: 8,
    height: 8,
  },
  {
    title: 'Rules',
    description:
      'Which rules fire. One that fires in most sessions is noise: tune it, or take it out.',
    kind: 'table',
    sql: `SELECT toString(any(rule_title)) AS rule, toString(any(level)) AS severity, uniqExact(fingerprint) AS alerts, uniqExact(session_id) AS sessions, max(raised_at) AS last, toString(any(rule_author)) AS author
FROM telltale.alerts
WHERE ${RAISED}
GROUP BY rule_id
ORDER BY alerts DESC, rule
LIMIT 100`,
    columns: {
      rule: 'String',
      severity: 'String',
      alerts: 'UInt64',
      sessions: 'UInt64',
      last: "DateTime64(3, 'UTC')",
      author: 'String',
    },
    width: 12,
    height: 10,
  },
  {
    title: 'Techniques',
    description: 'ATT&CK and ATLAS tags of what fired.',
    kind: 'table',
    sql: `SELECT toString(arrayJoin(tags)) AS tag, uniqExact(fingerprint) AS alerts, uniqExact(session_id) AS sessions
FROM telltale.alerts
WHERE ${RAISED}
GROUP BY tag
ORDER BY alerts DESC, tag
LIMIT 100`,
    columns: { tag: 'String', alerts: 'UInt64', sessions: 'UInt64' },
    width: 12,
    height: 10,
  },
  {
    title: 'The latest',
    description: 'Each alert once, with the newest word on it; a click opens the session.',
    kind: 'table',
    sql: `SELECT min(raised_at) AS raised, toString(any(level)) AS severity, toString(any(rule_title)) AS rule, any(reason) AS why,
  if(any(newest.state) = '', 'raised', any(newest.state)) AS state_now, toString(any(session_id)) AS session
FROM telltale.alerts AS raised_alerts
LEFT JOIN (SELECT tenant, fingerprint, toString(argMax(state, changed_at)) AS state FROM telltale.alert_states GROUP BY tenant, fingerprint) AS newest USING (tenant, fingerprint)
WHERE ${RAISED}
GROUP BY fingerprint
ORDER BY raised DESC, session
LIMIT 200`,
    columns: {
      raised: "DateTime64(3, 'UTC')",
      severity: 'String',
      rule: 'String',
      why: 'String',
      state_now: 'String',
      session: 'String',
    },
    width: 24,
    height: 10,
    links: [toSession('session')],
  },
];

export const ALERTS_DASHBOARD: Dashboard = {
  uid: 'telltale-alerts',
  title: 'Alerts and rules',
  description: 'What the rules raised.',
  variables: FLEET_VARIABLES.filter(({ name }) => name === 'tenant'),
  marks: [],
  panels: [...STATS, ...PANELS],
};
