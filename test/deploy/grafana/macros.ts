/**
 * What Grafana makes of our statements before the engine sees them: variables by its format
 * `percentencode` (public/app/features/templating and @grafana/scenes, formatRegistry), then the
 * data source's macros (grafana-clickhouse-datasource 4.20, pkg/macros).
 *
 *     $__timeFilter(c)    c >= toDateTime(S) AND c <= toDateTime(S)
 *     $__timeInterval(c)  toStartOfInterval(toDateTime(c), INTERVAL N second)
 */
import { ALL_VALUE } from '../../../deploy/grafana/scope.ts';

/** The time that is looked at, and how wide one point of a graph is. */
export interface Range {
  /** Seconds since 1970. */
  readonly fromSeconds: number;
  readonly toSeconds: number;
  readonly intervalSeconds: number;
}

/** What is picked in each drop-down: hexadecimal values, or one id; absent: all. */
export type Picks = Readonly<Record<string, string | readonly string[]>>;

/** RFC 3986 with the sub-delims encoded too, as Grafana has it. */
const strictly = (text: string): string =>
  encodeURIComponent(text).replace(
    /[!'()*]/g,
    (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`,
  );

/** A variable by Grafana's format `percentencode`: several values in braces. */
export const percentEncoded = (value: string | readonly string[]): string =>
  strictly(typeof value === 'string' ? value : `{${value.join(',')}}`);

type Macro = (argument: string, range: Range) => string;
const MACROS: Readonly<Record<string, Macro>> = {
  timeFilter: (column, { fromSeconds, toSeconds }) =>
    `${column} >= toDateTime(${fromSeconds}) AND ${column} <= toDateTime(${toSeconds})`,
  timeInterval: (column, { intervalSeconds }) =>
    `toStartOfInterval(toDateTime(${column}), INTERVAL ${Math.max(1, intervalSeconds)} second)`,
};

/** The statement that the engine gets. Throws for a variable or macro that Grafana would not know. */
export function expand(sql: string, range: Range, picks: Picks = {}): string {
  const filled = sql.replace(/\$\{(\w+):(\w+)\}/g, (whole, name: string, format: string) => {
    if (format !== 'percentencode') throw new Error(`${whole}: only percentencode is safe`);
    return percentEncoded(picks[name] ?? ALL_VALUE);
  });
  const done = filled.replace(/\$__(\w+)\((\w+)\)/g, (whole, name: string, argument: string) => {
    const macro = MACROS[name];
    if (macro === undefined) throw new Error(`${whole}: no such macro`);
    return macro(argument, range);
  });
  const left = /\$\{[^}]*\}|\$\w+/.exec(done);
  if (left !== null) throw new Error(`${left[0]}: not expanded`);
  return done;
}
