/**
 * The real Claude Code under the real recorder, with nothing configured by hand: every scripted call
 * must come out as it truly went. Skipped, and said so, where the CLI can't be had.
 */
import { createHash } from 'node:crypto';
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
import {
  ANSWER_MS,
  allowing,
  allowSteps,
  askedSteps,
  asking,
  bypassing,
  bypassSteps,
  FINAL,
  failing,
  KILLER,
  killed,
  PROMPT,
  SUB_CALLS,
  SUBTASK,
} from './claude.ts';
import { neededAgent } from './install.ts';
import { insideCalls } from './measure.ts';
import { type AgentSession, recordAgent, runOf } from './session.ts';
import { callsOf } from './steps.ts';

const found = neededAgent('claude');
const command = 'command' in found ? found.command : '';
const SESSION_MS_MAX = 180_000;
const SUB_ATTRS = { 'gen_ai.agent.name': 'general-purpose', parent_tool_call_id: 'toolu_13_agent' };

describe.skipIf('why' in found)('a Claude Code session', () => {
  let session: AgentSession;
  let story: Analysis;
  const scripted = () => [...callsOf(bypassSteps(session.place)), ...SUB_CALLS];
  const resultsOf = (id: string) =>
    story.events.filter((event) => event.kind === 'tool.result' && event.tool_call_id === id);

  beforeAll(async () => {
    session = await recordAgent(bypassing(command));
    story = analyse(runOf(session).events);
  }, SESSION_MS_MAX);

  it('ends well, is shipped whole, and leaves the user’s settings as they were', () => {
    for (const run of session.runs) {
      expect(run.exitCode, run.stderr).toBe(0);
      expectWhole(run);
    }
    expect(session.changedConfigs).toEqual([]);
  });

  it('is told by telemetry, session file and hooks, none of which has a record unknown', () => {
    const sensors = runOf(session).events.filter((event) => event.kind === 'sensor');
    for (const name of ['otlp', 'transcript', 'hook'])
      expect(sensors).toContainEqual(
        expect.objectContaining({ sensor_name: name, coverage: 'complete' }),
      );
    for (const { id } of scripted())
      expect(story.calls.find((call) => call.id === id)?.channels, id).toEqual(
        id === 'toolu_15_unknown' ? ['transcript'] : ['hook', 'otlp', 'transcript'],
      );
  });

  it('has every call as it truly went', () => {
    expectCalls(story, scripted());
    expectEffects(story, scripted(), session.workspace);
  });

  it('attributes at least 99 % of what ran inside the calls, and nothing to the wrong call', () => {
    expectAttributed(story, insideCalls(story, scripted()), 'claude', 40);
  });

  it('tells the sub-agent’s doing with its parent', () => {
    for (const source of ['otlp', 'transcript', 'hook'])
      expect(resultsOf(SUB_CALLS[0]?.id ?? '')).toContainEqual(
        expect.objectContaining({
          source,
          attrs: expect.objectContaining(
            source === 'transcript' ? SUB_ATTRS : { 'gen_ai.agent.name': 'general-purpose' },
          ),
        }),
      );
    expect(story.events).toContainEqual(
      expect.objectContaining({
        kind: 'prompt',
        prompt: SUBTASK,
        attrs: expect.objectContaining(SUB_ATTRS),
      }),
    );
  });

  it('has who approved, the tool of the server, the failed attempt, prompt and answer', () => {
    for (const { id } of scripted()) {
      const approvals = (story.causedBy.get(id) ?? []).filter(({ kind }) => kind === 'approval');
      if (id === 'toolu_15_unknown') expect(approvals).toEqual([]);
      else
        expect(approvals, id).toMatchObject([
          { decision: 'approved', decided_by: 'config', policy: 'bypassPermissions' },
        ]);
    }
    expect(story.calls.find((call) => call.id === 'toolu_14_mcp')?.mcpServer).toBe('lab');
    const turns = story.events.filter((event) => event.kind === 'model.turn');
    expect(turns).toContainEqual(expect.objectContaining({ outcome: 'failure', attempt: 1 }));
    for (const source of ['otlp', 'transcript'])
      expect(turns).toContainEqual(expect.objectContaining({ source, text: FINAL }));
    const prompts = story.events.filter((event) => event.prompt === PROMPT);
    expect(prompts.map(({ source }) => source).sort()).toEqual(['hook', 'otlp', 'transcript']);
    expect(story.turns.list).toHaveLength(1);
  });

  it('knows a resumed conversation, and records only what is new in it', () => {
    const resumed = analyse(runOf(session, 1).events);
    expect(resumed.calls).toEqual([]);
    const ids = (events: readonly { conversation_id?: string | undefined }[]) =>
      new Set(events.flatMap((event) => event.conversation_id ?? []));
    expect(ids(resumed.events)).toEqual(ids(story.events));
    expect(resumed.turns.list).toHaveLength(1);
  });
});

describe.skipIf('why' in found)('a Claude Code session with rules and a hook', () => {
  let session: AgentSession;
  let story: Analysis;

  beforeAll(async () => {
    session = await recordAgent(allowing(command));
    story = analyse(runOf(session).events);
  }, SESSION_MS_MAX);

  it('tells each refused call, and who refused it', () => {
    const run = runOf(session);
    expect(run.exitCode, run.stderr).toBe(0);
    expectWhole(run);
    expect(session.changedConfigs).toEqual([]);
    const scripted = callsOf(allowSteps(session.place));
    expectCalls(story, scripted);
    expectEffects(story, scripted, session.workspace);
    const decided = scripted.map(({ id }) => [
      id,
      ...(story.causedBy.get(id) ?? [])
        .filter(({ kind }) => kind === 'approval')
        .map((event) => `${event.decision} by ${event.decided_by}`),
    ]);
    expect(decided).toEqual([
      ['toolu_a1_allowed', 'approved by config'],
      ['toolu_a2_unasked', 'denied by config'],
      ['toolu_a3_rule', 'denied by config'],
      ['toolu_a4_hook', 'denied by hook'],
      ['toolu_a5_redirect', 'denied by config'],
    ]);
  });
});

describe.skipIf('why' in found)('a Claude Code session with a person to ask', () => {
  it('tells what was asked, who answered, and how long it took', {
    timeout: SESSION_MS_MAX,
  }, async () => {
    const session = await recordAgent(asking(command));
    const run = runOf(session);
    expect(run.exitCode, run.stderr).toBe(0);
    expectWhole(run);
    const story = analyse(run.events);
    const scripted = callsOf(askedSteps);
    expectCalls(story, scripted);
    expectEffects(story, scripted, session.workspace);
    for (const [id, decision, scope] of [
      ['toolu_q1_once', 'approved', 'once'],
      ['toolu_q2_always', 'approved', 'always'],
      ['toolu_q3_no', 'denied', 'once'],
    ] as const) {
      const text = scripted.find((call) => call.id === id)?.command ?? '';
      const [approval, ...more] = (story.causedBy.get(id) ?? []).filter(
        ({ kind }) => kind === 'approval',
      );
      expect(more, id).toEqual([]);
      expect(approval, id).toMatchObject({
        decision,
        scope,
        decided_by: 'user',
        command: text,
        shown_sha256: createHash('sha256').update(text).digest('hex'),
      });
      // From the hook that asks to the decision: on a busy machine a hook arrives late.
      expect(approval?.duration_ns, id).toBeGreaterThanOrEqual((ANSWER_MS * 1_000_000) / 2);
    }
  });
});

describe.skipIf('why' in found)('Claude Code in trouble', () => {
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
