/**
 * A process with all its descendants, as a condition on events. Which lifetime of a pid an event
 * belongs to is decided by `timeline/processes.ts` over what the kernel sensor saw, so that a page of
 * this filter and the process tree of the same session never differ. What an agent says of a pid
 * belongs to no process.
 *
 * Pids of which every lifetime belongs to the tree stand as pids; of a pid that was used again, the
 * numbers of the very events that belong to it stand instead.
 */
import { eventId, fromRow, parseEventId, type Row, type TelltaleEvent } from '#schemas';
import { badInput, QueryError } from './errors.ts';
import { has } from './plan.ts';
import { type Runner, SESSION_LIMITS } from './run.ts';
import { type Condition, condition } from './sql.ts';
import { buildProcesses, type Process, type Processes } from './timeline/processes.ts';
import { kindsOf } from './timeline/view.ts';
import { processEventsPlan } from './timeline-plan.ts';

/** The most events of processes that are read to find a tree. */
export const PROCESS_EVENTS_MAX = 250_000;
/** The most pids and numbers that stand in the condition. */
const SCOPE_ENTRIES_MAX = 50_000;
/** Roles whose events are evidence of a process. */
const ROLES = ['process_start', 'process_end', 'effect'] as const;

/** Which process is meant: by an event in it or its own id, or by pid. */
export interface ProcessFilter {
  /** The id of a process, or of any event that happened in it. */
  readonly processOf?: string | null | undefined;
  /** All lifetimes of a pid, in all streams unless `streamId` names one. */
  readonly pid?: number | null | undefined;
  readonly streamId?: string | null | undefined;
}

function rootsOf(tree: Processes, filter: ProcessFilter): readonly Process[] {
  const { processOf, pid, streamId } = filter;
  let roots = tree.list;
  if (has(processOf)) {
    const one = tree.of(processOf);
    roots = one === undefined ? [] : [one];
  }
  return roots.filter(
    (process) =>
      (!has(pid) || process.pid === pid) && (!has(streamId) || process.streamId === streamId),
  );
}

/** The ids of some processes and of all their descendants. */
export function subtree(tree: Processes, roots: readonly Process[]): Set<string> {
  const found = new Set<string>();
  const todo = [...roots];
  for (let at = todo.pop(); at !== undefined; at = todo.pop()) {
    if (found.has(at.id)) continue;
    found.add(at.id);
    todo.push(...tree.childrenOf(at.id));
  }
  return found;
}

interface Split {
  /** Pids that belong to the tree whole, by stream. */
  readonly pids: Map<string, number[]>;
  /** Pids that were used again and belong to it in part: `stream pid`. */
  readonly shared: Set<string>;
}

function splitPids(tree: Processes, ids: ReadonlySet<string>): Split {
  const lives = new Map<string, { readonly process: Process; inside: number; all: number }>();
  for (const process of tree.list) {
    const key = `${process.streamId} ${process.pid}`;
    const life = lives.get(key) ?? { process, inside: 0, all: 0 };
    life.all++;
    if (ids.has(process.id)) life.inside++;
    lives.set(key, life);
  }
  const split: Split = { pids: new Map(), shared: new Set() };
  for (const [key, { process, inside, all }] of lives) {
    if (inside === 0) continue;
    if (inside < all) split.shared.add(key);
    else {
      const list = split.pids.get(process.streamId);
      if (list === undefined) split.pids.set(process.streamId, [process.pid]);
      else list.push(process.pid);
    }
  }
  return split;
}

/** The numbers of events of reused pids that belong to the tree, by stream. */
function numbersOf(
  tree: Processes,
  events: readonly TelltaleEvent[],
  ids: ReadonlySet<string>,
  shared: ReadonlySet<string>,
): Map<string, number[]> {
  const numbers = new Map<string, number[]>();
  for (const event of events) {
    if (!shared.has(`${event.stream_id} ${event.pid}`)) continue;
    const process = tree.of(eventId(event));
    if (process === undefined || !ids.has(process.id)) continue;
    const list = numbers.get(event.stream_id);
    if (list === undefined) numbers.set(event.stream_id, [event.seq]);
    else list.push(event.seq);
  }
  return numbers;
}

function conditionOf(
  pids: ReadonlyMap<string, readonly number[]>,
  numbers: ReadonlyMap<string, readonly number[]>,
): Condition {
  const parts: string[] = [];
  const params: Record<string, string | readonly string[] | readonly number[]> = {};
  let entries = 0;
  for (const [what, lists] of [
    ['pid', pids],
    ['seq', numbers],
  ] as const)
    for (const [stream, list] of lists) {
      const name = `${what}_${parts.length}`;
      parts.push(`stream_id = {of_${name}:UUID} AND ${what} IN {${name}:Array(UInt32)}`);
      Object.assign(params, { [`of_${name}`]: stream, [name]: list });
      entries += list.length;
    }
  if (entries > SCOPE_ENTRIES_MAX)
    throw new QueryError(
      'SESSION_TOO_LARGE',
      `the process has more than ${SCOPE_ENTRIES_MAX} descendants: take one further down the tree`,
    );
  if (parts.length === 0) return condition('1 = 0');
  const kinds = condition('has({process_kinds:Array(String)}, toString(kind))', {
    process_kinds: kindsOf(ROLES),
  });
  return condition(`${kinds.text} AND (${parts.map((part) => `(${part})`).join(' OR ')})`, {
    ...kinds.params,
    ...params,
  });
}

interface Family {
  readonly tree: Processes;
  readonly events: readonly TelltaleEvent[];
  /** The processes that are asked for, and their descendants. */
  readonly ids: ReadonlySet<string>;
}

async function familyOf(
  run: Runner,
  session: string,
  filter: ProcessFilter | null | undefined,
): Promise<Family | undefined> {
  if (!has(filter) || (!has(filter.processOf) && !has(filter.pid))) return undefined;
  if (has(filter.processOf) && parseEventId(filter.processOf) === undefined)
    throw badInput('processOf: an event’s or a process’s id is STREAM-SEQ');
  const events: TelltaleEvent[] = [];
  const plan = processEventsPlan(run.tenant, session, kindsOf(ROLES), PROCESS_EVENTS_MAX + 1);
  for await (const rows of run.stream<Row>(plan, SESSION_LIMITS))
    for (const row of rows) {
      events.push(fromRow(row));
      if (events.length > PROCESS_EVENTS_MAX)
        throw new QueryError(
          'SESSION_TOO_LARGE',
          `the session has more than ${PROCESS_EVENTS_MAX} events of processes: filter by tool call or time`,
        );
    }
  const tree = buildProcesses(events);
  return { tree, events, ids: subtree(tree, rootsOf(tree, filter)) };
}

/**
 * The condition of a filter that asks for a process; undefined where it asks for none. A process that
 * is not there gives no events. Rejects with `QueryError` where the session has too many.
 */
export async function processScope(
  run: Runner,
  session: string,
  filter: ProcessFilter | null | undefined,
): Promise<Condition | undefined> {
  const family = await familyOf(run, session, filter);
  if (family === undefined) return undefined;
  const { tree, events, ids } = family;
  const { pids, shared } = splitPids(tree, ids);
  return conditionOf(pids, numbersOf(tree, events, ids, shared));
}

/** The same as a test of an event's id, by what is stored now. */
export async function processMembers(
  run: Runner,
  session: string,
  filter: ProcessFilter,
): Promise<((event: string) => boolean) | undefined> {
  const family = await familyOf(run, session, filter);
  if (family === undefined) return undefined;
  return (event) => {
    const process = family.tree.of(event);
    return process !== undefined && family.ids.has(process.id);
  };
}
