/**
 * Gemini CLI's OTLP logs and spans; which there are, and what can be trusted for what, was measured
 * on 0.61.0: see ../README.md.
 */
import type { Draft } from '#schemas';
import { jsonIn } from '../../json.ts';
import type { Mapped } from '../adapter.ts';
import { approvalOf, attrsOf, callOf, definitionAttrs, subagentAttrs } from '../calls.ts';
import {
  before,
  isObject,
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
import { asked, type GeminiState, once, remember, takeId } from './state.ts';

const SOURCE = 'otlp';

interface Seen {
  readonly a: Attributes;
  readonly ts: string;
  readonly session: string | undefined;
  readonly envelope: Loose;
  readonly state: GeminiState;
}
type Handler = (seen: Seen) => readonly Draft[];

function config({ a, session, state }: Seen): readonly Draft[] {
  const mode = textOf(a.approval_mode) ?? textOf(a.to_mode);
  if (session !== undefined && mode !== undefined) state.policy.set(session, mode);
  return [];
}

function userPrompt({ a, envelope }: Seen): readonly Draft[] {
  return [promptOf(SOURCE, envelope, textOf(a.prompt))];
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

function parsed(text: unknown): readonly Loose[] {
  const value = typeof text === 'string' ? jsonIn(text) : text;
  return (Array.isArray(value) ? value : [value]).filter(isObject);
}

/** The parts of an answer: it is logged as JSON, a list of the pieces that were streamed. */
const partsOf = (text: unknown): readonly Loose[] =>
  parsed(text).flatMap((piece) => {
    const [candidate] = listOf(piece.candidates);
    const content = isObject(candidate) ? candidate.content : undefined;
    return isObject(content) ? listOf(content.parts).filter(isObject) : [];
  });

/**
 * A call as the model asks for it: known before it is run, so also where it never ends. The span of
 * the answer is exported at once, its log five seconds later.
 */
function functionCall(part: Loose, envelope: Loose, state: GeminiState): readonly Draft[] {
  const call = isObject(part.functionCall) ? part.functionCall : {};
  const id = textOf(call.id);
  const name = textOf(call.name);
  if (id === undefined || name === undefined) return [];
  const callId = id.startsWith(`${name}__`) ? id : `${name}__${id}`;
  const all = remember(state, callId, name, call.args);
  if (!once(state, `asked ${callId}`)) return [];
  return [reported('tool.call', SOURCE, { ...envelope, tool_call_id: callId, ...all })];
}

/** What was streamed piece by piece, put together: thoughts apart from the answer. */
function said(parts: readonly Loose[], { a, envelope }: Seen): readonly Draft[] {
  const phases = [
    ['reasoning', (part: Loose) => part.thought === true],
    ['message', (part: Loose) => part.thought !== true],
  ] as const;
  return phases.flatMap(([phase, mine]) => {
    const text = parts
      .filter(mine)
      .map((part) => textOf(part.text) ?? '')
      .join('');
    if (text === '') return [];
    return [reported('model.turn', SOURCE, { ...envelope, phase, model: textOf(a.model), text })];
  });
}

function apiResponse(seen: Seen): readonly Draft[] {
  const { a, envelope } = seen;
  const parts = partsOf(a.response_text);
  const [reason] = listOf(a.finish_reasons).slice(-1);
  return [
    reported('model.turn', SOURCE, {
      ...envelope,
      phase: 'request',
      model: textOf(a.model),
      provider: 'gcp.gemini',
      http_status: uintOf(a.status_code),
      finish_reason: textOf(reason),
      input_tokens: uintOf(a.input_token_count),
      output_tokens: uintOf(a.output_token_count),
      cached_tokens: uintOf(a.cached_content_token_count),
      reasoning_tokens: uintOf(a.thoughts_token_count),
      duration_ns: msAsNs(a.duration_ms),
      outcome: 'success',
      attrs: pick(a, ['role']),
    }),
    ...said(parts, seen),
    ...parts.flatMap((part) => functionCall(part, envelope, seen.state)),
  ];
}

function apiError({ a, envelope }: Seen): readonly Draft[] {
  return [
    reported('model.turn', SOURCE, {
      ...envelope,
      phase: 'request',
      model: textOf(a.model) ?? textOf(a.model_name),
      provider: 'gcp.gemini',
      http_status: uintOf(a.status_code),
      duration_ns: msAsNs(a.duration_ms),
      outcome: 'failure',
      error:
        textOf(a.error) ??
        textOf(a['error.message']) ??
        textOf(a.error_type) ??
        'the request failed',
      attrs: pick(a, ['error_type', 'attempt', 'attempt_number', 'role']),
    }),
  ];
}

const ACCEPTED: ReadonlySet<unknown> = new Set(['accept', 'auto_accept', 'modify']);

/** In headless mode nobody is asked: what is accepted there is accepted by configuration. */
function decider(a: Attributes): string {
  return a.decision === 'auto_accept' || a.interactive !== true ? 'config' : 'user';
}

/** `success` says that the tool came back. An exit code stands in `metadata` where it is not 0. */
function toolCall({ a, ts, envelope, session, state }: Seen): readonly Draft[] {
  const id = takeId(state, a.function_name, a.function_args);
  const call = id === undefined ? {} : callOf(state.calls, id);
  const { exitCode } = parseObject(a.metadata) ?? {};
  const durationNs = msAsNs(a.duration_ms);
  const success = String(a.success) === 'true';
  const denied = a.error_type === 'policy_violation' || a.decision === 'reject';
  const failed = !success || (typeof exitCode === 'number' && exitCode !== 0);
  const error = textOf(a.error);
  const attrs = attrsOf(subagentAttrs(call.subagent));
  const shared = { ...envelope, tool_call_id: id };
  const all = asked(a.function_name, a.function_args);
  const out: Draft[] = [
    reported('tool.call', SOURCE, {
      ...shared,
      ts: before(ts, durationNs),
      ...all,
      mcp_server: textOf(a.mcp_server_name),
      attrs,
    }),
  ];
  if ((denied || ACCEPTED.has(a.decision)) && !call.decided) {
    call.decided = true;
    out.push(
      approvalOf(SOURCE, { ...all, ...call }, shared, {
        decision: denied ? 'denied' : 'approved',
        decided_by: denied && a.decision !== 'reject' ? 'config' : decider(a),
        policy: state.policy.get(session ?? ''),
        reason: denied ? error : undefined,
      }),
    );
  }
  out.push(
    reported('tool.result', SOURCE, {
      ...shared,
      tool: all.tool,
      outcome: denied ? 'denied' : failed ? 'failure' : 'success',
      exit_code: typeof exitCode === 'number' ? exitCode : undefined,
      duration_ns: durationNs,
      output_bytes: uintOf(a.content_length),
      error,
      attrs: attrsOf(pick(a, ['error_type', 'tool_type']), attrs),
    }),
  );
  return out;
}

const nothing: Handler = () => [];

const HANDLERS: ReadonlyMap<string, Handler> = new Map([
  ['gemini_cli.config', config],
  ['gemini_cli.approval_mode_switch', config],
  ['gemini_cli.user_prompt', userPrompt],
  ['gemini_cli.api_response', apiResponse],
  ['gemini_cli.api_error', apiError],
  ['gemini_cli.tool_call', toolCall],
]);

/** The drafts of one log record; undefined where its event is not known. */
export function mapGeminiLog(record: LogRecord, state: GeminiState): Mapped {
  const { attributes: a, traceId, spanId } = record;
  const name = textOf(a['event.name']) ?? '';
  const ts = logTimeNs(record);
  // It repeats in the conventions' words what its own events say; the rest is about itself.
  const own = name.startsWith('gemini_cli.') || name.startsWith('gen_ai.');
  if (ts === undefined || !own) return undefined;
  const session = textOf(a['session.id']);
  const prompt = textOf(a.prompt_id);
  const envelope = {
    ts,
    conversation_id: session,
    // Headless, the prompt's id is the session's: it tells no turn from another.
    turn_id: prompt === session ? undefined : prompt,
    trace_id: traceId,
    span_id: spanId,
  };
  return (HANDLERS.get(name) ?? nothing)({ a, ts, session, envelope, state });
}

/** An answer of the model: of it only the calls that it asks for. */
function llmCall({ attributes: a, endNs, traceId }: Span, state: GeminiState): readonly Draft[] {
  const envelope = {
    ts: endNs,
    conversation_id: textOf(a['gen_ai.conversation.id']),
    trace_id: traceId,
  };
  return parsed(a['gen_ai.output.messages'])
    .flatMap(({ parts }) => listOf(parts).filter(isObject))
    .flatMap((part) => functionCall(part, envelope, state));
}

/** Of all spans two tell something new or sooner: an answer, and when a call began, with its id. */
export function mapGeminiSpan(span: Span, state: GeminiState): Mapped {
  const { attributes: a, startNs, traceId, spanId } = span;
  if (span.name === 'llm_call' && span.endNs !== undefined) return llmCall(span, state);
  const id = textOf(a['gen_ai.tool.call_id']) ?? textOf(a['gen_ai.tool.call.id']);
  if (span.name !== 'tool_call' || id === undefined || startNs === undefined) return [];
  if (!once(state, `span ${id}`)) return [];
  return [
    reported('tool.call', SOURCE, {
      ts: startNs,
      conversation_id: textOf(a['gen_ai.conversation.id']),
      tool_call_id: id,
      tool: textOf(a['gen_ai.tool.name']),
      trace_id: traceId,
      span_id: spanId,
      attrs: definitionAttrs(a['gen_ai.tool.description']),
    }),
  ];
}
