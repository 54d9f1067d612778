/** What every recorded session must show, whichever agent it was. */
import path from 'node:path';
import { expect } from 'vitest';
import { accountFor, factsOf, verifyChain } from '#schemas';
import type { Analysis } from '../../query/timeline/analyse.ts';
import type { FlatEvent } from '../../query/timeline/view.ts';
import { ATTRIBUTED_MIN, attributed, callFaults, type Inside } from './measure.ts';
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

/** Every scripted call and no other, each as it truly went, by the kernel; no channel says otherwise. */
export function expectCalls(story: Analysis, scripted: readonly Scripted[]): void {
  expect(callFaults(story, scripted)).toEqual([]);
  for (const { id, exitCode, command } of scripted) {
    if (exitCode === undefined || command === undefined) continue;
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

/** At least 99 % of what happened inside calls is tied to its call, and nothing to another. */
export function expectAttributed(
  story: Analysis,
  inside: readonly Inside[],
  label: string,
  eventsMin: number,
): void {
  const { right, wrong, left, share } = attributed(story, inside);
  console.info(
    `${label}: ${story.events.length} events, ${right} of ${inside.length} kernel events inside calls attributed (${(share * 100).toFixed(2)} %), ${wrong.length} wrongly`,
  );
  expect(inside.length).toBeGreaterThan(eventsMin);
  expect(wrong).toEqual([]);
  expect(share, left.slice(0, 10).join('\n')).toBeGreaterThanOrEqual(ATTRIBUTED_MIN);
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
