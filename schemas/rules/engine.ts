/**
 * The live engine of rules: events in as they come, alerts out. Pure and deterministic: it knows
 * no clock, no store and no network.
 *
 *     event -> views (taxonomy) -> tests (rule set) ─┬─> event rules: an alert at once
 *                                                    └─> stream rules: hits, kept by group and rule
 *
 * What the engine holds is bounded; what had to be thrown out is counted.
 */
import type { Alert } from '../alerts.ts';
import type { TelltaleEvent } from '../registry.ts';
import { type Changes, createOrdered, type KeptHit, type Ordered } from './ordered.ts';
import {
  eventAlert,
  groupKey,
  isStreamRule,
  keptHit,
  ruleEvent,
  type Scope,
  type StreamRule,
  scopeOf,
  streamAlert,
  type Views,
} from './raise.ts';
import { STREAM_LIMITS, type StreamLimits } from './rule.ts';
import type { RuleSet } from './ruleset.ts';

export interface EngineLimits {
  /** How much later than its neighbours an event may come and still count for stream rules. */
  readonly latenessMs: number;
  /** Hits kept over all groups. */
  readonly hitsMax: number;
  readonly groupsMax: number;
  readonly stream: StreamLimits;
}

export const ENGINE_LIMITS: EngineLimits = {
  latenessMs: 600_000,
  hitsMax: 400_000,
  groupsMax: 50_000,
  stream: STREAM_LIMITS,
};

export interface Outcome {
  readonly raised: readonly Alert[];
  /** Raised before, and not true any more now that a late event is in its place. */
  readonly withdrawn: readonly Alert[];
}

export interface EngineStats {
  readonly groups: number;
  readonly hits: number;
  /** Hits thrown out for a limit: a rule may have missed something. */
  readonly evicted: number;
  /** Events that came too late to count for stream rules. */
  readonly late: number;
}

export interface Engine {
  /** Takes events of any sessions; those of one stream in the order of their numbers. */
  add(events: readonly TelltaleEvent[]): Outcome;
  /** No event before this time will come any more, in any group: absences fire. */
  advance(timeNs: bigint): Outcome;
  /** Forgets a session: it may be read again from the table. */
  forget(tenant: string, session: string): void;
  stats(): EngineStats;
}

interface Group {
  readonly tenant: string;
  readonly rules: Map<StreamRule, Ordered>;
  newestNs: bigint;
}

interface Collected {
  readonly raised: Alert[];
  readonly withdrawn: Alert[];
}

type Pending = Map<Group, Map<StreamRule, KeptHit[]>>;

function listIn<K, V>(lists: Map<K, V[]>, key: K): V[] {
  const list = lists.get(key) ?? [];
  lists.set(key, list);
  return list;
}

export function createEngine(
  rules: RuleSet,
  views: Views,
  limits: EngineLimits = ENGINE_LIMITS,
): Engine {
  const latenessNs = BigInt(limits.latenessMs) * 1_000_000n;
  const scopes = new Map(rules.rules.map((rule) => [rule, scopeOf(rule)]));
  /** In the order of last use. */
  const groups = new Map<string, Group>();
  let held = 0;
  let evicted = 0;
  let late = 0;

  function groupOf({ tenant, session_id }: TelltaleEvent, rule: StreamRule): Group {
    const key = groupKey(tenant, session_id, scopes.get(rule) as Scope);
    const group = groups.get(key) ?? { tenant, rules: new Map(), newestNs: 0n };
    groups.delete(key);
    groups.set(key, group);
    return group;
  }

  function collect(group: Group, rule: StreamRule, changes: Changes, into: Collected): void {
    if (!rule.alerts) return;
    for (const one of changes.raised) into.raised.push(streamAlert(group.tenant, rule, one));
    for (const one of changes.withdrawn) into.withdrawn.push(streamAlert(group.tenant, rule, one));
  }

  /** Puts an event's hits to their groups; event rules alert at once. */
  function test(event: TelltaleEvent, pending: Pending, into: Collected): void {
    const seen = ruleEvent(event, views);
    const { matched, hits } = rules.evaluate(seen);
    for (const rule of matched) into.raised.push(eventAlert(event, seen, rule));
    for (const { rule, hits: found } of hits) {
      if (!isStreamRule(rule)) continue;
      const group = groupOf(event, rule);
      if (seen.timeNs < group.newestNs - latenessNs) {
        late++;
        continue;
      }
      if (seen.timeNs > group.newestNs) group.newestNs = seen.timeNs;
      const ofGroup = pending.get(group) ?? new Map<StreamRule, KeptHit[]>();
      pending.set(group, ofGroup);
      listIn(ofGroup, rule).push(keptHit(event, seen, found, rule));
    }
  }

  function add(events: readonly TelltaleEvent[]): Outcome {
    const into: Collected = { raised: [], withdrawn: [] };
    const pending: Pending = new Map();
    for (const event of events) test(event, pending, into);
    for (const [group, byRule] of pending)
      for (const [rule, hits] of byRule) {
        const ordered =
          group.rules.get(rule) ?? createOrdered(rule.matcher.stream, latenessNs, limits.stream);
        group.rules.set(rule, ordered);
        const before = ordered.size;
        collect(group, rule, ordered.add(hits), into);
        held += ordered.size - before;
      }
    trim();
    return into;
  }

  function advance(timeNs: bigint): Outcome {
    const into: Collected = { raised: [], withdrawn: [] };
    for (const group of groups.values())
      for (const [rule, ordered] of group.rules)
        collect(group, rule, ordered.advance(timeNs), into);
    return into;
  }

  function drop(key: string): number {
    const group = groups.get(key);
    if (group === undefined) return 0;
    groups.delete(key);
    const hits = [...group.rules.values()].reduce((sum, one) => sum + one.size, 0);
    held -= hits;
    return hits;
  }

  /** The groups that were not used for longest go first. */
  function trim(): void {
    for (const key of groups.keys()) {
      if (held <= limits.hitsMax && groups.size <= limits.groupsMax) return;
      evicted += drop(key);
    }
  }

  function stats(): EngineStats {
    let ofRules = 0;
    for (const group of groups.values())
      for (const ordered of group.rules.values()) ofRules += ordered.evicted;
    return { groups: groups.size, hits: held, evicted: evicted + ofRules, late };
  }

  return {
    add,
    advance,
    forget: (tenant, session) => void drop(groupKey(tenant, session, 'session')),
    stats,
  };
}
