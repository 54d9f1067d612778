/**
 * The dictionary of fields: one meaning, one name, one column each, shared by all kinds. Names
 * are the table's columns and the wire's keys; `otel` gives the OpenTelemetry attribute.
 */
import {
  CONTENT_BYTES_MAX,
  choice,
  flag,
  hex,
  id32,
  int,
  keyword,
  list,
  map,
  seq32,
  text,
  time,
  uint,
  uuid,
} from './define.ts';
import { GAP_REASONS } from './reasons.ts';

const bloom = 'bloom_filter(0.01) GRANULARITY 4';
/** A person's words or data: erasable. Which fields are, and why, stands in README.md. */
const content = { content: true } as const;
/** The same where it may be long. */
const body = { bytesMax: CONTENT_BYTES_MAX, body: true, ...content } as const;

/** How good the evidence of one event is. */
export const ASSURANCES = ['verified', 'observed', 'reported', 'inferred'] as const;
/** How an effect was tied to its tool call. */
export const ATTRIBUTIONS = [
  'native',
  'env_key',
  'ancestry',
  'command',
  'path',
  'time',
  'unattributed',
] as const;
export const OUTCOMES = ['success', 'failure', 'denied', 'cancelled', 'unknown'] as const;

export const ENVELOPE = {
  tenant: keyword('Whose event it is; set by the collector’s configuration.'),
  session_id: uuid('The recorded session; UUIDv7, so it sorts by start.', { otel: 'session.id' }),
  stream_id: uuid('One collector run within the session; UUIDv7.'),
  seq: seq32('The event’s number in its stream, from 0, without holes.'),
  kind: keyword('The event kind.', { otel: 'event.name' }),
  ts: time('When it happened, by the clock of whoever saw it.', { otel: 'timeUnixNano' }),
  observed_ts: time('When the collector took it in.', { otel: 'observedTimeUnixNano' }),
  source: keyword('The sensor or channel that saw it: seccomp, otlp, rollout, hook, collector.'),
  assurance: choice(
    'How good the evidence is: verified (kernel state after the fact), observed (kernel, at entry), reported (the agent says so), inferred.',
    ASSURANCES,
  ),
  agent: keyword('The agent’s name.', { otel: 'gen_ai.agent.name' }),
  host: keyword('The host’s name.', { otel: 'host.name' }),
  user: keyword('The account that runs the agent.', { otel: 'user.name' }),
  conversation_id: text('The agent’s own id of its session.', { otel: 'gen_ai.conversation.id' }),
  turn_id: text('The turn (one prompt and all that follows) it belongs to.'),
  tool_call_id: text('The tool call that caused it.', { otel: 'gen_ai.tool.call.id' }),
  attribution: choice('How the tool call was found.', ATTRIBUTIONS),
  attribution_confidence_pct: uint('How sure the attribution is, 0 to 100.'),
  trace_id: hex('Trace.', 16, { otel: 'traceId' }),
  span_id: hex('Span.', 8, { otel: 'spanId' }),
  pid: id32('Process id in the sandbox.', { otel: 'process.pid' }),
  ppid: id32('Parent’s process id.', { otel: 'process.parent_pid' }),
  altered: list(
    'What the collector had to change to carry it: field, reason and measure, such as "output:truncated:9000000".',
    content,
  ),
  content_salt: hex(
    'Random key of the commitments to the event’s content; there exactly when it has content.',
    16,
  ),
  erased: map('Content that was erased since: the commitment to it, by field.'),
} as const;

/** Envelope fields that every event has. */
export const ENVELOPE_REQUIRED = [
  'tenant',
  'session_id',
  'stream_id',
  'seq',
  'kind',
  'ts',
  'observed_ts',
  'source',
  'assurance',
] as const;

export const FIELDS = {
  // session and stream
  schema_version: keyword('Version of the event registry that the collector was built with.'),
  command_args: list('The recorded command.', { ...content, otel: 'process.command_args' }),
  cwd: text('Working directory.', { otel: 'process.working_directory' }),
  public_key: text('Ed25519 public key of the stream’s checkpoints, base64 (raw 32 bytes).'),
  settings: map('What the collector was told: policy, limits, channels.'),
  chain_count: uint('How many events the chain head covers: all before this one.'),
  chain_head: hex('Hash over all events before this one, in order.', 32),
  next_public_key: text(
    'Ed25519 public key of the next checkpoint, base64 (raw 32 bytes); this one’s key is destroyed.',
  ),
  signature: text('Ed25519 over the checkpoint statement, base64.'),
  close_reason: choice('Why recording ended.', [
    'exited',
    'signalled',
    'stopped',
    'recovered',
    'failed',
  ]),
  gap_first_seq: uint('First number lost.'),
  gap_last_seq: uint('Last number lost.'),
  gap_count: uint('How many events were lost; absent where it can’t be known.'),
  gap_reason: choice('Why they were lost.', GAP_REASONS),
  sensor_name: keyword('Which sensor or channel.'),
  sensor_rung: uint('Its rung on the ladder, 1 is the best.'),
  coverage: choice('What its self-check showed.', ['complete', 'partial', 'none']),
  reason: text('Why, in words.', content),
  // conversation
  prompt: text('What was asked.', body),
  prompt_bytes: uint('Length of the prompt in UTF-8 bytes.'),
  model: keyword('Model that answered.', { otel: 'gen_ai.response.model' }),
  provider: keyword('Model provider.', { otel: 'gen_ai.provider.name' }),
  response_id: text('The provider’s id of the response.', { otel: 'gen_ai.response.id' }),
  finish_reason: keyword('Why the model stopped.', { otel: 'gen_ai.response.finish_reasons' }),
  input_tokens: uint('Tokens read.', { otel: 'gen_ai.usage.input_tokens' }),
  output_tokens: uint('Tokens written.', { otel: 'gen_ai.usage.output_tokens' }),
  cached_tokens: uint('Tokens read from cache.', { otel: 'gen_ai.usage.cache_read.input_tokens' }),
  reasoning_tokens: uint('Tokens of reasoning.', { otel: 'gen_ai.usage.reasoning.output_tokens' }),
  attempt: uint('Which attempt at the same request, from 0.'),
  http_status: uint('HTTP status.', { otel: 'http.response.status_code' }),
  phase: keyword('Which part of a turn: request, message, reasoning, final_answer.'),
  text: text('What the model wrote.', body),
  // tool
  tool: keyword('Tool name.', { otel: 'gen_ai.tool.name' }),
  tool_namespace: keyword('Where the tool comes from: functions, an MCP server.'),
  mcp_server: keyword('MCP server that serves the tool.'),
  arguments: text('The call’s arguments, as the agent gave them.', {
    ...body,
    otel: 'gen_ai.tool.call.arguments',
  }),
  command: text('The shell command that the call asks for, where it is one.', {
    ...content,
    bytesMax: 1024 * 1024,
    index: 'text(tokenizer = splitByNonAlpha, preprocessor = lower(command))',
  }),
  output: text('What the call gave back.', { ...body, otel: 'gen_ai.tool.call.result' }),
  output_bytes: uint('Length of the whole output in bytes, where known.'),
  outcome: choice('How it ended.', OUTCOMES),
  error: text('The error, in the words of whoever reports it.', {
    ...content,
    otel: 'error.type',
  }),
  exit_code: int('Exit code.', { otel: 'process.exit.code' }),
  duration_ns: uint('How long it took, in nanoseconds.'),
  changes: list(
    'Files that the agent says it changed: "add PATH", "update PATH", "delete PATH".',
    content,
  ),
  // approvals and policy
  decision: choice('The decision.', [
    'approved',
    'denied',
    'asked',
    'cancelled',
    'allow',
    'deny',
    'ask',
  ]),
  decided_by: choice('Who decided.', [
    'user',
    'config',
    'hook',
    'reviewer',
    'sandbox',
    'policy',
    'unknown',
  ]),
  scope: keyword('What the decision is for: once, session, always, domain.'),
  shown_sha256: hex('SHA-256 of exactly what was shown for approval.', 32, content),
  justification: text('The reason that was given with the request.', content),
  policy: keyword('Policy in force.'),
  policy_version: keyword('Version of the policy.'),
  policy_type: choice('What the rule is about.', ['network', 'filesystem', 'command', 'tool']),
  rule: text('The rule that decided.'),
  // processes
  exe: text('Executable.', { otel: 'process.executable.path', bytesMax: 8192, index: bloom }),
  argv: list('The whole argument vector.', {
    ...content,
    otel: 'process.command_args',
    bytesMax: 2 * 1024 * 1024,
  }),
  join_keys: map('Environment variables that tie a process to its call.'),
  exit_signal: keyword('Signal that ended it.'),
  // files
  file_op: choice('What was done.', [
    'create',
    'write',
    'rename',
    'delete',
    'mode',
    'link',
    'symlink',
    'mkdir',
    'rmdir',
    'truncate',
    'mknod',
    'read',
  ]),
  file_path: text('Absolute path.', { otel: 'file.path', bytesMax: 16_384, index: bloom }),
  file_target_path: text('Where it was renamed or linked to.', { bytesMax: 16_384 }),
  file_mode: keyword('Permission bits, octal.', { otel: 'file.mode' }),
  file_bytes: uint('Size in bytes.', { otel: 'file.size' }),
  file_sha256: hex('SHA-256 of the content.', 32, { index: bloom }),
  syscall: keyword('Name of the system call.'),
  // network
  net_op: choice('What was done.', ['dns', 'connect', 'bind', 'listen', 'http']),
  net_transport: choice('Transport.', ['tcp', 'udp', 'unix', 'netlink', 'other'], {
    otel: 'network.transport',
  }),
  net_host: text('Host name, where one was seen.', {
    otel: 'server.address',
    bytesMax: 1024,
    index: bloom,
  }),
  net_ip: keyword('Address.', { otel: 'network.peer.address' }),
  net_port: uint('Port.', { otel: 'server.port' }),
  net_path: text('Path of a unix socket.'),
  http_method: keyword('HTTP method.', { otel: 'http.request.method' }),
  url: text('URL.', { ...content, otel: 'url.full' }),
  net_bytes_in: uint('Bytes received.'),
  net_bytes_out: uint('Bytes sent.'),
  // stored, not sensed
  alert_rule: keyword('Rule that matched.'),
  severity: keyword('Severity.'),
  fingerprint: text('What makes two alerts the same one.'),
  refs: list('Events that it is about, by event id.'),
  note: text('What the investigator wrote.', content),
  tag: keyword('Tag.'),
  actor: keyword('Who did it.'),
  operation: text('What was read or exported.'),
  truncated: flag('Whether the source had cut the text already.'),
  attrs: map('What has no field of its own.', content),
} as const;
