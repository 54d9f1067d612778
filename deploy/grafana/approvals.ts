/** Approvals: what was asked, who decided, how fast, and under which policy. */
import { ALERT_MARKS } from './marks.ts';
import type { Dashboard, Panel } from './panel.ts';
import { FLEET, FLEET_VARIABLES, toSession } from './scope.ts';

const ASKED = `${FLEET} AND kind = 'approval'`;

const stat = (title: string, description: string, where: string): Panel => ({
  title,
  description,
  kind: 'stat',
  sql: `SELECT countIf(${where}) AS value FROM telltale.events WHERE ${ASKED}`,
  columns: { value: 'UInt64' },
  width: 6,
  height: 4,
});

const GIVEN = "decision IN ('approved', 'allow')";
/** Nobody reads what is shown in less. */
const READ_NS_MIN = 2_000_000_000;

const STATS: readonly Panel[] = [
  stat('Denied', 'Requests that were not granted.', "decision IN ('denied', 'deny')"),
  stat(
    'Granted by no person',
    'By settings, hooks and reviewers: each kind of these should be on purpose.',
    `${GIVEN} AND decided_by != 'user'`,
  ),
  stat('Granted for ever', 'The same is not asked again.', `${GIVEN} AND scope = 'always'`),
  stat(
    'Granted within two seconds',
    'By a person who can hardly have read it.',
    `${GIVEN} AND decided_by = 'user' AND duration_ns < ${READ_NS_MIN}`,
  ),
];

const PANELS: readonly Panel[] = [
  {
    title: 'Decisions',
    description: 'What was decided.',
    kind: 'timeseries',
    sql: `SELECT $__timeInterval(ts) AS time, toString(decision) AS decided, count() AS approvals
FROM telltale.events
WHERE ${ASKED}
GROUP BY time, decided
ORDER BY time, decided`,
    columns: { time: "DateTime('UTC')", decided: 'String', approvals: 'UInt64' },
    width: 12,
    height: 8,
    stacked: true,
  },
  {
    title: 'How long a person took',
    description: 'Milliseconds from question to answer. A median below a second is nobody reading.',
    kind: 'timeseries',
    sql: `SELECT $__timeInterval(ts) AS time, quantileExact(0.5)(assumeNotNull(duration_ns)) / 1e6 AS p50, quantileExact(0.95)(assumeNotNull(duration_ns)) / 1e6 AS p95
FROM telltale.events
WHERE ${ASKED} AND decided_by = 'user' AND isNotNull(duration_ns)
GROUP BY time
ORDER BY time`,
    columns: { time: "DateTime('UTC')", p50: 'Float64', p95: 'Float64' },
    unit: 'ms',
    width: 12,
    height: 8,
  },
  {
    title: 'Who decides',
    description: 'People, settings, hooks, reviewers. What no person sees should be on purpose.',
    kind: 'barchart',
    sql: `SELECT if(decided_by = '', 'unknown', toString(decided_by)) AS who, count() AS approvals
FROM telltale.events
WHERE ${ASKED}
GROUP BY who
ORDER BY approvals DESC, who`,
    columns: { who: 'String', approvals: 'UInt64' },
    width: 8,
    height: 8,
  },
  {
    title: 'For how long',
    description: 'Once, for the session, for ever: what is approved for ever is not asked again.',
    kind: 'barchart',
    sql: `SELECT if(scope = '', 'not told', toString(scope)) AS approved_for, count() AS approvals
FROM telltale.events
WHERE ${ASKED} AND ${GIVEN}
GROUP BY approved_for
ORDER BY approvals DESC, approved_for`,
    columns: { approved_for: 'String', approvals: 'UInt64' },
    width: 8,
    height: 8,
  },
  {
    title: 'Policies in force',
    description: 'Two versions at a time are a roll-out, or a machine that was forgotten.',
    kind: 'barchart',
    sql: `SELECT if(policy = '', 'not told', concat(policy, ' ', policy_version)) AS version, uniqExact(session_id) AS sessions
FROM telltale.events
WHERE ${FLEET} AND kind IN ('approval', 'policy.decision')
GROUP BY version
ORDER BY sessions DESC, version
LIMIT 20`,
    columns: { version: 'String', sessions: 'UInt64' },
    width: 8,
    height: 8,
  },
  {
    title: 'The latest',
    description: 'What was asked and what was said.',
    kind: 'table',
    sql: `SELECT ts AS time, toString(decision) AS decided, toString(decided_by) AS who, toString(tool) AS tool_name, command AS asked, justification AS because, toString(session_id) AS session
FROM telltale.events
WHERE ${ASKED}
ORDER BY ts DESC, seq DESC
LIMIT 100`,
    columns: {
      time: "DateTime64(9, 'UTC')",
      decided: 'String',
      who: 'String',
      tool_name: 'String',
      asked: 'String',
      because: 'String',
      session: 'String',
    },
    width: 24,
    height: 10,
    links: [toSession('session')],
  },
];

export const APPROVALS_DASHBOARD: Dashboard = {
  uid: 'telltale-approvals',
  title: 'Approvals',
  description: 'What agents asked for, and who let them.',
  variables: FLEET_VARIABLES,
  marks: [ALERT_MARKS],
  panels: [...STATS, ...PANELS],
};
