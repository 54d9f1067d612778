/** What a call, or nobody, did: programs as a tree, files by path, connections by peer. */
import { eventId } from '#schemas';
import type { Analysis } from './analyse.ts';
import { type Attribution, UNATTRIBUTED } from './attribution.ts';
import { isBypass } from './egress.ts';
import { present } from './merge.ts';
import type { Process } from './processes.ts';
import { byTime, type FlatEvent, isSeen, roleOf } from './view.ts';

export interface ProcessLine {
  readonly process: Process;
  /** Within this list: 0 is a root of it. */
  readonly depth: number;
  /** Whether it is the last child of its parent within this list. */
  readonly last: boolean;
  readonly attribution: Attribution;
}

/** What became of a path, over all that was done to it. */
export type FileFate =
  | 'created'
  | 'written'
  | 'deleted'
  | 'temporary'
  | 'renamed'
  | 'linked'
  | 'mode'
  | 'read'
  | 'failed';

export interface FileChange {
  readonly path: string;
  readonly target?: string;
  readonly fate: FileFate;
  readonly ops: readonly string[];
  readonly count: number;
  readonly firstNs: string;
  readonly bytes?: number;
  readonly sha256?: string;
  readonly error?: string;
  /** The weakest of its events. */
  readonly attribution: Attribution;
  /** Whether the kernel showed it, rather than only the agent's own words. */
  readonly seen: boolean;
}

export interface Verdict {
  readonly decision: string;
  readonly by?: string;
  readonly rule?: string;
  readonly reason?: string;
  readonly eventId: string;
  /** False: it was told of a connection that went round the egress proxy, and nobody held it up. */
  readonly enforced: boolean;
}

export interface Connection {
  readonly op: string;
  readonly host?: string;
  readonly ip?: string;
  readonly port?: number;
  readonly path?: string;
  readonly transport?: string;
  readonly url?: string;
  readonly count: number;
  readonly firstNs: string;
  readonly error?: string;
  readonly attribution: Attribution;
  /** What a rule said of this peer, where one did. */
  readonly verdict?: Verdict;
}

export interface Effects {
  readonly processes: readonly ProcessLine[];
  readonly files: readonly FileChange[];
  readonly connections: readonly Connection[];
  /** Effects of kinds that are neither files nor connections. */
  readonly other: readonly FlatEvent[];
  /** How many events this sums up. */
  readonly events: number;
}

const weaker = (a: Attribution, b: Attribution): Attribution =>
  b.confidencePct < a.confidencePct ? b : a;

const known = (analysis: Analysis, event: FlatEvent): Attribution =>
  analysis.attribution.get(eventId(event)) ?? UNATTRIBUTED;

const CREATING = new Set(['create', 'mkdir', 'mknod']);
const REMOVING = new Set(['delete', 'rmdir']);

function fateOf(events: readonly FlatEvent[]): FileFate {
  const done = events.filter((event) => event.outcome !== 'failure');
  if (done.length === 0) return 'failed';
  const ops: string[] = done.map((event) => event.file_op ?? '');
  const has = (op: string) => ops.includes(op);
  const created = ops.some((op) => CREATING.has(op));
  if (REMOVING.has(ops.at(-1) ?? '')) return created ? 'temporary' : 'deleted';
  if (has('rename')) return 'renamed';
  if (created) return 'created';
  if (has('link') || has('symlink')) return 'linked';
  if (has('write') || has('truncate')) return 'written';
  return has('mode') ? 'mode' : 'read';
}

function fileChange(analysis: Analysis, path: string, events: readonly FlatEvent[]): FileChange {
  const lastWith = <K extends keyof FlatEvent>(key: K) =>
    events.findLast((event) => event[key] !== undefined)?.[key];
  return {
    path,
    fate: fateOf(events),
    ops: [...new Set(events.map((event) => event.file_op ?? ''))],
    count: events.length,
    firstNs: events[0]?.ts ?? '',
    attribution: events.map((event) => known(analysis, event)).reduce(weaker),
    seen: events.some(isSeen),
    ...present({
      target: lastWith('file_target_path'),
      bytes: lastWith('file_bytes'),
      sha256: lastWith('file_sha256'),
      error: lastWith('error'),
    }),
  };
}

/** Rules' decisions on network peers, for look-ups by host or address. */
export type Verdicts = (event: FlatEvent) => Verdict | undefined;

const ANY = 'any';
const UNTOLD = 'untold';

/** The last of `rules`, which are in order, at or before `ns`; or else the first. */
function ruleAt(rules: readonly FlatEvent[], ns: string): FlatEvent | undefined {
  let low = 0;
  let high = rules.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((rules[middle] as FlatEvent).ts <= ns) low = middle + 1;
    else high = middle;
  }
  return rules[low - 1] ?? rules[0];
}

/** Of two rules the one that held at `ns`: the later of those before it, else the earlier. */
function holding(a: FlatEvent, b: FlatEvent, ns: string): FlatEvent {
  const [first, second] = byTime(a, b) <= 0 ? [a, b] : [b, a];
  return second.ts <= ns ? second : first;
}

/**
 * For a connection: the last decision on its host or address before it, or else the first. A port
 * or a call that only one of the two tells is no difference. Rules are kept under each way in
 * which they may be asked for, so that a look-up costs the same however many there are.
 */
export function verdictsOf(events: readonly FlatEvent[]): Verdicts {
  const index = new Map<string, FlatEvent[]>();
  // With the length of the call's id: whatever stands in it, no two keys are the same text.
  const keyOf = (peer: string, port: string | number, call: string) =>
    `${port} ${call.length} ${call} ${peer}`;
  const put = (key: string, rule: FlatEvent) => {
    const list = index.get(key);
    if (list === undefined) index.set(key, [rule]);
    else list.push(rule);
  };
  for (const event of events) {
    if (roleOf(event) !== 'policy') continue;
    for (const peer of new Set([event.net_host, event.net_ip])) {
      if (peer === undefined) continue;
      for (const port of [event.net_port ?? UNTOLD, ANY])
        for (const call of [
          event.tool_call_id === undefined ? UNTOLD : `=${event.tool_call_id}`,
          ANY,
        ])
          put(keyOf(peer, port, call), event);
    }
  }
  return (event) => {
    const ports = event.net_port === undefined ? [ANY] : [event.net_port, UNTOLD];
    const calls = event.tool_call_id === undefined ? [ANY] : [`=${event.tool_call_id}`, UNTOLD];
    const rule = [event.net_host, event.net_ip]
      .flatMap((peer) => peer ?? [])
      .flatMap((peer) => ports.flatMap((port) => calls.map((call) => keyOf(peer, port, call))))
      .flatMap((key) => ruleAt(index.get(key) ?? [], event.ts) ?? [])
      .reduce<FlatEvent | undefined>(
        (best, one) => (best === undefined ? one : holding(best, one, event.ts)),
        undefined,
      );
    if (rule?.decision === undefined) return undefined;
    return {
      decision: rule.decision,
      eventId: eventId(rule),
      enforced: !isBypass(rule),
      ...present({ by: rule.decided_by, rule: rule.rule, reason: rule.reason }),
    };
  };
}

function connection(
  analysis: Analysis,
  events: readonly FlatEvent[],
  verdicts: Verdicts,
): Connection {
  const first = events[0] as FlatEvent;
  return {
    op: first.net_op ?? '',
    count: events.length,
    firstNs: first.ts,
    attribution: events.map((event) => known(analysis, event)).reduce(weaker),
    ...present({
      host: first.net_host,
      ip: first.net_ip,
      port: first.net_port,
      path: first.net_path,
      transport: first.net_transport,
      url: first.url,
      error: events.every(({ outcome }) => outcome === 'failure') ? first.error : undefined,
      verdict: verdicts(first),
    }),
  };
}

/** Processes left out between a child and the ancestor it is shown under, at most. */
const LEFT_OUT_MAX = 64;

/** Processes of `ids` as a tree in the order of their start; others above or between are left out. */
function processLines(analysis: Analysis, ids: ReadonlySet<string>): ProcessLine[] {
  const { processes } = analysis;
  const children = new Map<string | undefined, Process[]>();
  for (const id of ids) {
    const process = processes.byId.get(id);
    if (process === undefined) continue;
    let up = process.parentId;
    for (let step = 0; up !== undefined && !ids.has(up); step++)
      up = step < LEFT_OUT_MAX ? processes.byId.get(up)?.parentId : undefined;
    const siblings = children.get(up);
    if (siblings === undefined) children.set(up, [process]);
    else siblings.push(process);
  }
  const out: ProcessLine[] = [];
  const stack = (list: readonly Process[], depth: number) =>
    list.map((process, index) => ({ process, depth, last: index === list.length - 1 })).reverse();
  const todo = stack(children.get(undefined) ?? [], 0);
  for (let line = todo.pop(); line !== undefined; line = todo.pop()) {
    out.push({ ...line, attribution: analysis.callOf(line.process) ?? UNATTRIBUTED });
    todo.push(...stack(children.get(line.process.id) ?? [], line.depth + 1));
  }
  return out;
}

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return [...groups.values()];
}

/** Sums up effect events: those of one call, or those of none. `events` are in order. */
export function effectsOf(
  analysis: Analysis,
  events: readonly FlatEvent[],
  verdicts: Verdicts,
): Effects {
  const effects = events.filter((event) => roleOf(event) === 'effect');
  const files = effects.filter(({ file_path }) => file_path !== undefined);
  const nets = effects.filter(({ net_op }) => net_op !== undefined);
  const ids = new Set<string>();
  for (const event of events) {
    const process = analysis.processes.of(eventId(event));
    if (process !== undefined && roleOf(event) === 'process_start') ids.add(process.id);
  }
  const peer = (e: FlatEvent) =>
    JSON.stringify([e.net_op, e.net_transport, e.net_host, e.net_ip, e.net_port, e.net_path]);
  return {
    processes: processLines(analysis, ids),
    files: grouped(files, (event) => event.file_path ?? '').map((group) =>
      fileChange(analysis, group[0]?.file_path ?? '', group),
    ),
    connections: grouped(nets, peer).map((group) => connection(analysis, group, verdicts)),
    other: effects.filter((event) => event.file_path === undefined && event.net_op === undefined),
    events: events.length,
  };
}
