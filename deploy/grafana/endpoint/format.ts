/** Rows as the bytes that a client of ClickHouse's HTTP interface reads, in the formats it may ask for. */
import type { Row } from '#schemas';
import { type Columns, nativeBlock } from './native.ts';

export interface Format {
  readonly type: string;
  write(columns: Columns, rows: readonly Row[]): Buffer;
}

const JSON_TYPE = 'application/json; charset=UTF-8';
const meta = (columns: Columns) => Object.entries(columns).map(([name, type]) => ({ name, type }));
/** Columns in their order, whatever order a row has. */
const ordered = (columns: Columns, row: Row): Row =>
  Object.fromEntries(Object.keys(columns).map((name) => [name, row[name]]));
const listed = (columns: Columns, row: Row) => Object.keys(columns).map((name) => row[name]);

const whole = (columns: Columns, rows: readonly Row[], data: readonly unknown[]): Buffer =>
  Buffer.from(JSON.stringify({ meta: meta(columns), data, rows: rows.length }));

const lines = (values: readonly unknown[]): Buffer =>
  Buffer.from(values.map((value) => `${JSON.stringify(value)}\n`).join(''));

/** By ClickHouse's names. Integers of 64 bits are texts in all forms of JSON. */
export const FORMATS: Readonly<Record<string, Format>> = {
  Native: { type: 'application/octet-stream', write: nativeBlock },
  JSON: {
    type: JSON_TYPE,
    write: (columns, rows) =>
      whole(
        columns,
        rows,
        rows.map((row) => ordered(columns, row)),
      ),
  },
  JSONCompact: {
    type: JSON_TYPE,
    write: (columns, rows) =>
      whole(
        columns,
        rows,
        rows.map((row) => listed(columns, row)),
      ),
  },
  JSONEachRow: {
    type: 'application/x-ndjson; charset=UTF-8',
    write: (columns, rows) => lines(rows.map((row) => ordered(columns, row))),
  },
};
