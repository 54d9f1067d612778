/**
 * What all plans share: page sizes, bounds of filters, and the conditions that recur. A plan is what
 * a caller asks for -> the statement that reads it: pure, the tenant first, all values bound.
 */
import { ALL_FIELDS, type Field } from '#schemas';
import { badInput } from './errors.ts';
import { type Condition, condition } from './sql.ts';

/** The most rows that one page has; more is clamped, not refused. */
export const PAGE_MAX = 1000;
export const PAGE_DEFAULT = 100;
/** The longest string that may stand in a filter. */
export const FILTER_CHARACTERS_MAX = 4096;
/** The most entries of a list in a filter. */
export const FILTER_ENTRIES_MAX = 100;
/** A field of the table by its name, which must exist. */
export const field = (name: string): Field => ALL_FIELDS[name] as Field;
/** Columns that hold long texts (prompts, outputs): read only when they are asked for. */
export const CONTENT = Object.keys(ALL_FIELDS).filter((name) => field(name).body === true);
/** All other columns. */
export const NARROW: readonly string[] = Object.keys(ALL_FIELDS).filter(
  (name) => field(name).body !== true,
);
/** `first` as a page size: absent is the default, above the most is the most. */
export function pageSize(first: number | null | undefined, name = 'first'): number {
  if (first === undefined || first === null) return PAGE_DEFAULT;
  if (!Number.isSafeInteger(first) || first < 1) throw badInput(`${name}: give a number from 1 on`);
  return Math.min(first, PAGE_MAX);
}

/** A text of a filter, checked: its length, and that the store can take it. */
export function checked(name: string, value: string): string {
  if (value.length > FILTER_CHARACTERS_MAX)
    throw badInput(`${name}: at most ${FILTER_CHARACTERS_MAX} characters`);
  if (!value.isWellFormed()) throw badInput(`${name}: holds a lone surrogate`);
  return value;
}

/** Whether something was given: GraphQL has both words for nothing. */
export const has = <T>(value: T | null | undefined): value is T =>
  value !== undefined && value !== null;

/** A condition that a column equals a text, where one is given. */
export const equals = (column: string, name: string, value: string | null | undefined) =>
  has(value)
    ? condition(`${column} = {${name}:String}`, { [name]: checked(name, value) })
    : undefined;

/** The type of times as they are bound: in decimal nanoseconds. */
export const TIME64 = "DateTime64(9, 'UTC')";
/** A time as decimal nanoseconds. */
export const ns = (expression: string) => `toString(toUnixTimestamp64Nano(${expression}))`;
/** The rows of one session. */
export const ofSession = (id: string): Condition =>
  condition('session_id = {session:UUID}', { session: id });
