/** Fleet overview: what all agents do, how much of it, and where to look first. */

import { ALERT_MARKS } from './marks.ts';
import type { Dashboard, Panel } from './panel.ts';
import { FLEET, FLEET_VARIABLES, ofTenant, toSession } from './scope.ts';

const stat = (
  title: string,
  description: string,
  value: string,
  more: Pick<Panel, 'alarmFrom' | 'unit'> & { readonly where?: string } = {},
): Panel => {
  const { where, ...look } = more;
  return {
    title,
    description,
    kind: 'stat',
    sql: `SELECT ${value} AS value FROM telltale.events WHERE ${FLEET}${where === undefined ? '' : ` AND ${where}`}`,
    columns: { value: 'UInt64' },
    width: 3,
    height: 4,
    ...look,
  };
};

const STATS: readonly Panel[] = [
  stat('Sessions', 'Sessions in which anything happened.', 'uniqExact(session_id)'),
  {
    title: 'Without a kernel sensor',
    description: 'Sessions of which only the agent’s word is recorded.',
    kind: 'stat',
    sql: `SELECT countIf(NOT covered) AS value
FROM (SELECT max(kind = 'sensor' AND coverage = 'complete') AS covered
  FROM telltale.events
  WHERE ${FLEET} AND kind IN ('session.open', 'sensor') AND agent != 'telltale'
  GROUP BY session_id
  HAVING countIf(kind = 'session.open') > 0)`,
    columns: { value: 'UInt64' },
    width: 3,
    height: 4,
    alarmFrom: 1,
  },
  {
    title: 'Alerts',
    description: 'High and critical ones.',
    kind: 'stat',
    sql: `SELECT uniqExact(fingerprint) AS value FROM telltale.alerts WHERE ${ofTenant('first_ts')} AND level IN ('high', 'critical')`,
    columns: { value: 'UInt64' },
    width: 3,
    height: 4,
    alarmFrom: 1,
  },
  stat('Events', 'Rows of the recording, without the service’s own.', 'count()'),
  stat('Processes', 'Programs that ran, as the kernel saw them.', 'count()', {
    where: "kind = 'exec' AND outcome != 'failure'",
  }),
  stat(
    'Tool calls',
    'Calls, each once however many channels told of it.',
    'uniqExact(session_id, tool_call_id)',
    {
      where: "kind = 'tool.call'",
    },
  ),
  stat('Denied', 'Decisions of policies, sandboxes and people against an agent.', 'count()', {
    where: "kind IN ('policy.decision', 'approval') AND decision IN ('deny', 'denied')",
    alarmFrom: 1,
  }),
  stat('Declared gaps', 'Places where a collector says that events are missing.', 'count()', {
    where: "kind = 'gap'",
    alarmFrom: 1,
  }),
];

const OVER_TIME: readonly Panel[] = [
  {
    title: 'Events by kind',
    description:
      'What the agents do and say. A kind that stops while others go on is a sensor that died.',
    kind: 'timeseries',
    sql: `SELECT $__timeInterval(ts) AS time, toString(kind) AS kind, count() AS events
FROM telltale.events
WHERE ${FLEET}
GROUP BY time, kind
ORDER BY time, kind`,
    columns: { time: "DateTime('UTC')", kind: 'String', events: 'UInt64' },
    width: 12,
    height: 8,
    stacked: true,
  },
  {
    title: 'Sessions that began, by agent',
    description: 'Which agents are started, and when.',
    kind: 'timeseries',
    sql: `SELECT $__timeInterval(ts) AS time, toString(agent) AS agent, uniqExact(session_id) AS sessions
FROM telltale.events
WHERE ${FLEET} AND kind = 'session.open' AND agent != 'telltale'
GROUP BY time, agent
ORDER BY time, agent`,
    columns: { time: "DateTime('UTC')", agent: 'String', sessions: 'UInt64' },
    width: 12,
    height: 8,
    stacked: true,
  },
  {
    title: 'Tool calls by outcome',
    description:
      'In the agents’ own words; the kernel may say otherwise, see a session’s findings.',
    kind: 'timeseries',
    sql: `SELECT $__timeInterval(ts) AS time, toString(outcome) AS outcome, uniqExact(session_id, tool_call_id) AS calls
FROM telltale.events
WHERE ${FLEET} AND kind = 'tool.result' AND outcome != ''
GROUP BY time, outcome
ORDER BY time, outcome`,
    columns: { time: "DateTime('UTC')", outcome: 'String', calls: 'UInt64' },
    width: 12,
    height: 8,
    stacked: true,
  },
  {
    title: 'Tokens by model',
    description:
      'Read and written. A leap without more turns is an agent that goes round in circles.',
    kind: 'timeseries',
    sql: `SELECT $__timeInterval(ts) AS time, toString(model) AS model, sum(input_tokens) + sum(output_tokens) AS tokens
FROM telltale.events
WHERE ${FLEET} AND kind = 'model.turn' AND isNotNull(output_tokens)
GROUP BY time, model
ORDER BY time, model`,
    columns: { time: "DateTime('UTC')", model: 'String', tokens: 'Nullable(UInt64)' },
    width: 12,
    height: 8,
    stacked: true,
  },
];

const TABLES: readonly Panel[] = [
  {
    title: 'Sessions',
    description: 'The newest first; a click opens one.',
    kind: 'table',
    sql: `SELECT toString(session_id) AS session, any(agent) AS agent_name, any(host) AS host_name, min(ts) AS began, max(ts) AS ended,
  count() AS events, countIf(kind = 'exec') AS processes, countIf(decision IN ('deny', 'denied')) AS denied, countIf(kind = 'gap') AS gaps
FROM telltale.events
WHERE ${FLEET}
GROUP BY session_id
ORDER BY began DESC, session
LIMIT 100`,
    columns: {
      session: 'String',
      agent_name: 'String',
      host_name: 'String',
      began: "DateTime64(9, 'UTC')",
      ended: "DateTime64(9, 'UTC')",
      events: 'UInt64',
      processes: 'UInt64',
      denied: 'UInt64',
      gaps: 'UInt64',
    },
    width: 24,
    height: 10,
    links: [toSession('session')],
  },
  {
    title: 'Tools',
    description: 'What is called most, and how often it fails.',
    kind: 'table',
    sql: `SELECT toString(tool) AS tool_name, toString(mcp_server) AS server, uniqExact(session_id, tool_call_id) AS calls, uniqExact(session_id) AS sessions
FROM telltale.events
WHERE ${FLEET} AND kind = 'tool.call' AND tool != ''
GROUP BY tool_name, server
ORDER BY calls DESC, tool_name, server
LIMIT 50`,
    columns: { tool_name: 'String', server: 'String', calls: 'UInt64', sessions: 'UInt64' },
    width: 12,
    height: 10,
  },
  {
    title: 'Programs',
    description: 'What runs, and in how many sessions: what is rare is worth a look.',
    kind: 'table',
    sql: `SELECT exe AS program, count() AS runs, uniqExact(session_id) AS sessions
FROM telltale.events
WHERE ${FLEET} AND kind = 'exec' AND outcome != 'failure'
GROUP BY program
ORDER BY sessions, runs, program
LIMIT 50`,
    columns: { program: 'String', runs: 'UInt64', sessions: 'UInt64' },
    width: 12,
    height: 10,
  },
];

export const FLEET_DASHBOARD: Dashboard = {
  uid: 'telltale-fleet',
  title: 'Fleet overview',
  description: 'What all recorded agents do.',
  variables: FLEET_VARIABLES,
  marks: [ALERT_MARKS],
  panels: [...STATS, ...OVER_TIME, ...TABLES],
};
