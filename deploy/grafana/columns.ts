/** How columns of tables are shown, by their names: the same on each panel that has them. */

/** Names that differ from what is shown, mostly because the table has a column of that name. */
const LABELS: Readonly<Record<string, string>> = {
  agent_name: 'Agent',
  host_name: 'Host',
  tool_name: 'Tool',
  user_name: 'User',
  model_name: 'Model',
  server: 'MCP server',
  state_now: 'State',
  sort: 'Kind',
  policy_version: 'Version',
  asked: 'Asked for',
  because: 'Reason given',
  unnumbered: 'Lost before numbering',
  approved_for: 'Approved for',
};

export const labelOf = (column: string): string =>
  LABELS[column] ?? `${column.charAt(0).toUpperCase()}${column.slice(1).replaceAll('_', ' ')}`;

/** Any of these that is above 0 is shown in red. */
const ALARMS = new Set(['denied', 'gaps', 'declared', 'missing', 'doubled', 'unnumbered']);
export const isAlarming = (column: string): boolean => ALARMS.has(column);

/** Grafana's units of numbers that are no counts. */
const UNITS: Readonly<Record<string, string>> = {
  port: 'none',
  exit: 'none',
  sent: 'bytes',
  received: 'bytes',
};
/** `locale` has separators of thousands, and all digits. */
export const unitOf = (column: string): string => UNITS[column] ?? 'locale';

/** Columns of words that mean good or bad; see `colors.ts`. */
const WORDS = new Set(['decided', 'result', 'severity', 'covers', 'state_now', 'coverage']);
export const hasWords = (column: string): boolean => WORDS.has(column);
