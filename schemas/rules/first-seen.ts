/**
 * First-seen rules (new terms): a value of a field that was not there in a time before.
 *
 *     first_seen:
 *       where: EQL event query         which events are looked at
 *       field: destination.domain      the value, or a list of fields whose values together count
 *       by: tenant                     whose history: the value is new for this key
 *       history: 30d                   how long a value is remembered since it was last seen
 *       learn: 7d                      no alert until the history of the key is that old
 *       after: EQL event query         optional: only behind such an event of the same …
 *       after_by: session.id           … key, and
 *       within: 10m                    not longer ago than this
 *
 * What was seen is a `History`, a small interface: in memory it is part of the rule's state; a
 * backtest or a restart may hand in one that was read from the table.
 */
import { at, type MapNode } from './document.ts';
import { type KeyOf, keyTexts } from './eql/key.ts';
import {
  type EventMatcher,
  type Firing,
  type Hit,
  type Matcher,
  STREAM_LIMITS,
  type StreamLimits,
  type StreamMatcher,
  type StreamState,
} from './rule.ts';
import {
  keyOver,
  needed,
  onlyKeys,
  type ReadQuery,
  readFields,
  readSpan,
  readTest,
} from './threshold.ts';
import type { RuleEvent } from './values.ts';

/** What a key has seen. Times are nanoseconds since 1970; keys and values are opaque texts. */
export interface History {
  /** When the key was seen first; undefined for never. */
  beganNs(key: string): bigint | undefined;
  /** When the value was last seen for the key; undefined for never, or longer ago than it keeps. */
  lastNs(key: string, value: string): bigint | undefined;
  /** Notes that the value is seen now. */
  see(key: string, value: string, timeNs: bigint): void;
}

type SavedHistory = readonly (readonly [string, string, readonly (readonly [string, string])[]])[];

interface Book {
  readonly beganNs: bigint;
  readonly values: Map<string, bigint>;
}

/** A history in memory: the values seen longest ago are forgotten first, and counted. */
export class MemoryHistory implements History {
  readonly #books = new Map<string, Book>();
  readonly #valuesMax: number;
  #values = 0;
  evicted = 0;

  constructor(valuesMax: number, saved: SavedHistory = []) {
    this.#valuesMax = valuesMax;
    for (const [key, beganNs, values] of saved) {
      const book = new Map(values.map(([value, timeNs]) => [value, BigInt(timeNs)]));
      this.#books.set(key, { beganNs: BigInt(beganNs), values: book });
      this.#values += book.size;
    }
  }

  beganNs(key: string): bigint | undefined {
    return this.#books.get(key)?.beganNs;
  }

  lastNs(key: string, value: string): bigint | undefined {
    return this.#books.get(key)?.values.get(value);
  }

  see(key: string, value: string, timeNs: bigint): void {
    const book = this.#books.get(key) ?? { beganNs: timeNs, values: new Map() };
    this.#books.set(key, book);
    if (!book.values.delete(value)) this.#values += 1;
    book.values.set(value, timeNs);
    if (this.#values > this.#valuesMax) this.#forget();
  }

  /** Drops the stalest value of the largest book: one busy key does not cost the others theirs. */
  #forget(): void {
    let largest: Book | undefined;
    for (const book of this.#books.values()) {
      if (largest === undefined || book.values.size > largest.values.size) largest = book;
    }
    const stalest = largest?.values.keys().next().value;
    if (stalest === undefined) return;
    largest?.values.delete(stalest);
    this.#values -= 1;
    this.evicted += 1;
  }

  /** Forgets what was last seen before `timeNs`. */
  expire(timeNs: bigint): void {
    for (const { values } of this.#books.values()) {
      for (const [value, seenNs] of values) {
        if (seenNs >= timeNs) break;
        values.delete(value);
        this.#values -= 1;
      }
    }
  }

  get size(): number {
    return this.#values;
  }

  save(): SavedHistory {
    return [...this.#books].map(([key, { beganNs, values }]) => [
      key,
      String(beganNs),
      [...values].map(([value, timeNs]) => [value, String(timeNs)]),
    ]);
  }
}

export interface FirstSeenPlan {
  readonly valueOf: KeyOf;
  readonly keyOf: KeyOf;
  readonly historyNs: bigint;
  readonly learnNs: bigint;
  readonly after: { readonly keyOf: KeyOf; readonly withinNs: bigint } | undefined;
}

/**
 * Whether the value of an event is new, and notes it.
 *
 * @returns the key and the value as texts where it is new, undefined where it is not, where a field
 *   is missing, or while the key is still learned
 */
export function judge(
  plan: FirstSeenPlan,
  history: History,
  { fields }: Hit,
  timeNs: bigint,
): readonly string[] | undefined {
  const key = plan.keyOf(fields);
  const value = plan.valueOf(fields);
  if (key === undefined || value === undefined) return undefined;
  const beganNs = history.beganNs(key);
  const lastNs = history.lastNs(key, value);
  history.see(key, value, timeNs);
  const learned =
    plan.learnNs === 0n || (beganNs !== undefined && timeNs - beganNs >= plan.learnNs);
  const fresh = lastNs === undefined || timeNs - lastNs > plan.historyNs;
  return learned && fresh ? [...keyTexts(key), ...keyTexts(value)] : undefined;
}

type Opener = readonly [id: string, timeNs: bigint];
interface SavedFirstSeen {
  readonly history: SavedHistory;
  readonly openers: readonly (readonly [string, string, string])[];
}

function openFirstSeen(plan: FirstSeenPlan, limits: StreamLimits, saved: unknown): StreamState {
  const from = saved as SavedFirstSeen | undefined;
  const history = new MemoryHistory(limits.valuesMax, from?.history);
  const openers = new Map<string, Opener>(
    from?.openers.map(([key, id, timeNs]) => [key, [id, BigInt(timeNs)]]),
  );
  let evicted = 0;
  const openerOf = ({ fields }: Hit, timeNs: bigint): Opener | undefined => {
    const key = plan.after?.keyOf(fields);
    const opener = key === undefined ? undefined : openers.get(key);
    const withinNs = plan.after?.withinNs ?? 0n;
    return opener !== undefined && timeNs - opener[1] <= withinNs ? opener : undefined;
  };
  const look = (event: RuleEvent, hit: Hit): Firing[] => {
    const found = judge(plan, history, hit, event.timeNs);
    const opener = plan.after === undefined ? undefined : openerOf(hit, event.timeNs);
    if (found === undefined || (plan.after !== undefined && opener === undefined)) return [];
    const events = opener === undefined ? [event.id] : [opener[0], event.id];
    return [{ timeNs: event.timeNs, key: found, events }];
  };
  const remember = (event: RuleEvent, { fields }: Hit): void => {
    const key = plan.after?.keyOf(fields);
    if (key === undefined) return;
    openers.delete(key);
    openers.set(key, [event.id, event.timeNs]);
    const stalest = openers.size > limits.groupsMax ? openers.keys().next().value : undefined;
    if (stalest === undefined) return;
    openers.delete(stalest);
    evicted += 1;
  };
  return {
    feed: (event, hits) =>
      hits.flatMap((hit) => {
        if (hit.input === 0) return look(event, hit);
        remember(event, hit);
        return [];
      }),
    advance: (timeNs) => {
      history.expire(timeNs - plan.historyNs);
      for (const [key, [, seenNs]] of openers) {
        if (timeNs - seenNs > (plan.after?.withinNs ?? 0n)) openers.delete(key);
      }
      return [];
    },
    save: (): SavedFirstSeen => ({
      history: history.save(),
      openers: [...openers].map(([key, [id, timeNs]]) => [key, id, String(timeNs)]),
    }),
    stats: () => ({
      groups: history.size + openers.size,
      events: openers.size,
      evicted: evicted + history.evicted,
    }),
    get size() {
      return history.size + openers.size;
    },
  };
}

const KEYS = ['where', 'field', 'by', 'history', 'learn', 'after', 'after_by', 'within'];

/** Compiles the body of a first-seen rule; throws a `Refusal`. */
export function compileFirstSeen(map: MapNode, readQuery: ReadQuery): Matcher {
  onlyKeys(map, KEYS);
  const inputs: EventMatcher[] = [readTest(needed(map, 'where'), readQuery)];
  const field = readFields(needed(map, 'field'));
  const by = readFields(needed(map, 'by'));
  const learn = at(map, 'learn');
  const afterEntry = at(map, 'after');
  let after: FirstSeenPlan['after'];
  let afterBy: readonly string[] = [];
  if (afterEntry !== undefined) {
    inputs.push(readTest(afterEntry, readQuery));
    afterBy = readFields(needed(map, 'after_by'));
    after = { keyOf: keyOver(afterBy), withinNs: readSpan(needed(map, 'within')) };
  }
  const plan: FirstSeenPlan = {
    keyOf: keyOver(by),
    valueOf: keyOver(field),
    historyNs: readSpan(needed(map, 'history')),
    learnNs: learn === undefined ? 0n : readSpan(learn),
    after,
  };
  const stream: StreamMatcher = {
    inputs,
    windowNs: plan.historyNs,
    fields: [...new Set([...by, ...field, ...afterBy])],
    // What is new is part of the key that an alert names.
    groupBy: inputs.map(() => [...by, ...field]),
    // Not those of `after`: what other sessions saw without one is history all the same.
    required: [0],
    newAfterNs: plan.historyNs,
    open: (limits = STREAM_LIMITS, saved) => openFirstSeen(plan, limits, saved),
  };
  return { type: 'stream', stream };
}
