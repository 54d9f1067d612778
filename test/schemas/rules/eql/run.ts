/** Runs one compiled query over events, the plain way: every test on every event. */

import { parseEql } from '../../../../schemas/rules/eql/parser.ts';
import { END_OF_TIME_NS } from '../../../../schemas/rules/eql/pipes.ts';
import { compileQuery } from '../../../../schemas/rules/eql/query.ts';
import type {
  Firing,
  Hit,
  Matcher,
  StreamLimits,
  StreamState,
} from '../../../../schemas/rules/rule.ts';
import {
  coversSource,
  type RuleEvent,
  recordView,
  type Scalar,
} from '../../../../schemas/rules/values.ts';

/** An event of the cases: a category, a time in milliseconds, and whatever else. */
export interface PlainEvent {
  readonly event_type: string;
  readonly serial_event_id: number;
  readonly timestamp: number;
  readonly [field: string]: Scalar | readonly Scalar[];
}

export function ruleEvent(event: PlainEvent): RuleEvent {
  const source = { product: 'telltale', service: 'eql', category: event.event_type };
  const { event_type: _category, ...fields } = event;
  return {
    id: String(event.serial_event_id),
    timeNs: BigInt(event.timestamp) * 1_000_000n,
    views: [{ source, fields: recordView(fields) }],
  };
}

/** Compiles a query; a fault is an error with its place. */
export function compile(query: string): Matcher {
  const parsed = parseEql(query);
  if (!parsed.ok)
    throw new Error(`${parsed.fault.line}:${parsed.fault.column}: ${parsed.fault.message}`);
  const compiled = compileQuery(parsed.value);
  if (!compiled.ok)
    throw new Error(`${compiled.fault.line}:${compiled.fault.column}: ${compiled.fault.message}`);
  return compiled.value.matcher;
}

export function hitsOf(matcher: Matcher, event: RuleEvent): Hit[] {
  const tests = matcher.type === 'event' ? [matcher.test] : matcher.stream.inputs;
  return tests.flatMap((test, input) => {
    const view = event.views.find(
      ({ source, fields }) => coversSource(test.logsource, source) && test.matches(fields),
    );
    return view === undefined ? [] : [{ input, fields: view.fields }];
  });
}

/** A state of a matcher; a test of single events fires for each of its hits. */
export function open(matcher: Matcher, limits?: StreamLimits, saved?: unknown): StreamState {
  if (matcher.type === 'stream') return matcher.stream.open(limits, saved);
  return {
    feed: ({ timeNs, id }, hits) => (hits.length === 0 ? [] : [{ timeNs, key: [], events: [id] }]),
    advance: () => [],
    save: () => null,
    stats: () => ({ groups: 0, events: 0, evicted: 0 }),
    size: 0,
  };
}

/** All firings over all events, the end included. */
export function runAll(
  matcher: Matcher,
  events: readonly RuleEvent[],
  limits?: StreamLimits,
): Firing[] {
  const state = open(matcher, limits);
  const out = events.flatMap((event) => [...state.feed(event, hitsOf(matcher, event))]);
  return [...out, ...state.advance(END_OF_TIME_NS)];
}

/** The ids of what a query finds. */
export function find(query: string, events: readonly PlainEvent[]): number[][] {
  return runAll(compile(query), events.map(ruleEvent)).map((one) => one.events.map(Number));
}
