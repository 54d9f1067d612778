/** Runs rules over events that are all there: no lateness, and at the end every absence is certain. */
import {
  createRuleSet,
  END_OF_TIME_NS,
  type Firing,
  type Rule,
  type RuleEvent,
  type StreamState,
} from '#schemas';

/** One match of one rule; what alerts and what is there for a correlation alone are told apart. */
export interface Match extends Firing {
  readonly rule: Rule;
}

/**
 * All matches of `rules` over `events`, which are put in the order of their times; those of one time
 * stay as they are. Matches come in the order in which they came about.
 */
export function matchAll(rules: readonly Rule[], events: readonly RuleEvent[]): readonly Match[] {
  const set = createRuleSet(rules);
  const states = new Map<Rule, StreamState>();
  const matches: Match[] = [];
  const stateOf = (rule: Rule): StreamState | undefined => {
    if (rule.matcher.type !== 'stream' || !rule.alerts) return undefined;
    const state = states.get(rule) ?? rule.matcher.stream.open();
    states.set(rule, state);
    return state;
  };
  const take = (rule: Rule, firings: readonly Firing[] = []) => {
    for (const firing of firings) matches.push({ ...firing, rule });
  };
  const ordered = events.toSorted((a, b) =>
    a.timeNs < b.timeNs ? -1 : a.timeNs > b.timeNs ? 1 : 0,
  );
  for (const event of ordered) {
    const { matched, hits } = set.evaluate(event);
    for (const rule of matched)
      matches.push({ rule, timeNs: event.timeNs, key: [], events: [event.id] });
    for (const { rule, hits: of } of hits) take(rule, stateOf(rule)?.feed(event, of));
  }
  for (const rule of rules) take(rule, states.get(rule)?.advance(END_OF_TIME_NS));
  return matches;
}
