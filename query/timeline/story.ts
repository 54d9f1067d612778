/**
 * The session as a story: prompt, turn, call, effects; with what was approved, decided and refused,
 * and what does not fit. One model for the terminal and for a page; strings in it are telemetry,
 * raw: whoever shows them escapes them.
 */
import { type Completeness, eventId, type Integrity, type TelltaleEvent, toRanges } from '#schemas';
import type { Analysis } from './analyse.ts';
import { type Assessment, assess } from './assess.ts';
import { type Effects, effectsOf, type Verdicts, verdictsOf } from './effects.ts';
import { type Finding, findingsOf } from './findings.ts';
import { present, type ToolCall } from './merge.ts';
import { type DeadLetter, type ParkedRun, placeLetters, runsOf, standing } from './parked.ts';
import type { Turn } from './turns.ts';
import { type FlatEvent, kindsWith, roleOf } from './view.ts';

/** One stream's verdicts, as far as they were asked for. */
export interface StreamVerdicts {
  readonly streamId: string;
  readonly completeness?: Completeness;
  readonly integrity?: Integrity;
}

/** All that a story is made of. */
export interface SessionData {
  readonly id: string;
  readonly agent: string;
  readonly host: string;
  readonly user: string;
  readonly events: readonly TelltaleEvent[];
  readonly streams: readonly StreamVerdicts[];
  readonly deadLetters: readonly DeadLetter[];
  /** Set where all that is missing of it was removed by retention. */
  readonly removal?: RemovedByPolicy;
}

/** What a tombstone says: by which policy the session went, and how much of it was stored. */
export interface RemovedByPolicy {
  readonly policy: string;
  readonly days: number;
  readonly streams: readonly { readonly events: number }[];
}

export interface Message {
  readonly type: 'message';
  readonly ns: string;
  readonly event: FlatEvent;
  /** All channels that reported it. */
  readonly sources: readonly string[];
}

export interface CallItem {
  readonly type: 'call';
  readonly ns: string;
  readonly call: ToolCall;
  readonly approvals: readonly FlatEvent[];
  readonly decisions: readonly FlatEvent[];
  readonly effects: Effects;
  /** The first output that a channel gave. */
  readonly output?: string;
}

/** An approval, decision, gap, alert or note that stands for itself. */
export interface Note {
  readonly type: 'note';
  readonly ns: string;
  readonly event: FlatEvent;
}

/** Lines that could not be stored, beside the event that stands before them. */
export interface ParkedItem {
  readonly type: 'parked';
  readonly ns: string;
  readonly run: ParkedRun;
}

export type Item = Message | CallItem | Note | ParkedItem;

export interface StoryTurn {
  readonly turn: Turn;
  readonly prompts: readonly FlatEvent[];
  readonly items: readonly Item[];
  readonly usage: Usage;
}

export interface Usage {
  readonly models: readonly string[];
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly requests: number;
}

export interface SensorState {
  readonly name: string;
  readonly coverage: string;
  readonly rung?: number;
  readonly reason?: string;
}

export interface Story {
  readonly session: {
    readonly id: string;
    readonly agent: string;
    readonly host: string;
    readonly user: string;
    readonly command: readonly string[];
    readonly cwd?: string;
    readonly startedNs: string;
    readonly endedNs: string;
    readonly closeReason?: string;
    readonly exitCode?: number;
    readonly exitSignal?: string;
  };
  readonly streams: readonly StreamVerdicts[];
  readonly sensors: readonly SensorState[];
  readonly counts: {
    readonly events: number;
    readonly turns: number;
    readonly calls: number;
    readonly failedCalls: number;
    readonly deniedCalls: number;
    readonly processes: number;
    readonly files: number;
    readonly connections: number;
  };
  readonly usage: Usage;
  readonly findings: readonly Finding[];
  /** What happened before the first turn, other than effects. */
  readonly before: readonly Item[];
  readonly turns: readonly StoryTurn[];
  readonly unattributed: Effects;
  /** What was parked and has no place: whole frames, and streams of which nothing is stored. */
  readonly parked: readonly DeadLetter[];
}

const CLOSES = new Set(kindsWith('close_reason'));
const GAPS = new Set(kindsWith('gap_reason'));

/**
 * Tokens by the channel that reported most: several channels report one request, and adding them
 * up would count it twice.
 */
export function usageOf(events: readonly FlatEvent[]): Usage {
  const bySource = new Map<string, { input: number; output: number; requests: number }>();
  for (const event of events) {
    if (event.input_tokens === undefined && event.output_tokens === undefined) continue;
    const sum = bySource.get(event.source) ?? { input: 0, output: 0, requests: 0 };
    sum.input += event.input_tokens ?? 0;
    sum.output += event.output_tokens ?? 0;
    sum.requests++;
    bySource.set(event.source, sum);
  }
  const best = [...bySource.values()].sort((a, b) => b.input + b.output - a.input - a.output)[0];
  const models = new Set(events.flatMap(({ model }) => model ?? []));
  return {
    models: [...models].sort(),
    inputTokens: best?.input ?? 0,
    outputTokens: best?.output ?? 0,
    requests: best?.requests ?? 0,
  };
}

/**
 * What the model said, and what it gave to subagents, once each: several channels report one message.
 */
function messagesOf({ events, turns }: Analysis): Message[] {
  const prompts = new Set(turns.list.flatMap(({ promptIds }) => promptIds));
  const byText = new Map<string, { event: FlatEvent; sources: Set<string> }>();
  const drafts: { event: FlatEvent; sources: Set<string> }[] = [];
  for (const event of events) {
    if (roleOf(event) !== 'conversation' || prompts.has(eventId(event))) continue;
    const text = (event.text ?? event.prompt)?.trim();
    const before = text === undefined ? undefined : byText.get(text);
    if (before !== undefined && !before.sources.has(event.source)) {
      before.sources.add(event.source);
      continue;
    }
    const draft = { event, sources: new Set([event.source]) };
    drafts.push(draft);
    if (text !== undefined) byText.set(text, draft);
  }
  return drafts.map(({ event, sources }) => ({
    type: 'message',
    ns: event.ts,
    event,
    sources: [...sources].sort(),
  }));
}

function outputOf(analysis: Analysis, call: ToolCall): string | undefined {
  for (const id of call.eventIds) {
    const output = analysis.byId.get(id)?.output;
    if (output !== undefined) return output;
  }
  return undefined;
}

function callItem(analysis: Analysis, call: ToolCall, verdicts: Verdicts): CallItem {
  const caused = analysis.causedBy.get(call.id) ?? [];
  return {
    type: 'call',
    ns: call.startedNs,
    call,
    approvals: caused.filter((event) => roleOf(event) === 'approval'),
    decisions: caused.filter((event) => roleOf(event) === 'policy'),
    effects: effectsOf(analysis, caused, verdicts),
    ...present({ output: outputOf(analysis, call) }),
  };
}

/** Events that stand for themselves on the timeline. */
function isNote(analysis: Analysis, event: FlatEvent): boolean {
  const role = roleOf(event);
  if (role === 'approval' || role === 'policy')
    return analysis.attribution.get(eventId(event))?.toolCallId === undefined;
  return role === 'stored' || GAPS.has(event.kind);
}

function sensorsOf(events: readonly FlatEvent[]): SensorState[] {
  const states = new Map<string, SensorState>();
  for (const event of events) {
    if (event.sensor_name === undefined || event.coverage === undefined) continue;
    states.set(event.sensor_name, {
      name: event.sensor_name,
      coverage: event.coverage,
      ...present({ rung: event.sensor_rung, reason: event.reason }),
    });
  }
  return [...states.values()];
}

function sessionOf(data: SessionData, events: readonly FlatEvent[]): Story['session'] {
  const open = events.find((event) => event.command_args !== undefined);
  const close = events.findLast((event) => CLOSES.has(event.kind));
  return {
    id: data.id,
    agent: data.agent,
    host: data.host,
    user: data.user,
    command: open?.command_args ?? [],
    startedNs: open?.ts ?? events[0]?.ts ?? '0',
    endedNs: events.at(-1)?.ts ?? '0',
    ...present({
      cwd: open?.cwd,
      closeReason: close?.close_reason,
      exitCode: close?.exit_code,
      exitSignal: close?.exit_signal,
    }),
  };
}

function countsOf(analysis: Analysis, items: readonly CallItem[]): Story['counts'] {
  const { events, calls } = analysis;
  const failed = (call: ToolCall) =>
    call.exitSignal !== undefined ||
    (call.exitCode === undefined ? call.outcome === 'failure' : call.exitCode.code !== 0);
  const denied = ({ call, approvals }: CallItem) =>
    call.outcome === 'denied' || approvals.some(({ decision }) => decision === 'denied');
  return {
    events: events.length,
    turns: analysis.turns.list.length,
    calls: calls.length,
    failedCalls: calls.filter((call) => call.outcome !== 'denied' && failed(call)).length,
    deniedCalls: items.filter(denied).length,
    processes: analysis.processes.list.filter(({ images }) => images.length > 0).length,
    files: new Set(events.flatMap(({ file_path }) => [file_path ?? []].flat())).size,
    connections: events.filter(({ net_op }) => net_op === 'connect').length,
  };
}

/** What was parked, beside its events. */
function parkedOf(analysis: Analysis, letters: readonly DeadLetter[]) {
  const numbers = new Map<string, number[]>();
  if (letters.length > 0)
    for (const { stream_id, seq } of analysis.events) {
      const list = numbers.get(stream_id);
      if (list === undefined) numbers.set(stream_id, [seq]);
      else list.push(seq);
    }
  const ranges = new Map([...numbers].map(([stream, seqs]) => [stream, toRanges(seqs)]));
  const { beside, nowhere } = placeLetters(standing(letters), ranges);
  const items = [...beside].flatMap(([id, list]) => {
    const event = analysis.byId.get(id) as FlatEvent;
    return runsOf(list).map((run) => ({ event, run }));
  });
  return { items, nowhere };
}

const byNs = (a: Item, b: Item): number => (a.ns < b.ns ? -1 : a.ns > b.ns ? 1 : 0);

/**
 * Tells the story of a session. The order of `data.events` does not matter. `assessment` is that of
 * the same events and streams, where it was made already.
 */
export function buildStory(
  data: SessionData,
  assessment: Assessment = assess(data.events, data.streams),
): Story {
  const { analysis } = assessment;
  const verdicts = verdictsOf(analysis.events);
  const calls = analysis.calls.map((call) => callItem(analysis, call, verdicts));
  const unattributed = effectsOf(
    analysis,
    (analysis.causedBy.get(undefined) ?? []).filter((event) => event.tool_call_id === undefined),
    verdicts,
  );
  const loose: (Message | Note)[] = [
    ...messagesOf(analysis),
    ...analysis.events
      .filter((event) => isNote(analysis, event))
      .map((event): Note => ({ type: 'note', ns: event.ts, event })),
  ];
  const itemsOf = new Map<Turn | undefined, Item[]>();
  const put = (turn: Turn | undefined, item: Item) => {
    const list = itemsOf.get(turn);
    if (list === undefined) itemsOf.set(turn, [item]);
    else list.push(item);
  };
  const turnOfCall = new Map(
    analysis.turns.list.flatMap((turn) => turn.callIds.map((id) => [id, turn] as const)),
  );
  for (const item of calls) put(turnOfCall.get(item.call.id), item);
  for (const item of loose) put(analysis.turns.of(item.event), item);
  const parked = parkedOf(analysis, data.deadLetters);
  for (const { event, run } of parked.items)
    put(analysis.turns.of(event), { type: 'parked', ns: event.ts, run });
  const eventsOf = (turn: Turn) =>
    (itemsOf.get(turn) ?? []).flatMap((item) => (item.type === 'message' ? [item.event] : []));
  return {
    session: sessionOf(data, analysis.events),
    streams: data.streams,
    sensors: sensorsOf(analysis.events),
    counts: countsOf(analysis, calls),
    usage: usageOf(analysis.events),
    findings: findingsOf(data, assessment, calls, unattributed),
    before: (itemsOf.get(undefined) ?? []).sort(byNs),
    turns: analysis.turns.list.map((turn) => ({
      turn,
      prompts: turn.promptIds.flatMap((id) => analysis.byId.get(id) ?? []),
      items: (itemsOf.get(turn) ?? []).sort(byNs),
      usage: usageOf(eventsOf(turn)),
    })),
    unattributed,
    parked: parked.nowhere,
  };
}
