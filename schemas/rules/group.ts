/**
 * What the stream rules of one session, or of one tenant, hold: a state a rule, made when something
 * opens a match and let go when nothing is waited for.
 */
import {
  type Changes,
  comparePositions,
  createOrdered,
  inOrder,
  type KeptHit,
  keepHit,
  NOTHING,
  type Ordered,
  type Position,
  STALE,
} from './ordered.ts';
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
  /** Rules that have a state. */
  readonly states: number;
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
  readonly #rules = new Map<StreamRule, Ordered>();
  #held = 0;
  /**
   * Of rules that nothing has opened: the place of the newest hit that was let go, because a later
   * step without a first one matters to nobody. An opening before it makes the group stale.
   */
  readonly #passed = new Map<StreamRule, Position>();
  /** Of states that were let go: the place of the newest hit. Any hit before it makes it stale. */
  readonly #closed = new Map<StreamRule, Position>();

  constructor(tenant: string, limits: GroupLimits) {
    this.tenant = tenant;
    this.#limits = limits;
  }

  apply(rule: StreamRule, hits: readonly KeptHit[]): Changes {
    const { matter, stale } = this.#opened(rule, hits);
    if (matter.length === 0) return stale ? STALE : NOTHING;
    const { keepNs, ruleHitsMax, stream } = this.#limits;
    let ordered = this.#rules.get(rule);
    if (ordered === undefined) {
      ordered = createOrdered(rule.matcher.stream, keepNs, stream, ruleHitsMax);
      this.#rules.set(rule, ordered);
    }
    const { fields } = rule.matcher.stream;
    const before = ordered.size;
    const changes = ordered.add(matter.map((hit) => keepHit(hit, hit.hits, fields)));
    this.#held += ordered.size - before;
    return stale ? { ...changes, stale } : changes;
  }

  advance(timeNs: bigint): readonly (readonly [StreamRule, Changes])[] {
    let all: [StreamRule, Changes][] | undefined;
    let past = true;
    for (const [rule, ordered] of this.#rules) {
      const changes = ordered.advance(timeNs);
      if (changes.raised.length > 0) {
        all ??= [];
        all.push([rule, changes]);
      }
      past &&= ordered.newest === undefined || ordered.newest.timeNs < timeNs;
    }
    if (past && this.#rules.size > 0) this.settle();
    return all ?? NO_CHANGES;
  }

  settle(): void {
    this.#held = 0;
    for (const [rule, ordered] of this.#rules) {
      ordered.settle();
      if (!ordered.idle || rule.matcher.stream.opens === undefined) continue;
      if (ordered.newest !== undefined) this.#closed.set(rule, ordered.newest);
      this.#rules.delete(rule);
    }
  }

  get size(): number {
    return this.#held;
  }

  get states(): number {
    return this.#rules.size;
  }

  get evicted(): number {
    let total = 0;
    for (const { evicted } of this.#rules.values()) total += evicted;
    return total;
  }

  #pass(rule: StreamRule, { timeNs, stream, seq }: Position): void {
    const before = this.#passed.get(rule);
    const place = { timeNs, stream, seq };
    if (before === undefined || comparePositions(before, place) < 0) this.#passed.set(rule, place);
  }

  /** The hits that matter: while nothing has opened a match, those from the first that does on. */
  #opened(rule: StreamRule, hits: readonly KeptHit[]) {
    const { opens } = rule.matcher.stream;
    if (opens === undefined) return { matter: hits, stale: false };
    const sorted = inOrder(hits);
    const first = sorted.findIndex((hit) => hit.hits.some(({ input }) => input <= opens));
    const opening = sorted[first];
    const stale =
      isBefore(opening, this.#passed.get(rule)) || isBefore(sorted[0], this.#closed.get(rule));
    if (this.#rules.has(rule)) return { matter: sorted, stale };
    const newest = first < 0 ? sorted.at(-1) : sorted[first - 1];
    if (newest !== undefined) this.#pass(rule, newest);
    return { matter: first < 0 ? NO_HITS : sorted.slice(first), stale };
  }
}

export const createGroup = (tenant: string, limits: GroupLimits): Group =>
  new SessionGroup(tenant, limits);
