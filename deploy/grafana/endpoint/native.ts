/**
 * Rows as one block of ClickHouse's Native format: what a client that was told revision 0 reads.
 *
 *     varint(columns) varint(rows), then each column: name, type, and its values in a row
 *
 *     String            varint(bytes) bytes        UInt8, UInt64, Int64, Float64: little-endian
 *     DateTime          UInt32, seconds            DateTime64(P)   Int64, in 10^-P seconds
 *     Nullable(T)       one byte a row (1: null), then T of all rows
 *     Array(T)          UInt64 a row: entries up to and with it; then T of all entries
 *     Map(K, V)         ends as Array, then K of all entries, then V of all
 *
 * (ClickHouse's `src/DataTypes/Serializations`.) Values are as the store gives them: integers of 64 bits
 * and times as text, in UTC.
 */
import type { Row } from '#schemas';

export type Columns = Readonly<Record<string, string>>;

/** The bytes of all values of one column. */
type Encode = (values: readonly unknown[]) => Buffer;

/** A type that no column of a dashboard has; a fault of ours. */
export class NativeTypeError extends Error {
  override readonly name = 'NativeTypeError';
}

/** An unsigned number in groups of seven bits, the lowest first. */
export function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

export function textBytes(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  return Buffer.concat([varint(bytes.length), bytes]);
}

/** Values of one size, each written at its place. */
const fixed =
  (size: number, write: (into: Buffer, value: unknown, at: number) => void): Encode =>
  (values) => {
    const bytes = Buffer.alloc(size * values.length);
    for (const [i, value] of values.entries()) write(bytes, value, i * size);
    return bytes;
  };

const integer = (value: unknown): bigint => BigInt(value as string | number | bigint);

const MS_PER_SECOND = 1000;

/** `YYYY-MM-DD hh:mm:ss[.fraction]` in UTC -> whole seconds and the digits behind the point. */
function timeOf(value: unknown): { readonly seconds: bigint; readonly fraction: string } {
  const [head = '', fraction = ''] = String(value).split('.');
  const ms = Date.parse(`${head.replace(' ', 'T')}Z`);
  if (Number.isNaN(ms)) throw new TypeError(`${String(value).slice(0, 40)} is no time`);
  return { seconds: BigInt(ms / MS_PER_SECOND), fraction };
}

const ticks = (digits: number) => (value: unknown) => {
  const { seconds, fraction } = timeOf(value);
  return seconds * 10n ** BigInt(digits) + BigInt(fraction.padEnd(digits, '0').slice(0, digits));
};

const SCALARS: Readonly<Record<string, Encode>> = {
  String: (values) => Buffer.concat(values.map((value) => textBytes(String(value)))),
  UInt8: fixed(1, (into, value, at) => into.writeUInt8(Number(value), at)),
  UInt32: fixed(4, (into, value, at) => into.writeUInt32LE(Number(value), at)),
  UInt64: fixed(8, (into, value, at) => into.writeBigUInt64LE(integer(value), at)),
  Int64: fixed(8, (into, value, at) => into.writeBigInt64LE(integer(value), at)),
  // JSON has no NaN: the store gives null for it.
  Float64: fixed(8, (into, value, at) => into.writeDoubleLE(Number(value ?? Number.NaN), at)),
  "DateTime('UTC')": fixed(4, (into, value, at) =>
    into.writeUInt32LE(Number(timeOf(value).seconds), at),
  ),
  "DateTime64(3, 'UTC')": fixed(8, (into, value, at) => into.writeBigInt64LE(ticks(3)(value), at)),
  "DateTime64(9, 'UTC')": fixed(8, (into, value, at) => into.writeBigInt64LE(ticks(9)(value), at)),
};

/** Where each row's entries end, counted from the first row's first. */
function ends(sizes: readonly number[]): Buffer {
  let end = 0;
  return (SCALARS.UInt64 as Encode)(sizes.map((size) => (end += size)));
}

/** A value that stands where there is none. */
const ABSENT: Readonly<Record<string, unknown>> = { String: '' };

function nullable(type: string): Encode {
  const encode = encoderOf(type);
  const absent = ABSENT[type] ?? 0;
  return (values) =>
    Buffer.concat([
      Buffer.from(values.map((value) => (value === null ? 1 : 0))),
      encode(values.map((value) => value ?? absent)),
    ]);
}

function list(type: string): Encode {
  const encode = encoderOf(type);
  return (values) => {
    const lists = values as readonly (readonly unknown[])[];
    return Buffer.concat([ends(lists.map(({ length }) => length)), encode(lists.flat())]);
  };
}

/** JSON has texts for keys, and so have all maps of ours. */
function map(key: string, type: string): Encode {
  if (key !== 'String') throw new NativeTypeError(`Map(${key}, ${type}): keys are texts`);
  const [keys, rest] = [encoderOf('String'), encoderOf(type)];
  return (values) => {
    const entries = values.map((value) => Object.entries(value as object));
    const all = entries.flat();
    return Buffer.concat([
      ends(entries.map(({ length }) => length)),
      keys(all.map(([name]) => name)),
      rest(all.map(([, value]) => value)),
    ]);
  };
}

const WRAPPED = /^(Nullable|Array|Map)\((?:(\w+), )?(.+)\)$/;

function encoderOf(type: string): Encode {
  const scalar = Object.hasOwn(SCALARS, type) ? SCALARS[type] : undefined;
  if (scalar !== undefined) return scalar;
  const [, wrapper, key, inner = ''] = WRAPPED.exec(type) ?? [];
  if (wrapper === 'Nullable' && key === undefined) return nullable(inner);
  if (wrapper === 'Array' && key === undefined) return list(inner);
  if (wrapper === 'Map' && key !== undefined) return map(key, inner);
  throw new NativeTypeError(`no such type: ${type}`);
}

/** Revision 0 knows no zone of a DateTime: its reader takes the one that the handshake told, UTC. */
const shownType = (type: string): string => (type === "DateTime('UTC')" ? 'DateTime' : type);

/** One block. Throws `NativeTypeError` for a type that it does not know. */
export function nativeBlock(columns: Columns, rows: readonly Row[]): Buffer {
  const all = Object.entries(columns);
  const body = all.flatMap(([name, type]) => [
    textBytes(name),
    textBytes(shownType(type)),
    encoderOf(type)(rows.map((row) => row[name])),
  ]);
  return Buffer.concat([varint(all.length), varint(rows.length), ...body]);
}
