/** Claude Code, Gemini CLI and opencode on small hand-made sessions of all their channels. */
import { describe, expect, it } from 'vitest';
import type { Draft } from '#schemas';
import { unwrapped } from '../../../collector/agents/gemini/state.ts';
import { type Adapter, findAdapter } from '../../../collector/agents/index.ts';
import { fitDraft } from '../../../collector/fit.ts';
import { CLAUDE, GEMINI, give, type Input, OPENCODE } from './samples.ts';

function map(name: string, inputs: readonly Input[]): readonly Draft[] {
  const mapper = (findAdapter(name, []) as Adapter).mapper(0n);
  const drafts = inputs.flatMap((input) => {
    const mapped = give(mapper, input);
    expect(mapped, JSON.stringify(input)).toBeDefined();
    return mapped ?? [];
  });
  return [...drafts, ...(mapper.end?.() ?? [])];
}

const of = (drafts: readonly Draft[], kind: Draft['kind'], id?: string) =>
  drafts.filter((draft) => draft.kind === kind && (id === undefined || draft.tool_call_id === id));
const bySource = (drafts: readonly Draft[]) =>
  Object.fromEntries(drafts.map((draft) => [draft.source, draft]));

describe.each([
  ['claude', CLAUDE],
  ['gemini', GEMINI],
  ['opencode', OPENCODE],
] as const)('%s', (name, inputs) => {
  it('makes drafts that need no repair, each with its time, none better than reported', () => {
    const drafts = map(name, inputs);
    expect(drafts.length).toBeGreaterThan(10);
    for (const draft of drafts) {
      expect(fitDraft(draft).altered, JSON.stringify(draft)).toBeUndefined();
      expect(draft.ts).toMatch(/^17954180\d{11}$/);
      expect(draft.assurance).toBe('reported');
    }
  });
});

describe('Claude Code', () => {
  const drafts = map('claude', CLAUDE);

  it('reads the exit code from the words, and success never as one', () => {
    const results = bySource(of(drafts, 'tool.result', 'toolu_exit'));
    expect(results).toMatchObject({
      hook: { outcome: 'failure', exit_code: 3, output: 'err', duration_ns: 8_000_000 },
      transcript: { outcome: 'failure', exit_code: 3, output: 'err' },
      otlp: { outcome: 'failure', error: 'Shell command failed' },
    });
    expect(results.otlp).not.toHaveProperty('exit_code');
  });

  it('ties the run of a call to the span that its programs inherit', () => {
    const runs = of(drafts, 'tool.call', 'toolu_exit').filter(
      (draft) => draft.span_id === '0729e59798a36b2c',
    );
    expect(runs).toMatchObject([{ source: 'otlp', ts: '1795418039020000000' }]);
  });

  it('tells who approved, and a refusal with its reason though two channels tell a half each', () => {
    expect(of(drafts, 'approval', 'toolu_exit')).toMatchObject([
      { decision: 'approved', decided_by: 'user', scope: 'once', policy: 'default' },
    ]);
    expect(of(drafts, 'approval', 'toolu_curl')).toMatchObject([
      { decision: 'denied', decided_by: 'hook', reason: 'the host is not allowed' },
    ]);
    expect(of(drafts, 'tool.result', 'toolu_curl')).toMatchObject([{ outcome: 'denied' }]);
  });

  it('makes the approval itself where no channel decides', () => {
    const quiet = CLAUDE.filter(
      (input) => JSON.stringify(input).includes('tool_decision') === false,
    );
    expect(of(map('claude', quiet), 'approval', 'toolu_curl')).toMatchObject([
      { source: 'transcript', decision: 'denied', decided_by: 'unknown' },
    ]);
  });

  it('has question and answer as one record', () => {
    const asked: Input = {
      channel: 'hook',
      record: {
        hook_event_name: 'PermissionRequest',
        session_id: 's',
        tool_name: 'Bash',
        tool_input: { command: 'sh -c "exit 3"', description: 'x' },
      },
    };
    const at = CLAUDE.findIndex((input) => JSON.stringify(input).includes('tool_decision'));
    const begun = CLAUDE.slice(0, at).filter(
      (input) => !JSON.stringify(input).includes('PostToolUse'),
    );
    const with_ = [...begun, asked, ...CLAUDE.slice(at, at + 1)];
    const approvals = of(map('claude', with_), 'approval');
    expect(approvals).toMatchObject([
      {
        tool_call_id: 'toolu_exit',
        decision: 'approved',
        decided_by: 'user',
        duration_ns: 15_000_000,
        shown_sha256: 'f9f58386c52e17e92ae21611a7b61f7cf671264c2c8fcd9074e3a898e5d094c6',
      },
    ]);
  });

  it('ties a sub-agent to the call that started it', () => {
    const attrs = {
      'gen_ai.agent.id': 'ad686d5aa37050795',
      parent_tool_call_id: 'toolu_agent',
    };
    for (const kind of ['tool.call', 'tool.result'] as const)
      expect(of(drafts, kind, 'toolu_sub')).toMatchObject([{ attrs }]);
    expect(of(drafts, 'prompt').at(-1)).toMatchObject({ prompt: 'SUBTASK', attrs });
  });

  it('counts the tokens of a response once, and tells each failed attempt', () => {
    const turns = of(drafts, 'model.turn');
    const counted = turns.filter((draft) => 'input_tokens' in draft);
    expect(counted).toHaveLength(5);
    expect(turns.filter((draft) => 'attempt' in draft)).toMatchObject([
      { outcome: 'failure', attempt: 3, http_status: 529 },
      { outcome: 'failure', attempt: 1 },
    ]);
  });

  it('does not take a thrown-away session id of a resume for a conversation', () => {
    const mapper = (findAdapter('claude', []) as Adapter).mapper(0n);
    const record = {
      resource: {},
      scope: '',
      body: null,
      attributes: { 'event.name': 'hook_registered', 'session.id': 'thrown-away' },
    };
    expect(mapper.conversationOf?.(record)).toBeUndefined();
    const used = { ...record, attributes: { ...record.attributes, 'prompt.id': 'p' } };
    expect(mapper.conversationOf?.(used)).toBe('thrown-away');
  });
});

describe('Gemini CLI', () => {
  const drafts = map('gemini', GEMINI);
  const id = 'run_shell_command__fc_exit';

  it('finds the call of a log that has no id, and its exit code whatever success says', () => {
    expect(bySource(of(drafts, 'tool.result', id))).toMatchObject({
      otlp: { outcome: 'failure', exit_code: 3, duration_ns: 10_000_000 },
      chat: { outcome: 'failure', exit_code: 3, output: 'err' },
    });
    expect(of(drafts, 'approval', id)).toMatchObject([
      { decision: 'approved', decided_by: 'config', policy: 'yolo' },
    ]);
  });

  it('knows a call as soon as the model asks for it', () => {
    const until = GEMINI.findIndex((input) => JSON.stringify(input).includes('functionCall'));
    expect(of(map('gemini', GEMINI.slice(0, until + 1)), 'tool.call')).toMatchObject([
      { tool_call_id: id, command: 'exit 3', tool: 'run_shell_command' },
    ]);
  });

  it('tells a refusal by the policy on both channels, and the approval once', () => {
    const refused = 'run_shell_command__fc_no';
    for (const draft of of(drafts, 'tool.result', refused))
      expect(draft).toMatchObject({ outcome: 'denied' });
    expect(of(drafts, 'tool.result', refused)).toHaveLength(2);
    expect(of(drafts, 'approval', refused)).toMatchObject([
      { decision: 'denied', decided_by: 'config' },
    ]);
  });

  it('tells a message and its tokens once, though its file repeats it', () => {
    const own = of(drafts, 'model.turn').filter((draft) => draft.source === 'chat');
    expect(own.filter((draft) => 'input_tokens' in draft)).toHaveLength(2);
    expect(of(drafts, 'tool.result', 'write_file__fc_w')).toMatchObject([
      { changes: ['add /w/a.txt'] },
    ]);
  });

  it('takes a shell away as the program does', () => {
    expect(unwrapped('echo a')).toBe('echo a');
    expect(unwrapped("bash -c 'echo a'")).toBe('echo a');
    expect(unwrapped('/bin/sh -c "echo \\"a\\" \\$b"')).toBe('echo "a" $b');
    expect(unwrapped('sh -c "')).toBe('"');
  });
});

describe('opencode', () => {
  const drafts = map('opencode', OPENCODE);

  it('tells each call once, with its true end and its turn', () => {
    expect(of(drafts, 'tool.call', 'call_exit')).toMatchObject([
      { command: 'exit 3', turn_id: 'm1' },
    ]);
    expect(of(drafts, 'tool.result', 'call_exit')).toMatchObject([
      { outcome: 'failure', exit_code: 3, duration_ns: 3_000_000, turn_id: 'm1' },
    ]);
    expect(of(drafts, 'tool.result', 'call_write')).toMatchObject([
      { outcome: 'success', changes: ['add /w/a.txt'] },
    ]);
    expect(of(drafts, 'tool.call', 'call_lab')).toMatchObject([
      { tool: 'lookup', mcp_server: 'lab' },
    ]);
  });

  it('has question and answer as one record; headless, nobody was asked', () => {
    expect(of(drafts, 'approval')).toMatchObject([
      {
        tool_call_id: 'call_no',
        decision: 'denied',
        decided_by: 'config',
        duration_ns: 2_000_000,
        shown_sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      },
    ]);
    expect(of(drafts, 'tool.result', 'call_no')).toMatchObject([{ outcome: 'denied' }]);
  });

  it('ties a sub-agent to the call that started it, in the turn of its parent', () => {
    for (const kind of ['tool.call', 'tool.result'] as const)
      expect(of(drafts, kind, 'call_sub')).toMatchObject([
        {
          turn_id: 'm1',
          conversation_id: 'ses_sub',
          attrs: { 'gen_ai.agent.name': 'general', parent_tool_call_id: 'call_task' },
        },
      ]);
  });

  it('tells failures of the model, and each that is tried again', () => {
    const failed = of(drafts, 'model.turn').filter(
      (draft) => 'outcome' in draft && draft.outcome === 'failure',
    );
    expect(failed).toMatchObject([
      { http_status: 529, error: 'overloaded' },
      { attempt: 2, error: 'again' },
    ]);
  });
});
