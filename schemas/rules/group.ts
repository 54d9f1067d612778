/**
 * What the stream rules of one session, or of one tenant, hold: a state a rule, made when something
 * opens a match and let go when nothing is waited for.
 */
import {
  comparePositions,
  inOrder,
  type KeptHit,
  keepHit,
  type Position,
  Streams,
} from './hits.ts';
import { type Changes, createOrdered, NOTHING, type Ordered, STALE } from './ordered.ts';
import type { StreamRule } from './raise.ts';
import type { StreamLimits } from './rule.ts';

export interface GroupLimits {
  /** How much later than its neighbours a hit may come and be put in its place at once. */
  readonly keepNs: bigint;
  /** Hits that are kept for that, of one rule. */
  readonly ruleHitsMax: number;
  readonly stream: StreamLimits;
}

export interface Group {
  readonly tenant: string;
  /** Takes the hits of one rule in a batch, in any order; keeps no more of them than the rule reads. */
  apply(rule: StreamRule, hits: readonly KeptHit[]): Changes;
  /** No hit before this time will come any more; gives what changed, by rule. */
  advance(timeNs: bigint): readonly (readonly [StreamRule, Changes])[];
  /** Keeps nothing for late hits any more, and lets go of states that wait for nothing. */
  settle(): void;
  /** Hits that are kept. */
  readonly size: number;
  /** Entries of the rules' states. */
  readonly held: number;
  /** Rules that have a state. */
  readonly states: number;
  /** Lets go of all states. */
  clear(): void;
  /** What the rules' states let go for their limits. */
  readonly evicted: number;
}

const NO_HITS: readonly KeptHit[] = [];
const NO_CHANGES: readonly (readonly [StreamRule, Changes])[] = [];

const isBefore = (hit: KeptHit | undefined, place: Position | undefined): boolean =>
  hit !== undefined && place !== undefined && comparePositions(hit, place) < 0;

/** There are as many as sessions that live, so a group is a class and holds no closures. */
class SessionGroup implements Group {
  readonly tenant: string;
  readonly #limits: GroupLimits;
  readonly #streams = new Streams();
  #rules: Map<StreamRule, Ordered> | undefined;
  #size = 0;
  #held = 0;
  /** Evicted by states that were let go since. */
  #evicted = 0;
  /**
   * Of rules that nothing has opened: the place of the newest hit that was let go, because a later
   * step without a first one matters to nobody. An opening before it makes the group stale.
   */
  #passed: Map<StreamRule, Position> | undefined;
  /** Of states that were let go: the place of the newest hit. Any hit before it makes it stale. */
  #closed: Map<StreamRule, Position> | undefined;
  /** The last place that was noted: an event has it for many rules. */
  #noted: Position | undefined;

  constructor(tenant: string, limits: GroupLimits) {
    this.tenant = tenant;
    this.#limits = limits;
  }

  apply(rule: StreamRule, hits: readonly KeptHit[]): Changes {
    const { matter, stale } = this.#opened(rule, hits);
    if (matter.length === 0) return stale ? STALE : NOTHING;
    const ordered = this.#stateOf(rule);
    const { fields } = rule.matcher.stream;
    const { size, held } = ordered;
    const changes = ordered.add(matter.map((hit) => this.#keep(hit, fields)));
    this.#size += ordered.size - size;
    this.#held += ordered.held - held;
    return stale ? { ...changes, stale } : changes;
  }

  #stateOf(rule: StreamRule): Ordered {
    this.#rules ??= new Map();
    const there = this.#rules.get(rule);
    if (there !== undefined) return there;
    const { keepNs, ruleHitsMax, stream } = this.#limits;
    const made = createOrdered(rule.matcher.stream, keepNs, stream, ruleHitsMax, this.#streams);
    this.#rules.set(rule, made);
    return made;
  }

  #keep(hit: KeptHit, fields: readonly string[]): KeptHit {
    const { timeNs, seq, hits } = hit;
    const { session, stream } = this.#streams.shared(hit);
    return keepHit({ session, stream, timeNs, seq, hits }, fields);
  }

  advance(timeNs: bigint): readonly (readonly [StreamRule, Changes])[] {
    if (this.#rules === undefined) return NO_CHANGES;
    let all: [StreamRule, Changes][] | undefined;
    let past = true;
    for (const [rule, ordered] of this.#rules) {
      const before = ordered.held;
      const changes = ordered.advance(timeNs);
      this.#held += ordered.held - before;
      if (changes.raised.length > 0) {
        all ??= [];
        all.push([rule, changes]);
      }
      past &&= ordered.newest === undefined || ordered.newest.timeNs < timeNs;
    }
    if (past) this.settle();
    return all ?? NO_CHANGES;
  }

  settle(): void {
    this.#size = 0;
    this.#held = 0;
    for (const [rule, ordered] of this.#rules ?? []) {
      ordered.settle();
      if (ordered.idle && rule.matcher.stream.opens !== undefined) this.#close(rule, ordered);
      else this.#held += ordered.held;
    }
  }

  clear(): void {
    for (const [rule, ordered] of this.#rules ?? []) this.#close(rule, ordered);
    this.#rules = undefined;
    this.#size = 0;
    this.#held = 0;
  }

  #close(rule: StreamRule, ordered: Ordered): void {
    this.#closed ??= new Map();
    if (ordered.newest !== undefined) this.#closed.set(rule, this.#note(ordered.newest));
    this.#evicted += ordered.evicted;
    this.#rules?.delete(rule);
  }

  get size(): number {
    return this.#size;
  }

  get held(): number {
    return this.#held;
  }

  get states(): number {
    return this.#rules?.size ?? 0;
  }

  get evicted(): number {
    let total = this.#evicted;
    for (const { evicted } of this.#rules?.values() ?? []) total += evicted;
    return total;
  }

  /** A place as it is remembered: with the text of its stream, and once for all rules. */
  #note(place: Position | KeptHit): Position {
    const { timeNs, seq } = place;
    const last = this.#noted;
    if (last !== undefined && comparePositions(last, place) === 0) return last;
    const { stream } = 'session' in place ? this.#streams.shared(place) : place;
    this.#noted = { timeNs, stream, seq };
    return this.#noted;
  }

  #pass(rule: StreamRule, place: KeptHit): void {
    this.#passed ??= new Map();
    const before = this.#passed.get(rule);
    if (before === undefined || comparePositions(before, place) < 0)
      this.#passed.set(rule, this.#note(place));
  }

  /** The hits that matter: while nothing has opened a match, those from the first that does on. */
  #opened(rule: StreamRule, hits: readonly KeptHit[]) {
    const { opens } = rule.matcher.stream;
    if (opens === undefined) return { matter: hits, stale: false };
    const sorted = inOrder(hits);
    const first = sorted.findIndex((hit) => hit.hits.some(({ input }) => input <= opens));
    const opening = sorted[first];
    const stale =
      isBefore(opening, this.#passed?.get(rule)) || isBefore(sorted[0], this.#closed?.get(rule));
    if (this.#rules?.has(rule)) return { matter: sorted, stale };
    const newest = first < 0 ? sorted.at(-1) : sorted[first - 1];
    if (newest !== undefined) this.#pass(rule, newest);
    return { matter: first < 0 ? NO_HITS : sorted.slice(first), stale };
  }
}

export const createGroup = (tenant: string, limits: GroupLimits): Group =>
  new SessionGroup(tenant, limits);
