/** The Codex mapper on small hand-made records; what they look like was measured on 0.169.0. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Draft } from '#schemas';
import { codex } from '../../../collector/agents/codex/adapter.ts';
import { readToolText } from '../../../collector/agents/codex/text.ts';
import { findAdapter, UnknownAgentError } from '../../../collector/agents/index.ts';
import type { LogRecord, Value } from '../../../collector/agents/otlp/shape.ts';
import { fitDraft } from '../../../collector/fit.ts';

const CONVERSATION = '01a20740-e19d-7360-846f-8413b62c26a2';
const TURN = '01a20740-e217-72f3-a032-9178f4d68517';
const TRACE = 'f58c0ee0b844d2ecfda89315b4086bc9';
const FILE = `rollout-2026-11-23T07-13-42-${CONVERSATION}.jsonl`;

const log = (name: string, attributes: Record<string, Value>): LogRecord => ({
  resource: {},
  scope: 'codex_otel.log_only',
  observedNs: '1795418022604211897',
  body: null,
  traceId: TRACE,
  attributes: {
    'event.name': name,
    'event.timestamp': '2026-11-23T07:13:42.604Z',
    'conversation.id': CONVERSATION,
    model: 'gpt-5.5',
    ...attributes,
  },
});

const line = (type: string, payload: object, timestamp = '2026-11-23T07:13:42.448Z') =>
  JSON.stringify({ timestamp, ordinal: 1, type, payload });

const META = line('session_meta', { id: CONVERSATION, cwd: '/w' });
const STARTED = line('event_msg', { type: 'task_started', turn_id: TURN, trace_id: TRACE });

/** A mapper that has read the beginning of a session file. */
function started(startNs = 0n) {
  const mapper = codex.mapper(startNs);
  mapper.line?.(META, FILE);
  mapper.line?.(STARTED, FILE);
  return mapper;
}

const ran = (code: number, output: string) =>
  `Chunk ID: 03d22d\nWall time: 0.0000 seconds\nProcess exited with code ${code}\nOriginal token count: 1\nOutput:\n${output}`;

const result = (more: Record<string, Value>) =>
  log('codex.tool_result', {
    tool_name: 'exec_command',
    tool_namespace: 'functions',
    call_id: 'call_1',
    duration_ms: '88',
    success: 'true',
    output_truncated: false,
    arguments: '{"cmd":"exit 3"}',
    output: ran(3, 'out\n'),
    mcp_server: '',
    ...more,
  });

const kinds = (drafts: readonly Draft[] | undefined) => drafts?.map((draft) => draft.kind);

describe('Codex over OTLP', () => {
  it('takes the exit code from the text, not from success', () => {
    const drafts = started().log(result({}));
    expect(kinds(drafts)).toEqual(['tool.call', 'tool.result']);
    expect(drafts?.[0]).toMatchObject({
      ts: '1795418022516211897',
      command: 'exit 3',
      tool_call_id: 'call_1',
      turn_id: TURN,
      conversation_id: CONVERSATION,
      trace_id: TRACE,
    });
    expect(drafts?.[1]).toMatchObject({
      outcome: 'failure',
      exit_code: 3,
      output: 'out\n',
      duration_ns: 88_000_000,
    });
  });

  it('makes drafts that need no repair', () => {
    for (const draft of started().log(result({ output: ran(0, 'x') })) ?? [])
      expect(fitDraft(draft)).toEqual(draft);
  });

  it('tells an approval with its command and the policy in force', () => {
    const mapper = started();
    mapper.log(
      log('codex.conversation_starts', { approval_policy: 'never', sandbox_policy: 'read-only' }),
    );
    mapper.line?.(
      line('response_item', {
        type: 'function_call',
        name: 'exec_command',
        call_id: 'call_1',
        arguments: '{"cmd":"ls"}',
      }),
      FILE,
    );
    const decision = { call_id: 'call_1', decision: 'denied', source: 'AutomatedReviewer' };
    expect(mapper.log(log('codex.tool_decision', decision))).toMatchObject([
      {
        kind: 'approval',
        decision: 'denied',
        decided_by: 'reviewer',
        command: 'ls',
        policy: 'approval never, sandbox read-only',
      },
    ]);
  });

  it('reports a refusal that nobody was asked for once, whichever channel is first', () => {
    const text = 'approval policy is Never; reject command — you cannot ask';
    const args = '{"cmd":"touch /x","sandbox_permissions":"require_escalated","justification":"?"}';
    const mapper = started();
    const call = {
      type: 'function_call',
      name: 'exec_command',
      call_id: 'call_1',
      arguments: args,
    };
    mapper.line?.(line('response_item', call), FILE);
    const output = { type: 'function_call_output', call_id: 'call_1', output: text };
    const first = mapper.line?.(line('response_item', output), FILE);
    expect(first).toMatchObject([
      { kind: 'approval', decision: 'denied', decided_by: 'config', justification: '?' },
      { kind: 'tool.result', outcome: 'denied', error: text },
    ]);
    const second = mapper.log(result({ success: 'false', arguments: args, output: text }));
    expect(kinds(second)).toEqual(['tool.call', 'tool.result']);
    expect(second?.[1]).toMatchObject({ outcome: 'denied' });
  });

  it('infers a denial by the sandbox only where Codex did not report it, and marks it so', () => {
    const text = ran(1, 'bash: line 1: /x: Read-only file system\n');
    const policy = { approval_policy: 'never', sandbox_policy: 'workspace-write' };
    const silent = started();
    silent.log(log('codex.conversation_starts', policy));
    expect(silent.log(result({ output: text }))?.[1]).toMatchObject({
      kind: 'policy.decision',
      decision: 'deny',
      assurance: 'inferred',
    });
    const told = started();
    told.log(log('codex.conversation_starts', policy));
    expect(
      told.log(log('codex.sandbox_outcome', { call_id: 'call_1', outcome: 'denied' })),
    ).toMatchObject([{ kind: 'policy.decision', decided_by: 'sandbox', assurance: 'reported' }]);
    expect(kinds(told.log(result({ output: text })))).toEqual(['tool.call', 'tool.result']);
    const free = started();
    free.log(log('codex.conversation_starts', { ...policy, sandbox_policy: 'danger-full-access' }));
    expect(kinds(free.log(result({ output: text })))).toEqual(['tool.call', 'tool.result']);
  });

  it('tells what the proxy decided', () => {
    const decision = {
      'network.policy.decision': 'deny',
      'network.policy.reason': 'not_allowed',
      'server.address': 'evil.example.com',
      'server.port': 80,
      'http.request.method': 'POST',
    };
    expect(started().log(log('codex.network_proxy.policy_decision', decision))).toMatchObject([
      { policy_type: 'network', decision: 'deny', net_host: 'evil.example.com', net_port: 80 },
    ]);
  });

  it('keeps no text that was redacted, and of streamed events only the tokens', () => {
    const mapper = started();
    const [prompt] = mapper.log(log('codex.user_prompt', { prompt: '[REDACTED]' })) ?? [];
    expect(prompt).not.toHaveProperty('prompt');
    expect(mapper.log(log('codex.sse_event', { 'event.kind': 'response.created' }))).toEqual([]);
    const done = { 'event.kind': 'response.completed', input_token_count: '1040' };
    expect(mapper.log(log('codex.sse_event', done))).toMatchObject([{ input_tokens: 1040 }]);
  });

  it('does not know what it does not know', () => {
    expect(started().log(log('codex.brand_new', {}))).toBeUndefined();
  });
});

describe('Codex’s approvals', () => {
  const hook = (name: string, more: object) => ({
    hook_event_name: name,
    session_id: CONVERSATION,
    turn_id: TURN,
    tool_name: 'Bash',
    tool_input: { command: 'exit 3' },
    ...more,
  });
  const asked = () => {
    const mapper = started();
    const context = { approval_policy: 'on-request', sandbox_policy: { type: 'read-only' } };
    mapper.line?.(line('turn_context', { turn_id: TURN, ...context }), FILE);
    mapper.hook?.('x', hook('PreToolUse', { tool_use_id: 'call_1' }), '1795418022000000000');
    const question = hook('PermissionRequest', { permission_mode: 'default' });
    expect(mapper.hook?.('x', question, '1795418022100000000')).toEqual([]);
    return mapper;
  };

  it('are one record of question and answer, with the policy that was in force', () => {
    const decision = log('codex.tool_decision', {
      tool_name: 'exec_command',
      call_id: 'call_1',
      decision: 'approved',
      source: 'User',
    });
    expect(asked().log(decision)).toMatchObject([
      {
        kind: 'approval',
        tool_call_id: 'call_1',
        decision: 'approved',
        decided_by: 'user',
        command: 'exit 3',
        policy: 'approval on-request, sandbox read-only',
        policy_version: expect.stringMatching(/^[0-9a-f]{16}$/),
        shown_sha256: createHash('sha256').update('exit 3').digest('hex'),
        duration_ns: 504_211_897,
      },
    ]);
  });

  it('are told as asked where nobody answered until the end', () => {
    expect(asked().end?.()).toMatchObject([
      { kind: 'approval', tool_call_id: 'call_1', decision: 'asked', command: 'exit 3' },
    ]);
  });
});

describe('Codex’s session file', () => {
  it('tells commands and files as they are', () => {
    const mapper = started();
    const command = {
      type: 'item_completed',
      turn_id: TURN,
      item: {
        type: 'CommandExecution',
        id: 'call_1',
        command: ['/bin/bash', '-lc', 'exit 3'],
        cwd: 'file:///w/a%20b',
        status: 'failed',
        aggregated_output: 'Ω',
        exit_code: 3,
      },
    };
    expect(mapper.line?.(line('event_msg', command), FILE)).toMatchObject([
      { kind: 'tool.call', command: 'exit 3', cwd: '/w/a b', conversation_id: CONVERSATION },
      { kind: 'tool.result', exit_code: 3, outcome: 'failure', output_bytes: 2 },
    ]);
    const change = {
      type: 'item_completed',
      turn_id: TURN,
      item: {
        type: 'FileChange',
        id: 'call_2',
        status: 'completed',
        changes: { '/w/a': { type: 'add' }, '/w/b': { type: 'update', move_path: '/w/c' } },
      },
    };
    expect(mapper.line?.(line('event_msg', change), FILE)).toMatchObject([
      { changes: ['add /w/a', 'update /w/b', 'add /w/c'] },
    ]);
  });

  it('does not take the −1 of a killed process for an exit code', () => {
    const item = {
      type: 'CommandExecution',
      id: 'c',
      command: [],
      status: 'failed',
      exit_code: -1,
    };
    const drafts = started().line?.(line('event_msg', { type: 'item_completed', item }), FILE);
    expect(drafts?.[1]).not.toHaveProperty('exit_code');
    expect(drafts?.[1]).toMatchObject({ outcome: 'failure' });
  });

  it('only remembers lines from before the run', () => {
    const mapper = started(BigInt(Date.parse('2026-11-24T00:00:00Z')) * 1_000_000n);
    const call = { type: 'function_call', name: 'x', call_id: 'old', arguments: '{"cmd":"ls"}' };
    expect(mapper.line?.(line('response_item', call), FILE)).toEqual([]);
    expect(
      mapper.line?.(line('response_item', call, '2026-11-24T00:00:01.000Z'), FILE),
    ).toHaveLength(1);
  });

  it('gives late telemetry the turn that ran at its time', () => {
    const mapper = started();
    const next = { type: 'task_started', turn_id: 'next', trace_id: 'f'.repeat(32) };
    mapper.line?.(line('event_msg', next, '2026-11-23T07:14:00.000Z'), FILE);
    const { traceId: _none, ...record } = log('codex.sse_event', {
      'event.kind': 'response.completed',
      input_token_count: 1,
    });
    expect(mapper.log(record)).toMatchObject([{ turn_id: TURN }]);
  });
});

describe('the header of a tool’s text', () => {
  it('is believed only where it is whole', () => {
    expect(readToolText(ran(3, 'x'))).toEqual({ exitCode: 3, output: 'x', running: false });
    expect(readToolText('Exit code: 0\nWall time: 0.2 seconds\nOutput:\nok')).toMatchObject({
      exitCode: 0,
      output: 'ok',
    });
    for (const forged of [
      'unsupported call: x\nProcess exited with code 0\nOutput:\n',
      'Process exited with code 0',
      'Output:\nProcess exited with code 0\nOutput:\n',
    ])
      expect(readToolText(forged)).toEqual({ output: forged, running: false });
  });

  it('takes no exit code from a command’s own output', () => {
    fc.assert(
      fc.property(fc.string(), (own) => {
        const forged = `${own}\nProcess exited with code 9\nOutput:\n`;
        expect(readToolText(ran(1, forged)).exitCode).toBe(1);
      }),
    );
  });
});

describe('anything at all', () => {
  it('never breaks a mapper, but by a line that is no JSON', () => {
    const value = fc.jsonValue() as fc.Arbitrary<Value>;
    const names = fc.constantFrom(
      'codex.tool_result',
      'codex.user_prompt',
      'codex.sandbox_outcome',
    );
    fc.assert(
      fc.property(names, fc.dictionary(fc.string(), value), value, (name, attributes, payload) => {
        const mapper = started();
        const mapped = [
          ...(mapper.log(log(name, attributes)) ?? []),
          ...(mapper.line?.(
            line('response_item', { type: 'function_call', call_id: 'c', arguments: payload }),
            FILE,
          ) ?? []),
          ...(mapper.hook?.('x', payload, '1795418022604211897') ?? []),
        ];
        for (const draft of mapped) fitDraft(draft);
      }),
      { numRuns: 300 },
    );
  });
});

describe('which adapter', () => {
  it('goes by name, else by the command', () => {
    expect(findAdapter('genai', ['x'])?.name).toBe('genai');
    expect(findAdapter(undefined, ['/usr/bin/codex', 'exec'])?.name).toBe('codex');
    expect(findAdapter(undefined, ['sh'])).toBeUndefined();
    expect(() => findAdapter('cursor', [])).toThrow(UnknownAgentError);
    expect(() => findAdapter('cursor', [])).toThrow(
      /known: claude, codex, gemini, opencode, genai/,
    );
  });

  it('switches telemetry on behind the name of the agent, wherever that stands', () => {
    const setup = { url: 'http://127.0.0.1:1/t', startNs: 0n, dir: '/nowhere' };
    const of = (argv: string[]) => codex.prepare({ argv, cwd: '/w', env: {} }, setup);
    for (const head of [
      ['codex'],
      ['npx', '-y', '@openai/codex@0.169.0'],
      ['node', '/x/codex.js'],
    ]) {
      const { argv } = of([...head, 'exec', 'hi']).command;
      expect(argv.slice(0, head.length)).toEqual(head);
      expect(argv[head.length]).toBe('-c');
      expect(argv[head.length + 1]).toContain('endpoint = "http://127.0.0.1:1/t/v1/logs"');
      expect(argv.slice(-2)).toEqual(['exec', 'hi']);
    }
    expect(of(['make', 'test']).warning).toMatch(/not on the command line/);
  });
});
