/**
 * One stream rule over one group of events (a session, or a tenant), whatever order they come in.
 *
 * The rule's state takes events in the order of their time. What comes in that order goes straight
 * in. Behind it a second state, the *base*, follows at a short distance, and the hits between the
 * two are kept. What comes late is put in its place among these, and the state is made anew from
 * the base; firings that are new are raised, and firings that do not hold in the true order are
 * withdrawn. What comes too late even for the base makes the state *stale*: it goes on, and its
 * owner begins it anew from all that is stored. So the firings that stand are those of a run over
 * all events in order, which is what a backtest does, however long the rule's window is.
 */
import { keyValue } from './eql/key.ts';
import type { Firing, Hit, StreamLimits, StreamMatcher, StreamState } from './rule.ts';
import { type FieldValue, type FieldView, FoldingView, type RuleEvent } from './values.ts';

/** The order of events everywhere: time, then stream, then number. */
export interface Position {
  readonly timeNs: bigint;
  readonly stream: string;
  readonly seq: number;
}

export function comparePositions(a: Position, b: Position): number {
  if (a.timeNs !== b.timeNs) return a.timeNs < b.timeNs ? -1 : 1;
  if (a.stream !== b.stream) return a.stream < b.stream ? -1 : 1;
  return a.seq - b.seq;
}

/** An event that a rule's tests held for, with what the rule may read of it and no more. */
export interface KeptHit extends Position {
  readonly id: string;
  readonly session: string;
  readonly hits: readonly Hit[];
  /** Its name as the rule's states have it, once one asked. */
  ticket?: string | undefined;
}

/** An event that a firing is made of. */
export type Part = Pick<KeptHit, 'timeNs' | 'session' | 'id'>;

/** A firing that stands. */
export interface Standing {
  readonly timeNs: bigint;
  readonly key: readonly string[];
  readonly parts: readonly Part[];
  /** The name under which it is told from others: key and first event. */
  readonly name: string;
}

export interface Changes {
  readonly raised: readonly Standing[];
  readonly withdrawn: readonly Standing[];
  /** A hit came too late to be put in its place: it was left out. */
  readonly stale: boolean;
}

/** Hits in their order; the same list where they stand in it already. */
export function inOrder(hits: readonly KeptHit[]): readonly KeptHit[] {
  for (let at = 1; at < hits.length; at++)
    if (comparePositions(hits[at - 1] as KeptHit, hits[at] as KeptHit) > 0)
      return hits.toSorted(comparePositions);
  return hits;
}

/** Only equality is asked of a text: a long one is told by its hash. */
const shortened = (value: FieldValue): FieldValue =>
  Array.isArray(value) ? value.map(keyValue) : keyValue(value);

/** What a rule reads of a hit, copied out of the event so that the event can be let go. */
class KeptView extends FoldingView {
  readonly #fields: readonly string[];
  readonly #values: readonly (FieldValue | undefined)[];

  constructor(view: FieldView, fields: readonly string[]) {
    super();
    this.#fields = fields;
    this.#values = fields.map((name) => {
      const value = view.get(name);
      return value === undefined ? undefined : shortened(value);
    });
  }

  get(name: string): FieldValue | undefined {
    const at = this.#fields.indexOf(name);
    return at < 0 ? undefined : this.#values[at];
  }

  names(): readonly string[] {
    return this.#fields.filter((_, at) => this.#values[at] !== undefined);
  }
}

/** The hits of one event as they are kept. */
export function keepHit(
  { id, session, timeNs, stream, seq }: Omit<KeptHit, 'hits' | 'ticket'>,
  hits: readonly Hit[],
  fields: readonly string[],
): KeptHit {
  let view: FieldView | undefined;
  let kept: FieldView | undefined;
  const small = hits.map((hit): Hit => {
    // Nearly always it is one view that several inputs hold for.
    if (kept === undefined || view !== hit.fields) {
      view = hit.fields;
      kept = new KeptView(view, fields);
    }
    return { input: hit.input, fields: kept, key: undefined };
  });
  return { id, session, timeNs, stream, seq, hits: small, ticket: undefined };
}

export interface Ordered {
  /** Takes the hits of a batch, in any order. */
  add(hits: readonly KeptHit[]): Changes;
  /** No hit before `timeNs` will be added any more. */
  advance(timeNs: bigint): Changes;
  /** Gives the base all that is kept: no memory is held for what may come late. */
  settle(): void;
  /** Hits that are kept. */
  readonly size: number;
  /** The place of the newest hit; undefined before the first. */
  readonly newest: Position | undefined;
  /** Nothing is kept and the state waits for nothing: it is as good as new for what comes later. */
  readonly idle: boolean;
  /** What the rule's state let go for its limits. */
  readonly evicted: number;
}

export const NOTHING: Changes = { raised: [], withdrawn: [], stale: false };
export const STALE: Changes = { ...NOTHING, stale: true };
const NO_STANDING: ReadonlyMap<string, Standing> = new Map();
const NO_VIEWS: RuleEvent['views'] = [];

/** How many hits one rule keeps of one group. */
export const KEPT_HITS_MAX = 64;

/**
 * An event's name as the rule's state takes it: opaque to the state, and all that is told of the
 * event later, when its hit is long gone.
 */
const ticket = ({ timeNs, session, id }: Part): string =>
  // Joined it is one text; a template would keep its parts, and there are many.
  [timeNs, session, id].join(' ');

function partOf(name: string): Part {
  const [timeNs = '0', session = '', id = ''] = name.split(' ');
  return { timeNs: BigInt(timeNs), session, id };
}

const standingOf = ({ timeNs, key, events }: Firing): Standing => ({
  timeNs,
  key,
  parts: events.map(partOf),
  name: JSON.stringify([key, events[0]]),
});

/** A hit as the rule's state takes it: its name is made when the state asks for it. */
class Fed implements RuleEvent {
  readonly #hit: KeptHit;
  readonly timeNs: bigint;
  readonly views = NO_VIEWS;

  constructor(hit: KeptHit) {
    this.#hit = hit;
    this.timeNs = hit.timeNs;
  }

  get id(): string {
    this.#hit.ticket ??= ticket(this.#hit);
    return this.#hit.ticket;
  }
}

const feed = (to: StreamState, hit: KeptHit): readonly Firing[] => to.feed(new Fed(hit), hit.hits);

class OrderedState implements Ordered {
  readonly #matcher: StreamMatcher;
  readonly #keepNs: bigint;
  readonly #limits: StreamLimits;
  readonly #keptMax: number;
  /** Hits that the state has and the base has not, in order. */
  readonly #kept: KeptHit[] = [];
  readonly #base: StreamState;
  /** The last hit that the base was given. */
  #based: Position | undefined;
  #state: StreamState;
  /** Made when something fires: there are many states, and few that fire. */
  #standing: Map<string, Standing> | undefined;
  #advancedNs: bigint | undefined;

  constructor(matcher: StreamMatcher, keepNs: bigint, limits: StreamLimits, keptMax: number) {
    this.#matcher = matcher;
    this.#keepNs = keepNs;
    this.#limits = limits;
    this.#keptMax = keptMax;
    this.#base = matcher.open(limits);
    this.#state = matcher.open(limits);
  }

  add(hits: readonly KeptHit[]): Changes {
    const sorted = inOrder(hits);
    const based = this.#based;
    const from =
      based === undefined ? 0 : sorted.findIndex((hit) => comparePositions(hit, based) > 0);
    const stale = from !== 0 && sorted.length > 0;
    const first = sorted[from];
    if (first === undefined) return stale ? STALE : NOTHING;
    const inTime = from === 0 ? sorted : sorted.slice(from);
    const changes = this.#isLate(first) ? this.#insert(inTime) : this.#append(inTime);
    this.#trim();
    return stale ? { ...changes, stale } : changes;
  }

  advance(timeNs: bigint): Changes {
    if (this.#advancedNs !== undefined && timeNs <= this.#advancedNs) return NOTHING;
    this.#advancedNs = timeNs;
    const firings = this.#state.advance(timeNs);
    return firings.length === 0 ? NOTHING : { ...NOTHING, raised: this.#raise(firings) };
  }

  settle(): void {
    this.#giveBase(this.#kept.length);
  }

  get size(): number {
    return this.#kept.length;
  }

  get newest(): Position | undefined {
    return this.#kept.at(-1) ?? this.#based;
  }

  get idle(): boolean {
    if (this.#kept.length > 0) return false;
    const { groups, events } = this.#state.stats();
    return groups === 0 && events === 0;
  }

  get evicted(): number {
    return this.#state.stats().evicted;
  }

  #isLate(first: KeptHit): boolean {
    const last = this.#kept.at(-1) ?? this.#based;
    if (last !== undefined && comparePositions(first, last) < 0) return true;
    return this.#advancedNs !== undefined && first.timeNs < this.#advancedNs;
  }

  #append(hits: readonly KeptHit[]): Changes {
    let raised: Standing[] | undefined;
    for (const hit of hits) {
      this.#kept.push(hit);
      const firings = feed(this.#state, hit);
      if (firings.length === 0) continue;
      raised ??= [];
      raised.push(...this.#raise(firings));
    }
    return raised === undefined ? NOTHING : { ...NOTHING, raised };
  }

  /** Puts late hits in their places. */
  #insert(hits: readonly KeptHit[]): Changes {
    for (const hit of hits) {
      let [low, high] = [0, this.#kept.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (comparePositions(this.#kept[middle] as KeptHit, hit) < 0) low = middle + 1;
        else high = middle;
      }
      this.#kept.splice(low, 0, hit);
    }
    return this.#rebuild((hits[0] as KeptHit).timeNs);
  }

  /** Notes firings as standing; those of them that did not stand before. */
  #raise(firings: readonly Firing[]): Standing[] {
    this.#standing ??= new Map();
    const standing = this.#standing;
    return firings.map(standingOf).filter((one) => {
      if (standing.has(one.name)) return false;
      standing.set(one.name, one);
      return true;
    });
  }

  /** Runs all that is kept through the base’s state, and says what is other than before. */
  #rebuild(sinceNs: bigint): Changes {
    const before = this.#standing ?? NO_STANDING;
    this.#state = this.#matcher.open(this.#limits, this.#base.save());
    const standing = new Map<string, Standing>();
    this.#standing = standing;
    const firings = this.#kept.flatMap((hit) => [...feed(this.#state, hit)]);
    if (this.#advancedNs !== undefined) firings.push(...this.#state.advance(this.#advancedNs));
    // What fired before the late event is not touched by it, and the base may be past it by now.
    for (const [name, one] of before) if (one.timeNs < sinceNs) standing.set(name, one);
    const now = this.#raise(firings.filter(({ timeNs }) => timeNs >= sinceNs));
    const raised = now.filter(({ name }) => !before.has(name));
    const withdrawn = [...before.values()].filter(({ name }) => !standing.has(name));
    return { raised, withdrawn, stale: false };
  }

  /** Gives the base the first `count` hits that are kept. */
  #giveBase(count: number): void {
    if (count === 0) return;
    const given = this.#kept.splice(0, count);
    for (const hit of given) feed(this.#base, hit);
    const { timeNs, stream, seq } = given.at(-1) as KeptHit;
    this.#based = { timeNs, stream, seq };
    const standing = this.#standing;
    if (standing === undefined) return;
    for (const [name, one] of standing) if (one.timeNs < timeNs) standing.delete(name);
    if (standing.size === 0) this.#standing = undefined;
  }

  #trim(): void {
    const kept = this.#kept;
    const newest = kept.at(-1);
    if (newest === undefined) return;
    const since = newest.timeNs - this.#keepNs;
    let count = Math.max(kept.length - this.#keptMax, 0);
    while (count < kept.length && (kept[count] as KeptHit).timeNs < since) count++;
    this.#giveBase(count);
  }
}

/**
 * A rule over a group. Hits that come at most `keepNs` later than their neighbours are put in their
 * place, as long as no more than `keptMax` are kept.
 */
export const createOrdered = (
  matcher: StreamMatcher,
  keepNs: bigint,
  limits: StreamLimits,
  keptMax: number = KEPT_HITS_MAX,
): Ordered => new OrderedState(matcher, keepNs, limits, keptMax);
