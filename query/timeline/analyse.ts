/** All that the timeline knows of a session's events, put together: the order of the steps. */
import { eventId, type TelltaleEvent } from '#schemas';
import { type Attribution, attribute } from './attribution.ts';
import { type KernelExit, mergeToolCalls, present, settleExit, type ToolCall } from './merge.ts';
import { buildProcesses, type Process, type Processes } from './processes.ts';
import { buildTurns, type Turns } from './turns.ts';
import { type FlatEvent, inOrder, shiftNs } from './view.ts';

export interface Analysis {
  /** All events in the order of the session. */
  readonly events: readonly FlatEvent[];
  readonly byId: ReadonlyMap<string, FlatEvent>;
  readonly calls: readonly ToolCall[];
  readonly callById: ReadonlyMap<string, ToolCall>;
  readonly processes: Processes;
  readonly attribution: ReadonlyMap<string, Attribution>;
  readonly turns: Turns;
  /** Attributed events of each call, in order; under `undefined` those of none. */
  readonly causedBy: ReadonlyMap<string | undefined, readonly FlatEvent[]>;
  /** Processes of each call that no other process of it started, and that ran a program. */
  readonly roots: ReadonlyMap<string, readonly Process[]>;
  /** The call that a process belonged to when it was first seen. */
  readonly callOf: (process: Process) => Attribution | undefined;
}

/** A root process may end this long after the last channel reported the call's end. */
const EXIT_LATE_NS = 1_000_000_000n;

type CallOf = Analysis['callOf'];

function rootsOf(processes: Processes, callOf: CallOf): Map<string, Process[]> {
  const roots = new Map<string, Process[]>();
  for (const process of processes.list) {
    const id = callOf(process)?.toolCallId;
    if (id === undefined || process.images.length === 0) continue;
    const parent =
      process.parentId === undefined ? undefined : processes.byId.get(process.parentId);
    if (parent !== undefined && callOf(parent)?.toolCallId === id) continue;
    const list = roots.get(id);
    if (list === undefined) roots.set(id, [process]);
    else list.push(process);
  }
  return roots;
}

/**
 * How the kernel saw the call end: the end of its only root process, or of the only one that runs
 * the call's command. Undefined where there is no such one, where its end was not seen, or where it
 * ended long after the call (a process left in the background).
 */
export function kernelExit(call: ToolCall, roots: readonly Process[]): KernelExit | undefined {
  const command = call.command?.trim();
  const running = (process: Process) =>
    command !== undefined &&
    process.images.some(
      ({ argv }) => argv.join(' ') === command || argv.some((arg) => arg.includes(command)),
    );
  const fitting = roots.length > 1 ? roots.filter(running) : roots;
  const [root, second] = fitting;
  if (root?.exit === undefined || root.endedNs === undefined || second !== undefined)
    return undefined;
  if (call.endedNs !== undefined && root.endedNs > shiftNs(call.endedNs, EXIT_LATE_NS))
    return undefined;
  if (root.exitCode === undefined && root.exitSignal === undefined) return undefined;
  return { ...root.exit, ...present({ code: root.exitCode, signal: root.exitSignal }) };
}

function group(events: readonly FlatEvent[], attribution: ReadonlyMap<string, Attribution>) {
  const out = new Map<string | undefined, FlatEvent[]>();
  for (const event of events) {
    const known = attribution.get(eventId(event));
    if (known === undefined) continue;
    const list = out.get(known.toolCallId);
    if (list === undefined) out.set(known.toolCallId, [event]);
    else list.push(event);
  }
  return out;
}

/** Analyses all events of one session. The order of `events` does not matter. */
export function analyse(events: readonly TelltaleEvent[]): Analysis {
  const ordered = inOrder(events);
  const all = ordered as unknown as readonly TelltaleEvent[];
  const claimed = mergeToolCalls(all);
  const processes = buildProcesses(all);
  const attribution = attribute(all, claimed, processes);
  const callOf: CallOf = (process) => attribution.get(process.id);
  const roots = rootsOf(processes, callOf);
  const calls = claimed.map((call) => settleExit(call, kernelExit(call, roots.get(call.id) ?? [])));
  return {
    events: ordered,
    byId: new Map(ordered.map((event) => [eventId(event), event])),
    calls,
    callById: new Map(calls.map((call) => [call.id, call])),
    processes,
    attribution,
    turns: buildTurns(all, calls),
    causedBy: group(ordered, attribution),
    roots,
    callOf,
  };
}
