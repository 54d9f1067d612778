/**
 * The functions of EQL, each with its parameters, as Elasticsearch's function reference has them.
 * A null argument gives null, except where the reference says otherwise. Positions count UTF-16
 * units, as Java's do.
 */
import { compileCidr } from '../cidr.ts';
import { fold, type Scalar } from '../values.ts';
import type { ArithmeticOperator } from './ast.ts';
import type { ValueType } from './operand.ts';
import { compileWildcard } from './wildcard.ts';

export type Parameter = 'string' | 'number' | 'boolean' | 'value';

/** Called with as many values as there are arguments; a value of another type than asked is null. */
export type Body = (values: readonly Scalar[]) => Scalar;

export interface EqlFunction {
  readonly parameters: readonly Parameter[];
  /** How many of them may be left out. */
  readonly optional?: number;
  /** The last parameter may be repeated. */
  readonly variadic?: boolean;
  /** It has a `~` form. */
  readonly cased?: boolean;
  /** Places of arguments that have to be constants. */
  readonly constant?: (place: number) => boolean;
  /** Null may reach the body at these places. */
  readonly nullable?: (place: number) => boolean;
  /** `number` is an integer where both arguments are. */
  readonly returns: 'string' | 'boolean' | 'number' | 'integer';
  /**
   * Gives the body. `constants` are the values of constant arguments, undefined for others; a
   * string in return is why they are refused.
   */
  readonly body: (
    constants: readonly (Scalar | undefined)[],
    insensitive: boolean,
    types: readonly ValueType[],
  ) => Body | string;
}

/** Arguments of one call; more is refused. */
export const ARGUMENTS_MAX = 256;

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);

/**
 * One arithmetic operator.
 *
 * @param whole both sides are integers: then a quotient is cut towards zero
 * @returns null for a division by zero and for what a number can't hold
 */
export function calculate(
  operator: ArithmeticOperator,
  left: number,
  right: number,
  whole: boolean,
): number | null {
  if (operator === '+') return finite(left + right);
  if (operator === '-') return finite(left - right);
  if (operator === '*') return finite(left * right);
  if (right === 0) return null;
  if (operator === '%') return finite(left % right);
  const quotient = left / right;
  return finite(
    whole && Number.isInteger(left) && Number.isInteger(right) ? Math.trunc(quotient) : quotient,
  );
}

const arithmetic = (operator: ArithmeticOperator): EqlFunction => ({
  parameters: ['number', 'number'],
  returns: 'number',
  body: (_constants, _insensitive, types) => {
    const whole = !types.includes('float');
    return (values) => calculate(operator, values[0] as number, values[1] as number, whole);
  },
});

/** Texts, folded where case is ignored. */
const texts = (values: readonly Scalar[], insensitive: boolean): readonly string[] =>
  values.map((value) => (insensitive ? fold(String(value)) : String(value)));

const test = (holds: (source: string, part: string) => boolean): EqlFunction => ({
  parameters: ['string', 'string'],
  cased: true,
  returns: 'boolean',
  body: (_constants, insensitive) => (values) => {
    const [source = '', part = ''] = texts(values, insensitive);
    return holds(source, part);
  },
});

/** What stands between `left` and `right`; empty where one of them is not there. */
function between(values: readonly Scalar[], insensitive: boolean): string {
  const [source = '', left = '', right = ''] = texts(values.slice(0, 3), insensitive);
  const greedy = values[3] === true;
  const found = source.indexOf(left);
  if (found < 0) return '';
  const start = found + left.length;
  const end = greedy ? source.lastIndexOf(right) : source.indexOf(right, start);
  const whole = values[0] as string;
  // Some letters grow in lower case; then the places are those of the folded text.
  return end < start ? '' : (whole.length === source.length ? whole : source).slice(start, end);
}

function indexOf(values: readonly Scalar[], insensitive: boolean): number | null {
  const [source = '', part = ''] = texts(values.slice(0, 2), insensitive);
  const start = Math.max(0, Math.trunc((values[2] as number | undefined) ?? 0));
  if (start > source.length) return null;
  const found = source.indexOf(part, start);
  return found < 0 ? null : found;
}

/** A slice with Python's rules: a negative position counts from the end. */
function substring(values: readonly Scalar[]): string {
  const source = values[0] as string;
  const end = values.length > 2 ? Math.trunc(values[2] as number) : source.length;
  return source.slice(Math.trunc(values[1] as number), end);
}

const DIGITS = '0123456789abcdefghijklmnopqrstuvwxyz';
const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

/** A number out of a text; null where it is none. */
function toNumber(text: string, base: number | undefined): number | null {
  const trimmed = text.trim();
  const signed = /^([+-]?)(0x)?(.*)$/is.exec(trimmed);
  const [, sign = '', hexadecimal, rest = ''] = signed ?? [];
  const radix = base ?? (hexadecimal === undefined ? 10 : 16);
  if (radix === 10 && hexadecimal === undefined) {
    return DECIMAL.test(trimmed) ? finite(Number(trimmed)) : null;
  }
  const digits = (radix === 16 ? rest : `${hexadecimal ?? ''}${rest}`).toLowerCase();
  const known = DIGITS.slice(0, radix);
  if (digits === '' || [...digits].some((digit) => !known.includes(digit))) return null;
  return finite(Number.parseInt(digits, radix) * (sign === '-' ? -1 : 1));
}

/** Null, because what is tested for is not known. */
const UNKNOWN: Body = () => null;

function cidrMatch(constants: readonly (Scalar | undefined)[]): Body | string {
  const blocks = constants.slice(1);
  if (blocks.includes(null)) return UNKNOWN;
  const tests = blocks.map((block) => compileCidr(String(block)));
  for (const one of tests) if (!one.ok) return one.reason;
  return (values) => tests.some((one) => one.ok && one.contains(values[0] as string));
}

function wildcard(constants: readonly (Scalar | undefined)[], insensitive: boolean): Body {
  const patterns = constants.slice(1);
  if (patterns.includes(null)) return UNKNOWN;
  const tests = patterns.map((pattern) => compileWildcard(String(pattern), insensitive));
  return (values) => tests.some((matches) => matches(values[0] as string));
}

function numberBody(constants: readonly (Scalar | undefined)[]): Body | string {
  const base = constants[1] ?? undefined;
  if (base !== undefined && (!Number.isInteger(base) || Number(base) < 2 || Number(base) > 36)) {
    return 'the base of number() is a whole number from 2 to 36';
  }
  return (values) => toNumber(values[0] as string, base as number | undefined);
}

const beyondFirst = (place: number): boolean => place > 0;

export const FUNCTIONS: Readonly<Record<string, EqlFunction>> = {
  add: arithmetic('+'),
  between: {
    parameters: ['string', 'string', 'string', 'boolean'],
    optional: 1,
    cased: true,
    returns: 'string',
    constant: (place) => place === 3,
    body: (_constants, insensitive) => (values) => between(values, insensitive),
  },
  cidrMatch: {
    parameters: ['string', 'string'],
    variadic: true,
    returns: 'boolean',
    constant: beyondFirst,
    nullable: beyondFirst,
    body: cidrMatch,
  },
  concat: {
    parameters: ['value'],
    variadic: true,
    returns: 'string',
    body: () => (values) => values.join(''),
  },
  divide: arithmetic('/'),
  endsWith: test((source, part) => source.endsWith(part)),
  indexOf: {
    parameters: ['string', 'string', 'number'],
    optional: 1,
    cased: true,
    returns: 'integer',
    body: (_constants, insensitive) => (values) => indexOf(values, insensitive),
  },
  length: {
    parameters: ['string'],
    returns: 'integer',
    body: () => (values) => (values[0] as string).length,
  },
  modulo: arithmetic('%'),
  multiply: arithmetic('*'),
  number: {
    parameters: ['string', 'number'],
    optional: 1,
    returns: 'number',
    constant: beyondFirst,
    nullable: beyondFirst,
    body: numberBody,
  },
  startsWith: test((source, part) => source.startsWith(part)),
  string: {
    parameters: ['value'],
    returns: 'string',
    body: () => (values) => String(values[0]),
  },
  // The reference gives false for an empty part, unlike startsWith and endsWith.
  stringContains: test((source, part) => part !== '' && source.includes(part)),
  substring: {
    parameters: ['string', 'number', 'number'],
    optional: 1,
    returns: 'string',
    body: () => substring,
  },
  subtract: arithmetic('-'),
  wildcard: {
    parameters: ['string', 'string'],
    variadic: true,
    cased: true,
    returns: 'boolean',
    constant: beyondFirst,
    nullable: beyondFirst,
    body: wildcard,
  },
};

/** Functions of the original EQL that Elasticsearch has not, with what takes their place. */
export const OTHER_FUNCTIONS: Readonly<Record<string, string>> = {
  match: 'use "regex" or "regex~"',
  matchLite: 'use "regex" or "regex~"',
  arrayContains: 'a condition over a list field holds where it holds for one entry',
  arraySearch: 'a condition over a list field holds where it holds for one entry',
  arrayCount: 'lists are not counted',
  safe: 'functions never fail',
};
