/**
 * What Grafana makes of our statements before they are sent: variables by its format
 * `percentencode` (public/app/features/templating and @grafana/scenes, formatRegistry), then the
 * data source's macros (grafana-clickhouse-datasource 4.20, pkg/macros).
 *
 *     $__timeFilter(c)    c >= toDateTime(S) AND c <= toDateTime(S)
 *     $__timeInterval(c)  toStartOfInterval(toDateTime(c), INTERVAL N second)
 *
 * A statement is cut at them once (`cut`): the pieces are constants of ours, and what is put between
 * them is a whole number or a text in the alphabet of percent-encoding. `expand` writes the values in
 * as Grafana does; `shapes.ts` reads them out of a text that Grafana sent.
 */
import { ALL_VALUE } from './scope.ts';

/** The time that is looked at, and how wide one point of a graph is. */
export interface Range {
  /** Seconds since 1970. */
  readonly fromSeconds: number;
  readonly toSeconds: number;
  readonly intervalSeconds: number;
}

/** What is picked in each drop-down: hexadecimal values, or one id; absent: all. */
export type Picks = Readonly<Record<string, string | readonly string[]>>;

/** The numbers of a range by their names in placeholders. */
export const NUMBERS = ['from_seconds', 'to_seconds', 'interval_seconds'] as const;
type NumberName = (typeof NUMBERS)[number];

/** Where a value stands: a number of a range, or a text (with its quotes): what is picked. */
export type Hole =
  | { readonly kind: 'number'; readonly name: NumberName }
  | { readonly kind: 'pick'; readonly name: string };

/** A statement as constants and holes: constants[0], holes[0], constants[1], … */
export interface Cut {
  readonly constants: readonly string[];
  readonly holes: readonly Hole[];
}

/** What the macros write, with the names of their numbers for the numbers. */
const MACROS: Readonly<Record<string, (column: string) => readonly (string | Hole)[]>> = {
  timeFilter: (column) => [
    `${column} >= toDateTime(`,
    { kind: 'number', name: 'from_seconds' },
    `) AND ${column} <= toDateTime(`,
    { kind: 'number', name: 'to_seconds' },
    ')',
  ],
  timeInterval: (column) => [
    `toStartOfInterval(toDateTime(${column}), INTERVAL `,
    { kind: 'number', name: 'interval_seconds' },
    ' second)',
  ],
};

/** A variable as a whole literal, with its quotes, or a macro with one column. */
const MARK = /'\$\{(\w+):percentencode\}'|\$__(\w+)\((\w+)\)/g;

function partsOf(found: RegExpExecArray): readonly (string | Hole)[] {
  const [whole, variable, macro = '', column = ''] = found;
  if (variable !== undefined) return [{ kind: 'pick', name: variable }];
  const parts = Object.hasOwn(MACROS, macro) ? MACROS[macro]?.(column) : undefined;
  if (parts === undefined) throw new Error(`${whole}: no such macro`);
  return parts;
}

/**
 * Cuts a statement of ours. Throws for a variable or a macro that Grafana would not expand, and for a
 * variable in any other format than the one that is safe.
 */
export function cut(sql: string): Cut {
  const constants = [''];
  const holes: Hole[] = [];
  const put = (part: string | Hole) => {
    if (typeof part === 'string') constants.push(`${constants.pop()}${part}`);
    else {
      holes.push(part);
      constants.push('');
    }
  };
  let at = 0;
  for (const found of sql.matchAll(MARK)) {
    put(sql.slice(at, found.index));
    for (const part of partsOf(found)) put(part);
    at = found.index + found[0].length;
  }
  put(sql.slice(at));
  const left = constants.map((text) => /\$\{[^}]*\}|\$\w+/.exec(text)?.[0]).find((one) => one);
  if (left !== undefined) throw new Error(`${left}: not expanded; only percentencode is safe`);
  return { constants, holes };
}

/** A cut statement with something in each hole. */
export const filled = ({ constants, holes }: Cut, fill: (hole: Hole) => string): string =>
  constants.map((text, i) => text + (holes[i] === undefined ? '' : fill(holes[i]))).join('');

/** RFC 3986 with the sub-delims encoded too, as Grafana has it. */
const strictly = (text: string): string =>
  encodeURIComponent(text).replace(
    /[!'()*]/g,
    (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`,
  );

/** A variable by Grafana's format `percentencode`: several values in braces. */
export const percentEncoded = (value: string | readonly string[]): string =>
  strictly(typeof value === 'string' ? value : `{${value.join(',')}}`);

const numbersOf = (range: Range): Readonly<Record<NumberName, number>> => ({
  from_seconds: range.fromSeconds,
  to_seconds: range.toSeconds,
  interval_seconds: Math.max(1, range.intervalSeconds),
});

/** The statement that Grafana sends. */
export function expand(sql: string, range: Range, picks: Picks = {}): string {
  const numbers = numbersOf(range);
  return filled(cut(sql), (hole) =>
    hole.kind === 'number'
      ? String(numbers[hole.name])
      : `'${percentEncoded(picks[hole.name] ?? ALL_VALUE)}'`,
  );
}
