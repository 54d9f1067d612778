/** Any other agent: one that uses `telltale/sdk`, under the real recorder, with calls at one time. */
import { createRequire } from 'node:module';
import path from 'node:path';
import { expect, it } from 'vitest';
import { analyse } from '../../query/timeline/analyse.ts';
import { expectAttributed, expectCalls, expectWhole } from './checks.ts';
import { insideCalls } from './measure.ts';
import { startScripted } from './model/server.ts';
import { marksOf, ROUNDS_OF_CALLS } from './parallel.ts';
import type { Scripted } from './script.ts';
import { type Agent, recordAgent, runOf } from './session.ts';

const CALLS: readonly Scripted[] = [
  ...ROUNDS_OF_CALLS.flat().map(({ mark, command }) => ({
    ...{ id: `call_${mark}`, tool: 'shell', command, exitCode: 0, outcome: 'success' as const },
  })),
  { id: 'call_exit3', tool: 'shell', command: 'exit 3', exitCode: 3, outcome: 'failure' },
  { id: 'call_no', tool: 'shell', command: 'rm -rf /', outcome: 'denied' },
];

const loader = createRequire(import.meta.url).resolve('tsx');
const script = path.join(import.meta.dirname, 'sdk-agent.ts');
const argv = [process.execPath, '--conditions=telltale-source', '--import', loader, script];
const agent: Agent = {
  model: () => startScripted(() => {}),
  configure: () => [],
  runs: () => [{ argv, env: {}, flags: ['--agent', 'genai'] }],
};

it('an agent by the SDK has its calls, their true ends, and all that they did', {
  timeout: 120_000,
}, async () => {
  const run = runOf(await recordAgent(agent));
  expect(run.exitCode, run.stderr).toBe(0);
  expectWhole(run);
  const story = analyse(run.events);
  expectCalls(story, CALLS);
  expectAttributed(story, insideCalls(story, CALLS, marksOf(CALLS)), 'sdk', 9 * 25);
  expect(story.turns.list).toHaveLength(1);
  expect(story.events.filter(({ kind }) => kind === 'approval')).toMatchObject([
    {
      ...{ tool_call_id: 'call_no', decision: 'denied', decided_by: 'user', scope: 'once' },
      ...{ policy: 'ask', policy_version: '7', command: 'rm -rf /' },
      duration_ns: expect.any(Number),
    },
  ]);
});
