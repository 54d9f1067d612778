/** One session: what it did, in order, and how complete that picture is. */
import { SESSION_ALERT_MARKS } from './marks.ts';
import type { Dashboard, Panel } from './panel.ts';
import { PICKED_SESSION, SESSION_VARIABLE } from './scope.ts';

const HERE = `$__timeFilter(ts) AND session_id = ${PICKED_SESSION}`;

const count = (title: string, description: string, value: string, alarmFrom?: number): Panel => ({
  title,
  description,
  kind: 'stat',
  sql: `SELECT ${value} AS value FROM telltale.events WHERE ${HERE}`,
  columns: { value: 'UInt64' },
  width: 4,
  height: 4,
  ...(alarmFrom === undefined ? {} : { alarmFrom }),
});

/** What a decision is about. */
const WHAT =
  "multiIf(net_host != '' OR net_ip != '', concat(if(net_host = '', toString(net_ip), net_host), ':', toString(ifNull(net_port, 0))), file_path != '', file_path, command)";

const STATS: readonly Panel[] = [
  count('Events', 'Rows that are stored.', 'count()'),
  count('Programs', 'Programs that ran.', "countIf(kind = 'exec' AND outcome != 'failure')"),
  count('Files touched', 'Different paths.', "uniqExactIf(file_path, kind = 'file')"),
  count(
    'Destinations',
    'Different addresses and ports.',
    "uniqExactIf((net_ip, net_port), kind = 'net' AND net_op = 'connect')",
  ),
  count('Denied', 'Decisions against it.', "countIf(decision IN ('deny', 'denied'))", 1),
  count(
    'Failed calls',
    'In the agent’s own words.',
    "countIf(kind = 'tool.result' AND outcome = 'failure')",
    1,
  ),
];

const HEAD: Panel = {
  title: 'The session',
  description: 'Who ran what, where, and how it ended.',
  kind: 'table',
  sql: `SELECT min(ts) AS began, max(ts) AS ended, max(agent) AS agent_name, max(host) AS host_name, max(user) AS user_name,
  max(model) AS model_name, anyIf(arrayStringConcat(command_args, ' '), kind = 'session.open') AS started_as, anyIf(cwd, kind = 'session.open') AS folder,
  multiIf(countIf(kind = 'sensor' AND coverage = 'complete') > 0, 'complete', countIf(kind = 'sensor') > 0, 'partial', 'none') AS coverage
FROM telltale.events
WHERE ${HERE}
GROUP BY session_id`,
  columns: {
    began: "DateTime64(9, 'UTC')",
    ended: "DateTime64(9, 'UTC')",
    agent_name: 'String',
    host_name: 'String',
    user_name: 'String',
    model_name: 'String',
    started_as: 'String',
    folder: 'String',
    coverage: 'String',
  },
  width: 24,
  height: 4,
};

const ALERTS: Panel = {
  title: 'Alerts',
  description: 'What rules found in it, by when it happened.',
  kind: 'table',
  sql: `SELECT min(first_ts) AS time, toString(any(level)) AS severity, toString(any(rule_title)) AS rule, any(reason) AS why
FROM telltale.alerts
WHERE $__timeFilter(first_ts) AND session_id = ${PICKED_SESSION}
GROUP BY fingerprint
ORDER BY time, rule
LIMIT 200`,
  columns: { time: "DateTime64(9, 'UTC')", severity: 'String', rule: 'String', why: 'String' },
  width: 24,
  height: 6,
};

const STREAMS: Panel = {
  title: 'Streams: is that all?',
  description:
    'Numbers run from 0 without holes, so what is missing can be counted. Missing beyond what is declared is loss, or somebody cut it out.',
  kind: 'table',
  sql: `SELECT toString(stream_id) AS stream, min(ts) AS began, max(ts) AS ended, max(seq) + 1 AS produced, uniqExact(seq) AS stored,
  sumIf(assumeNotNull(gap_last_seq) - assumeNotNull(gap_first_seq) + 1, kind = 'gap' AND isNotNull(gap_first_seq)) AS declared,
  toInt64(produced) - toInt64(stored) - toInt64(declared) AS missing,
  sumIf(assumeNotNull(gap_count), kind = 'gap' AND isNull(gap_first_seq)) AS unnumbered, count() - stored AS doubled, if(countIf(kind = 'session.close') > 0, 'closed', 'open') AS state_now
FROM telltale.events
WHERE session_id = ${PICKED_SESSION}
GROUP BY stream_id
ORDER BY began, stream
LIMIT 100`,
  columns: {
    stream: 'String',
    began: "DateTime64(9, 'UTC')",
    ended: "DateTime64(9, 'UTC')",
    produced: 'UInt64',
    stored: 'UInt64',
    declared: 'Int64',
    missing: 'Int64',
    unnumbered: 'UInt64',
    doubled: 'Int64',
    state_now: 'String',
  },
  width: 24,
  height: 5,
};

const OVER_TIME: Panel = {
  title: 'Events by kind',
  description: 'When it did what.',
  kind: 'timeseries',
  sql: `SELECT $__timeInterval(ts) AS time, toString(kind) AS kind, count() AS events
FROM telltale.events
WHERE ${HERE}
GROUP BY time, kind
ORDER BY time, kind`,
  columns: { time: "DateTime('UTC')", kind: 'String', events: 'UInt64' },
  width: 24,
  height: 7,
  stacked: true,
};

const CALLS: Panel = {
  title: 'Tool calls',
  description: 'Each call as its channels tell of it, with what the kernel saw below it.',
  kind: 'table',
  sql: `SELECT min(ts) AS called, tool_call_id AS call, anyIf(tool, tool != '') AS tool_name, anyIf(command, command != '') AS asked,
  anyLastIf(outcome, kind = 'tool.result') AS result, countIf(kind = 'exec') AS programs, countIf(kind = 'file') AS files, countIf(kind = 'net') AS connections
FROM telltale.events
WHERE ${HERE} AND tool_call_id != ''
GROUP BY call
ORDER BY called, call
LIMIT 500`,
  columns: {
    called: "DateTime64(9, 'UTC')",
    call: 'String',
    tool_name: 'String',
    asked: 'String',
    result: 'String',
    programs: 'UInt64',
    files: 'UInt64',
    connections: 'UInt64',
  },
  width: 24,
  height: 9,
};

const DECISIONS: Panel = {
  title: 'Approvals and policy decisions',
  description: 'Who let it do what.',
  kind: 'table',
  sql: `SELECT ts AS time, toString(kind) AS sort, toString(decision) AS decided, toString(decided_by) AS who, toString(tool) AS tool_name,
  ${WHAT} AS what, rule, policy_version
FROM telltale.events
WHERE ${HERE} AND kind IN ('approval', 'policy.decision')
ORDER BY ts, seq
LIMIT 500`,
  columns: {
    time: "DateTime64(9, 'UTC')",
    sort: 'String',
    decided: 'String',
    who: 'String',
    tool_name: 'String',
    what: 'String',
    rule: 'String',
    policy_version: 'String',
  },
  width: 12,
  height: 9,
};

const NETWORK: Panel = {
  title: 'Destinations',
  description: 'Where it connected to.',
  kind: 'table',
  sql: `SELECT net_host AS host_name, toString(net_ip) AS address, ifNull(net_port, 0) AS port, count() AS connects, min(ts) AS first, max(ts) AS last
FROM telltale.events
WHERE ${HERE} AND kind = 'net' AND net_op IN ('connect', 'http')
GROUP BY host_name, address, port
ORDER BY first, address, port
LIMIT 200`,
  columns: {
    host_name: 'String',
    address: 'String',
    port: 'UInt64',
    connects: 'UInt64',
    first: "DateTime64(9, 'UTC')",
    last: "DateTime64(9, 'UTC')",
  },
  width: 12,
  height: 9,
};

const LOG: Panel = {
  title: 'What happened',
  description:
    'Programs, files, connections and decisions in order. Prompts and outputs stand in the timeline only.',
  kind: 'logs',
  sql: `SELECT ts AS timestamp,
  multiIf(kind = 'exec', argv_line, kind = 'file', concat(file_op, ' ', file_path, if(file_target_path = '', '', concat(' -> ', file_target_path))),
    kind = 'net', concat(net_op, ' ', if(net_host = '', net_ip, net_host), ':', toString(ifNull(net_port, 0))),
    kind IN ('approval', 'policy.decision'), concat(decision, ' ', ${WHAT}, if(decided_by = '', '', concat(' by ', decided_by)), if(rule = '', '', concat(' (', rule, ')'))),
    kind = 'gap', concat('lost: ', gap_reason), concat(tool, ' ', command)) AS body,
  if(decision IN ('deny', 'denied') OR outcome IN ('failure', 'denied') OR kind = 'gap', 'warning', 'info') AS level,
  map('kind', toString(kind), 'call', tool_call_id, 'pid', toString(pid), 'assurance', toString(assurance)) AS labels
FROM telltale.events
WHERE ${HERE} AND kind IN ('tool.call', 'exec', 'file', 'net', 'approval', 'policy.decision', 'gap')
ORDER BY ts, seq
LIMIT 1000`,
  columns: {
    timestamp: "DateTime64(9, 'UTC')",
    body: 'String',
    level: 'String',
    labels: 'Map(String, String)',
  },
  width: 24,
  height: 14,
};

export const SESSION_DASHBOARD: Dashboard = {
  uid: 'telltale-session',
  title: 'Session',
  description: 'What one session did, and whether that is all.',
  variables: [SESSION_VARIABLE],
  marks: [SESSION_ALERT_MARKS],
  panels: [HEAD, ...STATS, STREAMS, ALERTS, OVER_TIME, CALLS, DECISIONS, NETWORK, LOG],
};
