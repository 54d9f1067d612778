/**
 * What a recorded session is measured by, against what was scripted. Which call a program truly
 * belongs to is read from its own arguments: each scripted command is another text, a shell has its
 * command among its arguments, and what a process starts belongs where it does. Nothing of that is
 * what Telltale attributes by where an agent gives its programs a key.
 */
import path from 'node:path';
import { eventId } from '#schemas';
import type { Analysis } from '../../query/timeline/analyse.ts';
import type { FlatEvent } from '../../query/timeline/view.ts';
import type { Scripted } from './script.ts';

/** The least share of what happened inside calls that is to be tied to its call. */
export const ATTRIBUTED_MIN = 0.99;

/** How each call that did not come out as it was scripted differs. */
export function callFaults(story: Analysis, scripted: readonly Scripted[]): readonly string[] {
  const wanted = new Set(scripted.map(({ id }) => id));
  const strangers = story.calls.filter(({ id }) => !wanted.has(id));
  return [
    ...strangers.map(({ id }) => `${id}: was not scripted`),
    ...scripted.flatMap(({ id, tool, outcome, command, exitCode }) => {
      const call = story.calls.find((one) => one.id === id);
      if (call === undefined) return [`${id}: was not told`];
      const said = [
        ['tool', tool, call.tool],
        ['outcome', outcome, call.outcome],
        ['command', command, call.command],
        ['contradictions', '', call.contradictions.map((one) => JSON.stringify(one)).join()],
        ...(command === undefined || exitCode === undefined
          ? []
          : [
              [
                'exit code',
                `${exitCode} by kernel`,
                `${call.exitCode?.code} by ${call.exitCode?.from}`,
              ],
            ]),
      ] as const;
      return said.flatMap(([what, want, is]) =>
        want === is ? [] : [`${id}: ${what} ${is} instead of ${want}`],
      );
    }),
  ];
}

/** An event of the kernel that happened inside a call, and which. */
export interface Inside {
  readonly event: FlatEvent;
  readonly callId: string;
}

type Marks = readonly (readonly [id: string, mark: string])[];

/** Whose event it is by a mark in its arguments or the name of its file. */
const callOfMark = (event: FlatEvent, marks: Marks) => {
  const files = [event.file_path, event.file_target_path].map((file) => path.basename(file ?? ''));
  const words = [...(event.argv ?? []), ...files];
  return marks.find(([, mark]) => words.some((word) => word.includes(mark)))?.[0];
};

/**
 * All kernel events inside the scripted commands. `marks` are words that stand in all programs'
 * arguments and files' names of a call; the parent of such a program is the call's shell, also where
 * that is a fork of which nothing is told.
 */
export function insideCalls(
  { events }: Analysis,
  scripted: readonly Scripted[],
  marks: Marks = [],
): readonly Inside[] {
  const shells = scripted.filter(({ exitCode }) => exitCode !== undefined);
  const callOfText = (exec: FlatEvent) =>
    shells.find(({ command = '\0' }) => exec.argv?.some((word) => word.includes(command)))?.id;
  const callOfPid = new Map<number, string>();
  /** The agent's own processes. */
  const outside = new Set<number>();
  const inside: Inside[] = [];
  for (const event of [...events].sort((a, b) => (a.ts < b.ts ? -1 : a.ts > b.ts ? 1 : 0))) {
    if (event.pid === undefined || event.source !== 'seccomp') continue;
    const started = event.kind === 'exec' ? callOfText(event) : undefined;
    const marked = started === undefined ? callOfMark(event, marks) : undefined;
    const callId = started ?? marked ?? callOfPid.get(event.pid) ?? callOfPid.get(event.ppid ?? -1);
    if (callId === undefined) {
      outside.add(event.pid);
      continue;
    }
    callOfPid.set(event.pid, callId);
    const { ppid = -1 } = event;
    if (marked !== undefined && event.kind === 'exec' && !outside.has(ppid))
      callOfPid.set(ppid, callId);
    inside.push({ event, callId });
  }
  return inside;
}

export interface Attributed {
  readonly inside: number;
  readonly right: number;
  /** Tied to another call, and to none, in words. */
  readonly wrong: readonly string[];
  readonly left: readonly string[];
  readonly share: number;
}

/** How much of what happened inside calls is tied to its call. */
export function attributed(story: Analysis, inside: readonly Inside[]): Attributed {
  const wrong: string[] = [];
  const left: string[] = [];
  for (const { event, callId } of inside) {
    const said = story.attribution.get(eventId(event))?.toolCallId;
    if (said === callId) continue;
    const what = `${event.argv ?? event.file_path ?? event.net_path ?? event.pid}`;
    const text = `${event.kind} ${what} of ${callId}: ${said ?? 'none'}`;
    (said === undefined ? left : wrong).push(text);
  }
  const right = inside.length - wrong.length - left.length;
  return { inside: inside.length, right, wrong, left, share: right / inside.length };
}
