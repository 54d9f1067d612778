/**
 * Which statement of ours a text is. Each statement is cut at its macros and variables (`macros.ts`),
 * so all that Grafana can make of it is: its constants, character for character, and between them
 * whole numbers and quoted texts in the alphabet of percent-encoding. That is what is taken, and
 * nothing else; no SQL is understood here.
 *
 * What is run is never the text that came: it is our own statement, a constant, with the values bound.
 * The same value must stand wherever its name does, so a text that is taken is the very one that
 * Grafana makes of these values.
 */
import type { SqlValue } from '#schemas';
import { DASHBOARDS } from '../dashboards.ts';
import { type Cut, cut, filled, type Hole } from '../macros.ts';
import { MARKS_COLUMNS } from '../marks.ts';
import { ALERT_RULES } from '../rules.ts';
import { VARIABLE_COLUMNS } from '../scope.ts';

/** A statement that Grafana is provisioned with. */
export interface Shape {
  /** The dashboard's uid; absent for an alert rule. */
  readonly dashboard?: string;
  /** What of it: `panel TITLE`, `drop-down NAME`, `marks NAME`, `alert rule UID`. */
  readonly of: string;
  readonly sql: string;
  /** Column -> ClickHouse type, in order. */
  readonly columns: Readonly<Record<string, string>>;
}

/** All statements of the dashboards and alert rules; drop-downs that several have are each there. */
export const SHAPES: readonly Shape[] = [
  ...DASHBOARDS.flatMap(({ uid, panels, variables, marks }) => [
    ...panels.map(({ title, sql, columns }) => ({
      dashboard: uid,
      of: `panel ${title}`,
      sql,
      columns,
    })),
    ...variables.map(({ name, sql }) => ({
      dashboard: uid,
      of: `drop-down ${name}`,
      sql,
      columns: VARIABLE_COLUMNS,
    })),
    ...marks.map(({ name, sql }) => ({
      dashboard: uid,
      of: `marks ${name}`,
      sql,
      columns: MARKS_COLUMNS,
    })),
  ]),
  ...ALERT_RULES.map(({ uid, sql, columns }) => ({ of: `alert rule ${uid}`, sql, columns })),
];

/** A text that is one of ours, and its values. */
export interface Recognised {
  readonly shape: Shape;
  /** The statement with placeholders: `{from_seconds:UInt32}`, `{picked_host:String}`. */
  readonly text: string;
  readonly params: Readonly<Record<string, SqlValue>>;
}

const SECONDS_MAX = 2 ** 32 - 1;
const NUMBER = /(?:0|[1-9]\d{0,9})(?!\d)/y;
/** What Grafana's percentencode leaves: RFC 3986's unreserved characters and escapes. */
const TEXT = /'((?:[A-Za-z0-9._~-]|%[0-9A-F]{2})*)'/y;

const nameOf = (hole: Hole) => (hole.kind === 'number' ? hole.name : `picked_${hole.name}`);

const placeholder = (hole: Hole): string =>
  `{${nameOf(hole)}:${hole.kind === 'number' ? 'UInt32' : 'String'}}`;

/** What stands in a hole at `at`, and how long it is; undefined where nothing may. */
function valueAt(text: string, at: number, hole: Hole) {
  const pattern = hole.kind === 'number' ? NUMBER : TEXT;
  pattern.lastIndex = at;
  const found = pattern.exec(text);
  if (found === null) return undefined;
  const length = found[0].length;
  if (hole.kind === 'pick') return { value: found[1] as string, length };
  const value = Number(found[0]);
  return value > SECONDS_MAX ? undefined : { value, length };
}

/** The values of a text that a cut statement was filled to; undefined where it is another. */
export function valuesIn(
  { constants, holes }: Cut,
  text: string,
): Readonly<Record<string, string | number>> | undefined {
  const values: Record<string, string | number> = Object.create(null);
  let at = 0;
  for (const [i, constant] of constants.entries()) {
    if (!text.startsWith(constant, at)) return undefined;
    at += constant.length;
    const hole = holes[i];
    if (hole === undefined) continue;
    const found = valueAt(text, at, hole);
    const name = nameOf(hole);
    if (found === undefined || (values[name] ?? found.value) !== found.value) return undefined;
    values[name] = found.value;
    at += found.length;
  }
  return at === text.length ? values : undefined;
}

interface Prepared {
  readonly shape: Shape;
  readonly cut: Cut;
  /** With placeholders for values. */
  readonly text: string;
}

const PREPARED: readonly Prepared[] = SHAPES.map((shape) => {
  const pieces = cut(shape.sql);
  return { shape, cut: pieces, text: filled(pieces, placeholder) };
});

/** Finds the statement that a text is; in time that grows with the text alone. */
export function recognise(text: string): Recognised | undefined {
  for (const one of PREPARED) {
    const params = valuesIn(one.cut, text);
    if (params !== undefined) return { shape: one.shape, text: one.text, params };
  }
  return undefined;
}
