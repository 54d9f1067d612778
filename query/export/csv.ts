/**
 * Events as CSV (RFC 4180: CRLF, a quote doubled within quotes), a column each field.
 *
 * A spreadsheet runs a cell that begins like a formula, and telemetry is an attacker's text. As OWASP
 * has it ("CSV Injection"), a cell of text that begins with = + - @, a tab, CR, LF or one of the
 * full-width forms gets a single quote in front. So does one that begins with a single quote, so that
 * a reader who takes one leading quote off has the text again. Numbers and times are left alone: no
 * text is in them.
 */
import { ALL_FIELDS, type Field } from '#schemas';
import { timeText } from '../render.ts';
import type { FlatEvent } from '../timeline/view.ts';

const FORMULA = /^[=+\-@\t\r\n'＝＋－＠]/;
const QUOTED = /[",\r\n]/;

/** A text as a cell that no spreadsheet runs. */
export function textCell(text: string): string {
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return QUOTED.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

type Cell = (value: unknown) => string;

/** Lists and maps stand as JSON, which begins with a bracket; it may hold anything else. */
const json: Cell = (value) => textCell(JSON.stringify(value));

const CELLS: Readonly<Record<Field['shape'], Cell>> = {
  text: (value) => textCell(String(value)),
  keyword: (value) => textCell(String(value)),
  uuid: (value) => textCell(String(value)),
  hex: (value) => textCell(String(value)),
  time: (value) => timeText(String(value)),
  uint: String,
  int: String,
  flag: String,
  list: json,
  map: json,
};

const COLUMNS = Object.entries(ALL_FIELDS).map(
  ([name, { shape }]) => [name, CELLS[shape]] as const,
);

/** The first line. */
export const csvHeader = (): string => `${COLUMNS.map(([name]) => name).join(',')}\r\n`;

/** The line of an event; a field that it lacks is an empty cell. */
export function csvLine(event: FlatEvent): string {
  const loose = event as unknown as Readonly<Record<string, unknown>>;
  const cells = COLUMNS.map(([name, cell]) => {
    const value = loose[name];
    return value === undefined || value === null ? '' : cell(value);
  });
  return `${cells.join(',')}\r\n`;
}
