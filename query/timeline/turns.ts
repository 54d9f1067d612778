/**
 * Turns: one prompt and all that follows from it.
 *
 * Channels disagree on how a turn is named: some give a `turn_id` on everything, some only tell the
 * prompt. So a turn is anchored by its id, or by a prompt without one. Two prompt events are the
 * same prompt when they have one turn id, or when *different* channels report the same text (or one
 * of them did not keep it) within `PROMPT_JOIN_MS`; one channel that reports twice means two. What an
 * agent gives to its subagent is no prompt of the turn, but a message in it.
 */
import { eventId, type TelltaleEvent } from '#schemas';
import { isDelegated } from './agents.ts';
import type { ToolCall } from './merge.ts';
import { byTime, type FlatEvent, inOrder, kindsWith, roleOf, shiftNs } from './view.ts';

/** How far apart two channels may report one prompt. */
const PROMPT_JOIN_MS = 10_000;
const NS_PER_MS = 1_000_000n;

export interface Turn {
  /** The agent's turn id, or else the id of its first prompt event. */
  readonly id: string;
  readonly turnId?: string;
  readonly startedNs: string;
  /** The last that was said, called or answered in it. */
  readonly endedNs: string;
  /** Prompt events, in order; several where several channels report it. */
  readonly promptIds: readonly string[];
  readonly callIds: readonly string[];
}

export interface Turns {
  readonly list: readonly Turn[];
  /** The turn of an event: by its turn id, its call, or else the last that had begun. */
  readonly of: (event: FlatEvent) => Turn | undefined;
}

interface Anchor {
  turnId?: string;
  startedNs: string;
  endedNs: string;
  readonly prompts: FlatEvent[];
  readonly callIds: string[];
}

const PROMPT_KINDS = new Set(kindsWith('prompt'));
const TALK = new Set(['conversation', 'call', 'result', 'approval']);

const anchorAt = (event: FlatEvent): Anchor => ({
  startedNs: event.ts,
  endedNs: event.ts,
  prompts: [],
  callIds: [],
});

function anchorsById(events: readonly FlatEvent[]): Map<string, Anchor> {
  const anchors = new Map<string, Anchor>();
  for (const event of events) {
    if (event.turn_id === undefined) continue;
    let anchor = anchors.get(event.turn_id);
    if (anchor === undefined) {
      anchor = { ...anchorAt(event), turnId: event.turn_id };
      anchors.set(event.turn_id, anchor);
    }
    if (PROMPT_KINDS.has(event.kind)) anchor.prompts.push(event);
  }
  return anchors;
}

/** Whether a prompt without a turn id may be the one that `anchor` begins with. */
function joins(anchor: Anchor, prompt: FlatEvent): boolean {
  return anchor.prompts.every(
    (other) =>
      other.source !== prompt.source &&
      (other.prompt === undefined || prompt.prompt === undefined || other.prompt === prompt.prompt),
  );
}

const distanceNs = (a: string, b: string): bigint => {
  const d = BigInt(a) - BigInt(b);
  return d < 0n ? -d : d;
};

/** The index of the last anchor that began at or before `ns`; -1 where none had. */
function lastBegun(anchors: readonly { readonly startedNs: string }[], ns: string): number {
  let low = 0;
  let high = anchors.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((anchors[middle] as { startedNs: string }).startedNs <= ns) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function placePrompts(named: Anchor[], events: readonly FlatEvent[]): Anchor[] {
  const limit = BigInt(PROMPT_JOIN_MS) * NS_PER_MS;
  const byStart = (a: Anchor, b: Anchor) =>
    a.startedNs < b.startedNs ? -1 : a.startedNs > b.startedNs ? 1 : 0;
  const known = named.sort(byStart);
  const fresh: Anchor[] = [];
  for (const prompt of events) {
    if (!PROMPT_KINDS.has(prompt.kind) || prompt.turn_id !== undefined) continue;
    if (isDelegated(prompt) && known.length + fresh.length > 0) continue;
    const at = lastBegun(known, prompt.ts);
    const near = [known[at], known[at + 1], fresh.at(-1)].filter(
      (anchor) =>
        anchor !== undefined &&
        distanceNs(anchor.startedNs, prompt.ts) <= limit &&
        joins(anchor, prompt),
    ) as Anchor[];
    near.sort((a, b) =>
      distanceNs(a.startedNs, prompt.ts) < distanceNs(b.startedNs, prompt.ts) ? -1 : 1,
    );
    const home = near[0];
    if (home === undefined) fresh.push({ ...anchorAt(prompt), prompts: [prompt] });
    else {
      home.prompts.push(prompt);
      if (prompt.ts < home.startedNs) home.startedNs = prompt.ts;
    }
  }
  return [...known, ...fresh].sort(byStart);
}

function finish(anchor: Anchor): Turn {
  const own = anchor.prompts.filter((prompt) => !isDelegated(prompt));
  // A turn of a subagent alone began with what it was given.
  const prompts = (own.length > 0 ? own : anchor.prompts).sort(byTime);
  const first = prompts[0];
  return {
    id: anchor.turnId ?? (first === undefined ? anchor.startedNs : eventId(first)),
    ...(anchor.turnId === undefined ? {} : { turnId: anchor.turnId }),
    startedNs: anchor.startedNs,
    endedNs: anchor.endedNs,
    promptIds: prompts.map(eventId),
    callIds: anchor.callIds,
  };
}

/** The turns of a session, by start, from all its events and its merged calls. */
export function buildTurns(events: readonly TelltaleEvent[], calls: readonly ToolCall[]): Turns {
  const ordered = inOrder(events);
  const byId = anchorsById(ordered);
  const anchors = placePrompts([...byId.values()], ordered);
  const callAnchor = new Map<string, Anchor>();
  const begun = (ns: string): Anchor | undefined => anchors[lastBegun(anchors, ns)];
  for (const call of calls) {
    const anchor = (call.turnId && byId.get(call.turnId)) || begun(call.startedNs);
    if (anchor === undefined) continue;
    anchor.callIds.push(call.id);
    callAnchor.set(call.id, anchor);
  }
  const home = (event: FlatEvent): Anchor | undefined =>
    (event.turn_id === undefined ? undefined : byId.get(event.turn_id)) ??
    (event.tool_call_id === undefined ? undefined : callAnchor.get(event.tool_call_id)) ??
    begun(event.ts);
  for (const event of ordered) {
    const anchor = TALK.has(roleOf(event)) ? home(event) : undefined;
    if (anchor !== undefined && event.ts > anchor.endedNs) anchor.endedNs = event.ts;
  }
  const turns = new Map(anchors.map((anchor) => [anchor, finish(anchor)]));
  return {
    list: [...turns.values()],
    of: (event) => {
      const anchor = home(event);
      return anchor === undefined ? undefined : turns.get(anchor);
    },
  };
}

/** The time `ms` before `ns`. */
export const msBefore = (ns: string, ms: number): string => shiftNs(ns, -BigInt(ms) * NS_PER_MS);
