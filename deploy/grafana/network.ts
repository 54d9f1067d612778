/** Network and policy: where agents connect to, what was let through and what was not. */
import { ALERT_MARKS } from './marks.ts';
import type { Dashboard, Panel } from './panel.ts';
import { FLEET, FLEET_VARIABLES, toSession } from './scope.ts';

const CONNECTS = `${FLEET} AND kind = 'net' AND net_op IN ('connect', 'http') AND net_transport != 'unix'`;
const DECISIONS = `${FLEET} AND kind = 'policy.decision'`;
const DENIED = `${DECISIONS} AND decision IN ('deny', 'denied')`;
const TO = "if(net_host = '', toString(net_ip), net_host)";

const PANELS: readonly Panel[] = [
  {
    title: 'Connections',
    description: 'As the kernel saw them, by how they ended.',
    kind: 'timeseries',
    sql: `SELECT $__timeInterval(ts) AS time, if(outcome = '', 'attempted', toString(outcome)) AS result, count() AS connections
FROM telltale.events
WHERE ${CONNECTS}
GROUP BY time, result
ORDER BY time, result`,
    columns: { time: "DateTime('UTC')", result: 'String', connections: 'UInt64' },
    width: 12,
    height: 8,
    stacked: true,
  },
  {
    title: 'Policy decisions',
    description: 'What rules about the network, files, commands and tools decided.',
    kind: 'timeseries',
    sql: `SELECT $__timeInterval(ts) AS time, concat(policy_type, ' ', decision) AS decided, count() AS decisions
FROM telltale.events
WHERE ${DECISIONS}
GROUP BY time, decided
ORDER BY time, decided`,
    columns: { time: "DateTime('UTC')", decided: 'String', decisions: 'UInt64' },
    width: 12,
    height: 8,
    stacked: true,
  },
  {
    title: 'Destinations, the rarest first',
    description: 'A destination of one session alone is where to look.',
    kind: 'table',
    sql: `SELECT ${TO} AS destination, ifNull(net_port, 0) AS port, uniqExact(session_id) AS sessions, count() AS connections, min(ts) AS first, max(ts) AS last, toString(any(session_id)) AS session
FROM telltale.events
WHERE ${CONNECTS}
GROUP BY destination, port
ORDER BY sessions, connections, destination, port
LIMIT 100`,
    columns: {
      destination: 'String',
      port: 'UInt64',
      sessions: 'UInt64',
      connections: 'UInt64',
      first: "DateTime64(9, 'UTC')",
      last: "DateTime64(9, 'UTC')",
      session: 'String',
    },
    width: 12,
    height: 10,
    links: [toSession('session')],
  },
  {
    title: 'What was denied',
    description: 'By rule and target. A burst of many targets is a search for a way out.',
    kind: 'table',
    sql: `SELECT toString(policy_type) AS about, multiIf(net_host != '', net_host, net_ip != '', toString(net_ip), file_path != '', file_path, toString(tool)) AS target, rule,
  count() AS times, uniqExact(session_id) AS sessions, max(ts) AS last, toString(argMax(session_id, ts)) AS session
FROM telltale.events
WHERE ${DENIED}
GROUP BY about, target, rule
ORDER BY times DESC, about, target, rule
LIMIT 100`,
    columns: {
      about: 'String',
      target: 'String',
      rule: 'String',
      times: 'UInt64',
      sessions: 'UInt64',
      last: "DateTime64(9, 'UTC')",
      session: 'String',
    },
    width: 12,
    height: 10,
    links: [toSession('session')],
  },
  {
    title: 'Who is denied most',
    description: 'Many different targets in one session are a search for a way out.',
    kind: 'table',
    sql: `SELECT toString(session_id) AS session, any(agent) AS agent_name, any(host) AS host_name, count() AS denied,
  uniqExact(if(${TO} = '', file_path, ${TO})) AS targets, max(ts) AS last
FROM telltale.events
WHERE ${DENIED}
GROUP BY session_id
ORDER BY targets DESC, denied DESC, session
LIMIT 100`,
    columns: {
      session: 'String',
      agent_name: 'String',
      host_name: 'String',
      denied: 'UInt64',
      targets: 'UInt64',
      last: "DateTime64(9, 'UTC')",
    },
    width: 12,
    height: 9,
    links: [toSession('session')],
  },
  {
    title: 'Most sent',
    description:
      'Where data goes, where a sensor or the proxy counted it: one session that sends much to a rare place is a leak.',
    kind: 'table',
    sql: `SELECT ${TO} AS destination, sum(ifNull(net_bytes_out, 0)) AS sent, sum(ifNull(net_bytes_in, 0)) AS received, uniqExact(session_id) AS sessions, toString(argMax(session_id, ifNull(net_bytes_out, 0))) AS session
FROM telltale.events
WHERE ${CONNECTS}
GROUP BY destination
ORDER BY sent DESC, destination
LIMIT 100`,
    columns: {
      destination: 'String',
      sent: 'UInt64',
      received: 'UInt64',
      sessions: 'UInt64',
      session: 'String',
    },
    width: 12,
    height: 9,
    links: [toSession('session')],
  },
  {
    title: 'Bytes over the network',
    description: 'Sent and received, where a sensor or the proxy counted them.',
    kind: 'timeseries',
    sql: `SELECT $__timeInterval(ts) AS time, sum(ifNull(net_bytes_out, 0)) AS sent, sum(ifNull(net_bytes_in, 0)) AS received
FROM telltale.events
WHERE ${FLEET} AND kind = 'net'
GROUP BY time
ORDER BY time`,
    columns: { time: "DateTime('UTC')", sent: 'UInt64', received: 'UInt64' },
    unit: 'bytes',
    width: 24,
    height: 7,
    stacked: true,
  },
];

export const NETWORK_DASHBOARD: Dashboard = {
  uid: 'telltale-network',
  title: 'Network and policy',
  description: 'Where agents connect to, and what rules said to it.',
  variables: FLEET_VARIABLES,
  marks: [ALERT_MARKS],
  panels: PANELS,
};
