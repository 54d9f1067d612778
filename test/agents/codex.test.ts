/**
 * The real Codex CLI under the real recorder: every scripted call must come out as it truly went.
 * Skipped, and said so, where the CLI can't be had; under CI that is a failure.
 */
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { eventId } from '#schemas';
import { type Analysis, analyse } from '../../query/timeline/analyse.ts';
import type { FlatEvent } from '../../query/timeline/view.ts';
import { expectWhole } from './checks.ts';
import { codexAgent, stepsOf } from './codex.ts';
import { neededAgent } from './install.ts';
import { FINAL, PROMPT, type Scripted } from './script.ts';
import { type RecordedRun, recordAgent } from './session.ts';

const found = neededAgent('codex');

/** One run of Codex, and what it was to do. */
interface CodexSession extends RecordedRun {
  readonly calls: readonly Scripted[];
  readonly workspace: string;
  readonly changedConfigs: readonly string[];
  readonly modelRequests: number;
}

async function recordCodex(command: string): Promise<CodexSession> {
  const { runs, place, ...rest } = await recordAgent(codexAgent(command));
  const [run] = runs;
  if (run === undefined) throw new Error('nothing was run');
  return { ...rest, ...run, calls: stepsOf(place).flatMap((step) => step.calls) };
}

const SESSION_MS_MAX = 180_000;
const ATTRIBUTED_MIN = 0.99;

describe.skipIf('why' in found)('a Codex session', () => {
  let session: CodexSession;
  let story: Analysis;
  const callOf = (id: string) => story.calls.find((call) => call.id === id);
  const causedBy = (id: string): readonly FlatEvent[] => story.causedBy.get(id) ?? [];

  beforeAll(async () => {
    session = await recordCodex('command' in found ? found.command : '');
    story = analyse(session.events);
  }, SESSION_MS_MAX);

  it('ends well, is shipped whole, and has no number unaccounted for', () => {
    expect(session.exitCode, session.stderr).toBe(0);
    expectWhole(session);
  });

  it('has all 15 calls, told by both channels, without contradictions', () => {
    expect(story.calls.map((call) => call.id).sort()).toEqual(
      session.calls.map((call) => call.id).sort(),
    );
    expect(story.calls).toHaveLength(15);
    for (const scripted of session.calls) {
      const call = callOf(scripted.id);
      expect(call, scripted.id).toMatchObject({
        tool: scripted.tool,
        outcome: scripted.outcome,
        channels: ['otlp', 'rollout'],
        contradictions: [],
      });
      expect(call?.command, scripted.id).toBe(scripted.command);
    }
  });

  it('knows how each command truly ended, from the kernel and from the agent alike', () => {
    for (const scripted of session.calls) {
      if (scripted.exitCode === undefined) continue;
      expect(callOf(scripted.id)?.exitCode, scripted.id).toMatchObject({
        code: scripted.exitCode,
        from: 'kernel',
      });
      const said = session.events.filter(
        (event) =>
          event.kind === 'tool.result' &&
          event.tool_call_id === scripted.id &&
          event.exit_code !== undefined,
      );
      expect(said.length, scripted.id).toBeGreaterThanOrEqual(2);
      for (const event of said)
        expect(event, scripted.id).toMatchObject({ exit_code: scripted.exitCode });
    }
  });

  it('ties the programs of each call to it', () => {
    for (const { id, command, exitCode, programs } of session.calls) {
      const execs = causedBy(id).filter((event) => event.kind === 'exec');
      if (exitCode === undefined || command === undefined) continue;
      expect(
        execs.some((event) => event.argv?.includes(command)),
        `the shell of ${id}`,
      ).toBe(true);
      const names = execs.map((event) => path.basename(event.exe ?? ''));
      for (const program of programs ?? []) expect(names, id).toContain(program);
    }
  });

  it('attributes at least 99 % of what ran inside the calls', () => {
    const spans = story.calls.map((call) => [call.startedNs, call.endedNs ?? ''] as const);
    const agents = agentPids(session);
    const inside = story.events.filter(
      (event) =>
        event.source === 'seccomp' &&
        event.pid !== undefined &&
        !agents.has(event.pid) &&
        spans.some(([from, to]) => event.ts >= from && event.ts <= to),
    );
    const attributed = inside.filter(
      (event) => story.attribution.get(eventId(event))?.toolCallId !== undefined,
    );
    const share = attributed.length / inside.length;
    console.info(
      `codex: ${session.events.length} events, ${attributed.length} of ${inside.length} kernel events inside calls attributed (${(share * 100).toFixed(2)} %)`,
    );
    expect(inside.length).toBeGreaterThan(500);
    expect(share).toBeGreaterThanOrEqual(ATTRIBUTED_MIN);
  });

  it('shows every file that was written, also by a shell command', () => {
    for (const { id, files } of session.calls) {
      const paths = causedBy(id).flatMap((event) => [event.file_path, event.file_target_path]);
      for (const file of files ?? [])
        expect(
          paths.some((seen) => seen?.endsWith(path.join(session.workspace, file))),
          `${file} by ${id}`,
        ).toBe(true);
    }
    expect(
      callOf('call_05_patch')
        ?.changes.map((change) => change.split(' ')[0])
        .sort(),
    ).toEqual(['add', 'delete', 'update']);
  });

  it('shows approvals, the refused escalation, and what the sandbox denied', () => {
    for (const { id, tool, outcome } of session.calls) {
      const approvals = causedBy(id).filter((event) => event.kind === 'approval');
      if (tool === 'exec_command' || tool === 'apply_patch')
        expect(approvals, id).toMatchObject([
          { decision: outcome === 'denied' ? 'denied' : 'approved', decided_by: 'config' },
        ]);
      else expect(approvals, id).toEqual([]);
    }
    expect(causedBy('call_12_escalate').filter((event) => event.kind === 'exec')).toEqual([]);
    const denials = session.events.filter((event) => event.kind === 'policy.decision');
    expect(denials).toMatchObject([
      {
        tool_call_id: 'call_09_outside',
        decision: 'deny',
        policy_type: 'filesystem',
        decided_by: 'sandbox',
      },
    ]);
  });

  it('has one turn with its prompt, all calls and the final answer', () => {
    expect(story.turns.list).toHaveLength(1);
    const [turn] = story.turns.list;
    expect(turn?.callIds).toHaveLength(15);
    const prompts = session.events.filter((event) => event.kind === 'prompt');
    expect(prompts.map((event) => event.source).sort()).toEqual(['otlp', 'rollout']);
    for (const event of prompts) expect(event).toMatchObject({ prompt: PROMPT });
    const talk = session.events.filter(
      (event) => event.kind === 'model.turn' && event.text === FINAL,
    );
    expect(talk.length).toBeGreaterThanOrEqual(1);
    for (const event of [...prompts, ...talk]) expect(event.turn_id).toBe(turn?.turnId);
    const requests = session.events.filter(
      (event) => event.kind === 'model.turn' && event.input_tokens !== undefined,
    );
    expect(requests).toHaveLength(2 * session.modelRequests);
  });

  it('leaves the user’s configuration as it was', () => {
    expect(session.changedConfigs).toEqual([]);
  });
});

/** The agent's own processes: the launcher and Codex itself, but nothing that they started. */
function agentPids(session: CodexSession): Set<number> {
  const pids = new Set<number>();
  for (const event of session.events) {
    if (event.kind !== 'exec' || event.pid === undefined || event.tool_call_id !== undefined)
      continue;
    if (event.argv?.some((argument) => argument.startsWith('otel.exporter='))) pids.add(event.pid);
  }
  return pids;
}
