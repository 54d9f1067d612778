/**
 * Calls that run at the same time under each real CLI: none of their programs and files may be tied
 * to another call. Skipped, and said so, where a CLI can't be had.
 */
import { describe, expect, it } from 'vitest';
import { analyse } from '../../query/timeline/analyse.ts';
import { ALL } from './all.ts';
import { expectAttributed, expectCalls, expectWhole } from './checks.ts';
import { neededAgent } from './install.ts';
import { insideCalls } from './measure.ts';
import { marksOf } from './parallel.ts';
import { recordAgent, runOf } from './session.ts';

const SESSION_MS_MAX = 180_000;
/** Of each call: a shell, its echoes, sleeps, moves, files, and the ends of all these. */
const EVENTS_A_CALL_MIN = 25;

describe.each(ALL)('calls of $name at the same time', ({ name, parallel, parallelCalls }) => {
  const found = neededAgent(name);
  it.skipIf('why' in found)(
    'are kept apart, each with all that it did',
    async () => {
      const run = runOf(await recordAgent(parallel('command' in found ? found.command : '')));
      expect(run.exitCode, run.stderr).toBe(0);
      expectWhole(run);
      const story = analyse(run.events);
      expectCalls(story, parallelCalls);
      const spans = story.calls.map(({ startedNs, endedNs = '' }) => [startedNs, endedNs] as const);
      const together = spans.filter((span) =>
        spans.some((other) => other !== span && other[0] < span[1] && other[1] > span[0]),
      );
      expect(together.length, 'calls that others ran beside').toBeGreaterThanOrEqual(3);
      const inside = insideCalls(story, parallelCalls, marksOf(parallelCalls));
      expectAttributed(story, inside, name, EVENTS_A_CALL_MIN * parallelCalls.length);
    },
    SESSION_MS_MAX,
  );
});
