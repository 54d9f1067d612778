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

function integerLiteral(type: string, value: SqlValue): string {
  const unsigned = type.startsWith('U');
  const bits = type.slice(unsigned ? 4 : 3);
  if (!INTEGER_BITS.has(bits)) throw new LiteralError(`no such type: ${type}`);
  let number: bigint;
  if (typeof value === 'bigint') number = value;
  else if (typeof value === 'number' && Number.isSafeInteger(value)) number = BigInt(value);
  else if (typeof value === 'string' && /^-?\d{1,78}$/.test(value)) number = BigInt(value);
  else throw new LiteralError(`${JSON.stringify(value)} is not an integer`);
  const limit = 1n << (BigInt(bits) - (unsigned ? 0n : 1n));
  if (number >= limit || number < (unsigned ? 0n : -limit))
    throw new LiteralError(`${number} does not fit ${type}`);
  return `to${type}('${number}')`;
}

const UUID = /^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/;
const NANOSECONDS = /^-?\d{1,19}$/;

function scalarLiteral(type: string, value: SqlValue): string {
  if (type === 'String') return stringLiteral(value);
  if (/^U?Int\d+$/.test(type)) return integerLiteral(type, value);
  if (type === 'Bool') {
    if (typeof value !== 'boolean') throw new LiteralError(`${String(value)} is not a boolean`);
    return value ? 'true' : 'false';
  }
  if (type === 'UUID') {
    if (typeof value !== 'string' || !UUID.test(value)) throw new LiteralError('not a UUID');
    return `toUUID('${value}')`;
  }
  if (type === 'Float64') {
    if (typeof value !== 'number' || !Number.isFinite(value))
      throw new LiteralError(`${String(value)} is not a finite number`);
    return `toFloat64('${value}')`;
  }
  if (/^DateTime64\(9(, ?'UTC')?\)$/.test(type)) {
    if (typeof value !== 'string' || !NANOSECONDS.test(value))
      throw new LiteralError('a DateTime64(9) is bound as decimal nanoseconds since 1970');
    return `fromUnixTimestamp64Nano(toInt64('${value}'), 'UTC')`;
  }
  throw new LiteralError(`no such type: ${type}`);
}

/** The inner type of `wrapper(T)`, or undefined. */
function inner(type: string, wrapper: string): string | undefined {
  return type.startsWith(`${wrapper}(`) && type.endsWith(')')
    ? type.slice(wrapper.length + 1, -1)
    : undefined;
}

/** The literal of `value` as `type`. Throws `LiteralError` when it does not fit. */
export function literal(type: string, value: SqlValue): string {
  const lowCardinality = inner(type, 'LowCardinality');
  if (lowCardinality !== undefined) return literal(lowCardinality, value);
  const nullable = inner(type, 'Nullable');
  if (nullable !== undefined) return value === null ? 'NULL' : literal(nullable, value);
  const array = inner(type, 'Array');
  if (array === undefined) return scalarLiteral(type, value);
  if (!Array.isArray(value)) throw new LiteralError(`${typeof value} is not an array`);
  const items = (value as readonly SqlValue[]).map((item) => literal(array, item));
  return `CAST([${items.join(', ')}], 'Array(${plainType(array)})')`;
}

/** A type name that may stand in a string literal: letters, digits, brackets, commas, blanks. */
function plainType(type: string): string {
  if (!/^[A-Za-z0-9(), ]+$/.test(type)) throw new LiteralError(`no arrays of ${type}`);
  return type;
}

/**
 * The text that ClickHouse's HTTP interface expects for a bound value that is not a plain string
 * or number: decimal nanoseconds become seconds with a fraction.
 */
export function httpParam(type: string, value: SqlValue): SqlValue {
  if (!type.startsWith('DateTime64') || typeof value !== 'string') return value;
  literal(type, value);
  const digits = value.padStart(10, '0');
  return `${digits.slice(0, -9)}.${digits.slice(-9)}`;
}
