/**
 * The real opencode under the real recorder, with nothing configured by hand: every scripted call
 * must come out as it truly went. Skipped, and said so, where the CLI can't be had.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Analysis, analyse } from '../../query/timeline/analyse.ts';
import {
  expectAttributed,
  expectCalls,
  expectEffects,
  expectKilled,
  expectModelFailure,
  expectWhole,
} from './checks.ts';
import { neededAgent } from './install.ts';
import { insideCalls } from './measure.ts';
import {
  auto,
  autoSteps,
  FINAL,
  failing,
  KILLER,
  killed,
  PROMPT,
  ruled,
  ruleSteps,
  SUB_CALLS,
  SUBTASK,
} from './opencode.ts';
import { type AgentSession, recordAgent, runOf } from './session.ts';
import { callsOf } from './steps.ts';

const found = neededAgent('opencode');
const command = 'command' in found ? found.command : '';
const SESSION_MS_MAX = 180_000;
const SUB_ATTRS = { 'gen_ai.agent.name': 'general', parent_tool_call_id: 'call_13_task' };

describe.skipIf('why' in found)('an opencode session', () => {
  let session: AgentSession;
  let story: Analysis;
  const scripted = () => [...callsOf(autoSteps(session.place)), ...SUB_CALLS];

  beforeAll(async () => {
    session = await recordAgent(auto(command));
    story = analyse(runOf(session).events);
  }, SESSION_MS_MAX);

  it('ends well, is shipped whole, and leaves the user’s configuration as it was', () => {
    for (const run of session.runs) {
      expect(run.exitCode, run.stderr).toBe(0);
      expectWhole(run);
    }
    expect(session.changedConfigs).toEqual([]);
    expect(runOf(session).events).toContainEqual(
      expect.objectContaining({ kind: 'sensor', sensor_name: 'plugin', coverage: 'complete' }),
    );
  });

  it('has every call as it truly went', () => {
    expectCalls(story, scripted());
    expectEffects(story, scripted(), session.workspace);
  });

  it('attributes at least 99 % of what ran inside the calls, and nothing to the wrong call', () => {
    expectAttributed(story, insideCalls(story, scripted()), 'opencode', 40);
  });

  it('tells the sub-agent’s doing with its parent, in the turn of its parent', () => {
    const [turn] = story.turns.list;
    expect(story.turns.list).toHaveLength(1);
    for (const kind of ['tool.call', 'tool.result'])
      expect(story.events).toContainEqual(
        expect.objectContaining({
          kind,
          tool_call_id: 'call_sub_01',
          turn_id: turn?.turnId,
          attrs: expect.objectContaining(SUB_ATTRS),
        }),
      );
    expect(story.events).toContainEqual(
      expect.objectContaining({
        prompt: expect.stringContaining(SUBTASK),
        attrs: expect.objectContaining(SUB_ATTRS),
      }),
    );
  });

  it('has question and answer as one record, the tool of the server, prompt and answer', () => {
    const approvals = story.events.filter(({ kind }) => kind === 'approval');
    expect(approvals).toMatchObject([
      {
        tool_call_id: 'call_10_outside',
        decision: 'approved',
        decided_by: 'config',
        scope: 'once',
        shown_sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
        duration_ns: expect.any(Number),
      },
    ]);
    expect(story.calls.find(({ id }) => id === 'call_14_mcp')?.mcpServer).toBe('lab');
    expect(story.events).toContainEqual(expect.objectContaining({ text: FINAL }));
    expect(story.events).toContainEqual(
      expect.objectContaining({ prompt: expect.stringContaining(PROMPT) }),
    );
    const requests = story.events.filter(({ phase }) => phase === 'request');
    expect(requests.length).toBeGreaterThanOrEqual(15);
    for (const event of requests) expect(event).toMatchObject({ model: 'scripted' });
  });

  it('knows a resumed conversation, and records only what is new in it', () => {
    const resumed = analyse(runOf(session, 1).events);
    expect(resumed.calls).toEqual([]);
    expect(resumed.turns.list).toHaveLength(1);
    const [conversation] = resumed.events.flatMap((event) => event.conversation_id ?? []);
    expect(story.events.map((event) => event.conversation_id)).toContain(conversation);
  });
});

describe.skipIf('why' in found)('an opencode session with rules', () => {
  let session: AgentSession;
  beforeAll(async () => {
    session = await recordAgent(ruled(command));
  }, SESSION_MS_MAX);

  it('tells each refused call, and that nobody was asked', () => {
    const run = runOf(session);
    expect(run.exitCode, run.stderr).toBe(0);
    expectWhole(run);
    const story = analyse(run.events);
    const scripted = callsOf(ruleSteps);
    expectCalls(
      story,
      scripted.filter(({ id }) => story.calls.some((call) => call.id === id)),
    );
    expect(story.calls.map(({ id }) => id)).toContain('call_r2_rule');
    const decided = story.events
      .filter(({ kind }) => kind === 'approval')
      .map((event) => [event.tool_call_id, event.decision, event.decided_by]);
    expect(decided).toContainEqual(['call_r2_rule', 'denied', 'config']);
    expectEffects(story, scripted, session.workspace);
  });
});

describe.skipIf('why' in found)('opencode in trouble', () => {
  it('tells of a call that killed its agent', { timeout: SESSION_MS_MAX }, async () => {
    const run = runOf(await recordAgent(killed(command)));
    const [killer] = KILLER.calls;
    if (killer !== undefined) expectKilled(run, analyse(run.events), killer);
  });

  it('tells of a model that refuses every request', { timeout: SESSION_MS_MAX }, async () => {
    const run = runOf(await recordAgent(failing(command)));
    expectModelFailure(run, analyse(run.events));
  });
});
