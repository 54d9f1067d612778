/** Pipeline health and completeness: is everything stored, how late, and what is declared missing. */
import type { Dashboard, Panel } from './panel.ts';
import { FLEET, FLEET_VARIABLES, ofTenant, toSession } from './scope.ts';

/** How late a row is: from the collector's taking it in to its being written. */
const LAG_MS =
  'greatest(0, toUnixTimestamp64Milli(ingested_at) - toUnixTimestamp64Milli(observed_ts))';

/**
 * Streams with their numbers: what was produced (highest number and one), what is stored, what is
 * declared missing. `missing` is what nobody declared; a stream that is still on its way has some.
 */
const STREAMS = `SELECT session_id, stream_id, any(agent) AS agent_name, any(host) AS host_name, max(seq) + 1 AS produced, uniqExact(seq) AS stored,
  sumIf(assumeNotNull(gap_last_seq) - assumeNotNull(gap_first_seq) + 1, kind = 'gap' AND isNotNull(gap_first_seq)) AS declared,
  toInt64(produced) - toInt64(stored) - toInt64(declared) AS missing, count() - stored AS doubled,
  sumIf(assumeNotNull(gap_count), kind = 'gap' AND isNull(gap_first_seq)) AS unnumbered, max(ingested_at) AS written
FROM telltale.events
WHERE ${FLEET}
GROUP BY tenant, session_id, stream_id
HAVING min(seq) = 0`;

const total = (title: string, description: string, value: string, type: string): Panel => ({
  title,
  description,
  kind: 'stat',
  sql: `SELECT ${value} AS value FROM (${STREAMS})`,
  columns: { value: type },
  width: 4,
  height: 4,
});

const alarming = (...is: Parameters<typeof total>): Panel => ({ ...total(...is), alarmFrom: 1 });

const STATS: readonly Panel[] = [
  total(
    'Produced',
    'Numbers that collectors gave, in streams that began in this time.',
    'sum(produced)',
    'UInt64',
  ),
  total('Stored', 'Different numbers that are here.', 'sum(stored)', 'UInt64'),
  alarming('Declared missing', 'Numbers that collectors say were lost.', 'sum(declared)', 'Int64'),
  alarming(
    'Missing, not declared',
    'Numbers that nobody accounts for: still on the way, or lost.',
    'sum(missing)',
    'Int64',
  ),
  alarming(
    'Lost before numbering',
    'What sensors say that they dropped before it got a number, where they could count it.',
    'sum(unnumbered)',
    'UInt64',
  ),
  alarming('Doubled', 'Rows that are stored twice; always 0.', 'sum(doubled)', 'Int64'),
];

const LAG: Panel = {
  title: 'From sensor to queryable',
  description: 'Milliseconds from the collector’s taking it in to its being written.',
  kind: 'timeseries',
  sql: `SELECT $__timeInterval(ts) AS time, quantile(0.5)(${LAG_MS}) AS p50, quantile(0.99)(${LAG_MS}) AS p99
FROM telltale.events
WHERE ${FLEET}
GROUP BY time
ORDER BY time`,
  columns: { time: "DateTime('UTC')", p50: 'Float64', p99: 'Float64' },
  unit: 'ms',
  width: 12,
  height: 8,
};

const WRITTEN: Panel = {
  title: 'Rows written',
  description: 'By when they were written, each interval of its own.',
  kind: 'timeseries',
  sql: `SELECT $__timeInterval(ingested_at) AS time, count() AS rows
FROM telltale.events
WHERE ${ofTenant('ingested_at')}
GROUP BY time
ORDER BY time`,
  columns: { time: "DateTime('UTC')", rows: 'UInt64' },
  width: 12,
  height: 8,
  stacked: true,
};

const GAPS: Panel = {
  title: 'Declared gaps by reason',
  description: 'Where collectors lost something, and said so.',
  kind: 'timeseries',
  sql: `SELECT $__timeInterval(ts) AS time, toString(gap_reason) AS reason, count() AS gaps
FROM telltale.events
WHERE ${FLEET} AND kind = 'gap'
GROUP BY time, reason
ORDER BY time, reason`,
  columns: { time: "DateTime('UTC')", reason: 'String', gaps: 'UInt64' },
  width: 12,
  height: 8,
  stacked: true,
};

const LETTERS: Panel = {
  title: 'Dead letters by reason',
  description:
    'Bytes that could not be an event; parked whole, and tried again with `telltale ingest replay-dead`.',
  kind: 'timeseries',
  sql: `SELECT $__timeInterval(parked_at) AS time, toString(reason) AS reason, count() AS letters
FROM telltale.dead_letters
WHERE ${ofTenant('parked_at')}
GROUP BY time, reason
ORDER BY time, reason`,
  columns: { time: "DateTime('UTC')", reason: 'String', letters: 'UInt64' },
  width: 12,
  height: 8,
  stacked: true,
};

const SENSORS: Panel = {
  title: 'Sensors and what they cover',
  description:
    'What each self-check showed. A sensor that covers nothing leaves the agent’s word alone.',
  kind: 'table',
  sql: `SELECT toString(sensor_name) AS sensor, toString(coverage) AS covers, uniqExact(session_id) AS sessions, max(ts) AS last
FROM telltale.events
WHERE ${FLEET} AND kind = 'sensor'
GROUP BY sensor, covers
ORDER BY sessions DESC, sensor, covers
LIMIT 100`,
  columns: { sensor: 'String', covers: 'String', sessions: 'UInt64', last: "DateTime64(9, 'UTC')" },
  width: 8,
  height: 9,
};

const WORST: Panel = {
  title: 'Streams that are not whole',
  description: 'Most missing first; a click opens the session.',
  kind: 'table',
  sql: `SELECT toString(session_id) AS session, agent_name, host_name, produced, stored, declared, missing, unnumbered, doubled, written
FROM (${STREAMS})
WHERE missing != 0 OR doubled > 0 OR declared > 0 OR unnumbered > 0
ORDER BY missing DESC, declared DESC, unnumbered DESC, session
LIMIT 100`,
  columns: {
    session: 'String',
    agent_name: 'String',
    host_name: 'String',
    produced: 'UInt64',
    stored: 'UInt64',
    declared: 'Int64',
    missing: 'Int64',
    unnumbered: 'UInt64',
    doubled: 'Int64',
    written: "DateTime64(3, 'UTC')",
  },
  width: 16,
  height: 9,
  links: [toSession('session')],
};

export const PIPELINE_DASHBOARD: Dashboard = {
  uid: 'telltale-pipeline',
  title: 'Pipeline health and completeness',
  description: 'Produced = stored + declared missing; how late; what was parked.',
  variables: FLEET_VARIABLES,
  marks: [],
  panels: [...STATS, LAG, WRITTEN, GAPS, LETTERS, SENSORS, WORST],
};
