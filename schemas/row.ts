/**
 * Stored row -> event. The steps of each kind are laid out once: a verifier reads millions of rows,
 * and looking every field up in the registry would cost more than the hashes do.
 */
import type { Field } from './define.ts';
import { FIELDS } from './fields.ts';
import { type KindSpec, REGISTRY, type TelltaleEvent } from './registry.ts';

type Loose = Readonly<Record<string, unknown>>;

interface Step {
  readonly name: string;
  /** Where a time stands in a row of `selectEvent()`: in decimal nanoseconds. */
  readonly nsKey: string | undefined;
  readonly shape: Field['shape'];
  /** The column's default stands for absent. */
  readonly emptyIsAbsent: boolean;
}

const plans = new Map<string, readonly Step[]>();

function planOf(kind: string): readonly Step[] {
  const known = plans.get(kind);
  if (known !== undefined) return known;
  const spec = REGISTRY.get(kind);
  if (spec === undefined) throw new Error(`row of an unknown kind: ${kind}`);
  const plan = spec.sorted.map((name) => {
    const { shape, column } = spec.fields[name] as Field;
    return {
      name,
      nsKey: shape === 'time' ? `${name}_ns` : undefined,
      shape,
      emptyIsAbsent: column.absent === 'empty' && !spec.required.has(name),
    };
  });
  plans.set(kind, plan);
  return plan;
}

/** The default of a column: what stands in a row whose event does not have the field. */
function isDefault(value: unknown): boolean {
  if (typeof value === 'string') return value === '';
  if (typeof value === 'object' && value !== null) {
    if (Array.isArray(value)) return value.length === 0;
    for (const _key in value) return false;
    return true;
  }
  return value === 0;
}

function columnValue(shape: Field['shape'], value: unknown): unknown {
  switch (shape) {
    case 'uint':
    case 'int':
      return Number(value);
    case 'flag':
      return value === true || value === 1 || value === '1' || value === 'true';
    case 'time':
      return value === '' || value === '0' ? undefined : String(value);
    default:
      return value;
  }
}

/**
 * The event that a stored row is, exactly as it was stamped: fields that hold their column's
 * default are absent unless the kind requires them. `row` is JSONEachRow of `selectEvent()` in
 * `table.ts` (times as decimal nanoseconds, 64-bit integers as strings), with or without its times
 * renamed by `rowOf`. Throws for a kind that is not known.
 */
export function fromRow(row: Loose): TelltaleEvent {
  const event: Record<string, unknown> = {};
  for (const { name, nsKey, shape, emptyIsAbsent } of planOf(String(row.kind))) {
    const stored = (nsKey === undefined ? undefined : row[nsKey]) ?? row[name];
    if (stored === null || stored === undefined) continue;
    const value = columnValue(shape, stored);
    if (value === undefined || (emptyIsAbsent && isDefault(value))) continue;
    event[name] = value;
  }
  return event as unknown as TelltaleEvent;
}

/** What a row says by its place, for rows that are told without it. */
export interface RowPlace {
  readonly tenant: string;
  readonly session_id: string;
  readonly stream_id: string;
}

/**
 * Reads rows of one kind that are the values of `names` alone, in this order and as `selectEvent`
 * gives them: the same event as `fromRow` makes of a row with these columns. Throws for a kind that
 * is not known.
 */
export function rowReader(
  kind: string,
  names: readonly string[],
): (place: RowPlace, values: readonly unknown[]) => TelltaleEvent {
  const plan = new Map(planOf(kind).map((step) => [step.name, step]));
  const steps = names.map((name) => plan.get(name));
  return ({ tenant, session_id, stream_id }, values) => {
    const event: Record<string, unknown> = { kind, tenant, session_id, stream_id };
    for (let at = 0; at < steps.length; at++) {
      const step = steps[at];
      const stored = values[at];
      if (step === undefined || stored === null || stored === undefined) continue;
      const value = columnValue(step.shape, stored);
      if (value === undefined || (step.emptyIsAbsent && isDefault(value))) continue;
      event[step.name] = value;
    }
    return event as unknown as TelltaleEvent;
  };
}

/** As `fromRow`; undefined for a kind that this program does not know, which has no rule either. */
export const knownEventOf = (row: Loose): TelltaleEvent | undefined =>
  REGISTRY.has(String(row.kind)) ? fromRow(row) : undefined;

/** Where a field stands in what `selectEvent` gives, and its value out of it. */
export interface FieldReader {
  readonly key: string;
  /** As `fromRow` gives it; undefined where the event does not have it. */
  read(stored: unknown): unknown;
}

/** How one field of the events of a kind is read; undefined where the kind does not have it. */
export function fieldReader(kind: string, field: string): FieldReader | undefined {
  const step = planOf(kind).find(({ name }) => name === field);
  if (step === undefined) return undefined;
  const { name, nsKey, shape, emptyIsAbsent } = step;
  return {
    key: nsKey ?? name,
    read(stored) {
      if (stored === null || stored === undefined) return undefined;
      const value = columnValue(shape, stored);
      return emptyIsAbsent && isDefault(value) ? undefined : value;
    },
  };
}

const strangers = new Map<string, readonly string[]>();

function strangersOf(spec: KindSpec): readonly string[] {
  const known = strangers.get(spec.kind);
  if (known !== undefined) return known;
  const names = Object.keys(FIELDS).filter((name) => spec.fields[name] === undefined);
  strangers.set(spec.kind, names);
  return names;
}

/**
 * A column that the row's kind does not have and that holds a value all the same: no collector
 * wrote it, and no chain covers it. Undefined where there is none.
 */
function strangerOf(row: Loose): string | undefined {
  const spec = REGISTRY.get(String(row.kind));
  if (spec === undefined) return undefined;
  for (const name of strangersOf(spec)) {
    const value = row[name];
    if (value !== '' && value !== null && value !== undefined && !isDefault(value)) return name;
  }
  return undefined;
}

/** What a row is, read once. */
export interface Seen {
  /** As it was stamped; undefined for a kind that this program does not know. */
  readonly event: TelltaleEvent | undefined;
  /**
   * For a verifier: with a column that its kind does not have, if there is one, and the bare row
   * where the kind is not known, so that neither goes unseen.
   */
  readonly evidence: TelltaleEvent;
}

/** Both readings of a row; they are one object where nothing is amiss. */
export function seenOf(row: Loose): Seen {
  const event = knownEventOf(row);
  if (event === undefined) return { event, evidence: row as unknown as TelltaleEvent };
  const stranger = strangerOf(row);
  if (stranger === undefined) return { event, evidence: event };
  return { event, evidence: { ...event, [stranger]: row[stranger] } as unknown as TelltaleEvent };
}

/** The event of a row for a verifier; see `Seen`. */
export const evidenceOf = (row: Loose): TelltaleEvent => seenOf(row).evidence;
