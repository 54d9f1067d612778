/**
 * Canonical JSON (RFC 8785) of any value that the format allows: strings, whole numbers within
 * 2^53, booleans, null, lists, objects. `codec.ts` writes events by their registry; this reads and
 * writes what has none.
 */
import { isUtf8 } from 'node:buffer';
import { parseJson } from '../parse-json.ts';

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export type JsonObject = { readonly [key: string]: Json | undefined };

/** Canonical JSON; throws a RangeError for a number that the format does not allow. */
export function canonicalJson(value: Json): string {
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value) || Object.is(value, -0))
      throw new RangeError(`not a whole number within 2^53: ${value}`);
    return String(value);
  }
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const members: string[] = [];
  for (const key of Object.keys(value).sort()) {
    const member = (value as JsonObject)[key];
    if (member !== undefined) members.push(`${JSON.stringify(key)}:${canonicalJson(member)}`);
  }
  return `{${members.join(',')}}`;
}

function isCanonical(value: JsonObject, text: string): boolean {
  try {
    return canonicalJson(value) === text;
  } catch {
    return false;
  }
}

/** The object that a canonical text stands for; undefined where it is not one. */
export function parseText(text: string): JsonObject | undefined {
  try {
    const value = parseJson(text) as Json;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    return isCanonical(value as JsonObject, text) ? (value as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}

/** The same of a line's bytes, without its LF. */
export function parseObject(line: Uint8Array): JsonObject | undefined {
  if (!isUtf8(line)) return undefined;
  return parseText(Buffer.from(line.buffer, line.byteOffset, line.length).toString('utf8'));
}
