/**
 * A backtest: rules over events that are all there already. Hits are gathered by group and rule,
 * put in order when all of the group were seen, and run through the rule's state once; the tests, the states and the alerts are the
 * live engine's own, so both give the same alerts.
 */
import type { Alert } from '../alerts.ts';
import type { TelltaleEvent } from '../registry.ts';
import { comparePositions, type KeptHit } from './hits.ts';
import { createOrdered } from './ordered.ts';
import {
  eventAlert,
  foundHit,
  groupKey,
  isStreamRule,
  keptHit,
  ruleEvent,
  type StreamRule,
  scopeOf,
  streamAlert,
  type Views,
} from './raise.ts';
import { type Rule, STREAM_LIMITS, type StreamLimits } from './rule.ts';
import type { RuleSet } from './ruleset.ts';

/** The rules that can say anything of some events, and which of their inputs may; all: undefined. */
export type Wanted = ReadonlyMap<Rule, ReadonlySet<number> | undefined>;

/** Hits that a backtest holds at once; a range that has more is to be cut into smaller ones. */
export const BACKTEST_HITS_MAX = 3_000_000;
/** Long after every event: what waits for an absence fires. */
const END_OF_TIME_NS = 1n << 63n;

/** The range holds more than a backtest can. */
export class BacktestError extends Error {
  override readonly name = 'BacktestError';
}

export interface Backtest {
  /**
   * Takes events, those of one stream in the order of their numbers; gives what event rules say.
   * `wanted`: what can say anything about their session; all rules where it is left out.
   */
  add(events: readonly TelltaleEvent[], wanted?: Wanted): readonly Alert[];
  /** No event of this session will come any more: what its rules say, and its hits are let go. */
  close(tenant: string, session: string): readonly Alert[];
  /** Runs the rules over many events, and gives their alerts. `endNs`: absences up to here fire. */
  finish(endNs?: bigint): Generator<Alert>;
  readonly hits: number;
}

/** The hits of a session, or of a tenant, by rule. */
interface Gathered {
  readonly tenant: string;
  readonly byRule: Map<StreamRule, KeptHit[]>;
}

/** Throws `BacktestError` from `add` when there are more than `hitsMax` hits. */
export function createBacktest(
  rules: RuleSet,
  views: Views,
  limits: StreamLimits = STREAM_LIMITS,
  hitsMax: number = BACKTEST_HITS_MAX,
): Backtest {
  const scopes = new Map(rules.rules.map((rule) => [rule, scopeOf(rule)]));
  const gathered = new Map<string, Gathered>();
  let count = 0;
  let held = 0;

  function gather(event: TelltaleEvent, rule: StreamRule, hit: KeptHit): void {
    const { tenant, session_id } = event;
    const group = groupKey(tenant, session_id, scopes.get(rule) ?? 'tenant');
    const of = gathered.get(group) ?? { tenant, byRule: new Map<StreamRule, KeptHit[]>() };
    gathered.set(group, of);
    const hits = of.byRule.get(rule);
    if (hits === undefined) of.byRule.set(rule, [hit]);
    else hits.push(hit);
    count++;
    if (++held > hitsMax)
      throw new BacktestError(
        `more than ${hitsMax} events matter to these rules: take fewer rules or a shorter range`,
      );
  }

  function add(events: readonly TelltaleEvent[], wanted?: Wanted): Alert[] {
    const alerts: Alert[] = [];
    for (const event of events) {
      const seenAs = views(event);
      const { matched, hits } = rules.evaluate({ views: seenAs });
      if (matched.length === 0 && hits.length === 0) continue;
      const seen = ruleEvent(event, seenAs);
      for (const rule of matched)
        if (wanted?.has(rule) !== false) alerts.push(eventAlert(event, seen, rule));
      for (const { rule, hits: found } of hits) {
        if (!isStreamRule(rule) || wanted?.has(rule) === false) continue;
        const inputs = wanted?.get(rule);
        const some = inputs === undefined ? found : found.filter(({ input }) => inputs.has(input));
        if (some.length > 0) gather(event, rule, keptHit(foundHit(event, seen, some), rule));
      }
    }
    return alerts;
  }

  function* run({ tenant, byRule }: Gathered, endNs: bigint): Generator<Alert> {
    for (const [rule, hits] of byRule) {
      held -= hits.length;
      const ordered = createOrdered(rule.matcher.stream, END_OF_TIME_NS, limits, hits.length);
      const raised = [
        ...ordered.add(hits.sort(comparePositions)).raised,
        ...ordered.advance(endNs).raised,
      ];
      if (rule.alerts) for (const one of raised) yield streamAlert(tenant, rule, one);
    }
  }

  function close(tenant: string, session: string): readonly Alert[] {
    const key = groupKey(tenant, session, 'session');
    const of = gathered.get(key);
    gathered.delete(key);
    return of === undefined ? [] : [...run(of, END_OF_TIME_NS)];
  }

  function* finish(endNs: bigint = END_OF_TIME_NS): Generator<Alert> {
    for (const of of gathered.values()) yield* run(of, endNs);
  }

  return {
    add,
    close,
    finish,
    get hits() {
      return count;
    },
  };
}
