/** What every recorded session must show, whichever agent it was. */
import path from 'node:path';
import { expect } from 'vitest';
import { accountFor, eventId, factsOf, verifyChain } from '#schemas';
import type { Analysis } from '../../query/timeline/analyse.ts';
import type { FlatEvent } from '../../query/timeline/view.ts';
import type { Scripted } from './script.ts';
import type { RecordedRun } from './session.ts';

/** Shipped whole, no number unaccounted for, the chain intact. */
export function expectWhole({ events, stderr }: RecordedRun): void {
  expect(stderr).toContain(`telltale: ${events.length} events`);
  const account = accountFor(factsOf(events));
  expect(account).toMatchObject({ verdict: 'complete', unaccounted: [], unnumberedLost: 0 });
  expect(account.stored).toBe(events.length);
  const first = events[0];
  if (first === undefined) throw new Error('nothing was recorded');
  expect(verifyChain(first, events)).toMatchObject({ verdict: 'intact', faults: [] });
}

/** Every scripted call and no other, each with its true outcome, without contradictions. */
export function expectCalls(story: Analysis, scripted: readonly Scripted[]): void {
  const ids = (list: readonly { readonly id: string }[]) => list.map(({ id }) => id).sort();
  expect(ids(story.calls)).toEqual(ids(scripted));
  for (const { id, tool, outcome, command } of scripted) {
    const call = story.calls.find((one) => one.id === id);
    expect(call, id).toMatchObject({ tool, outcome, contradictions: [] });
    expect(call?.command, id).toBe(command);
  }
}

/** How each command truly ended, by the kernel; and no channel says otherwise. */
export function expectExits(story: Analysis, scripted: readonly Scripted[]): void {
  for (const { id, exitCode, command } of scripted) {
    if (exitCode === undefined || command === undefined) continue;
    const call = story.calls.find((one) => one.id === id);
    expect(call?.exitCode, id).toMatchObject({ code: exitCode, from: 'kernel' });
    for (const event of story.events)
      if (
        event.tool_call_id === id &&
        event.kind === 'tool.result' &&
        event.exit_code !== undefined
      )
        expect(event, id).toMatchObject({ exit_code: exitCode });
  }
}

const causedBy = (story: Analysis, id: string): readonly FlatEvent[] =>
  story.causedBy.get(id) ?? [];

/** The programs and files of each call are tied to it, and nothing of a refused one ran. */
export function expectEffects(
  story: Analysis,
  scripted: readonly Scripted[],
  workspace: string,
): void {
  for (const { id, outcome, programs, files } of scripted) {
    const caused = causedBy(story, id);
    const execs = caused.filter((event) => event.kind === 'exec');
    const names = execs.map((event) => path.basename(event.exe ?? ''));
    for (const program of programs ?? []) expect(names, id).toContain(program);
    const paths = caused.flatMap((event) => [event.file_path, event.file_target_path]);
    for (const file of files ?? [])
      expect(
        paths.some((seen) => seen?.endsWith(path.join(workspace, file))),
        `${file} by ${id}`,
      ).toBe(true);
    if (outcome === 'denied') expect(execs, id).toEqual([]);
  }
}

/** An event of the kernel that happened inside a call, and which. */
export interface Inside {
  readonly event: FlatEvent;
  readonly callId: string;
}

/**
 * What happened inside calls, by what the programs themselves carry: `keyOf` reads the call from
 * the environment that a program was started with, and children are their parents'. It is
 * independent of how Telltale attributes.
 */
export function insideByKey(
  events: readonly FlatEvent[],
  keyOf: (exec: FlatEvent) => string | undefined,
): readonly Inside[] {
  const callOfPid = new Map<number, string>();
  const inside: Inside[] = [];
  for (const event of [...events].sort((a, b) => (a.ts < b.ts ? -1 : a.ts > b.ts ? 1 : 0))) {
    if (event.pid === undefined || event.source !== 'seccomp') continue;
    const own = event.kind === 'exec' ? keyOf(event) : undefined;
    const callId = own ?? callOfPid.get(event.pid) ?? callOfPid.get(event.ppid ?? -1);
    if (callId === undefined) continue;
    callOfPid.set(event.pid, callId);
    inside.push({ event, callId });
  }
  return inside;
}

const ATTRIBUTED_MIN = 0.99;

/** At least 99 % of what happened inside calls is tied to its call, and nothing to another. */
export function expectAttributed(
  story: Analysis,
  inside: readonly Inside[],
  label: string,
  eventsMin: number,
): void {
  const callOf = (event: FlatEvent) => story.attribution.get(eventId(event))?.toolCallId;
  const text = ({ event }: Inside) =>
    `${event.kind} ${event.argv ?? event.file_path ?? event.net_path}: ${callOf(event)}`;
  const right = inside.filter(({ event, callId }) => callOf(event) === callId);
  const wrong = inside.filter(
    ({ event, callId }) => callOf(event) !== undefined && callOf(event) !== callId,
  );
  const share = right.length / inside.length;
  console.info(
    `${label}: ${story.events.length} events, ${right.length} of ${inside.length} kernel events inside calls attributed (${(share * 100).toFixed(2)} %), ${wrong.length} wrongly`,
  );
  expect(inside.length).toBeGreaterThan(eventsMin);
  expect(wrong.map(text)).toEqual([]);
  const left = inside.filter((one) => !right.includes(one));
  expect(share, left.slice(0, 10).map(text).join('\n')).toBeGreaterThanOrEqual(ATTRIBUTED_MIN);
}

/**
 * Two calls at one time, each of which writes its own letter only: no program of one may be tied to
 * the other.
 */
export function expectApart(
  story: Analysis,
  calls: readonly (readonly [id: string, mark: string])[],
) {
  for (const [id, mark] of calls) {
    const others = calls.filter(([other]) => other !== id).map(([, word]) => word);
    const execs = causedBy(story, id).filter((event) => event.kind === 'exec');
    const shells = execs.filter((event) => event.argv?.some((word) => word.includes(mark)));
    expect(shells.length, id).toBeGreaterThan(0);
    const wrong = execs.filter((event) =>
      event.argv?.some((word) => others.some((other) => word.includes(other))),
    );
    expect(wrong, id).toEqual([]);
    const sleeps = execs.filter((event) => path.basename(event.exe ?? '') === 'sleep');
    expect(sleeps, id).toHaveLength(1);
  }
}

const KILLED = 128 + 9;

/** A call that killed its agent: it is told, it has no end, and its programs are still its own. */
export function expectKilled(run: RecordedRun, story: Analysis, { id, command }: Scripted): void {
  expect(run.exitCode, run.stderr).toBe(KILLED);
  expectWhole(run);
  expect(story.calls).toMatchObject([{ id, command }]);
  expect(story.calls[0]?.endedNs).toBeUndefined();
  expect(story.calls[0]?.outcome).toBeUndefined();
  const execs = causedBy(story, id).filter((event) => event.kind === 'exec');
  expect(execs.length).toBeGreaterThan(0);
}

/** A model that refuses every request: the failure is told with its status or its words. */
export function expectModelFailure(run: RecordedRun, story: Analysis): void {
  expectWhole(run);
  expect(story.calls).toEqual([]);
  const failures = story.events.filter(
    (event) => event.kind === 'model.turn' && event.outcome === 'failure',
  );
  expect(failures.length, run.stderr).toBeGreaterThan(0);
  expect(failures.some((event) => event.http_status === 400 || event.error?.includes('400'))).toBe(
    true,
  );
}
