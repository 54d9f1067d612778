/**
 * ClickHouse literals for bound values. The embedded engine binds parameters one query at a time
 * for the whole process, so its adapter writes values into the text itself; this is the only
 * place that does so, and a property test holds it against the engine.
 *
 *     String literal  '…'   with \\ \' \0 \n \r \t \b \f escaped   (Syntax, "String" in the manual)
 */
import type { SqlValue } from '#schemas';

/** A value that does not fit the type of its placeholder. */
export class LiteralError extends Error {
  override readonly name = 'LiteralError';
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  "'": "\\'",
  '\0': '\\0',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\b': '\\b',
  '\f': '\\f',
};

function stringLiteral(value: SqlValue): string {
  if (value instanceof Uint8Array) return `unhex('${Buffer.from(value).toString('hex')}')`;
  if (typeof value !== 'string') throw new LiteralError(`${typeof value} is not a string`);
  if (!value.isWellFormed()) throw new LiteralError('the string holds a lone surrogate');
  return `'${value.replace(/[\\'\0\n\r\t\b\f]/g, (character) => ESCAPES[character] as string)}'`;
}

const INTEGER_BITS = new Set(['8', '16', '32', '64', '128', '256']);

function integerText(type: string, value: SqlValue): string {
  const unsigned = type.startsWith('U');
  const bits = type.slice(unsigned ? 4 : 3);
  if (!INTEGER_BITS.has(bits)) throw new LiteralError(`no such type: ${type}`);
  let number: bigint;
  if (typeof value === 'bigint') number = value;
  else if (typeof value === 'number' && Number.isSafeInteger(value)) number = BigInt(value);
  else if (typeof value === 'string' && /^-?\d{1,78}$/.test(value)) number = BigInt(value);
  else throw new LiteralError(`${typeof value} ${String(value).slice(0, 40)} is not an integer`);
  const limit = 1n << (BigInt(bits) - (unsigned ? 0n : 1n));
  if (number >= limit || number < (unsigned ? 0n : -limit))
    throw new LiteralError(`${number} does not fit ${type}`);
  return String(number);
}

const UUID = /^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/;

function uuidText(value: SqlValue): string {
  if (typeof value !== 'string' || !UUID.test(value)) throw new LiteralError('not a UUID');
  return value;
}

const NANOSECONDS_TYPE = /^DateTime64\(9(, ?'UTC')?\)$/;
/** DateTime64(9) is 64 bits of nanoseconds, and the engine shows 1900 to 2262 only. */
const NANOSECONDS_MIN = -2_208_988_800_000_000_000n;
const NANOSECONDS_MAX = (1n << 63n) - 1n;

function nanoseconds(value: SqlValue): bigint {
  const written = typeof value === 'string' && /^-?\d{1,19}$/.test(value);
  if (!written && typeof value !== 'bigint')
    throw new LiteralError('a DateTime64(9) is bound as decimal nanoseconds since 1970');
  const number = BigInt(value);
  if (number < NANOSECONDS_MIN || number > NANOSECONDS_MAX)
    throw new LiteralError(`${number} ns is before 1900 or after 2262`);
  return number;
}

function scalarLiteral(type: string, value: SqlValue): string {
  if (type === 'String') return stringLiteral(value);
  if (/^U?Int\d+$/.test(type)) return `to${type}('${integerText(type, value)}')`;
  if (type === 'Bool') {
    if (typeof value !== 'boolean') throw new LiteralError(`${typeof value} is not a boolean`);
    return value ? 'true' : 'false';
  }
  if (type === 'UUID') return `toUUID('${uuidText(value)}')`;
  if (type === 'Float64') {
    if (typeof value !== 'number' || !Number.isFinite(value))
      throw new LiteralError(`${typeof value} is not a finite number`);
    return `toFloat64('${value}')`;
  }
  if (NANOSECONDS_TYPE.test(type))
    return `fromUnixTimestamp64Nano(toInt64('${nanoseconds(value)}'), 'UTC')`;
  throw new LiteralError(`no such type: ${type}`);
}

/** The inner type of `wrapper(T)`, or undefined. */
function inner(type: string, wrapper: string): string | undefined {
  return type.startsWith(`${wrapper}(`) && type.endsWith(')')
    ? type.slice(wrapper.length + 1, -1)
    : undefined;
}

/**
 * One item of an array. Integers and UUIDs are plain strings there, which the CAST around the
 * array reads: 20,000 calls of toUUID cost the engine 1.3 s, 20,000 strings 0.07 s.
 */
function itemLiteral(type: string, value: SqlValue): string {
  if (/^U?Int\d+$/.test(type)) return `'${integerText(type, value)}'`;
  if (type === 'UUID') return `'${uuidText(value)}'`;
  return literal(type, value);
}

/** The literal of `value` as `type`. Throws `LiteralError` when it does not fit. */
export function literal(type: string, value: SqlValue): string {
  const lowCardinality = inner(type, 'LowCardinality');
  if (lowCardinality !== undefined) return literal(lowCardinality, value);
  const nullable = inner(type, 'Nullable');
  if (nullable !== undefined) {
    if (inner(nullable, 'Array') !== undefined) throw new LiteralError(`no such type: ${type}`);
    return value === null ? 'NULL' : literal(nullable, value);
  }
  const array = inner(type, 'Array');
  if (array === undefined) return scalarLiteral(type, value);
  if (!Array.isArray(value)) throw new LiteralError(`${typeof value} is not an array`);
  const items = (value as readonly SqlValue[]).map((item) => itemLiteral(array, item));
  return `CAST([${items.join(', ')}], ${stringLiteral(type)})`;
}

/**
 * The value that the client of ClickHouse's HTTP interface is to send: decimal nanoseconds become
 * seconds with a fraction, and strings within arrays are left to the client to quote.
 */
export function httpParam(type: string, value: SqlValue): SqlValue {
  const element = inner(type, 'Array');
  if (element !== undefined && Array.isArray(value))
    return (value as readonly SqlValue[]).map((item) => httpParam(element, item));
  if (value === null || !NANOSECONDS_TYPE.test(inner(type, 'Nullable') ?? type)) return value;
  const number = nanoseconds(value);
  const digits = String(number < 0n ? -number : number).padStart(10, '0');
  return `${number < 0n ? '-' : ''}${digits.slice(0, -9)}.${digits.slice(-9)}`;
}
