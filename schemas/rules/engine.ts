/**
 * The engine of rules: events in, alerts out; the same live and in a backtest. Pure and
 * deterministic: it knows no clock, no store and no network.
 *
 *     event -> views (taxonomy) -> tests (rule set) ─┬─> event rules: an alert at once
 *                                                    └─> stream rules: hits, kept by group and rule
 *
 * A *group* is what a stream rule's state never reaches beyond: a session, or the whole tenant for
 * rules that count over sessions (`scopeOf`). What a group holds is bounded; what had to be thrown
 * out is counted.
 */
import { type Alert, makeAlert } from '../alerts.ts';
import type { TelltaleEvent } from '../registry.ts';
import {
  type Changes,
  createOrdered,
  type KeptHit,
  keepHit,
  type Ordered,
  type Standing,
} from './ordered.ts';
import { type Rule, STREAM_LIMITS, type StreamLimits, type StreamMatcher } from './rule.ts';
import type { RuleSet } from './ruleset.ts';
import type { LogView, RuleEvent } from './values.ts';

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
  // One group is one session: a rule's keys within it are few.
  stream: { ...STREAM_LIMITS, groupsMax: 1_000 },
};

/** Whether a rule's state stays within a session, or is shared by the sessions of a tenant. */
export type Scope = 'session' | 'tenant';

/** Names of the session in the views of both languages. */
const SESSION_FIELDS = new Set(['session_id', 'session.id', 'stream_id', 'SessionId']);

/** A rule is of the session when one of its keys is the session in each of its inputs. */
export function scopeOf(rule: Rule): Scope {
  if (rule.matcher.type === 'event') return 'session';
  const { groupBy } = rule.matcher.stream;
  const [first] = groupBy;
  const within = first?.some((_, at) =>
    groupBy.every((keys) => SESSION_FIELDS.has(keys[at] as string)),
  );
  return within === true ? 'session' : 'tenant';
}

/** The views of an event; it is called once for each event, in the order of its stream. */
export type Views = (event: TelltaleEvent) => readonly LogView[];

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
  readonly rules: Map<Rule, Ordered>;
  newestNs: bigint;
}

/**
 * The time by which rules order an event: its own, but never later than the collector saw it. A
 * made-up time in the future would let everything before it expire.
 */
export function ruleTimeNs(event: Pick<TelltaleEvent, 'ts' | 'observed_ts'>): bigint {
  const [own, seen] = [BigInt(event.ts), BigInt(event.observed_ts)];
  return own < seen ? own : seen;
}

const idOf = (event: TelltaleEvent) => `${event.stream_id}-${event.seq}`;

function alertRule({ meta }: Rule): Alert['rule'] {
  return {
    id: meta.id,
    title: meta.title,
    level: meta.level ?? 'medium',
    author: meta.author ?? '',
    license: meta.license ?? '',
    tags: meta.tags,
  };
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

  function groupOf(tenant: string, session: string, scope: Scope): Group {
    const key = JSON.stringify(scope === 'session' ? [tenant, session] : [tenant]);
    const group = groups.get(key) ?? { tenant, rules: new Map(), newestNs: 0n };
    groups.delete(key);
    groups.set(key, group);
    return group;
  }

  function eventAlert(event: TelltaleEvent, rule: Rule, timeNs: bigint): Alert {
    return makeAlert({
      tenant: event.tenant,
      rule: alertRule(rule),
      session_id: event.session_id,
      key: {},
      events: [{ id: idOf(event), ts: timeNs.toString() }],
      reason: '',
    });
  }

  function streamAlert(group: Group, rule: Rule, { key, parts }: Standing): Alert {
    const names = (rule.matcher as { stream: StreamMatcher }).stream.groupBy[0] ?? [];
    return makeAlert({
      tenant: group.tenant,
      rule: alertRule(rule),
      session_id: parts[0]?.session ?? '',
      key: Object.fromEntries(key.map((value, at) => [names[at] ?? `key${at}`, value])),
      events: parts.map(({ id, timeNs }) => ({ id, ts: timeNs.toString() })),
      reason: '',
    });
  }

  function collect(group: Group, rule: Rule, changes: Changes, into: Collected): void {
    if (!rule.alerts) return;
    for (const one of changes.raised) into.raised.push(streamAlert(group, rule, one));
    for (const one of changes.withdrawn) into.withdrawn.push(streamAlert(group, rule, one));
  }

  function ruleEvent(event: TelltaleEvent): RuleEvent {
    return { id: idOf(event), timeNs: ruleTimeNs(event), views: views(event) };
  }

  /** Puts an event's hits to their groups; event rules alert at once. */
  function test(event: TelltaleEvent, pending: Map<Group, Map<Rule, KeptHit[]>>, into: Collected) {
    const seen = ruleEvent(event);
    const { matched, hits } = rules.evaluate(seen);
    for (const rule of matched) into.raised.push(eventAlert(event, rule, seen.timeNs));
    for (const { rule, hits: found } of hits) {
      if (rule.matcher.type !== 'stream') continue;
      const group = groupOf(event.tenant, event.session_id, scopes.get(rule) as Scope);
      if (seen.timeNs < group.newestNs - latenessNs) {
        late++;
        continue;
      }
      if (seen.timeNs > group.newestNs) group.newestNs = seen.timeNs;
      const kept = keepHit(
        {
          id: seen.id,
          timeNs: seen.timeNs,
          session: event.session_id,
          stream: event.stream_id,
          seq: event.seq,
        },
        found,
        rule.matcher.stream.fields,
      );
      const ofGroup = pending.get(group) ?? new Map<Rule, KeptHit[]>();
      pending.set(group, ofGroup);
      const list = ofGroup.get(rule);
      if (list === undefined) ofGroup.set(rule, [kept]);
      else list.push(kept);
    }
  }

  function add(events: readonly TelltaleEvent[]): Outcome {
    const into: Collected = { raised: [], withdrawn: [] };
    const pending = new Map<Group, Map<Rule, KeptHit[]>>();
    for (const event of events) test(event, pending, into);
    for (const [group, byRule] of pending)
      for (const [rule, hits] of byRule) {
        const { stream } = rule.matcher as { stream: StreamMatcher };
        const ordered = group.rules.get(rule) ?? createOrdered(stream, latenessNs, limits.stream);
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
    const rulesEvicted = [...groups.values()]
      .flatMap((group) => [...group.rules.values()])
      .reduce((sum, one) => sum + one.evicted, 0);
    return { groups: groups.size, hits: held, evicted: evicted + rulesEvicted, late };
  }

  return {
    add,
    advance,
    forget: (tenant, session) => void drop(JSON.stringify([tenant, session])),
    stats,
  };
}

interface Collected {
  readonly raised: Alert[];
  readonly withdrawn: Alert[];
}
