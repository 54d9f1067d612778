/** Typed pieces of a condition: what a part of an expression is, and how it is worked out. */
import { type FieldValue, type FieldView, recordView, type Scalar } from '../values.ts';

/** `any` is a field of which no type is known; its values are looked at when they come. */
export type ValueType = 'string' | 'integer' | 'float' | 'boolean' | 'null' | 'any';

/** What a part works out to: a value, null for missing or unknown, or a list of values. */
export type Result = FieldValue;

export interface Operand {
  /** The field that it is, where it is nothing more. */
  readonly field?: string;
  readonly type: ValueType;
  /** It may be a list. A condition over a list holds where it holds for one of its entries. */
  readonly list: boolean;
  /** No field is in it, so that it is the same for all events. */
  readonly constant: boolean;
  /** Never throws. */
  readonly run: (fields: FieldView) => Result;
}

/** The type of a field as the taxonomy knows it. */
export interface FieldType {
  readonly type: ValueType;
  readonly list: boolean;
}

const NO_FIELDS = recordView({});

/** The value of a constant operand; a list can't be one. */
export function constantOf(operand: Operand): Scalar {
  const value = operand.run(NO_FIELDS);
  return Array.isArray(value) ? null : (value as Scalar);
}

export const isNumeric = (type: ValueType): boolean => type === 'integer' || type === 'float';

/** Whether a value of type `from` may stand where `wanted` is asked for. */
export function fits(from: ValueType, wanted: 'string' | 'number' | 'boolean'): boolean {
  if (from === 'any' || from === 'null') return true;
  return wanted === 'number' ? isNumeric(from) : from === wanted;
}

/** How a type is called in a message. */
export function typeName(type: ValueType): string {
  return type === 'integer' || type === 'float' ? 'a number' : type === 'null' ? type : `a ${type}`;
}

/**
 * Applies `step` to a value, or to each entry of a list: true where one gives true, else null
 * where one gives null, else false. A list without entries is a missing value.
 */
export function anyOf(value: Result, step: (one: Scalar) => boolean | null): boolean | null {
  if (!Array.isArray(value)) return step(value as Scalar);
  let result: boolean | null = value.length === 0 ? null : false;
  for (const one of value) {
    const held = step(one as Scalar);
    if (held === true) return true;
    if (held === null) result = null;
  }
  return result;
}
