/**
 * `telltale/sdk`: for agents that Telltale does not know. What an agent is asked, calls and is
 * allowed becomes OpenTelemetry spans by the GenAI conventions, over whatever tracer provider the
 * agent has; under `telltale run` its exporter finds the recorder by itself.
 *
 *     await recordTurn({ prompt, conversationId }, async () => {
 *       await recordApproval({ tool: 'shell', command }, async () => ({ decision: 'approved', decidedBy: 'user' }));
 *       await recordToolCall({ tool: 'shell', arguments: { command } }, async (call) => {
 *         const { status } = spawnSync('sh', ['-c', command], { env: childEnv(process.env) });
 *         call.exitCode(status);
 *       });
 *     });
 *
 * It needs nothing but `@opentelemetry/api`; without a provider all of it does nothing but run the
 * work that it is given. It needs a context manager, as every Node SDK of OpenTelemetry sets up.
 */

import { createHash, randomUUID } from 'node:crypto';
import {
  type Attributes,
  type Context,
  context,
  createContextKey,
  type Span,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';

/** The variable that tells a program which tool call it is a part of. */
export const CALL_KEY = 'TELLTALE_TOOL_CALL_ID';

interface Place {
  readonly conversationId?: string;
  readonly turnId?: string;
  readonly agent?: AgentIdentity;
  readonly toolCallId?: string;
}

/** Who does it, where several agents work in one program. */
export interface AgentIdentity {
  readonly id: string;
  readonly name?: string;
}

const PLACE = createContextKey('telltale.place');
const placeOf = (at: Context): Place => (at.getValue(PLACE) as Place | undefined) ?? {};
const tracer = () => trace.getTracer('telltale');

/** Attributes without those that are not known. */
function known(attributes: Readonly<Record<string, string | number | undefined>>): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined));
}

const shared = ({ conversationId, turnId, agent }: Place) => ({
  'gen_ai.conversation.id': conversationId,
  'gen_ai.agent.id': agent?.id,
  'gen_ai.agent.name': agent?.name,
  'telltale.turn.id': turnId,
});

const asText = (value: unknown): string | undefined =>
  value === undefined || typeof value === 'string' ? value : JSON.stringify(value);

/** Runs `work` inside a span; a failure of the work is the span's, and goes on. */
async function within<T>(span: Span, at: Context, work: () => Promise<T> | T): Promise<T> {
  try {
    return await context.with(trace.setSpan(at, span), work);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    span.setStatus({ code: SpanStatusCode.ERROR, message });
    span.setAttribute('error.type', error instanceof Error ? error.name : 'unknown');
    throw error;
  } finally {
    span.end();
  }
}

export interface TurnInput {
  readonly prompt: string;
  readonly conversationId?: string;
  /** Given where the agent has an id of its own for it. */
  readonly turnId?: string;
  /** Names a sub-agent; a turn inside a tool call is that call's doing. */
  readonly agent?: AgentIdentity;
}

/**
 * A turn: one prompt and all that follows from it. The prompt is told at once, so that it is known
 * also where the turn never ends.
 */
export function recordTurn<T>(input: TurnInput, work: () => Promise<T> | T): Promise<T> {
  const parent = placeOf(context.active());
  const { conversationId = parent.conversationId, agent = parent.agent } = input;
  // What a sub-agent does belongs to the turn of the call that started it.
  const turnId = input.turnId ?? (parent.toolCallId === undefined ? undefined : parent.turnId);
  const place: Place = {
    turnId: turnId ?? randomUUID(),
    ...(conversationId === undefined ? {} : { conversationId }),
    ...(agent === undefined ? {} : { agent }),
  };
  const about = { ...shared(place), 'telltale.parent_tool_call_id': parent.toolCallId };
  const at = context.active().setValue(PLACE, place);
  const name = agent?.name === undefined ? 'invoke_agent' : `invoke_agent ${agent.name}`;
  const attributes = known({ ...about, 'gen_ai.operation.name': 'invoke_agent' });
  const span = tracer().startSpan(name, { attributes }, at);
  const inside = trace.setSpan(at, span);
  const prompt = known({ ...about, 'telltale.prompt': input.prompt });
  tracer().startSpan('telltale.prompt', { attributes: prompt }, inside).end();
  return within(span, at, work);
}

export interface ToolCallInput {
  readonly tool: string;
  /** The model's id of the call, where it has one. */
  readonly id?: string;
  /** An object, or its JSON. */
  readonly arguments?: unknown;
  /** The shell command that the call asks for, where its arguments do not say. */
  readonly command?: string;
  readonly mcpServer?: string;
}

/** A running tool call: what is known only when it has ended. */
export interface RunningCall {
  readonly id: string;
  /** The exit code of its command; null, as after a signal, is not one. */
  exitCode(code: number | null): void;
  /** What it gave back; the work's own result where this is not called. */
  output(value: unknown): void;
  /** It was refused, and not run. */
  denied(reason: string): void;
}

/** A tool call. Programs that `work` starts with `childEnv` are tied to it. */
export function recordToolCall<T>(
  input: ToolCallInput,
  work: (call: RunningCall) => Promise<T> | T,
): Promise<T> {
  const id = input.id ?? randomUUID();
  const parent = placeOf(context.active());
  const at = context.active().setValue(PLACE, { ...parent, toolCallId: id });
  const attributes = known({
    ...shared(parent),
    'gen_ai.operation.name': 'execute_tool',
    'gen_ai.tool.name': input.tool,
    'gen_ai.tool.call.id': id,
    'gen_ai.tool.call.arguments': asText(input.arguments),
    'telltale.command': input.command,
    'telltale.mcp_server': input.mcpServer,
  });
  const span = tracer().startSpan(`execute_tool ${input.tool}`, { attributes }, at);
  let told = false;
  const output = (value: unknown) => {
    told = true;
    const text = asText(value);
    if (text !== undefined) span.setAttribute('gen_ai.tool.call.result', text);
  };
  const call: RunningCall = {
    id,
    exitCode: (code) => {
      if (code !== null) span.setAttribute('process.exit.code', code);
    },
    output,
    denied: (reason) => {
      span.setAttribute('telltale.outcome', 'denied');
      span.setStatus({ code: SpanStatusCode.ERROR, message: reason });
    },
  };
  return within(span, at, async () => {
    const result = await work(call);
    if (!told && typeof result === 'string') output(result);
    return result;
  });
}

export interface ApprovalInput {
  readonly tool: string;
  /** The call that is asked about; the running one where it is not given. */
  readonly toolCallId?: string;
  readonly command?: string;
  /** Exactly what is shown to whoever decides; the command where it is not given. */
  readonly shown?: string;
  readonly justification?: string;
  readonly policy?: string;
  readonly policyVersion?: string;
}

export interface Decision {
  readonly decision: 'approved' | 'denied' | 'cancelled';
  readonly decidedBy: 'user' | 'config' | 'hook' | 'reviewer' | 'policy';
  readonly scope?: string;
  readonly reason?: string;
}

/** A question for approval and its answer, as one record; how long it took is part of it. */
export function recordApproval<D extends Decision>(
  input: ApprovalInput,
  ask: () => Promise<D> | D,
): Promise<D> {
  const place = placeOf(context.active());
  const shown = input.shown ?? input.command;
  const attributes = known({
    ...shared(place),
    'gen_ai.tool.name': input.tool,
    'gen_ai.tool.call.id': input.toolCallId ?? place.toolCallId,
    command: input.command,
    justification: input.justification,
    policy: input.policy,
    policy_version: input.policyVersion,
    'telltale.shown': shown === input.command ? undefined : shown,
    shown_sha256:
      shown === undefined ? undefined : createHash('sha256').update(shown).digest('hex'),
  });
  const span = tracer().startSpan('telltale.approval', { attributes }, context.active());
  return within(span, context.active(), async () => {
    const answer = await ask();
    const { decision, decidedBy, scope, reason } = answer;
    span.setAttributes(known({ decision, decided_by: decidedBy, scope, reason }));
    return answer;
  });
}

/**
 * The environment for a program that is started now: `base` with what ties it to the running span
 * (W3C Trace Context, as `TRACEPARENT`) and to the running tool call.
 */
export function childEnv(
  base: Readonly<Record<string, string | undefined>> = {},
): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(base)) if (value !== undefined) env[name] = value;
  const { toolCallId } = placeOf(context.active());
  const active = trace.getSpanContext(context.active());
  if (toolCallId !== undefined) env[CALL_KEY] = toolCallId;
  if (active !== undefined) {
    const flags = active.traceFlags.toString(16).padStart(2, '0');
    env.TRACEPARENT = `00-${active.traceId}-${active.spanId}-${flags}`;
  }
  return env;
}
