/**
 * Who a process is: for each stream and process id the program that it runs, learned from the
 * events that start processes as they pass. An effect and an exit carry a process id only, and a
 * start knows its parent by number; with this a rule can ask for the name of either.
 *
 * Events of a stream come in the order of their numbers, so the answer is the same live and in a
 * backtest. What is remembered is bounded by stream and over all; a fork bomb costs its own stream
 * its oldest programs, and no other stream anything.
 */
import { REGISTRY, type TelltaleEvent } from '../registry.ts';

/** A program that runs, as its start told it. */
export interface Program {
  readonly exe: string;
  readonly argv: readonly string[];
}

/** The process an event is about, and the one that started it, where they are known. */
export interface Kinship {
  readonly self?: Program;
  readonly parent?: Program;
}

const NOBODY: Kinship = {};

interface Known extends Program {
  readonly ppid: number | undefined;
}

export interface LineageLimits {
  /** Programs remembered over all sessions; the sessions that were quiet for longest go first. */
  readonly programsMax: number;
  /** Programs remembered of one stream; the ones started longest ago go first. */
  readonly streamProgramsMax: number;
}
export const LINEAGE_LIMITS: LineageLimits = { programsMax: 200_000, streamProgramsMax: 2_000 };

/** Arguments that are kept of each: enough to tell what it is, whatever was put behind. */
const ARGUMENTS_MAX = 64;
const ARGUMENT_CHARACTERS_MAX = 4096;

export interface Lineage {
  /** Tells who is behind an event, and learns from it. */
  observe(event: TelltaleEvent): Kinship;
  /** Forgets a session: it may be told again from its first event. */
  forget(tenant: string, session: string): void;
  readonly size: number;
  /** Programs that were forgotten for a bound. */
  readonly evicted: number;
}

type Programs = Map<number, Known>;

const sessionKey = (tenant: string, session: string): string => `${session}/${tenant}`;
const kept = (argv: readonly string[]): string[] =>
  argv.slice(0, ARGUMENTS_MAX).map((argument) => argument.slice(0, ARGUMENT_CHARACTERS_MAX));

function programOf(event: TelltaleEvent, ppid: number | undefined): Known | undefined {
  if (!('exe' in event) || event.exe === undefined || event.outcome === 'failure') return undefined;
  return { exe: event.exe, argv: kept(event.argv ?? []), ppid };
}

export function createLineage(limits: LineageLimits = LINEAGE_LIMITS): Lineage {
  /** By session in the order of last use, then by stream, then by process id. */
  const sessions = new Map<string, Map<string, Programs>>();
  let size = 0;
  let evicted = 0;

  function drop(key: string): number {
    let count = 0;
    for (const programs of sessions.get(key)?.values() ?? []) count += programs.size;
    sessions.delete(key);
    size -= count;
    return count;
  }

  function programsOf({ tenant, session_id, stream_id }: TelltaleEvent): Programs {
    const key = sessionKey(tenant, session_id);
    const streams = sessions.get(key) ?? new Map<string, Programs>();
    sessions.delete(key);
    sessions.set(key, streams);
    const known = streams.get(stream_id);
    if (known !== undefined) return known;
    const programs = new Map<number, Known>();
    streams.set(stream_id, programs);
    return programs;
  }

  function remove(programs: Programs, pid: number): boolean {
    const there = programs.delete(pid);
    if (there) size--;
    return there;
  }

  function learn(programs: Programs, pid: number, program: Known): void {
    remove(programs, pid);
    programs.set(pid, program);
    size++;
    const oldest = programs.keys().next().value as number;
    if (programs.size > limits.streamProgramsMax && remove(programs, oldest)) evicted++;
    for (const key of sessions.keys()) {
      if (size <= limits.programsMax || sessions.size === 1) return;
      evicted += drop(key);
    }
  }

  function observe(event: TelltaleEvent): Kinship {
    const { pid, kind } = event;
    if (pid === undefined) return NOBODY;
    const role = REGISTRY.get(kind)?.role;
    const programs = programsOf(event);
    const before = programs.get(pid);
    const ppid = event.ppid ?? before?.ppid;
    const parent = ppid === undefined ? undefined : programs.get(ppid);
    const started = role === 'process_start' ? programOf(event, ppid) : undefined;
    if (started !== undefined) learn(programs, pid, started);
    // Its number may be given to another process now.
    if (role === 'process_end') remove(programs, pid);
    const self = started ?? before;
    if (self === undefined) return parent === undefined ? NOBODY : { parent };
    return parent === undefined ? { self } : { self, parent };
  }

  return {
    observe,
    forget: (tenant, session) => void drop(sessionKey(tenant, session)),
    get size() {
      return size;
    },
    get evicted() {
      return evicted;
    },
  };
}
