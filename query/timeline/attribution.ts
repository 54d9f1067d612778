/**
 * Which tool call caused what. What was recorded is never overwritten; what was not is completed
 * from the whole session, the same way each time, in this order:
 *
 *   recorded   the collector wrote the call when it happened (env_key, ancestry, native …)
 *   env_key    a process was given TRACEPARENT (W3C Trace Context), whose parent
 *              span is the one that a channel reports of the call                  99 %
 *   ancestry   the process, or one above it, belongs to a call                     up to 95 %
 *   command    a process outside any call whose arguments are the call's command,
 *              while the call ran; or a peer that its command or arguments name    50 to 90 %
 *   path       a file that the call's arguments or changes name, while it ran: for
 *              agents that write files themselves; or a helper program that the
 *              agent started for the call, by such a file that it or a child wrote 60 to 85 %
 *   else       unattributed, which is a finding in itself
 *
 * The state of a written file is what its write is (`settled.ts`).
 * Times of the call are taken with `CALL_SLACK_NS` on both sides.
 */
import { type ATTRIBUTIONS, eventId, type TelltaleEvent } from '#schemas';
import type { ToolCall } from './merge.ts';
import type { Process, Processes } from './processes.ts';
import {
  CALL_SLACK_NS,
  commandScore,
  type Named,
  namedBy,
  pathScore,
  peerScore,
  runningAt,
} from './running.ts';
import { settledWrites } from './settled.ts';
import { type Spans, spansOf } from './spans.ts';
import { type FlatEvent, inOrder, kindsWith, roleOf, shiftNs } from './view.ts';

export type Method = (typeof ATTRIBUTIONS)[number];

export interface Attribution {
  readonly toolCallId?: string;
  readonly method: Method;
  readonly confidencePct: number;
  /** Whether the collector wrote it, rather than that it was completed here. */
  readonly recorded: boolean;
}

export const UNATTRIBUTED: Attribution = {
  method: 'unattributed',
  confidencePct: 0,
  recorded: false,
};

const ANCESTRY_PCT_MAX = 95;
/** Two calls that fit equally well: one of them it was. */
const AMBIGUOUS_PCT = 50;
/** Methods by which a recorded effect speaks for its whole process. */
const OF_PROCESS: ReadonlySet<string | undefined> = new Set(['env_key', 'ancestry']);
/** Methods that found a call's root process: what it does is below it. */
const OF_ROOT: ReadonlySet<string> = new Set(['command', 'path']);
const ATTRIBUTABLE: ReadonlySet<string> = new Set([
  'process_start',
  'process_end',
  'effect',
  'policy',
  'approval',
]);

function recordedOf(event: FlatEvent): Attribution | undefined {
  if (event.tool_call_id === undefined) return undefined;
  return {
    toolCallId: event.tool_call_id,
    method: event.attribution ?? 'native',
    confidencePct: event.attribution_confidence_pct ?? 100,
    recorded: true,
  };
}

interface Best {
  readonly call: ToolCall;
  readonly pct: number;
}

/** The best of some calls by a score; an even match is marked down. Newest call first. */
function bestAmong(calls: readonly ToolCall[], score: (call: ToolCall) => number) {
  let best: Best | undefined;
  let even = false;
  for (const call of calls) {
    const pct = score(call);
    if (pct === 0 || (best !== undefined && pct < best.pct)) continue;
    even = best !== undefined && pct === best.pct;
    // Of equals the one that began first is kept: calls start their programs in order.
    best = { call, pct };
  }
  return best !== undefined && even ? { ...best, pct: AMBIGUOUS_PCT } : best;
}

/**
 * The best of the calls that were running at `ns`. One that ran at the very time is better than one
 * that only did by the slack of the clocks, as long as it fits as well.
 */
function bestOf(
  running: readonly ToolCall[],
  ns: string,
  score: (call: ToolCall) => number,
): Best | undefined {
  const strictly = (call: ToolCall) =>
    call.startedNs <= ns && (call.endedNs === undefined || call.endedNs >= ns);
  const within = bestAmong(running.filter(strictly), score);
  const near = bestAmong(
    running.filter((call) => !strictly(call)),
    score,
  );
  if (within === undefined || near === undefined) return within ?? near;
  return score(within.call) >= score(near.call) ? within : near;
}

interface Mark {
  readonly ns: string;
  readonly attribution: Attribution;
}

/** What the collector recorded of processes, by process, in time. */
function marksOf(
  events: readonly FlatEvent[],
  processes: Processes,
  spans: Spans,
): Map<Process, Mark[]> {
  const marks = new Map<Process, Mark[]>();
  for (const event of events) {
    const process = processes.of(eventId(event));
    const attribution = recordedOf(event) ?? spans(event);
    if (process === undefined || attribution === undefined) continue;
    if (roleOf(event) !== 'process_start' && !OF_PROCESS.has(event.attribution)) continue;
    const list = marks.get(process);
    if (list === undefined) marks.set(process, [{ ns: event.ts, attribution }]);
    else list.push({ ns: event.ts, attribution });
  }
  return marks;
}

function lastMark(marks: readonly Mark[], ns: string): Mark | undefined {
  let low = 0;
  let high = marks.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((marks[middle] as Mark).ns <= ns) low = middle + 1;
    else high = middle;
  }
  return marks[low - 1];
}

const inherited = (from: Attribution): Attribution => ({
  ...from,
  method: 'ancestry',
  confidencePct: Math.min(from.confidencePct, ANCESTRY_PCT_MAX),
  recorded: false,
});

type Names = (call: ToolCall) => Named;

/** For each process that might be a call's root by its arguments: which call, how surely. */
function commandMatches(list: readonly Process[], calls: readonly ToolCall[], names: Names) {
  const started = list.filter(({ images, failed }) => images.length + failed.length > 0);
  const images = started.map((process) => [...process.images, ...process.failed]);
  const running = runningAt(
    calls,
    images.map((all) => all[0]?.ns ?? ''),
  );
  const taken = new Set<string>();
  const out = new Map<Process, Attribution>();
  started.forEach((process, index) => {
    const score = (call: ToolCall) =>
      (images[index] ?? []).reduce(
        (best, { argv }) => Math.max(best, commandScore(names(call), argv)),
        0,
      );
    const all = running[index] ?? [];
    const free = all.filter((call) => !taken.has(call.id));
    // A refused call is the last to be suspected while another asked for the same.
    const allowed = free.filter((call) => call.outcome !== 'denied');
    const ns = images[index]?.[0]?.ns ?? '';
    const best = bestOf(allowed, ns, score) ?? bestOf(free, ns, score) ?? bestOf(all, ns, score);
    if (best === undefined) return;
    taken.add(best.call.id);
    const { call, pct } = best;
    out.set(process, {
      toolCallId: call.id,
      method: 'command',
      confidencePct: pct,
      recorded: false,
    });
  });
  return out;
}

/** The attribution of a process at a time. */
export type ProcessAttribution = (process: Process, ns: string) => Attribution;

function attributeProcesses(
  events: readonly FlatEvent[],
  calls: readonly ToolCall[],
  processes: Processes,
  names: Names,
  spans: Spans,
): ProcessAttribution {
  const marks = marksOf(events, processes, spans);
  const bases = new Map<Process, Attribution>();
  const at: ProcessAttribution = (process, ns) => {
    const own = marks.get(process);
    const mark = own === undefined ? undefined : lastMark(own, ns);
    if (mark !== undefined) return inherited(mark.attribution);
    const base = bases.get(process) ?? UNATTRIBUTED;
    if (base.toolCallId !== undefined || own?.[0] === undefined) return base;
    return inherited(own[0].attribution);
  };
  const byDepth = [...processes.list].sort((a, b) => a.depth - b.depth);
  // First what is recorded and inherited; only what is left over may be matched by its command,
  // so that a child which repeats the text can't take the match from the root.
  const settle = (matches: ReadonlyMap<Process, Attribution>) => {
    for (const process of byDepth) {
      const parent =
        process.parentId === undefined ? undefined : processes.byId.get(process.parentId);
      const above = parent === undefined ? UNATTRIBUTED : at(parent, process.startedNs);
      if (above.toolCallId !== undefined) bases.set(process, inherited(above));
      else bases.set(process, matches.get(process) ?? UNATTRIBUTED);
    }
  };
  settle(new Map());
  const left = processes.list.filter(
    (process) => at(process, process.startedNs).toolCallId === undefined,
  );
  const commands = commandMatches(left, calls, names);
  settle(commands);
  settle(new Map([...helperMatches(events, calls, processes, names, at), ...commands]));
  return at;
}

/**
 * Helper programs: trees that began while a call ran and touched a file that the call names. The
 * topmost program that began within the call is the helper; one that was there before is the agent.
 */
function helperMatches(
  events: readonly FlatEvent[],
  calls: readonly ToolCall[],
  processes: Processes,
  names: Names,
  at: ProcessAttribution,
): ReadonlyMap<Process, Attribution> {
  const free = (process: Process) => at(process, process.startedNs).toolCallId === undefined;
  const touched = events.flatMap((event) => {
    const process = event.file_path === undefined ? undefined : processes.of(eventId(event));
    return process !== undefined && free(process) ? [{ event, process }] : [];
  });
  const running = runningAt(
    calls,
    touched.map(({ event }) => event.ts),
  );
  const out = new Map<Process, Attribution>();
  touched.forEach(({ event, process }, index) => {
    const best = bestOf(
      running[index] ?? [],
      event.ts,
      (call) => matchEvent(event, names(call)).pct,
    );
    if (best === undefined || best.pct <= AMBIGUOUS_PCT) return;
    const since = shiftNs(best.call.startedNs, -CALL_SLACK_NS);
    let helper: Process | undefined;
    for (let up: Process | undefined = process; up !== undefined; ) {
      if (up.startedNs < since || !free(up)) break;
      // A process without a parent is the recorded command: the agent itself.
      if (up.images.length > 0 && up.parentId !== undefined) helper = up;
      up = up.parentId === undefined ? undefined : processes.byId.get(up.parentId);
    }
    if (helper === undefined || (out.get(helper)?.confidencePct ?? 0) >= best.pct) return;
    out.set(helper, {
      toolCallId: best.call.id,
      method: 'path',
      confidencePct: best.pct,
      recorded: false,
    });
  });
  return out;
}

const COMMAND_KINDS = new Set(kindsWith('command'));

/** A match of one event against one running call, by what the event itself says. */
function matchEvent(event: FlatEvent, named: Named): { pct: number; method: Method } {
  if (COMMAND_KINDS.has(event.kind) && event.command !== undefined) {
    const same = event.command.trim() === named.command;
    const pct = same ? 90 : commandScore(named, [event.command]);
    if (pct > 0) return { pct, method: 'command' };
  }
  const files = [event.file_path, event.file_target_path].filter((file) => file !== undefined);
  const path = Math.max(0, ...files.map((file) => pathScore(named, file)));
  if (path > 0) return { pct: path, method: 'path' };
  const pct = peerScore(named, event.net_host, event.net_ip, event.net_port);
  return { pct, method: 'command' };
}

/** Events that no process ties to a call, by what they name. */
function attributeLoose(
  loose: readonly FlatEvent[],
  calls: readonly ToolCall[],
  names: Names,
  out: Map<string, Attribution>,
): void {
  const running = runningAt(
    calls,
    loose.map(({ ts }) => ts),
  );
  const place = (event: FlatEvent) => `${event.stream_id} ${event.pid} ${event.file_path}`;
  const renamed = new Map<string, Attribution>();
  loose.forEach((event, index) => {
    const best = bestOf(
      running[index] ?? [],
      event.ts,
      (call) => matchEvent(event, names(call)).pct,
    );
    if (best === undefined) return;
    const attribution: Attribution = {
      toolCallId: best.call.id,
      method: matchEvent(event, names(best.call)).method,
      confidencePct: best.pct,
      recorded: false,
    };
    out.set(eventId(event), attribution);
    if (event.file_target_path !== undefined) renamed.set(place(event), attribution);
  });
  // A file written under another name and then renamed to the one that the call names.
  loose.forEach((event, index) => {
    const attribution = renamed.get(place(event));
    const id = eventId(event);
    if (event.file_path === undefined || attribution === undefined || out.get(id)?.toolCallId)
      return;
    if (running[index]?.some((call) => call.id === attribution.toolCallId))
      out.set(id, { ...attribution, confidencePct: Math.min(60, attribution.confidencePct) });
  });
}

/**
 * The attribution of every event that some call may have caused: programs, ends, effects, policy
 * decisions and approvals. By event id. The order of `events` does not matter.
 */
export function attribute(
  events: readonly TelltaleEvent[],
  calls: readonly ToolCall[],
  processes: Processes,
): ReadonlyMap<string, Attribution> {
  const ordered = inOrder(events);
  const cwd = ordered.find((event) => event.command_args !== undefined)?.cwd;
  const cache = new Map<ToolCall, Named>();
  const names: Names = (call) => {
    let named = cache.get(call);
    if (named === undefined) {
      named = namedBy(call, cwd);
      cache.set(call, named);
    }
    return named;
  };
  const spans = spansOf(ordered);
  const processAt = attributeProcesses(ordered, calls, processes, names, spans);
  const out = new Map<string, Attribution>();
  const loose: FlatEvent[] = [];
  const settled = settledWrites(ordered);
  for (const event of ordered) {
    const id = eventId(event);
    if (!ATTRIBUTABLE.has(roleOf(event)) || settled.has(id)) continue;
    const process = processes.of(id);
    const known =
      recordedOf(event) ??
      spans(event) ??
      (process === undefined ? UNATTRIBUTED : processAt(process, event.ts));
    // The match is of the process; its own start shows it as such, what it does is below it.
    const root = OF_ROOT.has(known.method) && roleOf(event) !== 'process_start';
    out.set(id, root && !known.recorded ? inherited(known) : known);
    if (known.toolCallId === undefined && !isProcess(event)) loose.push(event);
  }
  attributeLoose(loose, calls, names, out);
  for (const [id, write] of settled) {
    const known = out.get(eventId(write)) ?? UNATTRIBUTED;
    out.set(id, { ...known, recorded: false });
  }
  return out;
}

const isProcess = (event: FlatEvent): boolean => roleOf(event).startsWith('process_');
