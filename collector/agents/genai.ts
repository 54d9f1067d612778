/**
 * Any agent that reports itself over OTLP by OpenTelemetry's GenAI semantic conventions: spans for
 * model requests and tool calls, log events for prompts. Two events of our own, for what the
 * conventions have no word for: `telltale.approval` and `telltale.policy.decision`; their
 * attributes have the names of the fields.
 */
import type { Draft } from '#schemas';
import { jsonIn } from '../json.ts';
import type { Adapter, Mapped, Prepared, Setup } from './adapter.ts';
import { attrsOf, definitionAttrs } from './calls.ts';
import { isObject, type Loose, logTimeNs, pick, reported, textOf, uintOf } from './draft.ts';
import type { Attributes, LogRecord, Span, Value } from './otlp/shape.ts';

const SOURCE = 'otlp';
const STATUS_ERROR = 2;

function durationNs(span: Span): number | undefined {
  if (span.startNs === undefined || span.endNs === undefined) return undefined;
  const ns = BigInt(span.endNs) - BigInt(span.startNs);
  return ns < 0n ? undefined : Number(ns);
}

function envelopeOf(record: LogRecord | Span, ts: string | undefined): Loose {
  const { attributes: a, traceId, spanId } = record;
  return {
    ts,
    conversation_id: textOf(a['gen_ai.conversation.id']) ?? textOf(a['session.id']),
    turn_id: textOf(a['telltale.turn.id']),
    tool_call_id: textOf(a['gen_ai.tool.call.id']),
    trace_id: traceId,
    span_id: spanId,
  };
}

/** Whose doing it is, where several agents work in one program. */
function agentAttrs(a: Attributes): Loose {
  const parent = textOf(a['telltale.parent_tool_call_id']);
  return {
    ...pick(a, ['gen_ai.agent.id', 'gen_ai.agent.name']),
    ...(parent === undefined ? {} : { parent_tool_call_id: parent }),
  };
}

const asText = (value: Value | undefined): string | undefined =>
  value === undefined || value === null || typeof value === 'string'
    ? textOf(value)
    : JSON.stringify(value);

const firstOf = (value: Value | undefined): string | undefined =>
  Array.isArray(value) ? asText(value[0]) : asText(value);

/** Structured content came as JSON text, or as a value already. */
const structured = (value: Value | undefined): unknown => jsonIn(value) ?? value;

function partText(part: unknown): string {
  if (!isObject(part)) return '';
  return part.type === undefined || part.type === 'text' ? (textOf(part.content) ?? '') : '';
}

/** What the messages say: their text parts, one a line; tool calls have events of their own. */
function messageText(value: Value | undefined): string | undefined {
  const messages = structured(value);
  if (!Array.isArray(messages)) return textOf(messages);
  const texts = messages.map((message) => {
    if (!isObject(message)) return textOf(message) ?? '';
    const { content, parts } = message;
    return Array.isArray(parts) ? parts.map(partText).join('') : (textOf(content) ?? '');
  });
  return textOf(texts.filter((text) => text !== '').join('\n'));
}

function modelTurn(span: Span): readonly Draft[] {
  const { attributes: a } = span;
  const failed = span.statusCode === STATUS_ERROR;
  return [
    reported('model.turn', SOURCE, {
      ...envelopeOf(span, span.endNs ?? span.startNs),
      phase: 'request',
      model: textOf(a['gen_ai.response.model']) ?? textOf(a['gen_ai.request.model']),
      provider: textOf(a['gen_ai.provider.name']) ?? textOf(a['gen_ai.system']),
      response_id: textOf(a['gen_ai.response.id']),
      finish_reason: firstOf(a['gen_ai.response.finish_reasons']),
      input_tokens: uintOf(a['gen_ai.usage.input_tokens']),
      output_tokens: uintOf(a['gen_ai.usage.output_tokens']),
      cached_tokens: uintOf(a['gen_ai.usage.cache_read.input_tokens']),
      reasoning_tokens: uintOf(a['gen_ai.usage.reasoning.output_tokens']),
      text: messageText(a['gen_ai.output.messages']),
      duration_ns: durationNs(span),
      outcome: failed ? 'failure' : 'success',
      error: failed ? (span.statusMessage ?? textOf(a['error.type'])) : undefined,
      attrs: attrsOf(agentAttrs(a)),
    }),
  ];
}

/** The command of a shell tool, by the names that such tools give to that argument. */
function commandOf(args: Value | undefined): string | undefined {
  const parsed = structured(args);
  if (!isObject(parsed)) return undefined;
  return textOf(parsed.command) ?? textOf(parsed.cmd);
}

function toolOutcome(span: Span, exitCode: Value | undefined): string {
  if (span.attributes['telltale.outcome'] === 'denied') return 'denied';
  if (span.statusCode === STATUS_ERROR)
    return span.statusMessage?.startsWith('denied') ? 'denied' : 'failure';
  return exitCode === undefined || Number(exitCode) === 0 ? 'success' : 'failure';
}

function toolCall(span: Span): readonly Draft[] {
  const { attributes: a } = span;
  const ts = span.endNs ?? span.startNs;
  const tool = textOf(a['gen_ai.tool.name']);
  const exitCode = a['process.exit.code'];
  const failed = span.statusCode === STATUS_ERROR;
  return [
    reported('tool.call', SOURCE, {
      ...envelopeOf(span, span.startNs ?? ts),
      tool,
      arguments: asText(a['gen_ai.tool.call.arguments']),
      command: textOf(a['telltale.command']) ?? commandOf(a['gen_ai.tool.call.arguments']),
      mcp_server: textOf(a['telltale.mcp_server']),
      attrs: attrsOf(
        pick(a, ['gen_ai.tool.type']),
        definitionAttrs(a['gen_ai.tool.description']),
        agentAttrs(a),
      ),
    }),
    reported('tool.result', SOURCE, {
      ...envelopeOf(span, ts),
      tool,
      outcome: toolOutcome(span, exitCode),
      exit_code: exitCode,
      duration_ns: durationNs(span),
      output: asText(a['gen_ai.tool.call.result']),
      error: failed ? (span.statusMessage ?? textOf(a['error.type'])) : undefined,
      attrs: attrsOf(agentAttrs(a)),
    }),
  ];
}

const OPERATIONS: ReadonlyMap<string, (span: Span) => readonly Draft[]> = new Map([
  ['chat', modelTurn],
  ['text_completion', modelTurn],
  ['generate_content', modelTurn],
  ['execute_tool', toolCall],
]);

function contentOf(record: LogRecord): string | undefined {
  const { attributes: a, body } = record;
  if (textOf(a.content) !== undefined) return textOf(a.content);
  const content = isObject(body) ? (body as Loose).content : body;
  return messageText(a['gen_ai.input.messages']) ?? messageText(content as Value);
}

function prompt(record: LogRecord): Draft {
  const text = contentOf(record);
  return reported('prompt', SOURCE, {
    ...envelopeOf(record, logTimeNs(record)),
    prompt: text,
    prompt_bytes: text === undefined ? undefined : Buffer.byteLength(text),
  });
}

function approvalFields({ attributes: a }: LogRecord | Span): Loose {
  return {
    ...named(a, ['decision', 'decided_by', 'scope', 'tool', 'command', 'justification', 'reason']),
    ...named(a, ['policy', 'policy_version', 'shown_sha256']),
    tool: textOf(a.tool) ?? textOf(a['gen_ai.tool.name']),
  };
}

function approval(record: LogRecord): Draft {
  const envelope = envelopeOf(record, logTimeNs(record));
  return reported('approval', SOURCE, { ...envelope, ...approvalFields(record) });
}

/** Question and answer as one span: it lasts from one to the other. */
function approvalSpan(span: Span): readonly Draft[] {
  const { attributes: a } = span;
  const shown = textOf(a['telltale.shown']);
  return [
    reported('approval', SOURCE, {
      ...envelopeOf(span, span.endNs ?? span.startNs),
      ...approvalFields(span),
      decision: textOf(a.decision) ?? 'asked',
      duration_ns: a.decision === undefined ? undefined : durationNs(span),
      attrs: attrsOf(agentAttrs(a), shown === undefined ? {} : { shown }),
    }),
  ];
}

function promptSpan(span: Span): readonly Draft[] {
  const { attributes: a } = span;
  const text = textOf(a['telltale.prompt']);
  return [
    reported('prompt', SOURCE, {
      ...envelopeOf(span, span.startNs),
      prompt: text,
      prompt_bytes: text === undefined ? undefined : Buffer.byteLength(text),
      attrs: attrsOf(agentAttrs(a)),
    }),
  ];
}

/** What the SDK tells that the conventions have no operation for. */
const SPANS: ReadonlyMap<string, (span: Span) => readonly Draft[]> = new Map([
  ['telltale.prompt', promptSpan],
  ['telltale.approval', approvalSpan],
]);

function policyDecision(record: LogRecord): Draft {
  const { attributes: a } = record;
  return reported('policy.decision', SOURCE, {
    ...envelopeOf(record, logTimeNs(record)),
    ...named(a, ['decision', 'policy_type', 'decided_by', 'rule', 'scope', 'reason', 'command']),
    ...named(a, ['policy', 'policy_version']),
    net_host: textOf(a['server.address']),
    net_port: uintOf(a['server.port']),
    http_method: textOf(a['http.request.method']),
    url: textOf(a['url.full']),
    file_path: textOf(a['file.path']),
  });
}

function named(a: Attributes, names: readonly string[]): Loose {
  return Object.fromEntries(names.map((name) => [name, a[name]]));
}

const EVENTS: ReadonlyMap<string, (record: LogRecord) => Draft> = new Map([
  ['gen_ai.user.message', prompt],
  ['telltale.approval', approval],
  ['telltale.policy.decision', policyDecision],
]);
/** Events of the conventions that repeat what a span says, or say nothing that is recorded. */
const NOISE: ReadonlySet<string> = new Set([
  'gen_ai.client.inference.operation.details',
  'gen_ai.evaluation.result',
  'gen_ai.system.message',
  'gen_ai.assistant.message',
  'gen_ai.tool.message',
  'gen_ai.choice',
]);

function mapLog(record: LogRecord): Mapped {
  const name = textOf(record.attributes['event.name']) ?? record.eventName ?? '';
  if (NOISE.has(name)) return [];
  const event = EVENTS.get(name);
  if (event === undefined || logTimeNs(record) === undefined) return undefined;
  return [event(record)];
}

function mapSpan(span: Span): Mapped {
  const operation =
    SPANS.get(span.name) ?? OPERATIONS.get(textOf(span.attributes['gen_ai.operation.name']) ?? '');
  if (span.endNs === undefined && span.startNs === undefined) return undefined;
  return operation === undefined ? [] : operation(span);
}

/** A signal's own variable would win over the common one. */
const SIGNAL_ENDPOINTS = ['LOGS', 'TRACES', 'METRICS'].map(
  (signal) => `OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`,
);

/** The environment that OpenTelemetry's own libraries read; it is inherited, so wrappers work. */
function prepare(command: Prepared['command'], { url }: Setup): Prepared {
  const env: Record<string, string> = {
    ...command.env,
    OTEL_EXPORTER_OTLP_ENDPOINT: url,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
  };
  for (const name of SIGNAL_ENDPOINTS) delete env[name];
  return { command: { ...command, env } };
}

export const genai: Adapter = {
  name: 'genai',
  commands: [],
  joinKeys: ['TRACEPARENT', 'TELLTALE_TOOL_CALL_ID'],
  toolCallKey: 'TELLTALE_TOOL_CALL_ID',
  prepare,
  mapper: () => ({ log: mapLog, span: mapSpan }),
};
