/**
 * Claims against effects: what an agent says it did and the kernel did not see, and what the kernel
 * saw and nobody said. Only judged where the kernel's sensor covered all of the time: where it did
 * not look, "not seen" says nothing.
 */
import path from 'node:path';
import { eventId } from '#schemas';
import type { Analysis } from './analyse.ts';
import { expect, isAllBuiltin } from './approvals/command.ts';
import { brief } from './approvals/finding.ts';
import { createVersions } from './approvals/scripts.ts';
import { baseOf, textsOf, unwrap } from './approvals/words.ts';
import type { CoverageMap } from './coverage.ts';
import { claimedPaths, type Files, type FileVersion } from './files.ts';
import type { ToolCall } from './merge.ts';
import type { Process } from './processes.ts';
import { argumentStrings, runningAt } from './running.ts';
import { type FlatEvent, isSeen, shiftNs } from './view.ts';

/** A claim that does not hold, or a deed that nobody claimed. */
export interface ClaimFinding {
  readonly kind: 'claim_unseen' | 'unclaimed';
  readonly severity: 'medium' | 'info';
  readonly text: string;
  readonly ns: string;
  readonly callId?: string;
  readonly eventIds: readonly string[];
  readonly method: string;
  readonly confidencePct: number;
}

/** A result may be reported long before or after what it is about: kernel time against channel's. */
const LATE_NS = 1_000_000_000n;
/** Programs that are looked at in the time of one call. */
const PROCESSES_MAX = 512;
const NAMES_MAX = 3;
const UNCLAIMED_MAX = 50;
/** Tools that write the file that their arguments name, by what agents call them. */
const WRITERS =
  /^(write|edit|multi_?edit|write_?file|create_?file|edit_?file|replace|str_replace\w*|notebook_?edit)$/i;
/** Names of the argument that holds the path. */
const PATH_KEYS = ['file_path', 'filePath', 'path', 'notebook_path'];
/** What programs write for themselves. */
const OWN = /^\/(tmp|var\/tmp|dev|proc|run|sys)\/|\/\.[^/]+(\/|$)|\/(__pycache__|node_modules)\//;

const few = (names: readonly string[]): string =>
  names.length <= NAMES_MAX
    ? names.map(brief).join(', ')
    : `${names.slice(0, NAMES_MAX).map(brief).join(', ')} and ${names.length - NAMES_MAX} more`;

const nameOf = (call: ToolCall): string => {
  const asked = call.command ?? call.tool;
  return asked === undefined ? call.id : `${call.id} (${brief(asked)})`;
};

interface Ground {
  readonly analysis: Analysis;
  readonly coverage: CoverageMap;
  readonly cwd: string | undefined;
  readonly versionsOf: ReturnType<typeof createVersions>;
  /** Times at which the kernel saw a file of this bare name changed, in order. */
  readonly byName: ReadonlyMap<string, readonly string[]>;
}

/** The time in which a call's deeds must lie. */
const spanOf = (call: ToolCall): readonly [string, string] => [
  shiftNs(call.startedNs, -LATE_NS),
  shiftNs(call.endedNs ?? call.startedNs, LATE_NS),
];

const isWatched = ({ coverage }: Ground, { startedNs, endedNs }: ToolCall): boolean =>
  coverage.verdict(startedNs, endedNs ?? startedNs) === 'complete';

/** The place of the first of `sorted` that is not before `ns`. */
function firstFrom<T>(sorted: readonly T[], nsOf: (item: T) => string, ns: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (nsOf(sorted[middle] as T) < ns) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whether a program of the command's ran while it did, though nothing ties it to the call. */
function ranLoose({ analysis }: Ground, call: ToolCall): boolean {
  const [from, to] = spanOf(call);
  const { list } = analysis.processes;
  const { script } = expect(call.command ?? '');
  const names = new Set(
    script.commands.map((words) => baseOf(unwrap(textsOf(words)).argv[0] ?? '')),
  );
  const begin = firstFrom(list, (process: Process) => process.startedNs, from);
  for (let at = begin; at < Math.min(list.length, begin + PROCESSES_MAX); at++) {
    const process = list[at] as Process;
    if (process.startedNs > to) break;
    if (process.images.some(({ argv, exe }) => names.has(baseOf(argv[0] ?? exe)))) return true;
  }
  return false;
}

function* commandUnseen(ground: Ground, call: ToolCall): Generator<ClaimFinding> {
  const { analysis } = ground;
  if (call.command === undefined || isAllBuiltin(expect(call.command))) return;
  const caused = analysis.causedBy.get(call.id) ?? [];
  if (caused.some((event) => isSeen(event) && event.pid !== undefined)) return;
  if (ranLoose(ground, call)) return;
  yield {
    kind: 'claim_unseen',
    severity: 'medium',
    text: `call ${nameOf(call)} is said to have run a command, and no process of it was seen`,
    ns: call.startedNs,
    callId: call.id,
    eventIds: call.eventIds,
    method: 'command',
    confidencePct: 85,
  };
}

/** Paths that a call says it wrote. */
function written(ground: Ground, call: ToolCall): string[] {
  const cwd = call.cwd ?? ground.cwd;
  const said = call.eventIds.flatMap((id) => {
    const event = ground.analysis.byId.get(id);
    return event === undefined ? [] : claimedPaths(event, cwd);
  });
  if (said.length > 0 || !WRITERS.test(call.tool ?? '')) return said;
  const named = argumentNamed(call.arguments);
  if (named === undefined || (!named.startsWith('/') && cwd === undefined)) return [];
  return [path.posix.resolve(cwd ?? '/', named)];
}

function argumentNamed(text: string | undefined): string | undefined {
  if (text === undefined || argumentStrings(text).length === 0) return undefined;
  try {
    const parsed: unknown = JSON.parse(text);
    const fields = new Map(Object.entries(parsed as object));
    const found = PATH_KEYS.map((key) => fields.get(key)).find(
      (value) => typeof value === 'string',
    );
    return found as string | undefined;
  } catch {
    return undefined;
  }
}

function wasSeen({ versionsOf, byName }: Ground, file: string, call: ToolCall): boolean {
  const [from, to] = spanOf(call);
  const versions = versionsOf(file);
  for (
    let at = firstFrom(versions, (one: FileVersion) => one.ns, from);
    at < versions.length && (versions[at] as FileVersion).ns <= to;
    at++
  )
    if (versions[at]?.seen) return true;
  // Under another name of the same folder: a link that was there before the session.
  const times = byName.get(baseOf(file)) ?? [];
  return (times[firstFrom(times, (ns: string) => ns, from)] ?? '9') <= to;
}

function* filesUnseen(ground: Ground, call: ToolCall): Generator<ClaimFinding> {
  if (call.outcome !== 'success') return;
  const missing = written(ground, call).filter((file) => !wasSeen(ground, file, call));
  if (missing.length === 0) return;
  yield {
    kind: 'claim_unseen',
    severity: 'medium',
    text: `call ${nameOf(call)} is said to have changed ${few(missing)}, and no such change was seen`,
    ns: call.startedNs,
    callId: call.id,
    eventIds: call.eventIds,
    method: 'path',
    confidencePct: 80,
  };
}

const changesFile = (event: FlatEvent): boolean =>
  isSeen(event) &&
  event.file_path !== undefined &&
  event.outcome !== 'failure' &&
  ['create', 'write', 'truncate', 'rename', 'delete'].includes(event.file_op ?? '');

/** Files that a call changed beside those that it says: only where it says which. */
function* filesUnclaimed(ground: Ground, call: ToolCall): Generator<ClaimFinding> {
  const said = written(ground, call);
  if (call.command !== undefined || call.changes.length === 0) return;
  const known = new Set(said);
  const folders = new Set(said.map((file) => path.posix.dirname(file)));
  const bases = said.map(baseOf);
  const more = (ground.analysis.causedBy.get(call.id) ?? []).filter((event) => {
    const file = event.file_path ?? '';
    if (!changesFile(event) || OWN.test(file) || known.has(file)) return false;
    if (known.has(event.file_target_path ?? '')) return false;
    // A file of the tool's own making, beside the one that it writes.
    const own = bases.some((base) => baseOf(file).includes(base));
    return !(own && folders.has(path.posix.dirname(file)));
  });
  const [first] = more;
  if (first === undefined) return;
  yield {
    kind: 'unclaimed',
    severity: 'medium',
    text: `call ${nameOf(call)} changed ${few([...new Set(more.map(({ file_path }) => file_path ?? ''))])}, and does not say so`,
    ns: first.ts,
    callId: call.id,
    eventIds: more.slice(0, 5).map(eventId),
    method: 'path',
    confidencePct: 75,
  };
}

/** Processes above some call's programs, and those whose parent nobody saw: the agent itself. */
function agentProcesses({ processes, roots }: Analysis): Set<Process> {
  const out = new Set(processes.list.filter(({ parentId }) => parentId === undefined));
  for (const list of roots.values())
    for (const root of list)
      for (
        let up = parent(processes, root);
        up !== undefined && !out.has(up);
        up = parent(processes, up)
      )
        out.add(up);
  return out;
}

const parent = (processes: Analysis['processes'], { parentId }: Process): Process | undefined =>
  parentId === undefined ? undefined : processes.byId.get(parentId);

/** The topmost process above an event's that is not the agent's; remembered on the way. */
function createTops({ processes }: Analysis, agent: ReadonlySet<Process>) {
  const tops = new Map<Process, Process | undefined>();
  return (process: Process): Process | undefined => {
    const way: Process[] = [];
    let at: Process | undefined = process;
    while (at !== undefined && !tops.has(at) && !agent.has(at)) {
      way.push(at);
      at = parent(processes, at);
    }
    const top = at !== undefined && tops.has(at) ? tops.get(at) : way.at(-1);
    for (const one of way) tops.set(one, top);
    return top;
  };
}

/** Programs that the agent started while no call was running, and that changed or reached something. */
function* programsUnclaimed(ground: Ground): Generator<ClaimFinding> {
  const { analysis, coverage, cwd } = ground;
  if (analysis.calls.length === 0) return;
  const topOf = createTops(analysis, agentProcesses(analysis));
  const groups = new Map<Process, FlatEvent[]>();
  for (const event of analysis.causedBy.get(undefined) ?? []) {
    const process = analysis.processes.of(eventId(event));
    const file = changesFile(event) && event.file_path?.startsWith(`${cwd}/`);
    const ip = event.net_ip ?? '';
    const net = event.net_op === 'connect' && ip !== '' && !/^(127\.|::1$)/.test(ip);
    const deed = net || (file && !OWN.test(event.file_path ?? ''));
    const top = process === undefined || !deed ? undefined : topOf(process);
    if (top === undefined) continue;
    const list = groups.get(top);
    if (list === undefined) groups.set(top, [event]);
    else list.push(event);
  }
  const tops = [...groups.keys()];
  const running = runningAt(
    analysis.calls,
    tops.map(({ startedNs }) => startedNs),
  );
  const loose = tops.filter(
    (top, at) =>
      running[at]?.length === 0 && coverage.verdict(top.startedNs, top.startedNs) === 'complete',
  );
  for (const top of loose.slice(0, UNCLAIMED_MAX)) {
    const deeds = groups.get(top) ?? [];
    const what = deeds.map(
      ({ file_path: file, net_host: host, net_ip: ip }) => file ?? host ?? ip ?? '',
    );
    const program = top.images.at(-1);
    yield {
      kind: 'unclaimed',
      severity: 'medium',
      text: `${brief(program?.argv.join(' ') || program?.exe || `process ${top.pid}`)} ran while no tool call did, and touched ${few([...new Set(what)])}`,
      ns: top.startedNs,
      eventIds: [top.id, ...deeds.slice(0, 4).map(eventId)],
      method: 'time',
      confidencePct: 70,
    };
  }
}

/** All claims of a session that do not hold, and deeds that nobody claimed. */
export function claimsOf(analysis: Analysis, files: Files, coverage: CoverageMap): ClaimFinding[] {
  const byName = new Map<string, string[]>();
  for (const event of analysis.events)
    if (isSeen(event))
      for (const file of [event.file_path, event.file_target_path]) {
        if (file === undefined) continue;
        const list = byName.get(baseOf(file));
        if (list === undefined) byName.set(baseOf(file), [event.ts]);
        else list.push(event.ts);
      }
  const cwd = analysis.events.find((event) => event.command_args !== undefined)?.cwd;
  const ground: Ground = { analysis, coverage, cwd, versionsOf: createVersions(files), byName };
  const ofCalls = analysis.calls.flatMap((call) => {
    if (!isWatched(ground, call)) return [];
    const claimed = call.outcome === 'success' || call.exitCode?.from === 'channel';
    return [
      ...(claimed ? commandUnseen(ground, call) : []),
      ...filesUnseen(ground, call),
      ...filesUnclaimed(ground, call),
    ];
  });
  return [...ofCalls, ...programsUnclaimed(ground)];
}
