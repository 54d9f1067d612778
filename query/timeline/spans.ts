/**
 * Programs whose environment names the span that they were started in (`TRACEPARENT`, W3C Trace
 * Context), and the call whose span that is.
 */
import type { Attribution } from './attribution.ts';
import { type FlatEvent, roleOf } from './view.ts';

const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/;
const SPAN_PCT = 99;

/** The call whose span a program was started in, by what the agent put into its environment. */
export type Spans = (event: FlatEvent) => Attribution | undefined;

/** Finds the calls that channels report a span of; `events` in any order. */
export function spansOf(events: readonly FlatEvent[]): Spans {
  const calls = new Map<string, string>();
  for (const event of events) {
    const { tool_call_id: id, trace_id: trace, span_id: span } = event;
    if (id === undefined || trace === undefined || span === undefined) continue;
    if (roleOf(event) === 'call') calls.set(`${trace} ${span}`, id);
  }
  return (event) => {
    if (calls.size === 0 || event.tool_call_id !== undefined) return undefined;
    const [, trace, span] = TRACEPARENT.exec(event.join_keys?.TRACEPARENT ?? '') ?? [];
    const toolCallId = calls.get(`${trace} ${span}`);
    if (toolCallId === undefined) return undefined;
    return { toolCallId, method: 'env_key', confidencePct: SPAN_PCT, recorded: false };
  };
}
