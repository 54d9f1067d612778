/**
 * The process tree of a session, from what the kernel sensor saw.
 *
 * A process is one *lifetime* of a pid in one stream (streams may be different containers). It is
 * known from any event that names its pid: programs it ran, files it touched, its end. A pid is
 * used again when something happens in it after its end; or, where the end was not seen, when a
 * program starts in it under another parent although the old parent still lives (a changed parent
 * alone may only mean that the old one died and the process was taken over).
 */
import { eventId, type TelltaleEvent } from '#schemas';
import { settleDepths } from './tree.ts';
import { type FlatEvent, inOrder, roleOf, shiftNs } from './view.ts';

/** A program that a process ran, or tried to. */
export interface Image {
  readonly eventId: string;
  readonly ns: string;
  readonly exe: string;
  readonly argv: readonly string[];
  readonly cwd?: string;
  /** Why it did not start. */
  readonly error?: string;
}

export interface Process {
  /** The id of the first event that shows it. */
  readonly id: string;
  readonly streamId: string;
  readonly pid: number;
  readonly ppid?: number;
  readonly parentId?: string;
  /** 0 for a process whose parent was not seen. */
  readonly depth: number;
  /** What it ran, in order; empty for a process that only forked. */
  readonly images: readonly Image[];
  /** Programs that did not start. */
  readonly failed: readonly Image[];
  /** First seen, and ended; nanoseconds. */
  readonly startedNs: string;
  readonly endedNs?: string;
  readonly exitCode?: number;
  readonly exitSignal?: string;
  /** The event that shows its end, and the sensor that saw it. */
  readonly exit?: { readonly eventId: string; readonly source: string };
}

export interface Processes {
  /** By first sight; a parent stands before its children where it was seen before them. */
  readonly list: readonly Process[];
  readonly byId: ReadonlyMap<string, Process>;
  readonly childrenOf: (id: string) => readonly Process[];
  /** The process in which an event happened. */
  readonly of: (eventId: string) => Process | undefined;
}

type Draft = {
  -readonly [K in keyof Process]: Process[K] extends readonly Image[] ? Image[] : Process[K];
};

/** Whether an event is evidence of a process: what agents say of pids is not. */
const showsProcess = (event: FlatEvent): boolean => {
  const role = roleOf(event);
  return role === 'process_start' || role === 'process_end' || role === 'effect';
};

function imageOf(event: FlatEvent): Image {
  return {
    eventId: eventId(event),
    ns: event.ts,
    exe: event.exe ?? '',
    argv: event.argv ?? [],
    ...(event.cwd === undefined ? {} : { cwd: event.cwd }),
    ...(event.outcome === 'failure' ? { error: event.error ?? 'failed' } : {}),
  };
}

/** So late may an effect be told whose process has ended. No pid comes round again so soon. */
const SETTLED_NS = 1_000_000_000n;

/** Lifetimes of pids, as the events go by. */
function createLifetimes() {
  const live = new Map<string, Draft[]>();
  const of = (streamId: string, pid: number): Draft[] => live.get(`${streamId} ${pid}`) ?? [];
  const alive = (streamId: string, pid: number): boolean => {
    const last = of(streamId, pid).at(-1);
    return last !== undefined && last.endedNs === undefined;
  };

  /** Whether `event` can't be of the lifetime `last` of its pid. */
  function isReuse(last: Draft, event: FlatEvent): boolean {
    const role = roleOf(event);
    if (last.endedNs !== undefined) {
      if (role === 'process_start') return true;
      if (role === 'process_end' || event.ts <= last.endedNs) return false;
      // A written file is settled after its last close, which the end of its process may have been.
      const sameParent = event.ppid === undefined || event.ppid === last.ppid;
      return !sameParent || event.ts > shiftNs(last.endedNs, SETTLED_NS);
    }
    const moved = event.ppid !== undefined && last.ppid !== undefined && event.ppid !== last.ppid;
    return moved && role === 'process_start' && alive(last.streamId, last.ppid as number);
  }

  function take(event: FlatEvent, pid: number): Draft {
    const streamId = event.stream_id;
    const last = of(streamId, pid).at(-1);
    if (last !== undefined && !isReuse(last, event)) {
      if (last.ppid === undefined && event.ppid !== undefined) last.ppid = event.ppid;
      return last;
    }
    const born: Draft = {
      id: eventId(event),
      streamId,
      pid,
      depth: 0,
      images: [],
      failed: [],
      startedNs: event.ts,
      ...(event.ppid === undefined ? {} : { ppid: event.ppid }),
    };
    const known = live.get(`${streamId} ${pid}`);
    if (known === undefined) live.set(`${streamId} ${pid}`, [born]);
    else known.push(born);
    return born;
  }
  return { of, take };
}

function apply(process: Draft, event: FlatEvent): void {
  const role = roleOf(event);
  if (role === 'process_start') {
    const image = imageOf(event);
    (image.error === undefined ? process.images : process.failed).push(image);
  } else if (role === 'process_end') {
    process.endedNs ??= event.ts;
    process.exit ??= { eventId: eventId(event), source: event.source };
    if (event.exit_code !== undefined) process.exitCode ??= event.exit_code;
    if (event.exit_signal !== undefined) process.exitSignal ??= event.exit_signal;
  }
}

/**
 * The lifetime of the parent's pid that held when the child was first seen; or, where none was
 * seen by then, the first that was seen at all. A parent that had ended before is none.
 * `lifetimes` are in order of their start.
 */
function parentOf(child: Draft, lifetimes: readonly Draft[]): Draft | undefined {
  let low = 0;
  let high = lifetimes.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((lifetimes[middle] as Draft).startedNs <= child.startedNs) low = middle + 1;
    else high = middle;
  }
  const before = lifetimes[low - 1] === child ? lifetimes[low - 2] : lifetimes[low - 1];
  if (before === undefined) return lifetimes[low];
  return before.endedNs === undefined || before.endedNs >= child.startedNs ? before : undefined;
}

/** Builds the tree from all events of a session, in any order. */
export function buildProcesses(events: readonly TelltaleEvent[]): Processes {
  const lifetimes = createLifetimes();
  const list: Draft[] = [];
  const byId = new Map<string, Draft>();
  const byEvent = new Map<string, Draft>();
  for (const event of inOrder(events)) {
    if (event.pid === undefined || !showsProcess(event)) continue;
    const process = lifetimes.take(event, event.pid);
    if (!byId.has(process.id)) {
      byId.set(process.id, process);
      list.push(process);
    }
    byEvent.set(eventId(event), process);
    apply(process, event);
  }
  for (const process of list) {
    if (process.ppid === undefined) continue;
    const parent = parentOf(process, lifetimes.of(process.streamId, process.ppid));
    if (parent !== undefined) process.parentId = parent.id;
  }
  settleDepths(byId);
  const children = new Map<string, Draft[]>();
  for (const process of list) {
    if (process.parentId === undefined) continue;
    const siblings = children.get(process.parentId);
    if (siblings === undefined) children.set(process.parentId, [process]);
    else siblings.push(process);
  }
  return {
    list,
    byId,
    childrenOf: (id) => children.get(id) ?? [],
    of: (id) => byEvent.get(id),
  };
}
