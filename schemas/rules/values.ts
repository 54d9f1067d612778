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
  /**
   * The field's value as text in which case does not count (`fold`), an entry each for a list.
   * Numbers and booleans stand as JSON writes them; what is missing or null is left out.
   * Folded once an event, however many rules ask.
   */
  folded(name: string): readonly string[];
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

/**
 * Text in which case does not count: lower case, where a final sigma is a sigma like any other, so
 * that a part of a folded text is the folded part.
 */
export function fold(text: string): string {
  const lower = text.toLowerCase();
  return lower.includes('ς') ? lower.replaceAll('ς', 'σ') : lower;
}

/** The texts of a value, one for each entry that is there and not null. */
export function textsIn(value: FieldValue | undefined): readonly string[] {
  if (value === undefined || value === null) return NONE;
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object') return [String(value)];
  return value.filter((entry) => entry !== null).map(String);
}
const NONE: readonly string[] = [];

/** A number as telemetry writes it; undefined for what is none. */
export function numberOf(value: Scalar): number | undefined {
  if (typeof value === 'number') return value;
  if (typeof value !== 'string' || value.trim() === '') return undefined;
  const number = Number(value);
  return Number.isNaN(number) ? undefined : number;
}

/** A view that remembers what it folded. */
export abstract class FoldingView implements FieldView {
  #folded: Map<string, readonly string[]> | undefined;

  abstract get(name: string): FieldValue | undefined;
  abstract names(): readonly string[];

  folded(name: string): readonly string[] {
    const known = this.#folded?.get(name);
    if (known !== undefined) return known;
    const value = this.get(name);
    // Most of what rules ask for is not there: it is as quickly asked for again.
    if (value === undefined) return NONE;
    const texts = typeof value === 'string' ? [fold(value)] : textsIn(value).map(fold);
    this.#folded ??= new Map();
    this.#folded.set(name, texts);
    return texts;
  }
}

class SourceView extends FoldingView {
  override readonly get: FieldView['get'];
  override readonly names: FieldView['names'];

  constructor({ get, names }: Pick<FieldView, 'get' | 'names'>) {
    super();
    this.get = get;
    this.names = names;
  }
}

/** A view over `get` and `names`. */
export const createView = (source: Pick<FieldView, 'get' | 'names'>): FieldView =>
  new SourceView(source);

/** The fields of a plain object, its own ones only: a field called `__proto__` finds nothing. */
export function recordView(record: Readonly<Record<string, FieldValue | undefined>>): FieldView {
  return createView({
    get: (name) => (Object.hasOwn(record, name) ? record[name] : undefined),
    names: () => Object.keys(record).filter((name) => record[name] !== undefined),
  });
}
