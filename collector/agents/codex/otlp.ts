/**
 * Codex's OTLP logs and spans. Which events there are, and which of their attributes can be
 * trusted for what, was measured on codex-cli 0.169.0; see README.md.
 */
import type { Draft } from '#schemas';
import type { Mapped } from '../adapter.ts';
import { approvalOf } from '../calls.ts';
import {
  before,
  type Loose,
  logTimeNs,
  msAsNs,
  pick,
  promptOf,
  reported,
  textOf,
  uintOf,
} from '../draft.ts';
import type { Attributes, LogRecord, Span } from '../otlp/shape.ts';
import { type CodexState, refusal, rememberCall, turnAt } from './state.ts';
import { type CallText, isRefusal, readToolText } from './text.ts';

const SOURCE = 'otlp';

interface Seen {
  readonly a: Attributes;
  readonly ts: string;
  readonly callId: string | undefined;
  readonly envelope: Loose;
  readonly state: CodexState;
}
type Handler = (seen: Seen) => readonly Draft[];

const DECIDERS: ReadonlyMap<unknown, string> = new Map([
  ['Config', 'config'],
  ['User', 'user'],
  ['AutomatedReviewer', 'reviewer'],
]);

const REDACTED = '[REDACTED]';

const isTrue = (value: unknown): boolean => value === true || value === 'true';

function conversationStarts({ a, state }: Seen): readonly Draft[] {
  const id = textOf(a['conversation.id']);
  if (id !== undefined)
    state.policy.set(id, `approval ${a.approval_policy}, sandbox ${a.sandbox_policy}`);
  return [];
}

function userPrompt({ a, envelope }: Seen): readonly Draft[] {
  return [promptOf(SOURCE, envelope, a.prompt === REDACTED ? undefined : textOf(a.prompt))];
}

/** A request that went well is told by `sse_event`, with its tokens. */
function apiRequest({ a, envelope }: Seen): readonly Draft[] {
  const status = uintOf(a['http.response.status_code']);
  const error = textOf(a['error.message']);
  if (error === undefined && (status === undefined || status < 400)) return [];
  return [
    reported('model.turn', SOURCE, {
      ...envelope,
      phase: 'request',
      model: textOf(a.model),
      http_status: status,
      attempt: uintOf(a.attempt),
      duration_ns: msAsNs(a.duration_ms),
      outcome: 'failure',
      error: error ?? `http ${status}`,
    }),
  ];
}

/** Of the records for each streamed event only the one with the tokens, or the failure, says something. */
function sseEvent({ a, envelope }: Seen): readonly Draft[] {
  const failed = a['event.kind'] === 'response.failed';
  const input = uintOf(a.input_token_count);
  if (!failed && (a['event.kind'] !== 'response.completed' || input === undefined)) return [];
  return [
    reported('model.turn', SOURCE, {
      ...envelope,
      phase: 'request',
      model: textOf(a.model),
      input_tokens: input,
      output_tokens: uintOf(a.output_token_count),
      cached_tokens: uintOf(a.cached_token_count),
      reasoning_tokens: uintOf(a.reasoning_token_count),
      outcome: failed ? 'failure' : 'success',
      error: failed ? (textOf(a['error.message']) ?? 'response.failed') : undefined,
      attrs: pick(a, ['ttft_ms', 'model_reasoning_effort']),
    }),
  ];
}

function toolDecision({ a, envelope, callId, state }: Seen): readonly Draft[] {
  const id = callId ?? '';
  if (callId !== undefined) state.decided.set(callId, true);
  const call = state.call.get(id);
  const conversation = String(envelope.conversation_id);
  return [
    approvalOf(SOURCE, { ...state.asked.get(id), ...commandOf(call) }, envelope, {
      decision: textOf(a.decision),
      decided_by: DECIDERS.get(a.source) ?? 'unknown',
      tool: textOf(a.tool_name),
      justification: call?.justification,
      policy: state.policy.get(conversation),
      policy_version: state.policyVersion.get(conversation),
    }),
  ];
}

const commandOf = (call: CallText | undefined) =>
  call?.command === undefined ? {} : { command: call.command };

/** `success` only says that the tool ran; the exit code is in the text's header. */
function toolResult(seen: Seen): readonly Draft[] {
  const { a, ts, envelope, callId, state } = seen;
  const text = textOf(a.output) ?? '';
  const { exitCode, output, running } = readToolText(text);
  const args = textOf(a.arguments);
  const tool = textOf(a.tool_name);
  const call = rememberCall(state, callId ?? '', tool, args);
  const durationNs = msAsNs(a.duration_ms);
  const failed = !isTrue(a.success) || (exitCode !== undefined && exitCode !== 0);
  const refused = !isTrue(a.success) && isRefusal(text);
  const outcome = refused ? 'denied' : failed ? 'failure' : running ? 'unknown' : 'success';
  const server = textOf(a.mcp_server);
  return [
    reported('tool.call', SOURCE, {
      ...envelope,
      ts: before(ts, durationNs),
      tool,
      tool_namespace: textOf(a.tool_namespace),
      mcp_server: server,
      arguments: args,
      command: call.command,
      cwd: call.cwd,
    }),
    ...(refused && callId !== undefined
      ? refusal(state, { source: SOURCE, callId, reason: text, envelope })
      : []),
    ...(exitCode !== undefined && exitCode !== 0 ? inferDenial(seen, output) : []),
    reported('tool.result', SOURCE, {
      ...envelope,
      tool,
      outcome,
      exit_code: exitCode,
      duration_ns: durationNs,
      output,
      error: failed && exitCode === undefined ? text : undefined,
      truncated: isTrue(a.output_truncated) ? true : undefined,
      attrs: pick(a, ['tool_result_seq', 'agent_name', 'mcp_server_origin']),
    }),
  ];
}

/** How the kernel's refusals read in the words of the C library. */
const DENIALS: readonly string[] = [
  'Read-only file system',
  'Operation not permitted',
  'Permission denied',
];

/**
 * Codex reports a denial by its sandbox only where the command ended within a short time of its
 * start; a slower one just fails. Then the denial is concluded from a failed command's own words,
 * and only under a sandbox: it is marked as inferred, since a command can print what it likes.
 */
function inferDenial({ envelope, callId, state }: Seen, output: string): readonly Draft[] {
  const policy = state.policy.get(String(envelope.conversation_id)) ?? '';
  if (callId === undefined || state.denied.has(callId)) return [];
  if (!policy.includes('sandbox ') || policy.includes('danger-full-access')) return [];
  const words = DENIALS.find((text) => output.includes(text));
  if (words === undefined) return [];
  const call = state.call.get(callId);
  const draft = reported('policy.decision', SOURCE, {
    ...envelope,
    decision: 'deny',
    policy_type: 'filesystem',
    decided_by: 'sandbox',
    tool: call?.tool,
    command: call?.command,
    policy,
    reason: `the command failed with "${words}"`,
  });
  return [{ ...draft, assurance: 'inferred' }];
}

/** Only denials by the filesystem sandbox are reported so; the path is not. */
function sandboxOutcome({ a, envelope, callId, state }: Seen): readonly Draft[] {
  if (callId !== undefined) state.denied.set(callId, true);
  return [
    reported('policy.decision', SOURCE, {
      ...envelope,
      decision: 'deny',
      policy_type: 'filesystem',
      decided_by: 'sandbox',
      tool: textOf(a.tool_name),
      command: state.call.get(callId ?? '')?.command,
      policy: state.policy.get(String(envelope.conversation_id)),
      reason: textOf(a.outcome),
      attrs: pick(a, ['initial_duration_ms', 'escalated_duration_ms']),
    }),
  ];
}

function networkDecision({ a, envelope, state }: Seen): readonly Draft[] {
  const denied = a['network.policy.decision'] === 'deny';
  if (denied && textOf(envelope.span_id) !== undefined)
    state.deniedSpan.set(String(envelope.span_id), true);
  return [
    reported('policy.decision', SOURCE, {
      ...envelope,
      decision: textOf(a['network.policy.decision']),
      policy_type: 'network',
      decided_by: 'policy',
      scope: textOf(a['network.policy.scope']),
      reason: textOf(a['network.policy.reason']),
      rule: textOf(a['network.policy.source']),
      net_host: textOf(a['server.address']),
      net_port: uintOf(a['server.port']),
      http_method: textOf(a['http.request.method']),
      attrs: pick(a, [
        'network.transport.protocol',
        'network.policy.override',
        'client.address',
        'execution.id',
      ]),
    }),
  ];
}

function guardian({ a, envelope, state }: Seen): readonly Draft[] {
  const callId = textOf(a['item.id']);
  const call = callId === undefined ? undefined : state.call.get(callId);
  return [
    reported('policy.decision', SOURCE, {
      ...envelope,
      tool_call_id: callId,
      decision: a.outcome === 'allow' ? 'allow' : 'deny',
      policy_type: 'command',
      decided_by: 'reviewer',
      tool: call?.tool,
      command: call?.command,
      reason: textOf(a.rationale),
      attrs: pick(a, ['review.id', 'status', 'risk_level', 'user_authorization']),
    }),
  ];
}

function agentResponse({ a, envelope }: Seen): readonly Draft[] {
  return [
    reported('model.turn', SOURCE, {
      ...envelope,
      phase: 'final_answer',
      model: textOf(a.model),
      text: textOf(a.response),
      truncated: isTrue(a.response_truncated) ? true : undefined,
      attrs: pick(a, ['agent.type', 'item.id']),
    }),
  ];
}

const nothing: Handler = () => [];

const HANDLERS: ReadonlyMap<string, Handler> = new Map([
  ['codex.conversation_starts', conversationStarts],
  ['codex.user_prompt', userPrompt],
  ['codex.api_request', apiRequest],
  ['codex.sse_event', sseEvent],
  ['codex.tool_decision', toolDecision],
  ['codex.tool_result', toolResult],
  ['codex.sandbox_outcome', sandboxOutcome],
  ['codex.network_proxy.policy_decision', networkDecision],
  ['codex.guardian_assessment', guardian],
  ['codex.agent_response', agentResponse],
  ['codex.turn_ttft', nothing],
  ['codex.startup_phase', nothing],
]);
/** The exporter's own chatter; it has no event name. */
const NOISE_SCOPE = 'codex_otel::metrics::client';

function turnOf(record: LogRecord, ts: string, state: CodexState): string | undefined {
  const { attributes: a, traceId } = record;
  const conversation = textOf(a['conversation.id']);
  return (
    textOf(a['turn.id']) ??
    state.turnOfTrace.get(traceId ?? '') ??
    state.turnOfCall.get(textOf(a.call_id) ?? '') ??
    turnAt(state, conversation ?? '', ts)
  );
}

/** The drafts of one log record; undefined where its event is not known. */
export function mapCodexLog(record: LogRecord, state: CodexState): Mapped {
  const { attributes: a } = record;
  const handler = HANDLERS.get(textOf(a['event.name']) ?? '');
  if (handler === undefined) return record.scope === NOISE_SCOPE ? [] : undefined;
  const ts = logTimeNs(record);
  if (ts === undefined) return undefined;
  const callId = textOf(a.call_id);
  const envelope = {
    ts,
    conversation_id: textOf(a['conversation.id']),
    turn_id: turnOf(record, ts, state),
    tool_call_id: callId,
    trace_id: record.traceId,
    span_id: record.spanId,
  };
  return handler({ a, ts, callId, envelope, state });
}

/**
 * Spans are a hundred times as many as events, and repeat them without content. Two things are only
 * there: which turn a trace or call belongs to, and the whole URL of a request through the proxy.
 */
export function mapCodexSpan(span: Span, state: CodexState): Mapped {
  const { attributes: a, traceId } = span;
  const turn = textOf(a['turn.id']) ?? textOf(a.turn_id);
  const callId = textOf(a.call_id);
  if (turn !== undefined && traceId !== undefined) state.turnOfTrace.set(traceId, turn);
  if (turn !== undefined && callId !== undefined) state.turnOfCall.set(callId, turn);
  const url = textOf(a['url.full']);
  if (span.name !== 'http::serve' || url === undefined || span.startNs === undefined) return [];
  // A tunnel (CONNECT) names only host and port.
  const absolute = /^https?:/.test(url) ? url : `https://${url}`;
  const target = URL.canParse(absolute) ? new URL(absolute) : undefined;
  const denied = state.deniedSpan.has(span.spanId ?? '');
  return [
    reported('net', SOURCE, {
      ts: span.startNs,
      trace_id: traceId,
      span_id: span.spanId,
      net_op: 'http',
      net_transport: 'tcp',
      url,
      http_method: textOf(a['http.request.method']),
      net_host: target?.hostname,
      net_port: uintOf(target?.port || (target?.protocol === 'http:' ? '80' : '443')),
      outcome: denied ? 'denied' : undefined,
    }),
  ];
}
