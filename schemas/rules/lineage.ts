/**
 * Who a process is: for each session and process id the program that it runs, learned from the exec
 * events as they pass. An effect and an exit carry a process id only, and an exec knows its parent
 * by number; with this a rule can ask for the name of either.
 */
import type { TelltaleEvent } from '../registry.ts';

/** A program that runs, as its exec event told it. */
export interface Program {
  readonly exe: string;
  readonly argv: readonly string[];
}

/** The process an event is about, and the one that started it, where they are known. */
export interface Kinship {
  readonly self?: Program;
  readonly parent?: Program;
}

interface Known extends Program {
  readonly ppid: number | undefined;
}

export type SavedLineage = readonly (readonly [
  key: string,
  exe: string,
  argv: readonly string[],
  ppid: number | null,
])[];

/** Programs remembered; the ones started longest ago are forgotten first. */
export const PROGRAMS_MAX = 50_000;
/** Arguments that are kept of each: enough to tell what it is, whatever was put behind. */
const ARGUMENTS_MAX = 64;
const ARGUMENT_CHARS_MAX = 4096;

export interface Lineage {
  /** Tells who is behind an event, and learns from it. Events come in their order. */
  observe(event: TelltaleEvent): Kinship;
  save(): SavedLineage;
  readonly size: number;
  /** Programs that were forgotten for the bound. */
  readonly evicted: number;
}

const keyOf = (session: string, pid: number): string => `${session}/${pid}`;
const kept = (argv: readonly string[]): string[] =>
  argv.slice(0, ARGUMENTS_MAX).map((argument) => argument.slice(0, ARGUMENT_CHARS_MAX));

/** Starts empty, or from what `save` gave. */
export function createLineage(programsMax = PROGRAMS_MAX, saved: SavedLineage = []): Lineage {
  const known = new Map<string, Known>(
    saved.map(([key, exe, argv, ppid]) => [key, { exe, argv, ppid: ppid ?? undefined }]),
  );
  let evicted = 0;
  const find = (session: string, pid: number | undefined): Known | undefined =>
    pid === undefined ? undefined : known.get(keyOf(session, pid));
  const learn = (key: string, program: Known): void => {
    known.delete(key);
    known.set(key, program);
    const stalest = known.size > programsMax ? known.keys().next().value : undefined;
    if (stalest === undefined) return;
    known.delete(stalest);
    evicted += 1;
  };
  return {
    observe(event) {
      const { session_id: session, pid, kind } = event;
      if (pid === undefined) return {};
      const before = find(session, pid);
      const ppid = event.ppid ?? before?.ppid;
      const parent = find(session, ppid);
      const started =
        kind === 'exec' && event.outcome !== 'failure'
          ? { exe: event.exe, argv: kept(event.argv ?? []), ppid }
          : undefined;
      if (started !== undefined) learn(keyOf(session, pid), started);
      // Its number may be given to another process now.
      if (kind === 'exit') known.delete(keyOf(session, pid));
      const self = started ?? before;
      return {
        ...(self === undefined ? {} : { self }),
        ...(parent === undefined ? {} : { parent }),
      };
    },
    save: () => [...known].map(([key, { exe, argv, ppid }]) => [key, exe, [...argv], ppid ?? null]),
    get size() {
      return known.size;
    },
    get evicted() {
      return evicted;
    },
  };
}
