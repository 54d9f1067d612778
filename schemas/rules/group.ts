/**
 * What the stream rules of one session, or of one tenant, hold: a state a rule, made when something
 * opens a match and let go when nothing is waited for.
 */
import {
  type Changes,
  comparePositions,
  createOrdered,
  type KeptHit,
  type Ordered,
  type Position,
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
  /** Takes the hits of one rule in a batch, in any order. */
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

export function createGroup(tenant: string, limits: GroupLimits): Group {
  const rules = new Map<StreamRule, Ordered>();
  /**
   * Of rules that nothing has opened: the place of the newest hit that was let go, because a later
   * step without a first one matters to nobody. An opening before it makes the group stale.
   */
  const passed = new Map<StreamRule, Position>();

  function pass(rule: StreamRule, { timeNs, stream, seq }: Position): void {
    const before = passed.get(rule);
    const place = { timeNs, stream, seq };
    if (before === undefined || comparePositions(before, place) < 0) passed.set(rule, place);
  }

  /** The hits that matter: while nothing has opened a match, those from the first that does on. */
  function opened(rule: StreamRule, hits: readonly KeptHit[]) {
    const { opens } = rule.matcher.stream;
    if (opens === undefined) return { matter: hits, stale: false };
    const sorted = [...hits].sort(comparePositions);
    const first = sorted.findIndex((hit) => hit.hits.some(({ input }) => input <= opens));
    const opening = sorted[first];
    const before = passed.get(rule);
    const stale =
      opening !== undefined && before !== undefined && comparePositions(opening, before) < 0;
    if (rules.has(rule)) return { matter: sorted, stale };
    const newest = first < 0 ? sorted.at(-1) : sorted[first - 1];
    if (newest !== undefined) pass(rule, newest);
    return { matter: first < 0 ? [] : sorted.slice(first), stale };
  }

  function apply(rule: StreamRule, hits: readonly KeptHit[]): Changes {
    const { matter, stale } = opened(rule, hits);
    if (matter.length === 0) return { raised: [], withdrawn: [], stale };
    const { keepNs, ruleHitsMax, stream } = limits;
    const ordered =
      rules.get(rule) ?? createOrdered(rule.matcher.stream, keepNs, stream, ruleHitsMax);
    rules.set(rule, ordered);
    const changes = ordered.add(matter);
    return { ...changes, stale: stale || changes.stale };
  }

  function settle(): void {
    for (const [rule, ordered] of rules) {
      ordered.settle();
      if (!ordered.idle || rule.matcher.stream.opens === undefined) continue;
      if (ordered.newest !== undefined) pass(rule, ordered.newest);
      rules.delete(rule);
    }
  }

  function advance(timeNs: bigint): readonly (readonly [StreamRule, Changes])[] {
    const all = [...rules].map(([rule, ordered]) => [rule, ordered.advance(timeNs)] as const);
    const isPast = ({ newest }: Ordered) => newest === undefined || newest.timeNs < timeNs;
    if ([...rules.values()].every(isPast)) settle();
    return all;
  }

  const sum = (of: (ordered: Ordered) => number): number => {
    let total = 0;
    for (const ordered of rules.values()) total += of(ordered);
    return total;
  };

  return {
    tenant,
    apply,
    advance,
    settle,
    get size() {
      return sum(({ size }) => size);
    },
    get states() {
      return rules.size;
    },
    get evicted() {
      return sum(({ evicted }) => evicted);
    },
  };
}
