/**
 * The lock on released shapes. What stands in lock.json may be added to and never taken back:
 * stored events are read with today's registry, and their chains are recomputed from the rows. So
 * also required -> optional is a break: an empty required value would be dropped on reading, and
 * the bytes that the chain covers would no longer be those that were recorded.
 */
import type { Field } from './define.ts';
import { ALL_FIELDS, REGISTRY } from './registry.ts';

export interface LockedField {
  readonly shape: string;
  readonly column: string;
  readonly absent: string;
  readonly values?: readonly string[];
  readonly pattern?: string;
  readonly range?: readonly [number, number];
  readonly bytesMax?: number;
  readonly content?: boolean;
}

export interface LockedKind {
  readonly role: string;
  readonly required: readonly string[];
  readonly optional: readonly string[];
}

export interface Lock {
  readonly fields: Readonly<Record<string, LockedField>>;
  readonly kinds: Readonly<Record<string, LockedKind>>;
}

function lockedField(field: Field): LockedField {
  const schema = field.schema as { pattern?: string; minimum?: number; maximum?: number };
  const { minimum, maximum, pattern } = schema;
  return {
    shape: field.shape,
    column: field.column.type,
    absent: field.column.absent,
    ...(field.values === undefined ? {} : { values: field.values }),
    ...(pattern === undefined ? {} : { pattern }),
    ...(minimum === undefined || maximum === undefined
      ? {}
      : { range: [minimum, maximum] as const }),
    ...(field.bytesMax === undefined ? {} : { bytesMax: field.bytesMax }),
    ...(field.content === undefined ? {} : { content: field.content }),
  };
}

/** The shapes that the registry has now. */
export function currentLock(): Lock {
  const fields = Object.entries(ALL_FIELDS).map(([name, field]) => [name, lockedField(field)]);
  const kinds = [...REGISTRY.values()].map((spec) => {
    const names = Object.keys(spec.fields).sort();
    const required = names.filter((name) => spec.required.has(name));
    const optional = names.filter((name) => !spec.required.has(name));
    return [spec.kind, { role: spec.role, required, optional }];
  });
  return { fields: Object.fromEntries(fields), kinds: Object.fromEntries(kinds) };
}

function* fieldBreaks(name: string, was: LockedField, is: LockedField): Generator<string> {
  // Whether a field is content decides how the chain covers it.
  for (const key of ['shape', 'column', 'absent', 'pattern', 'content'] as const)
    if (was[key] !== is[key]) yield `field ${name}: ${key} was ${was[key]}, is ${is[key]}`;
  const lost = (was.values ?? []).filter((value) => !is.values?.includes(value));
  if (was.values !== undefined && is.values !== undefined && lost.length > 0)
    yield `field ${name}: lost the value ${lost.join(', ')}`;
  if ((was.values === undefined) !== (is.values === undefined))
    yield `field ${name}: a closed list and free words are not the same`;
  if (was.bytesMax !== undefined && (is.bytesMax ?? Number.POSITIVE_INFINITY) < was.bytesMax)
    yield `field ${name}: allowed ${was.bytesMax} bytes, now ${is.bytesMax}`;
  if (was.bytesMax === undefined && is.bytesMax !== undefined)
    yield `field ${name}: had no limit in bytes, now ${is.bytesMax}`;
  const [low, high] = was.range ?? [Number.NaN, Number.NaN];
  const [lowest, highest] = is.range ?? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  if (lowest > low || highest < high)
    yield `field ${name}: ranged from ${low} to ${high}, now from ${lowest} to ${highest}`;
}

function* kindBreaks(name: string, was: LockedKind, is: LockedKind): Generator<string> {
  if (was.role !== is.role) yield `kind ${name}: role was ${was.role}, is ${is.role}`;
  const required = new Set(is.required);
  const optional = new Set(is.optional);
  for (const field of [...was.required, ...was.optional])
    if (!required.has(field) && !optional.has(field))
      yield `kind ${name}: field ${field} was removed`;
  for (const field of was.required)
    if (optional.has(field)) yield `kind ${name}: field ${field} is no longer required`;
  for (const field of required)
    if (!was.required.includes(field)) yield `kind ${name}: field ${field} is newly required`;
}

/** In what way `is` breaks what `was` promised, in words; empty when it only adds. */
export function lockBreaks(was: Lock, is: Lock): string[] {
  const breaks: string[] = [];
  for (const [name, locked] of Object.entries(was.fields)) {
    const field = is.fields[name];
    if (field === undefined) breaks.push(`field ${name} was removed`);
    else breaks.push(...fieldBreaks(name, locked, field));
  }
  for (const [name, locked] of Object.entries(was.kinds)) {
    const kind = is.kinds[name];
    if (kind === undefined) breaks.push(`kind ${name} was removed`);
    else breaks.push(...kindBreaks(name, locked, kind));
  }
  return breaks;
}

/**
 * The next lock.json, given the text of the last one (undefined where there is none). Throws with
 * every break listed when the registry takes back what was released.
 */
export function nextLock(last: string | undefined): Lock {
  const current = currentLock();
  const breaks = last === undefined ? [] : lockBreaks(JSON.parse(last) as Lock, current);
  if (breaks.length > 0)
    throw new Error(
      `the registry takes back what was released (schemas/lock.json):\n  ${breaks.join('\n  ')}\nAdd a new field or kind beside the old one instead.`,
    );
  return current;
}
