/** Join keys: the values of the `by` fields of one event, as one text. */
import { hash } from 'node:crypto';
import type { Hit } from '../rule.ts';
import type { FieldView } from '../values.ts';
import type { FieldNode } from './ast.ts';

/** A longer text stands in a key by its beginning and its hash: keys are many, and are remembered. */
const TEXT_CHARS_MAX = 256;
const BEGINNING_CHARS = 64;
/** Up to here a key is no longer than its hash. */
const SHORT_CHARS_MAX = 43;

/**
 * A value as it stands in a key: equal for equal values, and never long. What is shortened already
 * stays as it is, so whoever keeps the values of a key may keep them so.
 */
export function keyValue<T>(value: T): T | string {
  if (typeof value !== 'string' || value.length <= TEXT_CHARS_MAX) return value;
  return `${value.slice(0, BEGINNING_CHARS).toWellFormed()}… sha256:${hash('sha256', value)}`;
}

/** Gives the key of an event, or undefined where it can't join because a value is missing. */
export type KeyOf = (fields: FieldView) => string | undefined;

/**
 * Compiles `by` fields. A value that is missing keeps the event out, unless the field is written
 * with `?`: then null joins with null. A list is no value to join on.
 */
export function compileKey(by: readonly FieldNode[]): KeyOf {
  if (by.length === 0) return () => '[]';
  return (fields) => {
    const values: unknown[] = [];
    for (const { name, optional } of by) {
      const value = fields.get(name) ?? null;
      if (Array.isArray(value) || (value === null && !optional)) return undefined;
      values.push(keyValue(value));
    }
    return JSON.stringify(values);
  };
}

/** The key of a hit, made once. */
export function keyOfHit(hit: Hit, keyOf: KeyOf): string | undefined {
  hit.key ??= keyOf(hit.fields);
  return hit.key;
}

/** The same for a state that never asks a key for its values: equal for equal keys, and short. */
export function shortKeyOf(hit: Hit, keyOf: KeyOf): string | undefined {
  if (hit.key === undefined) {
    const key = keyOf(hit.fields);
    hit.key =
      key === undefined || key.length <= SHORT_CHARS_MAX ? key : hash('sha256', key, 'base64url');
  }
  return hit.key;
}

/** The values of a key as texts; null is the empty text. */
export function keyTexts(key: string): readonly string[] {
  return (JSON.parse(key) as unknown[]).map((value) => (value === null ? '' : String(value)));
}
