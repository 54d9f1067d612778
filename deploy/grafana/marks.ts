/** What is marked on the time axis of panels. */
import type { Marks } from './panel.ts';
import { ofTenant, PICKED_SESSION } from './scope.ts';

/** Grafana renders the text as markup, so it is the rule's own title and nothing of telemetry. */
const COLUMNS =
  'first_ts AS time, last_ts AS timeEnd, toString(rule_title) AS text, arrayMap(tag -> toString(tag), arrayPushFront(tags, level)) AS tags';
/** What marks answer: column -> ClickHouse type, in order. */
export const MARKS_COLUMNS: Readonly<Record<string, string>> = {
  time: "DateTime64(9, 'UTC')",
  timeEnd: "DateTime64(9, 'UTC')",
  text: 'String',
  tags: 'Array(String)',
};
const LIMIT = 'ORDER BY first_ts LIMIT 500';

/** Alerts of the tenant that are high or critical. */
export const ALERT_MARKS: Marks = {
  name: 'Alerts, high and critical',
  color: 'red',
  sql: `SELECT ${COLUMNS} FROM telltale.alerts WHERE ${ofTenant('first_ts')} AND level IN ('high', 'critical') ${LIMIT}`,
};

/** All alerts of the session that is looked at. */
export const SESSION_ALERT_MARKS: Marks = {
  name: 'Alerts',
  color: 'red',
  sql: `SELECT ${COLUMNS} FROM telltale.alerts WHERE $__timeFilter(first_ts) AND session_id = ${PICKED_SESSION} ${LIMIT}`,
};
