/**
 * How a rule sees an event: named fields, and nothing of how they came about. The matchers know
 * only this, so the same rule runs over our events, over a line of NDJSON, live and in a backtest.
 */

/** One value. `null` is a value of its own: the field is there and holds nothing. */
export type Scalar = string | number | boolean | null;
/** What a field holds; a list matches where one of its entries does. */
export type FieldValue = Scalar | readonly Scalar[];

/** The fields of one event. */
export interface FieldView {
  /** The field's value; `undefined` where the event has no such field. Missing is not empty. */
  get(name: string): FieldValue | undefined;
  /** The names of the fields that the event has, for a search over the whole event. */
  names(): readonly string[];
}

/** Where an event comes from, or where a rule looks: Sigma's three words for it, in lower case. */
export interface Logsource {
  readonly product?: string;
  readonly category?: string;
  readonly service?: string;
}

/** An event as one log source would have told it: one exec is a process creation and an EXECVE. */
export interface LogView {
  /** Absent where the event does not say: then every rule may look at it. */
  readonly source?: Logsource;
  readonly fields: FieldView;
}

/** An event as rules take it. Events are fed in the order of `timeNs`, ties by their sequence. */
export interface RuleEvent {
  readonly id: string;
  /** Nanoseconds since 1970, of the event itself. */
  readonly timeNs: bigint;
  readonly views: readonly LogView[];
}

/** Whether a rule about `wanted` looks at what comes from `source`: each word it names is there. */
export function coversSource(wanted: Logsource, source: Logsource | undefined): boolean {
  if (source === undefined) return true;
  return (
    (wanted.product === undefined || wanted.product === source.product) &&
    (wanted.category === undefined || wanted.category === source.category) &&
    (wanted.service === undefined || wanted.service === source.service)
  );
}

/** The fields of a plain object, its own ones only: a field called `__proto__` finds nothing. */
export function recordView(record: Readonly<Record<string, FieldValue | undefined>>): FieldView {
  return {
    get: (name) => (Object.hasOwn(record, name) ? record[name] : undefined),
    names: () => Object.keys(record).filter((name) => record[name] !== undefined),
  };
}
