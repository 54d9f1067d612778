/**
 * Claude Code's OTLP logs and (beta) spans; which there are, and what can be trusted for what, was
 * measured on 2.1.197: see ../README.md.
 */
import type { Draft } from '#schemas';
import type { Mapped } from '../adapter.ts';
import { approvalOf, attrsOf, type Call, callOf, subagentAttrs } from '../calls.ts';
import {
  before,
  type Loose,
  logTimeNs,
  msAsNs,
  parseObject,
  pick,
  promptOf,
  reported,
  textOf,
  uintOf,
} from '../draft.ts';
import type { Attributes, LogRecord, Span } from '../otlp/shape.ts';
import { type ClaudeState, refuse, subagentOf, toolName } from './state.ts';

const SOURCE = 'otlp';
const REDACTED = '<REDACTED>';

interface Seen {
  readonly a: Attributes;
  readonly ts: string;
  readonly callId: string | undefined;
  readonly call: Call;
  readonly envelope: Loose;
  readonly state: ClaudeState;
}
type Handler = (seen: Seen) => readonly Draft[];

const kept = (value: unknown): string | undefined =>
  value === REDACTED ? undefined : textOf(value);

function userPrompt({ a, envelope }: Seen): readonly Draft[] {
  return [promptOf(SOURCE, envelope, kept(a.prompt))];
}

/** `query_source` names the sub-agent's type; its id is in spans and in the session file only. */
function request({ a, envelope }: Seen, fields: Loose): Draft {
  return reported('model.turn', SOURCE, {
    ...envelope,
    phase: 'request',
    model: textOf(a.model),
    provider: 'anthropic',
    response_id: textOf(a.request_id),
    duration_ns: msAsNs(a.duration_ms),
    attrs: attrsOf(
      pick(a, ['cost_usd', 'cache_creation_tokens', 'query_source', 'speed']),
      textOf(a['agent.name']) === undefined ? {} : { 'gen_ai.agent.name': a['agent.name'] },
    ),
    ...fields,
  });
}

function apiRequest(seen: Seen): readonly Draft[] {
  const { a } = seen;
  return [
    request(seen, {
      input_tokens: uintOf(a.input_tokens),
      output_tokens: uintOf(a.output_tokens),
      cached_tokens: uintOf(a.cache_read_tokens),
      outcome: 'success',
    }),
  ];
}

/** Only the last of several attempts; those before it show in the span. */
function apiError(seen: Seen): readonly Draft[] {
  const { a } = seen;
  const status = uintOf(a.status_code);
  return [
    request(seen, {
      http_status: status,
      attempt: uintOf(a.attempt),
      outcome: 'failure',
      error: textOf(a.error) ?? (status === undefined ? 'the request failed' : `http ${status}`),
    }),
  ];
}

function assistantResponse({ a, envelope }: Seen): readonly Draft[] {
  const text = kept(a.response);
  if (text === undefined) return [];
  return [
    reported('model.turn', SOURCE, {
      ...envelope,
      phase: 'message',
      model: textOf(a.model),
      response_id: textOf(a.request_id),
      text,
      truncated: text.includes('[TRUNCATED - Content exceeds') ? true : undefined,
      attrs: pick(a, ['query_source']),
    }),
  ];
}

const DECIDERS: ReadonlyMap<unknown, readonly [by: string, scope?: string]> = new Map([
  ['config', ['config']],
  ['hook', ['hook']],
  ['user_temporary', ['user', 'once']],
  ['user_permanent', ['user', 'always']],
  ['user_reject', ['user', 'once']],
  ['user_abort', ['user', 'once']],
]);
const DECISIONS: ReadonlyMap<unknown, string> = new Map([
  ['accept', 'approved'],
  ['reject', 'denied'],
]);

function toolDecision({ a, envelope, callId, call, state }: Seen): readonly Draft[] {
  const [by = 'unknown', scope] = DECIDERS.get(a.source) ?? [];
  const held = state.refusals.get(callId ?? '')?.fields;
  call.decided = true;
  if (a.decision === 'reject') call.denied = true;
  state.refusals.delete(callId ?? '');
  const params = parseObject(a.tool_parameters) ?? {};
  const { tool } = toolName(a.tool_name);
  return [
    approvalOf(SOURCE, call, envelope, {
      decision: DECISIONS.get(a.decision) ?? 'asked',
      decided_by: by,
      scope,
      tool: tool ?? call.tool ?? textOf(params.mcp_tool_name),
      command: textOf(params.full_command) ?? call.command,
      reason: held?.reason,
      policy: state.policy.get(String(envelope.conversation_id)),
    }),
  ];
}

/** A string in `tool_input` that is longer than 128 characters ends so. */
const CUT = /…\[\d+ chars\]/;

/** `success` says how the tool ended; an exit code is not here. */
function toolResult({ a, ts, envelope, callId, call, state }: Seen): readonly Draft[] {
  const params = parseObject(a.tool_parameters) ?? {};
  const input = textOf(a.tool_input);
  const named = toolName(a.tool_name);
  const tool = named.tool ?? textOf(params.mcp_tool_name);
  const server = named.mcp_server ?? textOf(params.mcp_server_name);
  const durationNs = msAsNs(a.duration_ms);
  const success = String(a.success) === 'true';
  if (callId !== undefined) call.ran = true;
  state.refusals.delete(callId ?? '');
  const shared = { ...envelope, tool };
  const attrs = subagentAttrs(call.subagent);
  return [
    reported('tool.call', SOURCE, {
      ...shared,
      ts: before(ts, durationNs),
      // The record's span is the turn's; the call's own is that of its run (`execution`).
      span_id: undefined,
      mcp_server: server,
      arguments: input,
      command: textOf(params.full_command),
      truncated: input !== undefined && CUT.test(input) ? true : undefined,
      attrs: attrsOf(attrs),
    }),
    reported('tool.result', SOURCE, {
      ...shared,
      outcome: success ? 'success' : 'failure',
      duration_ns: durationNs,
      output_bytes: uintOf(a.tool_result_size_bytes),
      error: success ? undefined : (textOf(a.error) ?? textOf(a.error_type)),
      attrs: attrsOf(pick(a, ['error_type', 'mcp_server_scope']), attrs),
    }),
  ];
}

function permissionMode({ a, envelope, state }: Seen): readonly Draft[] {
  const mode = textOf(a.to_mode) ?? textOf(a.mode);
  if (mode !== undefined) state.policy.set(String(envelope.conversation_id), mode);
  return [];
}

const nothing: Handler = () => [];

const HANDLERS: ReadonlyMap<string, Handler> = new Map([
  ['user_prompt', userPrompt],
  ['api_request', apiRequest],
  ['api_error', apiError],
  ['api_retries_exhausted', nothing],
  ['assistant_response', assistantResponse],
  ['tool_decision', toolDecision],
  ['tool_result', toolResult],
  ['permission_mode_changed', permissionMode],
  // Known, and told better by another record or of no interest.
  ...[
    'api_request_body',
    'api_response_body',
    'api_refusal',
    'at_mention',
    'auth',
    'compaction',
    'feedback_survey',
    'hook_execution_complete',
    'hook_execution_start',
    'hook_plugin_metrics',
    'hook_registered',
    'internal_error',
    'mcp_server_connection',
    'plugin_installed',
    'plugin_loaded',
    'skill_activated',
    'subagent_completed',
    'system_prompt',
  ].map((name): [string, Handler] => [name, nothing]),
]);

/** Events that a resumed process sends under a session id which it then throws away. */
export const isFromThrowaway = ({ attributes: a }: LogRecord): boolean =>
  textOf(a['prompt.id']) === undefined;

/** The drafts of one log record; undefined where its event is not known. */
export function mapClaudeLog(record: LogRecord, state: ClaudeState): Mapped {
  const { attributes: a, traceId, spanId } = record;
  const handler = HANDLERS.get(textOf(a['event.name']) ?? '');
  const ts = logTimeNs(record);
  if (handler === undefined || ts === undefined) return undefined;
  const turn = textOf(a['prompt.id']);
  const callId = textOf(a.tool_use_id);
  if (turn !== undefined && traceId !== undefined) state.turnOfTrace.set(traceId, turn);
  const call = callId === undefined ? {} : callOf(state.calls, callId);
  const envelope = {
    ts,
    conversation_id: textOf(a['session.id']),
    turn_id: turn ?? call.turn,
    tool_call_id: callId,
    trace_id: traceId,
    span_id: spanId,
  };
  return handler({ a, ts, callId, call, envelope, state });
}

/** Attempts before the last one: each failed, or there would be no next. */
function llmRequest(span: Span, envelope: Loose, state: ClaudeState): readonly Draft[] {
  const { attributes: a } = span;
  const last = uintOf(a.attempt) ?? 1;
  const subagent = subagentOf(state, a.agent_id);
  return Array.from({ length: Math.min(Math.max(last - 1, 0), ATTEMPTS_MAX) }, (_, index) =>
    reported('model.turn', SOURCE, {
      ...envelope,
      ts: span.startNs,
      phase: 'request',
      model: textOf(a.model),
      provider: 'anthropic',
      attempt: index + 1,
      outcome: 'failure',
      error: `attempt ${index + 1} of ${last} failed, and the agent tried again`,
      attrs: attrsOf(subagentAttrs(subagent)),
    }),
  );
}
/** Bounds what a hostile count of attempts can make. */
const ATTEMPTS_MAX = 100;

/** A wait for an answer, under the span of its tool, which ends later and has the call's id. */
function blockedOnUser(span: Span, state: ClaudeState): readonly Draft[] {
  const { attributes: a, parentSpanId: parent, endNs: ts } = span;
  if (a.decision !== 'reject' || parent === undefined || ts === undefined) return [];
  const durationNs = msAsNs(a.duration_ms);
  state.blocked.set(parent, { ts, ...(durationNs === undefined ? {} : { durationNs }) });
  return [];
}

function tool(span: Span, envelope: Loose, state: ClaudeState): readonly Draft[] {
  const { attributes: a } = span;
  const id = textOf(a.tool_use_id);
  if (id === undefined) return [];
  const subagent = subagentOf(state, a.agent_id, { type: a.subagent_type });
  const { tool: name } = toolName(a.tool_name);
  callOf(state.calls, id, {
    ...(subagent === undefined ? {} : { subagent }),
    ...(name === undefined ? {} : { tool: name }),
  });
  const blocked = state.blocked.get(span.spanId ?? '');
  if (blocked !== undefined)
    refuse(state, id, SOURCE, { ...envelope, ts: blocked.ts }, { decided_by: 'config' });
  return [];
}

/**
 * The run of a call. Its span is what the programs of the call have in TRACEPARENT, so this event
 * ties them to it exactly.
 */
function execution(span: Span, envelope: Loose, state: ClaudeState): readonly Draft[] {
  const id = textOf(span.attributes.tool_use_id);
  if (id === undefined || span.startNs === undefined) return [];
  const call = callOf(state.calls, id);
  call.ran = true;
  state.refusals.delete(id);
  return [
    reported('tool.call', SOURCE, {
      ...envelope,
      ts: span.startNs,
      turn_id: envelope.turn_id ?? call.turn,
      tool_call_id: id,
      attrs: attrsOf(subagentAttrs(call.subagent)),
    }),
  ];
}

/** The drafts of one span. Only what logs do not say is taken of them. */
export function mapClaudeSpan(span: Span, state: ClaudeState): Mapped {
  const { attributes: a, traceId, spanId, startNs } = span;
  const envelope = {
    ts: startNs,
    conversation_id: textOf(a['session.id']),
    turn_id: state.turnOfTrace.get(traceId ?? ''),
    trace_id: traceId,
    span_id: spanId,
  };
  if (startNs === undefined) return undefined;
  if (span.name === 'claude_code.llm_request') return llmRequest(span, envelope, state);
  if (span.name === 'claude_code.tool.blocked_on_user') return blockedOnUser(span, state);
  if (span.name === 'claude_code.tool') return tool(span, envelope, state);
  if (span.name === 'claude_code.tool.execution') return execution(span, envelope, state);
  return [];
}
