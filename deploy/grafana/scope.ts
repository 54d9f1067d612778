/**
 * How drop-downs get into statements. Their values are telemetry or come out of a link, so both may
 * be an attacker's; the data source's own formats escape too little (a backslash before the quote
 * ends the string). `percentencode` is the one format of Grafana after which no quote, backslash or
 * brace is left (RFC 3986, sub-delims included), whatever the value is:
 *
 *     '${host:percentencode}'  ->  '%7B6162%2C6364%7D'  (several)  or  '6162'  (one)  or  '-'  (all)
 *
 * The engine decodes it as data. Values themselves are hexadecimal, so that a list can be cut at its
 * commas; all other characters are passed over. One shape of statement serves one value, several
 * and all of them.
 */
import type { ColumnLink, Variable } from './panel.ts';

/** What a drop-down holds when everything is picked: no hexadecimal digit in it. */
export const ALL_VALUE = '-';

/** A variable as the text that it holds, decoded by the engine. */
const held = (variable: string): string => `decodeURLComponent('\${${variable}:percentencode}')`;

/** The picked values of a drop-down, as an Array(String); empty when all are picked. */
const picked = (variable: string): string =>
  `arrayMap(digits -> unhex(digits), extractAll(${held(variable)}, '[0-9A-F]+'))`;

/** Whether `column` is among what was picked. */
const among = (variable: string, column: string): string =>
  `(empty(${picked(variable)}) OR has(${picked(variable)}, toString(${column})))`;

/** The session that is looked at; none when the text is no UUID. */
export const PICKED_SESSION = `toUUIDOrDefault(${held('session')})`;

/** The drop-downs over the fleet. */
const FLEET_COLUMNS = ['tenant', 'agent', 'host'] as const;

/** Rows of `events` in the time that is looked at, of what is picked; the service's own left out. */
export const FLEET = [
  '$__timeFilter(ts)',
  "kind NOT IN ('access', 'annotation')",
  ...FLEET_COLUMNS.map((column) => among(column, column)),
].join(' AND ');

/** The same for tables that know neither agent nor host. */
export const ofTenant = (time: string): string =>
  [`$__timeFilter(${time})`, among('tenant', 'tenant')].join(' AND ');

/** What drop-downs answer: column -> ClickHouse type, in order. */
export const VARIABLE_COLUMNS: Readonly<Record<string, string>> = {
  value: 'String',
  text: 'String',
};

const dropDown = (column: (typeof FLEET_COLUMNS)[number], label: string): Variable => ({
  name: column,
  label,
  // The value first, then what is shown; a text that is not UTF-8 can't be: the codec refuses it.
  sql: `SELECT DISTINCT hex(${column}) AS value, toString(${column}) AS text FROM telltale.streams WHERE ${column} != '' ORDER BY text LIMIT 500`,
  multiple: true,
});

export const FLEET_VARIABLES: readonly Variable[] = [
  dropDown('tenant', 'Tenant'),
  dropDown('agent', 'Agent'),
  dropDown('host', 'Host'),
];

export const SESSION_VARIABLE: Variable = {
  name: 'session',
  label: 'Session',
  sql: `SELECT toString(session_id) AS value, concat(formatDateTime(min(first_ts), '%F %T'), '  ', max(agent), ' on ', max(host)) AS text
FROM telltale.streams
GROUP BY session_id
HAVING max(sensed) = 1
ORDER BY min(first_ts) DESC
LIMIT 500`,
  multiple: false,
};

/** A column of session ids that leads to the session. */
export const toSession = (column: string): ColumnLink => ({
  column,
  title: 'Open the session',
  dashboard: 'telltale-session',
  variable: 'session',
});
