/**
 * Threshold rules: at least so many events of one kind, or so many different values of a field,
 * for one key within a time.
 *
 *     threshold:
 *       where: EQL event query         which events count
 *       after: EQL event query         optional: only events behind such a one, within `timespan`
 *       after_silence: 30m             optional: such a one opens only if none came for that long
 *       by: session.id                 field or fields of the key
 *       count: 5                       so many events
 *       distinct: rule                 optional field, with
 *       distinct_count: 3              so many different values of it among them
 *       timespan: 2m                   inclusive; s, m, h, d
 *
 * The window slides: it holds the newest events that lie within `timespan`. A key that has fired
 * begins anew, so that one burst is one alert for each `count` events of it.
 */
import { at, type Entry, type MapNode, textOf, textsOf } from './document.ts';
import { compileKey, type KeyOf, keyTexts, shortKeyOf } from './eql/key.ts';
import { typeOfField } from './eql/taxonomy.ts';
import { quoted, refuse } from './faults.ts';
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
import type { RuleEvent } from './values.ts';

/** Compiles the event query of an entry. */
export type ReadQuery = (entry: Entry) => { readonly matcher: Matcher };

const COUNT_MAX = 1000;
const UNITS: Readonly<Record<string, bigint>> = {
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
  d: 86_400_000_000_000n,
};

/** An entry that has to be there. */
export function needed(map: MapNode, key: string): Entry {
  return at(map, key) ?? refuse('shape', map.place, `${quoted(key)} is missing`);
}

/** Refuses keys that nobody reads. */
export function onlyKeys(map: MapNode, keys: readonly string[]): void {
  const other = map.entries.find((entry) => !keys.includes(entry.key));
  if (other === undefined) return;
  refuse('shape', other.place, `unknown key ${quoted(other.key)}: there are ${keys.join(', ')}`);
}

/** A duration such as `10m`, in nanoseconds. */
export function readSpan(entry: Entry): bigint {
  const found = /^(\d{1,6})([smhd])$/.exec(textOf(entry));
  const span = found === null ? 0n : BigInt(found[1] ?? 0) * (UNITS[found[2] ?? ''] ?? 0n);
  if (span > 0n) return span;
  return refuse('value', entry.value.place, `${entry.key} is a time such as 90s, 10m, 1h, 30d`);
}

/** A test of single events: an event query without pipes. */
export function readTest(entry: Entry, readQuery: ReadQuery): EventMatcher {
  const { matcher } = readQuery(entry);
  if (matcher.type === 'event') return matcher.test;
  return refuse('query', entry.value.place, `${entry.key} is an event query without pipes`);
}

/** Names of fields of our events, one or several. */
export function readFields(entry: Entry): readonly string[] {
  const names = textsOf(entry);
  for (const name of names) {
    const type = typeOfField(name);
    if (type === undefined) refuse('field', entry.value.place, `unknown field ${quoted(name)}`);
    if (type?.list) refuse('field', entry.value.place, `${quoted(name)} is a list`);
  }
  return names;
}

/** The key over some fields, all of which have to be there. */
export function keyOver(names: readonly string[]): KeyOf {
  const nowhere = { line: 1, column: 1 };
  return compileKey(
    names.map((name) => ({ node: 'field', name, optional: false, at: nowhere }) as const),
  );
}

function readCount({ key, value }: Entry): number {
  const count = value.type === 'scalar' ? value.value : undefined;
  if (typeof count === 'number' && Number.isInteger(count) && count > 0 && count <= COUNT_MAX) {
    return count;
  }
  return refuse('value', value.place, `${key} is a whole number from 1 to ${COUNT_MAX}`);
}

interface Plan {
  readonly after: boolean;
  readonly silenceNs: bigint;
  readonly keyOf: KeyOf;
  readonly distinctOf: KeyOf | undefined;
  readonly count: number;
  readonly distinctCount: number;
  readonly spanNs: bigint;
}

interface Counted {
  readonly id: string;
  readonly timeNs: bigint;
  readonly value: string;
}
interface Window {
  /** The newest event of `after`; undefined where none is within reach. */
  opener: Counted | undefined;
  counted: Counted[];
  /** When an event of `after` came last; kept where a silence is waited for. */
  lastNs: bigint | undefined;
}

/**
 * What stands for a key. There are very many with one event that counts and nothing else, so such a
 * window is that event.
 */
type Held = Window | Counted;

type SavedCounted = readonly [string, string, string];
type SavedWindow = readonly [
  key: string,
  opener: SavedCounted | null,
  counted: readonly SavedCounted[],
  lastNs: string | null,
];
interface SavedThreshold {
  readonly windows: readonly SavedWindow[];
}

const saveCounted = ({ id, timeNs, value }: Counted): SavedCounted => [id, String(timeNs), value];
const loadCounted = ([id, timeNs, value]: SavedCounted): Counted => ({
  id,
  timeNs: BigInt(timeNs),
  value,
});

const FEW = 8;
const NONE: readonly Firing[] = [];
const NEW = (): Window => ({ opener: undefined, counted: [], lastNs: undefined });
const isEmpty = ({ opener, counted, lastNs }: Window): boolean =>
  opener === undefined && counted.length === 0 && lastNs === undefined;

const windowOf = (held: Held | undefined): Window => {
  if (held === undefined) return NEW();
  return 'counted' in held ? held : { opener: undefined, counted: [held], lastNs: undefined };
};
const heldOf = (window: Window): Held => {
  const { opener, counted, lastNs } = window;
  const [one] = counted;
  const single = opener === undefined && lastNs === undefined && counted.length === 1;
  return single && one !== undefined ? one : window;
};
/** Entries of a window: itself, and the events that it counts. */
const sizeOf = (held: Held): number => ('counted' in held ? 1 + held.counted.length : 1);

class ThresholdState implements StreamState {
  readonly #plan: Plan;
  readonly #limits: StreamLimits;
  /** By key, in the order of their last event. */
  readonly #windows = new Map<string, Held>();
  #size = 0;
  #evicted = 0;

  constructor(plan: Plan, limits: StreamLimits, saved: SavedThreshold | undefined) {
    this.#plan = plan;
    this.#limits = limits;
    for (const [key, opener, counted, lastNs] of saved?.windows ?? []) {
      const window = {
        opener: opener === null ? undefined : loadCounted(opener),
        counted: counted.map(loadCounted),
        lastNs: lastNs === null ? undefined : BigInt(lastNs),
      };
      this.#put(key, heldOf(window));
    }
  }

  feed(event: RuleEvent, hits: readonly Hit[]): readonly Firing[] {
    const out: Firing[] = [];
    // `where` is asked first: an event that also opens does not count behind itself.
    for (const hit of hits) {
      const key = shortKeyOf(hit, this.#plan.keyOf);
      if (key === undefined) continue;
      const window = windowOf(this.#take(key));
      this.#trim(window, event.timeNs);
      if (hit.input === 0) out.push(...this.#count(window, event, hit));
      else this.#openBy(window, event);
      if (!isEmpty(window)) this.#put(key, heldOf(window));
    }
    this.#expire(event.timeNs);
    this.#bound();
    return out;
  }

  #put(key: string, held: Held): void {
    this.#windows.set(key, held);
    this.#size += sizeOf(held);
  }

  #take(key: string): Held | undefined {
    const held = this.#windows.get(key);
    if (held === undefined) return undefined;
    this.#windows.delete(key);
    this.#size -= sizeOf(held);
    return held;
  }

  /** An event of `after`; where a silence is asked for, only the first one behind it opens. */
  #openBy(window: Window, { id, timeNs }: RuleEvent): void {
    const { silenceNs } = this.#plan;
    const { lastNs } = window;
    if (silenceNs > 0n) window.lastNs = timeNs;
    const silent = lastNs !== undefined && timeNs - lastNs >= silenceNs;
    if (silenceNs === 0n || silent) window.opener = { id, timeNs, value: '' };
  }

  #count(window: Window, event: RuleEvent, hit: Hit): readonly Firing[] {
    const { after, keyOf, distinctOf, count, distinctCount } = this.#plan;
    if (after && window.opener === undefined) return [];
    const value = distinctOf === undefined ? '' : distinctOf(hit.fields);
    if (value === undefined) return [];
    // Where only different values count, one event of each is enough: the newest.
    if (distinctOf !== undefined && count <= distinctCount) {
      window.counted = window.counted.filter((one) => one.value !== value);
    }
    hit.counted ??= { id: event.id, timeNs: event.timeNs, value };
    const counted = hit.counted as Counted;
    // Most windows hold few events, and a list that is pushed to makes room for many.
    if (window.counted.length < FEW) window.counted = [...window.counted, counted];
    else window.counted.push(counted);
    if (window.counted.length > this.#limits.eventsPerGroupMax) {
      window.counted.shift();
      this.#evicted += 1;
    }
    if (window.counted.length < count) return [];
    if (new Set(window.counted.map((one) => one.value)).size < distinctCount) return [];
    const opener = window.opener === undefined ? [] : [window.opener];
    const events = [...opener, ...window.counted].map(({ id }) => id);
    window.opener = undefined;
    window.counted = [];
    const key = keyTexts(keyOf(hit.fields) ?? '[]');
    return [{ timeNs: event.timeNs, key, events }];
  }

  /** Leaves out what lies further back than the time span. */
  #trim(window: Window, timeNs: bigint): void {
    const { spanNs } = this.#plan;
    const { opener } = window;
    if (opener !== undefined && timeNs - opener.timeNs > spanNs) window.opener = undefined;
    const oldest = window.counted[0];
    if (oldest === undefined || timeNs - oldest.timeNs <= spanNs) return;
    const first = window.counted.findIndex((one) => timeNs - one.timeNs <= spanNs);
    window.counted.splice(0, first < 0 ? window.counted.length : first);
  }

  advance(timeNs: bigint): readonly Firing[] {
    this.#expire(timeNs);
    return NONE;
  }

  /** Forgets the windows at the front that are empty by now: they stand by their last event. */
  #expire(timeNs: bigint): void {
    for (const [key, held] of this.#windows) {
      if ('counted' in held) {
        const before = sizeOf(held);
        this.#trim(held, timeNs);
        this.#size += sizeOf(held) - before;
        if (!isEmpty(held)) return;
      } else if (timeNs - held.timeNs <= this.#plan.spanNs) return;
      this.#take(key);
    }
  }

  #bound(): void {
    if (this.#windows.size <= this.#limits.groupsMax) return;
    for (const key of this.#windows.keys()) {
      if (this.#windows.size <= this.#limits.groupsMax) return;
      this.#take(key);
      this.#evicted += 1;
    }
  }

  save(): SavedThreshold {
    return {
      windows: [...this.#windows].map(([key, held]) => {
        const { opener, counted, lastNs } = windowOf(held);
        return [
          key,
          opener === undefined ? null : saveCounted(opener),
          counted.map(saveCounted),
          lastNs === undefined ? null : String(lastNs),
        ];
      }),
    };
  }

  stats() {
    let events = 0;
    for (const held of this.#windows.values()) events += windowOf(held).counted.length;
    return { groups: this.#windows.size, events, evicted: this.#evicted };
  }

  get size(): number {
    return this.#size;
  }
}

const KEYS = [
  ...['where', 'after', 'after_silence', 'by', 'count', 'distinct', 'distinct_count', 'timespan'],
];

/** Compiles the body of a threshold rule; throws a `Refusal`. */
export function compileThreshold(map: MapNode, readQuery: ReadQuery): Matcher {
  onlyKeys(map, KEYS);
  const where = readTest(needed(map, 'where'), readQuery);
  const afterEntry = at(map, 'after');
  const after = afterEntry === undefined ? [] : [readTest(afterEntry, readQuery)];
  const by = readFields(needed(map, 'by'));
  const distinct = at(map, 'distinct');
  const distinctFields = distinct === undefined ? [] : readFields(distinct);
  const distinctCount = distinct === undefined ? 1 : readCount(needed(map, 'distinct_count'));
  const countEntry = at(map, 'count');
  const count = countEntry === undefined ? distinctCount : readCount(countEntry);
  if (countEntry === undefined && distinct === undefined) needed(map, 'count');
  const spanNs = readSpan(needed(map, 'timespan'));
  const silence = at(map, 'after_silence');
  const silenceNs = silence === undefined ? 0n : readSpan(silence);
  if (silence !== undefined) needed(map, 'after');
  const inputs = [where, ...after];
  const plan: Plan = {
    after: after.length > 0,
    silenceNs,
    keyOf: keyOver(by),
    distinctOf: distinct === undefined ? undefined : keyOver(distinctFields),
    count,
    distinctCount,
    spanNs,
  };
  const stream: StreamMatcher = {
    inputs,
    // What counts lies up to a span behind what opens, and the silence lies before that.
    windowNs: spanNs + (after.length > 0 ? spanNs : 0n) + silenceNs,
    fields: [...new Set([...by, ...distinctFields])],
    groupBy: inputs.map(() => by),
    required: inputs.map((_input, place) => place),
    atLeast: { count, silenceNs },
    open: (limits = STREAM_LIMITS, saved) =>
      new ThresholdState(plan, limits, saved as SavedThreshold | undefined),
  };
  return { type: 'stream', stream };
}
