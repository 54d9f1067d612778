/**
 * Lines of `events` -> one block in ClickHouse's Native format, which the engine takes at a
 * fraction of what JSON costs it:
 *
 *     block = varint(columns) varint(rows) *(string(name) string(type) data)
 */
import { isUtf8 } from 'node:buffer';
import {
  ALL_FIELDS,
  createScan,
  EVENTS_TABLE,
  type Insert,
  SCANNED_FIELDS,
  StoreError,
  scanLine,
} from '#schemas';
import { type Column, columnOf, sentType } from './columns.ts';

/** Rows of `events`, ready to be sent. */
export interface NativeBlock {
  /** The columns that any of the rows has; the others get their defaults in the engine. */
  readonly columns: readonly string[];
  /** The block's bytes, in order. They are not joined: that would be one more copy of all rows. */
  readonly parts: readonly Uint8Array[];
}

const TYPES = SCANNED_FIELDS.map((name) => sentType(ALL_FIELDS[name]?.column.type ?? ''));
const NEWLINE = 0x0a;

function varint(value: number): Buffer {
  const out: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) out.push((rest % 128) | 0x80);
  return Buffer.from([...out, rest]);
}

const named = (text: string): Buffer => Buffer.concat([varint(text.length), Buffer.from(text)]);

/**
 * The block of `lines`, canonical events each ending in a newline. Undefined when any of them is
 * something else: then the engine is to judge them as JSON.
 */
export function nativeBlock(lines: Uint8Array): NativeBlock | undefined {
  if (!isUtf8(lines)) return undefined;
  const columns: Column[] = TYPES.map(columnOf);
  const scan = createScan();
  let rows = 0;
  for (let at = 0; at < lines.length; rows++) {
    const newline = lines.indexOf(NEWLINE, at);
    if (newline < 0 || !scanLine(lines, at, newline, scan)) return undefined;
    for (let i = 0; i < scan.count; i++) {
      const index = scan.fields[i] as number;
      const column = columns[index] as Column;
      column.fillTo(rows);
      column.add(lines, scan.starts[i] as number, scan.ends[i] as number, scan.sizes[i] as number);
      column.rows++;
    }
    at = newline + 1;
  }
  const names: string[] = [];
  const parts: Uint8Array[] = [];
  for (const [index, column] of columns.entries()) {
    if (column.rows === 0) continue;
    column.fillTo(rows);
    const name = SCANNED_FIELDS[index] as string;
    names.push(name);
    parts.push(named(name), named(TYPES[index] as string), ...column.parts());
  }
  const filled = parts.filter(({ length }) => length > 0);
  return { columns: names, parts: [varint(names.length), varint(rows), ...filled] };
}

/** Two ways to send the same rows; both reject with `StoreError`. */
export interface Roads {
  readonly native: (block: NativeBlock) => Promise<void>;
  readonly json: () => Promise<void>;
}

/**
 * Inserts in the fast format where that can be done, and else as JSON. What the engine refuses in
 * the fast format it gets as JSON too, with the same token: so JSON alone decides whether rows are
 * at fault, and trouble of the fast road never has good rows parked.
 */
export async function insertFastest(one: Insert, roads: Roads): Promise<void> {
  // The block is in no variable while the insert is waited for: whoever sends it lets go of it.
  const sent = one.table === EVENTS_TABLE ? sendNative(one, roads) : undefined;
  if (sent !== undefined)
    try {
      return await sent;
    } catch (error) {
      if (!(error instanceof StoreError) || error.fault.code !== 'refused') throw error;
    }
  await roads.json();
}

function sendNative({ lines }: Insert, { native }: Roads): Promise<void> | undefined {
  const block = nativeBlock(lines);
  return block && native(block);
}
