/**
 * The real Gemini CLI under the real recorder, with nothing configured by hand: every scripted call
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
import {
  FINAL,
  failing,
  KILLER,
  killed,
  PROMPT,
  policed,
  policySteps,
  yolo,
  yoloSteps,
} from './gemini.ts';
import { neededAgent } from './install.ts';
import { insideCalls } from './measure.ts';
import { type AgentSession, recordAgent, runOf } from './session.ts';
import { callsOf } from './steps.ts';

const found = neededAgent('gemini');
const command = 'command' in found ? found.command : '';
const SESSION_MS_MAX = 180_000;

describe.skipIf('why' in found)('a Gemini CLI session', () => {
  let session: AgentSession;
  let story: Analysis;
  const scripted = () => callsOf(yoloSteps(session.place));

  beforeAll(async () => {
    session = await recordAgent(yolo(command));
    story = analyse(runOf(session).events);
  }, SESSION_MS_MAX);

  it('ends well, is shipped whole, and leaves the user’s settings as they were', () => {
    for (const run of session.runs) {
      expect(run.exitCode, run.stderr).toBe(0);
      expectWhole(run);
    }
    expect(session.changedConfigs).toEqual([]);
  });

  it('is told by telemetry and session file, neither of which has a record unknown', () => {
    const sensors = runOf(session).events.filter((event) => event.kind === 'sensor');
    for (const name of ['otlp', 'chat'])
      expect(sensors).toContainEqual(
        expect.objectContaining({ sensor_name: name, coverage: 'complete' }),
      );
    for (const { id, channels } of story.calls) expect(channels, id).toEqual(['chat', 'otlp']);
  });

  it('has every call as it truly went', () => {
    expectCalls(story, scripted());
    expectEffects(story, scripted(), session.workspace);
  });

  it('attributes at least 99 % of what ran inside the calls, and nothing to the wrong call', () => {
    expectAttributed(story, insideCalls(story, scripted()), 'gemini', 40);
  });

  it('has who approved, prompt and answer', () => {
    for (const { id, outcome } of scripted()) {
      const approvals = (story.causedBy.get(id) ?? []).filter(({ kind }) => kind === 'approval');
      if (outcome === 'failure' && !id.startsWith('run_shell')) expect(approvals, id).toEqual([]);
      else
        expect(approvals, id).toMatchObject([
          { decision: 'approved', decided_by: 'config', policy: 'yolo' },
        ]);
    }
    for (const source of ['otlp', 'chat']) {
      expect(story.events).toContainEqual(expect.objectContaining({ source, text: FINAL }));
      expect(story.events).toContainEqual(expect.objectContaining({ source, prompt: PROMPT }));
    }
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

describe.skipIf('why' in found)('a Gemini CLI session under a policy', () => {
  let session: AgentSession;
  beforeAll(async () => {
    session = await recordAgent(policed(command));
  }, SESSION_MS_MAX);

  it('tells the refused call, and that the policy refused it', () => {
    const run = runOf(session);
    expect(run.exitCode, run.stderr).toBe(0);
    expectWhole(run);
    const story = analyse(run.events);
    const scripted = callsOf(policySteps);
    expectCalls(story, scripted);
    expectEffects(story, scripted, session.workspace);
    const denied = scripted.find(({ outcome }) => outcome === 'denied')?.id ?? '';
    expect(
      (story.causedBy.get(denied) ?? []).filter(({ kind }) => kind === 'approval'),
    ).toMatchObject([{ decision: 'denied', decided_by: 'config', policy: 'default' }]);
  });
});

describe.skipIf('why' in found)('Gemini CLI in trouble', () => {
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
