/**
 * opencode's messages are made of parts, which it tells again with each change of one: text and
 * reasoning as they grow, a tool as it is pending, running, completed or failed.
 */
import type { Draft } from '#schemas';
import { approvalOf, attrsOf, callOf, subagentAttrs } from '../calls.ts';
import {
  epochMsNs,
  isObject,
  jsonText,
  type Loose,
  pick,
  reported,
  textOf,
  uintOf,
} from '../draft.ts';
import { type OpencodeState, once, toolName, turnOf } from './state.ts';

export const SOURCE = 'plugin';

export interface Part {
  readonly part: Loose;
  readonly envelope: Loose;
  readonly session: string;
  readonly message: string;
  readonly state: OpencodeState;
}

const timesOf = (part: Loose) => (isObject(part.time) ? part.time : {});

function text({ part, envelope, message, session, state }: Part): readonly Draft[] {
  const { role, model, provider } = state.messages.get(message) ?? {};
  const body = textOf(part.text);
  if (body === undefined || part.synthetic === true || part.ignored === true) return [];
  const attrs = attrsOf(subagentAttrs(state.subagents.get(session)));
  if (role === 'user') {
    if (!once(state, String(part.id))) return [];
    const bytes = Buffer.byteLength(body);
    return [reported('prompt', SOURCE, { ...envelope, prompt: body, prompt_bytes: bytes, attrs })];
  }
  const { end } = timesOf(part);
  if (end === undefined || !once(state, String(part.id))) return [];
  return [
    reported('model.turn', SOURCE, {
      ...envelope,
      ts: epochMsNs(end) ?? envelope.ts,
      phase: part.type === 'reasoning' ? 'reasoning' : 'message',
      model,
      provider,
      text: body,
      attrs,
    }),
  ];
}

function stepFinish({ part, envelope, message, session, state }: Part): readonly Draft[] {
  if (!once(state, String(part.id))) return [];
  const { model, provider } = state.messages.get(message) ?? {};
  const tokens = isObject(part.tokens) ? part.tokens : {};
  const cache = isObject(tokens.cache) ? tokens.cache : {};
  return [
    reported('model.turn', SOURCE, {
      ...envelope,
      phase: 'request',
      model,
      provider,
      finish_reason: textOf(part.reason),
      input_tokens: uintOf(tokens.input),
      output_tokens: uintOf(tokens.output),
      cached_tokens: uintOf(cache.read),
      reasoning_tokens: uintOf(tokens.reasoning),
      outcome: 'success',
      attrs: attrsOf(pick(part, ['cost', 'snapshot']), subagentAttrs(state.subagents.get(session))),
    }),
  ];
}

interface Tool {
  readonly tool?: string;
  readonly mcp_server?: string;
  readonly arguments?: string;
  readonly command?: string;
}

/** What a call asks for. A tool that does not exist is told as `invalid`, with the name inside. */
function askedOf(state: OpencodeState, name: unknown, input: unknown): Tool {
  const given = isObject(input) ? input : {};
  const unknown = name === 'invalid' ? textOf(given.tool) : undefined;
  const args = unknown === undefined ? jsonText(input) : undefined;
  const command = name === 'bash' ? textOf(given.command) : undefined;
  return {
    ...(unknown === undefined ? toolName(state, name) : { tool: unknown }),
    ...(args === undefined ? {} : { arguments: args }),
    ...(command === undefined ? {} : { command }),
  };
}

/** A call as it begins; told once. */
export function begin(
  state: OpencodeState,
  id: string,
  name: unknown,
  input: unknown,
  envelope: Loose,
  session: string,
): readonly Draft[] {
  const asked = askedOf(state, name, input);
  const subagent = state.subagents.get(session);
  const turn = textOf(envelope.turn_id);
  const { tool, command, arguments: args } = asked;
  const known = { tool, command, arguments: args, turn, subagent };
  const given = Object.entries(known).filter(([, value]) => value !== undefined);
  callOf(state.calls, id, Object.fromEntries(given));
  if (!once(state, `call ${id}`)) return [];
  return [
    reported('tool.call', SOURCE, {
      ...envelope,
      ...asked,
      tool_call_id: id,
      attrs: attrsOf(subagentAttrs(subagent)),
    }),
  ];
}

const RULE = 'The user has specified a rule which prevents you';
const REJECTED = 'The user rejected permission to use';
const ABORTED = 'Tool execution aborted';

function changesOf(tool: unknown, input: unknown, metadata: Loose): readonly string[] | undefined {
  if (tool !== 'write' && tool !== 'edit') return undefined;
  const file = textOf(metadata.filepath) ?? (isObject(input) ? textOf(input.filePath) : undefined);
  if (file === undefined) return undefined;
  return [`${metadata.exists === false ? 'add' : 'update'} ${file}`];
}

/** How a call ended. `completed` only says that the tool came back: its exit code may be any. */
function ended(part: Loose, run: Loose, { envelope, session, state }: Part): readonly Draft[] {
  const id = String(part.callID);
  if (!once(state, `result ${id}`)) return [];
  const call = callOf(state.calls, id);
  const metadata = isObject(run.metadata) ? run.metadata : {};
  const exitCode = typeof metadata.exit === 'number' ? metadata.exit : undefined;
  const error = textOf(run.error);
  const denied = error?.startsWith(RULE) === true || error?.startsWith(REJECTED) === true;
  const invalid = part.tool === 'invalid';
  const failed = error !== undefined || invalid || (exitCode !== undefined && exitCode !== 0);
  const ending = denied ? 'denied' : failed ? 'failure' : 'success';
  const { start, end } = timesOf(run);
  const [from, until] = [uintOf(start), uintOf(end)];
  const output = textOf(metadata.output) ?? textOf(run.output);
  const mine = { ...envelope, ts: epochMsNs(end) ?? envelope.ts, tool_call_id: id };
  const out: Draft[] = [];
  if (error?.startsWith(RULE) === true && !call.decided) {
    call.decided = true;
    const fields = { decision: 'denied', decided_by: 'config', reason: error };
    out.push(approvalOf(SOURCE, call, mine, fields));
  }
  out.push(
    reported('tool.result', SOURCE, {
      ...mine,
      tool: call.tool,
      outcome: error?.startsWith(ABORTED) === true ? 'cancelled' : ending,
      exit_code: exitCode,
      duration_ns:
        from === undefined || until === undefined ? undefined : (until - from) * 1_000_000,
      output: invalid ? undefined : output,
      truncated: metadata.truncated === true ? true : undefined,
      error: error ?? (invalid ? output : undefined),
      changes: failed ? undefined : changesOf(part.tool, run.input, metadata),
      attrs: attrsOf(subagentAttrs(state.subagents.get(session))),
    }),
  );
  return out;
}

function tool(seen: Part): readonly Draft[] {
  const { part, envelope, session, state } = seen;
  const id = textOf(part.callID);
  const run = isObject(part.state) ? part.state : {};
  // Pending: the model is still writing the arguments.
  if (id === undefined || run.status === 'pending') return [];
  const metadata = isObject(run.metadata) ? run.metadata : {};
  const child = textOf(metadata.sessionId);
  if (child !== undefined) {
    const known = state.subagents.get(child) ?? { id: child };
    const type = isObject(run.input) ? textOf(run.input.subagent_type) : undefined;
    known.parentCallId = id;
    if (type !== undefined) known.type = type;
    state.subagents.set(child, known);
  }
  const began = { ...envelope, ts: epochMsNs(timesOf(run).start) ?? envelope.ts };
  const call = begin(state, id, part.tool, run.input, began, session);
  const over = run.status === 'completed' || run.status === 'error';
  return over ? [...call, ...ended(part, run, seen)] : call;
}

const PARTS: ReadonlyMap<unknown, (seen: Part) => readonly Draft[]> = new Map([
  ['text', text],
  ['reasoning', text],
  ['step-finish', stepFinish],
  ['tool', tool],
]);

/** The drafts of one change of a part, at `ns`. */
export function mapPart(
  part: Loose,
  ns: string | undefined,
  state: OpencodeState,
): readonly Draft[] {
  const session = textOf(part.sessionID) ?? '';
  const message = textOf(part.messageID) ?? '';
  const envelope = {
    ts: ns,
    conversation_id: textOf(part.sessionID),
    turn_id: turnOf(state, session, message),
  };
  return PARTS.get(part.type)?.({ part, envelope, session, message, state }) ?? [];
}
