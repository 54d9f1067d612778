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
import { createGroup, type Group, type GroupLimits } from './group.ts';
import type { KeptHit } from './hits.ts';
import type { Changes } from './ordered.ts';
import {
  eventAlert,
  foundHit,
  groupKey,
  isStreamRule,
  keptHit,
  ruleEvent,
  type Scope,
  type StreamRule,
  scopeOf,
  streamAlert,
} from './raise.ts';
import { STREAM_LIMITS, type StreamLimits } from './rule.ts';
import type { RuleSet } from './ruleset.ts';
import type { ViewMaker } from './views.ts';

export interface EngineLimits {
  /** How much later than its neighbours an event may come and be put in its place at once. */
  readonly keepMs: number;
  /** Hits that are kept for that, of one rule in one session, and over all. */
  readonly ruleHitsMax: number;
  readonly hitsMax: number;
  /**
   * Entries of rules' states over all sessions: windows, partial matches and their events. Beyond
   * it the sessions that were quiet for longest lose their states, which is counted.
   */
  readonly entriesMax: number;
  /** Sessions whose state is held; the least recently used are forgotten. */
  readonly groupsMax: number;
  readonly stream: StreamLimits;
}

export const ENGINE_LIMITS: EngineLimits = {
  keepMs: 15_000,
  ruleHitsMax: 64,
  hitsMax: 50_000,
  entriesMax: 600_000,
  groupsMax: 50_000,
  stream: STREAM_LIMITS,
};

/** A session, as its events name it. */
export type SessionName = Pick<TelltaleEvent, 'tenant' | 'session_id'>;

export interface Outcome {
  readonly raised: readonly Alert[];
  /** Raised before, and not true any more now that a late event is in its place. */
  readonly withdrawn: readonly Alert[];
  /** Sessions with an event that came too late: they are to be read again (`replay`). */
  readonly stale: readonly SessionName[];
}

export interface EngineStats {
  readonly groups: number;
  readonly hits: number;
  readonly entries: number;
  /** Groups, and parts of rules' states, thrown out for a limit: a rule may have missed something. */
  readonly evicted: number;
}

/** All events of a session once more, in any number of pieces. */
export interface Replay {
  add(events: readonly TelltaleEvent[]): void;
  /** What the rules say of them, as if nothing of the session had been seen before. */
  finish(): Outcome;
}

export interface Engine {
  /** Takes events of any sessions; those of one stream in the order of their numbers. */
  add(events: readonly TelltaleEvent[]): Outcome;
  /** Begins a session anew: its events are gathered first, and so none of them is late. */
  replay(session: SessionName): Replay;
  /** No event before this time will come any more, in any group: absences fire. */
  advance(timeNs: bigint): Outcome;
  /** Forgets a session: it may be read again from the table. */
  forget(tenant: string, session: string): void;
  stats(): EngineStats;
}

interface Collected {
  readonly raised: Alert[];
  readonly withdrawn: Alert[];
  readonly stale: Map<string, SessionName>;
}

const nothing = (): Collected => ({ raised: [], withdrawn: [], stale: new Map() });
const outcomeOf = ({ raised, withdrawn, stale }: Collected): Outcome => ({
  raised,
  withdrawn,
  stale: [...stale.values()],
});

type Pending = Map<Group, Map<StreamRule, KeptHit[]>>;

/** What of a hit waits for the end of its batch. */
type Keep = (hit: KeptHit, rule: StreamRule) => KeptHit;
/** A batch has its events in memory anyway, and most hits are let go when it ends. */
const whole: Keep = (hit) => hit;

function listIn<K, V>(lists: Map<K, V[]>, key: K): V[] {
  const list = lists.get(key) ?? [];
  lists.set(key, list);
  return list;
}

export function createEngine(
  rules: RuleSet,
  { views, lineage }: ViewMaker,
  limits: EngineLimits = ENGINE_LIMITS,
): Engine {
  const ofGroup: GroupLimits = {
    keepNs: BigInt(limits.keepMs) * 1_000_000n,
    ruleHitsMax: limits.ruleHitsMax,
    stream: limits.stream,
  };
  const scopes = new Map(rules.rules.map((rule) => [rule, scopeOf(rule)]));
  /** In the order of last use. */
  const groups = new Map<string, Group>();
  let size = 0;
  let held = 0;
  let evicted = 0;

  /** Where a batch gathers the hits of an event's session, or of its tenant. */
  function gathered({ tenant, session_id }: TelltaleEvent, scope: Scope, pending: Pending) {
    const key = groupKey(tenant, session_id, scope);
    const known = groups.get(key);
    const there = known === undefined ? undefined : pending.get(known);
    if (there !== undefined) return there;
    const group = known ?? createGroup(tenant, ofGroup);
    groups.delete(key);
    groups.set(key, group);
    const byRule = new Map<StreamRule, KeptHit[]>();
    pending.set(group, byRule);
    return byRule;
  }

  function collect(group: Group, rule: StreamRule, changes: Changes, into: Collected): void {
    if (!rule.alerts) return;
    for (const one of changes.raised) into.raised.push(streamAlert(group.tenant, rule, one));
    for (const one of changes.withdrawn) into.withdrawn.push(streamAlert(group.tenant, rule, one));
  }

  /** Puts an event's hits to their groups; event rules alert at once. */
  function test(event: TelltaleEvent, pending: Pending, into: Collected, keep: Keep): void {
    const seenAs = views(event);
    const { matched, hits } = rules.evaluate({ views: seenAs });
    if (matched.length === 0 && hits.length === 0) return;
    const seen = ruleEvent(event, seenAs);
    for (const rule of matched) into.raised.push(eventAlert(event, seen, rule));
    let lists: Partial<Record<Scope, Map<StreamRule, KeptHit[]>>> | undefined;
    for (const { rule, hits: found } of hits) {
      if (!isStreamRule(rule)) continue;
      const scope = scopes.get(rule) as Scope;
      lists ??= {};
      lists[scope] ??= gathered(event, scope, pending);
      listIn(lists[scope], rule).push(keep(foundHit(event, seen, found), rule));
    }
  }

  /** Does something to a group, and keeps the sums over all groups. */
  function tracked<T>(group: Group, work: () => T): T {
    const before = { size: group.size, held: group.held };
    const result = work();
    size += group.size - before.size;
    held += group.held - before.held;
    return result;
  }

  function apply(group: Group, rule: StreamRule, hits: KeptHit[], into: Collected): void {
    const changes = tracked(group, () => group.apply(rule, hits));
    collect(group, rule, changes, into);
    if (!changes.stale) return;
    for (const { session } of hits)
      into.stale.set(session, { tenant: group.tenant, session_id: session });
  }

  function applyAll(pending: Pending, into: Collected): Outcome {
    for (const [group, byRule] of pending)
      for (const [rule, hits] of byRule) apply(group, rule, hits, into);
    trim();
    return outcomeOf(into);
  }

  function add(events: readonly TelltaleEvent[]): Outcome {
    const into = nothing();
    const pending: Pending = new Map();
    for (const event of events) test(event, pending, into, whole);
    return applyAll(pending, into);
  }

  function forget(tenant: string, session: string): void {
    drop(groupKey(tenant, session, 'session'));
    lineage.forget(tenant, session);
  }

  function replay({ tenant, session_id }: SessionName): Replay {
    forget(tenant, session_id);
    const into = nothing();
    const pending: Pending = new Map();
    return {
      add: (events) => {
        for (const event of events) test(event, pending, into, keptHit);
      },
      finish: () => applyAll(pending, into),
    };
  }

  function advance(timeNs: bigint): Outcome {
    const into = nothing();
    for (const group of groups.values()) {
      const all = tracked(group, () => group.advance(timeNs));
      for (const [rule, changes] of all) collect(group, rule, changes, into);
    }
    return outcomeOf(into);
  }

  function drop(key: string): void {
    const group = groups.get(key);
    if (group === undefined) return;
    size -= group.size;
    held -= group.held;
    evicted += group.evicted;
    groups.delete(key);
  }

  /**
   * What was not used for longest keeps no hits any more, then loses its states, and beyond the
   * limit of groups is forgotten.
   */
  function trim(): void {
    for (const [key, group] of groups) {
      if (groups.size <= limits.groupsMax) break;
      evicted += group.states;
      drop(key);
    }
    for (const group of groups.values()) {
      if (size <= limits.hitsMax) break;
      if (group.size > 0) tracked(group, () => group.settle());
    }
    for (const group of groups.values()) {
      if (held <= limits.entriesMax) break;
      if (group.states === 0) continue;
      evicted += group.states;
      tracked(group, () => group.clear());
    }
  }

  function stats(): EngineStats {
    let ofRules = 0;
    for (const group of groups.values()) ofRules += group.evicted;
    return { groups: groups.size, hits: size, entries: held, evicted: evicted + ofRules };
  }

  return {
    add,
    replay,
    advance,
    forget,
    stats,
  };
}
