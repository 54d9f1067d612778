/** The same for Codex: telemetry, session file and hooks of a command that fails, a patch, a refusal. */
import { type Input, iso, log, span } from './samples.ts';

const CONVERSATION = '01a20740-e19d-7360-846f-8413b62c26a2';
const TURN = '01a20740-e217-72f3-a032-9178f4d68517';
const TRACE = '9303564574052662c10eec961d1cff54';
const FILE = `rollout-2026-11-23T07-13-42-${CONVERSATION}.jsonl`;

let ordinal = 0;
const line = (ms: number, type: string, payload: object): Input => ({
  channel: 'line',
  file: FILE,
  record: { timestamp: iso(ms), ordinal: ordinal++, type, payload },
});
const event = (ms: number, type: string, more: object): Input =>
  line(ms, 'event_msg', { type, turn_id: TURN, ...more });
const item = (ms: number, type: string, more: object): Input =>
  line(ms, 'response_item', { type, ...more });
const done = (ms: number, type: string, id: string, more: object): Input =>
  event(ms, 'item_completed', { item: { type, id, ...more } });
const told = (ms: number, name: string, more: Parameters<typeof log>[2]): Input =>
  log(ms, `codex.${name}`, { 'conversation.id': CONVERSATION, model: 'gpt-5.5', ...more });
const hook = (name: string, more: object): Input => ({
  channel: 'hook',
  record: {
    ...{ hook_event_name: name, session_id: CONVERSATION, turn_id: TURN, cwd: '/w' },
    ...{ model: 'gpt-5.5', permission_mode: 'default', ...more },
  },
});

const EXIT3 = JSON.stringify({ cmd: 'exit 3', workdir: '/w' });
const ESCALATE = JSON.stringify({
  ...{ cmd: 'touch /x', sandbox_permissions: 'require_escalated', justification: 'May I?' },
});
const PATCH = '*** Begin Patch\n*** Add File: a.txt\n+a\n*** End Patch';
const RAN = 'Wall time: 0.1 seconds\nProcess exited with code 3\nOutput:\nerr';
const REFUSED = 'approval policy is Never; reject command';

export const CODEX: readonly Input[] = [
  line(0, 'session_meta', { id: CONVERSATION, cwd: '/w', timestamp: iso(0) }),
  event(1, 'task_started', { trace_id: TRACE }),
  line(2, 'turn_context', {
    ...{ turn_id: TURN, cwd: '/w', approval_policy: 'on-request', model: 'gpt-5.5' },
    sandbox_policy: { type: 'workspace-write' },
  }),
  hook('UserPromptSubmit', { prompt: 'Do it' }),
  told(3, 'conversation_starts', {
    ...{ approval_policy: 'on-request', sandbox_policy: 'workspace-write' },
  }),
  told(4, 'user_prompt', { prompt: 'Do it', prompt_length: '5' }),
  done(4, 'UserMessage', 'u1', { content: [{ type: 'text', text: 'Do it' }] }),
  told(5, 'api_request', {
    ...{ duration_ms: '14', 'http.response.status_code': 503, attempt: 0 },
    'error.message': 'http 503',
  }),
  told(8, 'sse_event', {
    ...{ 'event.kind': 'response.completed', input_token_count: '1040' },
    ...{ output_token_count: '53', cached_token_count: 512 },
  }),
  item(10, 'function_call', { name: 'exec_command', call_id: 'call_1', arguments: EXIT3 }),
  hook('PreToolUse', {
    ...{ tool_name: 'Bash', tool_use_id: 'call_1', tool_input: { command: 'exit 3' } },
  }),
  hook('PermissionRequest', { tool_name: 'Bash', tool_input: { command: 'exit 3' } }),
  told(12, 'tool_decision', {
    ...{ tool_name: 'exec_command', call_id: 'call_1', decision: 'approved', source: 'User' },
  }),
  done(20, 'CommandExecution', 'call_1', {
    ...{ command: ['/bin/bash', '-lc', 'exit 3'], cwd: 'file:///w', status: 'failed' },
    ...{ aggregated_output: 'err', exit_code: 3 },
  }),
  item(21, 'function_call_output', { call_id: 'call_1', output: RAN }),
  hook('PostToolUse', { tool_name: 'Bash', tool_use_id: 'call_1', tool_response: 'err' }),
  told(22, 'tool_result', {
    ...{ tool_name: 'exec_command', tool_namespace: 'functions', call_id: 'call_1' },
    ...{ arguments: EXIT3, output: RAN, success: 'true', duration_ms: '8', mcp_server: '' },
  }),
  item(30, 'custom_tool_call', { name: 'apply_patch', call_id: 'call_2', input: PATCH }),
  told(31, 'tool_decision', {
    ...{ tool_name: 'apply_patch', call_id: 'call_2', decision: 'approved', source: 'Config' },
  }),
  done(32, 'FileChange', 'call_2', {
    ...{ status: 'completed', changes: { '/w/a.txt': { type: 'add', content: 'a\n' } } },
  }),
  item(33, 'custom_tool_call_output', { call_id: 'call_2', output: 'Success. Updated a.txt' }),
  told(34, 'tool_result', {
    ...{ tool_name: 'apply_patch', call_id: 'call_2', arguments: PATCH, success: 'true' },
    ...{ output: 'Success. Updated a.txt', duration_ms: '2', mcp_server: '' },
  }),
  item(40, 'function_call', { name: 'exec_command', call_id: 'call_3', arguments: ESCALATE }),
  item(41, 'function_call_output', { call_id: 'call_3', output: REFUSED }),
  told(42, 'tool_result', {
    ...{ tool_name: 'exec_command', call_id: 'call_3', arguments: ESCALATE, success: 'false' },
    ...{ output: REFUSED, duration_ms: '0', mcp_server: '' },
  }),
  told(50, 'network_proxy.policy_decision', {
    ...{ 'network.policy.decision': 'deny', 'network.policy.scope': 'domain' },
    ...{ 'network.policy.reason': 'denied', 'network.policy.source': 'baseline_policy' },
    ...{ 'server.address': 'evil.example', 'server.port': 80, 'http.request.method': 'GET' },
  }),
  span(49, 51, 'http::serve', 'f37413c7a485c107', {
    ...{ 'url.full': 'http://evil.example/exfil', 'http.request.method': 'GET' },
  }),
  told(52, 'sandbox_outcome', { tool_name: 'exec_command', call_id: 'call_1', outcome: 'denied' }),
  told(60, 'agent_response', {
    ...{ 'agent.type': 'main', 'turn.id': TURN, 'item.id': 'i1', response: 'Done.' },
  }),
  hook('Stop', { last_assistant_message: 'Done.' }),
  event(70, 'task_complete', {}),
];
