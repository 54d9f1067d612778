/**
 * Small hand-made sessions of each agent, in the shapes that were measured, channel by channel: one
 * command that fails, one file that is written, one call that is refused, one sub-agent.
 */
import type { Mapped, Mapper } from '../../../collector/agents/adapter.ts';
import { parseRequest } from '../../../collector/agents/otlp/shape.ts';

/** One record as it comes in: of telemetry as OTLP/JSON has it. */
export type Input =
  | { readonly channel: 'log' | 'span'; readonly record: unknown }
  | { readonly channel: 'line'; readonly record: unknown; readonly file: string }
  | { readonly channel: 'hook'; readonly record: unknown };

const NS = '1795418039000000000';

/** Gives one record to a mapper. Undefined where it is not known. */
export function give(mapper: Mapper, input: Input): Mapped {
  if (input.channel === 'line') return mapper.line?.(JSON.stringify(input.record), input.file);
  if (input.channel === 'hook') return mapper.hook?.('x', input.record, NS);
  const scoped =
    input.channel === 'log'
      ? { resourceLogs: [{ scopeLogs: [{ logRecords: [input.record] }] }] }
      : { resourceSpans: [{ scopeSpans: [{ spans: [input.record] }] }] };
  const parsed = parseRequest(input.channel === 'log' ? 'logs' : 'traces', scoped);
  const [log] = parsed.logs;
  const [span] = parsed.spans;
  if (log !== undefined) return mapper.log(log);
  return span === undefined ? undefined : mapper.span(span);
}

/** All places of a value: of each list and object in it. */
export function placesOf(
  value: unknown,
  out: [object: Record<string, unknown>, key: string][] = [],
) {
  if (typeof value !== 'object' || value === null) return out;
  for (const [key, inner] of Object.entries(value)) {
    out.push([value as Record<string, unknown>, key]);
    placesOf(inner, out);
  }
  return out;
}

type Simple = Readonly<Record<string, string | number | boolean>>;

const anyValue = (value: string | number | boolean) =>
  typeof value === 'string'
    ? { stringValue: value }
    : typeof value === 'number'
      ? { intValue: value }
      : { boolValue: value };
const attributes = (simple: Simple) =>
  Object.entries(simple).map(([key, value]) => ({ key, value: anyValue(value) }));

/** Nanoseconds of a moment so many milliseconds into the session. */
export const at = (ms: number): string =>
  String(1_795_418_039_000_000_000n + BigInt(ms) * 1_000_000n);
export const iso = (ms: number): string => new Date(1_795_418_039_000 + ms).toISOString();

const TRACE = '9303564574052662c10eec961d1cff54';
export const log = (ms: number, name: string, simple: Simple): Input => ({
  channel: 'log',
  record: {
    timeUnixNano: at(ms),
    traceId: TRACE,
    spanId: 'f37413c7a485c107',
    attributes: attributes({ 'event.name': name, ...simple }),
  },
});
export const span = (
  from: number,
  until: number,
  name: string,
  id: string,
  simple: Simple,
): Input => ({
  channel: 'span',
  record: {
    name,
    traceId: TRACE,
    spanId: id,
    startTimeUnixNano: at(from),
    endTimeUnixNano: at(until),
    attributes: attributes(simple),
  },
});

const SESSION = 'dce76151-ce8c-4edd-8d03-7f3c44e01c1e';
const TURN = '6cc144ba-e6c5-4091-923e-6b2fb51af597';
const SUB = 'ad686d5aa37050795';

const claudeLog = (ms: number, name: string, simple: Simple): Input =>
  log(ms, name, { 'session.id': SESSION, 'prompt.id': TURN, ...simple });
const MAIN = `${SESSION}.jsonl`;
const claudeLine = (ms: number, type: string, more: object, file = MAIN): Input => ({
  channel: 'line',
  file,
  record: {
    type,
    timestamp: iso(ms),
    sessionId: SESSION,
    cwd: '/w',
    isSidechain: file !== MAIN,
    ...(file === MAIN ? {} : { agentId: SUB }),
    ...more,
  },
});
const said = (ms: number, id: string, block: object, file = MAIN): Input =>
  claudeLine(
    ms,
    'assistant',
    {
      requestId: `req_${id}`,
      message: {
        id,
        role: 'assistant',
        model: 'claude-sonnet-4-5',
        stop_reason: 'tool_use',
        content: [block],
        usage: { input_tokens: 101, output_tokens: 42, cache_read_input_tokens: 3000 },
      },
    },
    file,
  );
const use = (id: string, name: string, input: object) => ({ type: 'tool_use', id, name, input });
const result = (ms: number, id: string, block: object, more: object = {}, file = MAIN): Input =>
  claudeLine(
    ms,
    'user',
    {
      promptId: TURN,
      message: { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, ...block }] },
      ...more,
    },
    file,
  );
const hook = (name: string, more: object): Input => ({
  channel: 'hook',
  record: {
    hook_event_name: name,
    session_id: SESSION,
    prompt_id: TURN,
    cwd: '/w',
    permission_mode: 'default',
    ...more,
  },
});

const EXIT3 = { command: 'sh -c "exit 3"', description: 'x' };
const WRITE = { file_path: '/w/a.txt', content: 'a\n' };
const CURL = { command: 'curl http://h', description: 'x' };
const TASK = { description: 'x', prompt: 'SUBTASK', subagent_type: 'general-purpose' };
const SUB_FILE = `agent-${SUB}.jsonl`;

export const CLAUDE: readonly Input[] = [
  hook('UserPromptSubmit', { prompt: 'Do it' }),
  claudeLine(0, 'user', { promptId: TURN, message: { role: 'user', content: 'Do it' } }),
  claudeLog(0, 'user_prompt', { prompt: 'Do it', prompt_length: '5' }),
  said(10, 'msg_1', { type: 'thinking', thinking: 'Hm.' }),
  said(11, 'msg_1', { type: 'text', text: 'I will.' }),
  said(12, 'msg_1', use('toolu_exit', 'Bash', EXIT3)),
  hook('PreToolUse', { tool_name: 'Bash', tool_input: EXIT3, tool_use_id: 'toolu_exit' }),
  hook('PostToolUseFailure', {
    tool_name: 'Bash',
    tool_input: EXIT3,
    tool_use_id: 'toolu_exit',
    error: 'Exit code 3\nerr',
    duration_ms: 8,
  }),
  result(30, 'toolu_exit', { content: 'Exit code 3\nerr', is_error: true }),
  claudeLog(15, 'tool_decision', {
    decision: 'accept',
    source: 'user_temporary',
    tool_name: 'Bash',
    tool_use_id: 'toolu_exit',
  }),
  claudeLog(30, 'tool_result', {
    tool_name: 'Bash',
    tool_use_id: 'toolu_exit',
    success: 'false',
    duration_ms: '8',
    error: 'Shell command failed',
    error_type: 'ShellError',
    tool_parameters: JSON.stringify({ bash_command: 'sh', full_command: EXIT3.command }),
    tool_input: JSON.stringify(EXIT3),
  }),
  span(20, 28, 'claude_code.tool.execution', '0729e59798a36b2c', {
    'session.id': SESSION,
    tool_use_id: 'toolu_exit',
    success: false,
  }),
  said(40, 'msg_2', use('toolu_write', 'Write', WRITE)),
  result(
    50,
    'toolu_write',
    { content: 'File created' },
    { toolUseResult: { type: 'create', filePath: '/w/a.txt', structuredPatch: [] } },
  ),
  said(60, 'msg_3', use('toolu_curl', 'Bash', CURL)),
  hook('PreToolUse', { tool_name: 'Bash', tool_input: CURL, tool_use_id: 'toolu_curl' }),
  result(70, 'toolu_curl', { content: 'the host is not allowed', is_error: true }),
  claudeLog(65, 'tool_decision', {
    decision: 'reject',
    source: 'hook',
    tool_name: 'Bash',
    tool_use_id: 'toolu_curl',
  }),
  said(80, 'msg_4', use('toolu_agent', 'Agent', TASK)),
  claudeLine(81, 'user', { promptId: TURN, message: { content: 'SUBTASK' } }, SUB_FILE),
  said(82, 'msg_5', use('toolu_sub', 'Bash', { command: 'echo sub' }), SUB_FILE),
  result(
    83,
    'toolu_sub',
    { content: 'sub', is_error: false },
    { toolUseResult: { stdout: 'sub', stderr: '' } },
    SUB_FILE,
  ),
  result(
    90,
    'toolu_agent',
    { content: [{ type: 'text', text: 'fine' }] },
    { toolUseResult: { agentId: SUB, agentType: 'general-purpose' } },
  ),
  claudeLog(95, 'api_error', { model: 'm', error: 'overloaded', status_code: 529, attempt: 3 }),
  span(0, 9, 'claude_code.llm_request', 'd53ee7d6d5d002d2', {
    'session.id': SESSION,
    model: 'm',
    attempt: 2,
  }),
];

const geminiLog = (ms: number, name: string, simple: Simple): Input =>
  log(ms, `gemini_cli.${name}`, {
    'session.id': SESSION,
    prompt_id: SESSION,
    interactive: false,
    ...simple,
  });
const CHAT = 'session-2026-11-23T07-15-dce76151.jsonl';
const chat = (record: object): Input => ({ channel: 'line', file: CHAT, record });
const EXIT_ID = 'run_shell_command__fc_exit';
const GEMINI_EXIT = { command: 'exit 3', description: 'x' };
const answer = (ms: number, id: string, calls: readonly object[]): Input =>
  chat({
    id,
    timestamp: iso(ms),
    type: 'gemini',
    content: 'I will.',
    thoughts: [{ subject: 'Look', description: 'around' }],
    tokens: { input: 900, output: 40, cached: 300, thoughts: 15 },
    model: 'gemini-2.5-pro',
    ...(calls.length === 0 ? {} : { toolCalls: calls }),
  });
const functionResponse = (output: string) => [{ functionResponse: { response: { output } } }];

export const GEMINI: readonly Input[] = [
  chat({ sessionId: SESSION, projectHash: 'ab', startTime: iso(0), kind: 'main' }),
  chat({ $set: { messages: [] } }),
  chat({ id: 'u1', timestamp: iso(1), type: 'user', content: [{ text: 'Do it' }] }),
  geminiLog(0, 'config', { approval_mode: 'yolo' }),
  geminiLog(1, 'user_prompt', { prompt: 'Do it', prompt_length: 5 }),
  geminiLog(9, 'api_response', {
    model: 'gemini-2.5-pro',
    duration_ms: 8,
    status_code: 200,
    input_token_count: 900,
    output_token_count: 40,
    response_text: JSON.stringify([
      { candidates: [{ content: { parts: [{ text: 'Look', thought: true }] } }] },
      {
        candidates: [
          {
            content: {
              parts: [
                { text: 'I will.' },
                {
                  functionCall: {
                    id: 'fc_exit',
                    name: 'run_shell_command',
                    args: { description: 'x', command: 'exit 3' },
                  },
                },
              ],
            },
          },
        ],
      },
    ]),
  }),
  span(10, 20, 'tool_call', '8554ed3a0ef4572a', {
    'gen_ai.tool.name': 'run_shell_command',
    'gen_ai.tool.call_id': EXIT_ID,
  }),
  geminiLog(20, 'tool_call', {
    function_name: 'run_shell_command',
    function_args: JSON.stringify(GEMINI_EXIT, null, 2),
    success: true,
    decision: 'accept',
    duration_ms: 10,
    metadata: JSON.stringify({ exitCode: 3, isError: true }),
  }),
  answer(9, 'g1', []),
  answer(9, 'g1', [
    {
      id: EXIT_ID,
      name: 'run_shell_command',
      args: GEMINI_EXIT,
      status: 'success',
      timestamp: iso(20),
      result: functionResponse(
        '<untrusted_context>\nOutput: err\nExit Code: 3\nProcess Group PGID: 1\n</untrusted_context>',
      ),
      resultDisplay: 'err',
    },
  ]),
  answer(30, 'g2', [
    {
      id: 'write_file__fc_w',
      name: 'write_file',
      args: { file_path: '/w/a.txt', content: 'a\n' },
      status: 'success',
      timestamp: iso(31),
      result: functionResponse('ok'),
      resultDisplay: { fileDiff: 'd', fileName: 'a.txt', filePath: '/w/a.txt', isNewFile: true },
    },
    {
      id: 'run_shell_command__fc_no',
      name: 'run_shell_command',
      args: { command: 'curl http://h' },
      status: 'error',
      timestamp: iso(32),
      result: [{ functionResponse: { response: { error: 'Tool execution denied by policy.' } } }],
    },
  ]),
  geminiLog(32, 'tool_call', {
    function_name: 'run_shell_command',
    function_args: '{"command":"curl http://h"}',
    success: false,
    duration_ms: 0,
    error: 'Tool execution denied by policy.',
    error_type: 'policy_violation',
  }),
  geminiLog(40, 'api_error', { model: 'm', error: 'quota', status_code: 429, duration_ms: 5 }),
];

const OC = 'ses_main';
const OC_SUB = 'ses_sub';
const bus = (ms: number, type: string, properties: object): Input => ({
  channel: 'line',
  file: 'opencode-events.jsonl',
  record: { at: 1_795_418_039_000 + ms, event: { type, properties } },
});
const part = (ms: number, message: string, fields: object, session = OC): Input =>
  bus(ms, 'message.part.updated', {
    part: { sessionID: session, messageID: message, ...fields },
    time: 1_795_418_039_000 + ms,
  });
const tool = (ms: number, id: string, name: string, state: object, session = OC): Input =>
  part(ms, 'm2', { id: `p_${id}`, type: 'tool', tool: name, callID: id, state }, session);
const time = (start: number, end?: number) => ({
  start: 1_795_418_039_000 + start,
  ...(end === undefined ? {} : { end: 1_795_418_039_000 + end }),
});
const message = (ms: number, id: string, more: object, session = OC): Input =>
  bus(ms, 'message.updated', { info: { id, sessionID: session, ...more } });

export const OPENCODE: readonly Input[] = [
  { channel: 'line', file: 'x', record: { at: 1_795_418_039_000, argv: ['opencode', 'run', 'x'] } },
  { channel: 'line', file: 'x', record: { at: 1_795_418_039_000, mcp: ['lab'] } },
  bus(0, 'session.created', { info: { id: OC } }),
  message(1, 'm1', { role: 'user' }),
  part(1, 'm1', { id: 'p1', type: 'text', text: 'Do it' }),
  message(2, 'm2', { role: 'assistant', parentID: 'm1', modelID: 'mm', providerID: 'pp' }),
  part(3, 'm2', { id: 'p2', type: 'reasoning', text: 'Hm.', time: time(2, 3) }),
  part(4, 'm2', { id: 'p3', type: 'text', text: 'I will.', time: time(3, 4) }),
  {
    channel: 'line',
    file: 'x',
    record: {
      at: 1_795_418_039_005,
      before: { tool: 'bash', sessionID: OC, callID: 'call_exit', args: { command: 'exit 3' } },
    },
  },
  tool(6, 'call_exit', 'bash', {
    status: 'running',
    input: { command: 'exit 3' },
    time: time(6),
  }),
  tool(9, 'call_exit', 'bash', {
    status: 'completed',
    input: { command: 'exit 3' },
    output: 'err',
    metadata: { output: 'err', exit: 3 },
    time: time(6, 9),
  }),
  tool(12, 'call_write', 'write', {
    status: 'completed',
    input: { filePath: '/w/a.txt', content: 'a' },
    output: 'Wrote file',
    metadata: { filepath: '/w/a.txt', exists: false },
    time: time(11, 12),
  }),
  bus(13, 'permission.asked', {
    id: 'per_1',
    sessionID: OC,
    permission: 'bash',
    patterns: ['curl *'],
    metadata: { command: 'curl http://h' },
    tool: { messageID: 'm2', callID: 'call_no' },
  }),
  bus(15, 'permission.replied', { sessionID: OC, requestID: 'per_1', reply: 'reject' }),
  tool(16, 'call_no', 'bash', {
    status: 'error',
    input: { command: 'curl http://h' },
    error: 'The user rejected permission to use this specific tool call.',
    time: time(13, 16),
  }),
  bus(20, 'session.created', { info: { id: OC_SUB, parentID: OC, agent: 'general' } }),
  tool(21, 'call_task', 'task', {
    status: 'running',
    input: { prompt: 'SUBTASK', subagent_type: 'general' },
    metadata: { sessionId: OC_SUB },
    time: time(20),
  }),
  tool(
    22,
    'call_sub',
    'bash',
    {
      status: 'completed',
      input: { command: 'echo sub' },
      output: 'sub',
      metadata: { exit: 0 },
      time: time(21, 22),
    },
    OC_SUB,
  ),
  tool(25, 'call_lab', 'lab_lookup', {
    status: 'completed',
    input: { key: 'a' },
    output: 'v',
    metadata: {},
    time: time(24, 25),
  }),
  part(26, 'm2', {
    id: 'p9',
    type: 'step-finish',
    reason: 'stop',
    tokens: { input: 7, output: 3, reasoning: 1, cache: { read: 2 } },
    cost: 0.1,
  }),
  bus(30, 'session.error', {
    sessionID: OC,
    error: { name: 'APIError', data: { message: 'overloaded', statusCode: 529 } },
  }),
  bus(31, 'session.status', {
    sessionID: OC,
    status: { type: 'retry', attempt: 2, message: 'again' },
  }),
];

export const GENAI: readonly Input[] = [
  log(0, 'gen_ai.user.message', { 'gen_ai.conversation.id': 'c', content: 'Do it' }),
  span(1, 2, 'telltale.prompt', '1111111111111111', { 'telltale.prompt': 'Do it' }),
  span(2, 9, 'chat m', '2222222222222222', {
    'gen_ai.operation.name': 'chat',
    'gen_ai.response.model': 'm',
    'gen_ai.usage.input_tokens': 7,
    'gen_ai.output.messages': '[{"role":"assistant","parts":[{"type":"text","content":"Ok"}]}]',
  }),
  span(10, 12, 'telltale.approval', '3333333333333333', {
    'gen_ai.tool.call.id': 'call_g',
    'gen_ai.tool.name': 'shell',
    decision: 'approved',
    decided_by: 'user',
  }),
  span(12, 20, 'execute_tool shell', '4444444444444444', {
    'gen_ai.operation.name': 'execute_tool',
    'gen_ai.tool.name': 'shell',
    'gen_ai.tool.call.id': 'call_g',
    'gen_ai.tool.call.arguments': '{"command":"exit 3"}',
    'process.exit.code': 3,
  }),
];
