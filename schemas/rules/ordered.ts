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
import {
  comparePositions,
  inOrder,
  type KeptHit,
  type Part,
  type Position,
  Streams,
} from './hits.ts';
import type { Firing, StreamLimits, StreamMatcher, StreamState } from './rule.ts';
import type { RuleEvent } from './values.ts';

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

export interface Ordered {
  /** Takes the hits of a batch, in any order. */
  add(hits: readonly KeptHit[]): Changes;
  /** No hit before `timeNs` will be added any more. */
  advance(timeNs: bigint): Changes;
  /** Gives the base all that is kept: no memory is held for what may come late. */
  settle(): void;
  /** Hits that are kept. */
  readonly size: number;
  /** What both states hold, in their entries. */
  readonly held: number;
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

/** A hit as the rule's state takes it: its name is made when the state asks for it. */
class Fed implements RuleEvent {
  readonly #hit: KeptHit;
  readonly #streams: Streams;
  readonly timeNs: bigint;
  readonly views = NO_VIEWS;

  constructor(hit: KeptHit, streams: Streams) {
    this.#hit = hit;
    this.#streams = streams;
    this.timeNs = hit.timeNs;
  }

  get id(): string {
    this.#hit.ticket ??= this.#streams.ticketOf(this.#hit);
    return this.#hit.ticket;
  }
}

class OrderedState implements Ordered {
  readonly #matcher: StreamMatcher;
  readonly #keepNs: bigint;
  readonly #limits: StreamLimits;
  readonly #keptMax: number;
  /** Hits that the state has and the base has not, in order. */
  #kept: KeptHit[] = [];
  readonly #streams: Streams;
  /** Made with the first hit that it is given. */
  #base: StreamState | undefined;
  /** The last hit that the base was given. */
  #based: Position | undefined;
  #state: StreamState;
  /** Made when something fires: there are many states, and few that fire. */
  #standing: Map<string, Standing> | undefined;
  #advancedNs: bigint | undefined;

  constructor(
    matcher: StreamMatcher,
    keepNs: bigint,
    limits: StreamLimits,
    keptMax: number,
    streams: Streams,
  ) {
    this.#matcher = matcher;
    this.#keepNs = keepNs;
    this.#limits = limits;
    this.#keptMax = keptMax;
    this.#streams = streams;
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

  get held(): number {
    return this.#state.size + (this.#base?.size ?? 0);
  }

  get newest(): Position | undefined {
    return this.#kept.at(-1) ?? this.#based;
  }

  get idle(): boolean {
    if (this.#kept.length > 0) return false;
    return this.#state.size === 0;
  }

  get evicted(): number {
    return this.#state.stats().evicted;
  }

  #feed(to: StreamState, hit: KeptHit): readonly Firing[] {
    return to.feed(new Fed(hit, this.#streams), hit.hits);
  }

  #standingOf({ timeNs, key, events }: Firing): Standing {
    const parts = events.map((ticket) => this.#streams.partOf(ticket));
    return { timeNs, key, parts, name: JSON.stringify([key, events[0]]) };
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
      const firings = this.#feed(this.#state, hit);
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
    return firings
      .map((firing) => this.#standingOf(firing))
      .filter((one) => {
        if (standing.has(one.name)) return false;
        standing.set(one.name, one);
        return true;
      });
  }

  /** Runs all that is kept through the base’s state, and says what is other than before. */
  #rebuild(sinceNs: bigint): Changes {
    const before = this.#standing ?? NO_STANDING;
    this.#state = this.#matcher.open(this.#limits, this.#base?.save());
    const standing = new Map<string, Standing>();
    this.#standing = standing;
    const firings = this.#kept.flatMap((hit) => [...this.#feed(this.#state, hit)]);
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
    const given = this.#kept;
    // A list that things were pushed to has room for many, so that of all that is new is taken.
    this.#kept = given.splice(count);
    this.#base ??= this.#matcher.open(this.#limits);
    for (const hit of given) this.#feed(this.#base, hit);
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
 * place, as long as no more than `keptMax` are kept. `streams`: shared by the rules of a group.
 */
export const createOrdered = (
  matcher: StreamMatcher,
  keepNs: bigint,
  limits: StreamLimits,
  keptMax: number = KEPT_HITS_MAX,
  streams: Streams = new Streams(),
): Ordered => new OrderedState(matcher, keepNs, limits, keptMax, streams);
