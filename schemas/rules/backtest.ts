/**
 * A backtest: rules over events that are all there already. Hits are gathered by group and rule,
 * put in order, and run through the rule's state once; the tests, the states and the alerts are the
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
import { STREAM_LIMITS, type StreamLimits } from './rule.ts';
import type { RuleSet } from './ruleset.ts';

/** Hits that a backtest holds; a range that has more is to be cut into smaller ones. */
export const BACKTEST_HITS_MAX = 3_000_000;
/** Long after every event: what waits for an absence fires. */
const END_OF_TIME_NS = 1n << 63n;

/** The range holds more than a backtest can. */
export class BacktestError extends Error {
  override readonly name = 'BacktestError';
}

export interface Backtest {
  /** Takes events, those of one stream in the order of their numbers; gives what event rules say. */
  add(events: readonly TelltaleEvent[]): readonly Alert[];
  /** Runs the rules over many events, and gives their alerts. `endNs`: absences up to here fire. */
  finish(endNs?: bigint): Generator<Alert>;
  readonly hits: number;
}

interface Gathered {
  readonly tenant: string;
  readonly rule: StreamRule;
  readonly hits: KeptHit[];
}

/** Throws `BacktestError` from `add` when there are more than `hitsMax` hits. */
export function createBacktest(
  rules: RuleSet,
  views: Views,
  limits: StreamLimits = STREAM_LIMITS,
  hitsMax: number = BACKTEST_HITS_MAX,
): Backtest {
  const scopes = new Map(rules.rules.map((rule) => [rule, scopeOf(rule)]));
  const places = new Map(rules.rules.map((rule, place) => [rule, place]));
  const gathered = new Map<string, Gathered>();
  let count = 0;

  function gather(event: TelltaleEvent, rule: StreamRule, hit: KeptHit): void {
    const { tenant, session_id } = event;
    const group = groupKey(tenant, session_id, scopes.get(rule) ?? 'tenant');
    const key = `${places.get(rule)} ${group}`;
    const list = gathered.get(key) ?? { tenant, rule, hits: [] };
    gathered.set(key, list);
    list.hits.push(hit);
    if (++count > hitsMax)
      throw new BacktestError(
        `more than ${hitsMax} events matter to these rules: take fewer rules or a shorter range`,
      );
  }

  function add(events: readonly TelltaleEvent[]): Alert[] {
    const alerts: Alert[] = [];
    for (const event of events) {
      const seenAs = views(event);
      const { matched, hits } = rules.evaluate({ views: seenAs });
      if (matched.length === 0 && hits.length === 0) continue;
      const seen = ruleEvent(event, seenAs);
      for (const rule of matched) alerts.push(eventAlert(event, seen, rule));
      for (const { rule, hits: found } of hits)
        if (isStreamRule(rule)) gather(event, rule, keptHit(foundHit(event, seen, found), rule));
    }
    return alerts;
  }

  function* finish(endNs: bigint = END_OF_TIME_NS): Generator<Alert> {
    for (const { tenant, rule, hits } of gathered.values()) {
      const ordered = createOrdered(rule.matcher.stream, END_OF_TIME_NS, limits, hits.length);
      const raised = [
        ...ordered.add(hits.sort(comparePositions)).raised,
        ...ordered.advance(endNs).raised,
      ];
      if (rule.alerts) for (const one of raised) yield streamAlert(tenant, rule, one);
    }
  }

  return {
    add,
    finish,
    get hits() {
      return count;
    },
  };
}
