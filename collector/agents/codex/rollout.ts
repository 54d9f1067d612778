/**
 * Codex's session file ("rollout"), a JSON line each:
 *
 *     { timestamp, ordinal, type, payload }
 *
 * It has what telemetry lacks: exit codes as numbers, whole outputs, changed files, reasoning, and
 * which trace a turn is. It does not have approvals, and no item for a command that the sandbox
 * refused. A resumed session goes on in its old file: lines from before this run only refresh what
 * is remembered.
 */
import { fileURLToPath } from 'node:url';
import type { Draft } from '#schemas';
import { readJson } from '../../json.ts';
import type { Mapped } from '../adapter.ts';
import { policyVersion } from '../calls.ts';
import { isObject, isoNs, type Loose, reported, textOf, uintOf } from '../draft.ts';
import { beginTurn, type CodexState, refusal, rememberCall, turnAt } from './state.ts';
import { commandOfArgv, isRefusal, outputText, readToolText } from './text.ts';

const SOURCE = 'rollout';

interface Seen {
  readonly p: Loose;
  readonly envelope: Loose;
  readonly conversation: string | undefined;
  readonly turn: string | undefined;
  readonly state: CodexState;
}
type Handler = (seen: Seen) => readonly Draft[];

function taskStarted({ p, state, conversation, envelope }: Seen): readonly Draft[] {
  const turn = textOf(p.turn_id);
  const trace = textOf(p.trace_id);
  if (turn !== undefined && trace !== undefined) state.turnOfTrace.set(trace, turn);
  if (turn !== undefined && conversation !== undefined)
    beginTurn(state, conversation, turn, String(envelope.ts));
  return [];
}

function turnContext({ p, state, conversation }: Seen): readonly Draft[] {
  if (conversation === undefined) return [];
  const model = textOf(p.model);
  if (model !== undefined) state.model.set(conversation, model);
  const sandbox = isObject(p.sandbox_policy) ? p.sandbox_policy.type : undefined;
  if (textOf(sandbox) !== undefined)
    state.policy.set(conversation, `approval ${p.approval_policy}, sandbox ${sandbox}`);
  const { approval_policy, sandbox_policy, permission_profile } = p;
  if (sandbox_policy !== undefined || permission_profile !== undefined)
    state.policyVersion.set(
      conversation,
      policyVersion({ approval_policy, sandbox_policy, permission_profile }),
    );
  return [];
}

function functionCall({ p, envelope, state, turn }: Seen): readonly Draft[] {
  const id = textOf(p.call_id);
  if (id === undefined) return [];
  const tool = textOf(p.name) ?? textOf(p.type);
  const given = p.arguments ?? p.input ?? p.action;
  const args = typeof given === 'string' || given === undefined ? given : JSON.stringify(given);
  const call = rememberCall(state, id, tool, args);
  if (turn !== undefined) state.turnOfCall.set(id, turn);
  return [
    reported('tool.call', SOURCE, {
      ...envelope,
      tool_call_id: id,
      tool,
      tool_namespace: textOf(p.namespace),
      arguments: args,
      command: call.command,
      cwd: call.cwd,
    }),
  ];
}

/** Failures without an exit code, by how Codex words them; a tool's own output has a header. */
const FAILURES: readonly string[] = ['unsupported call: ', 'exec_command failed', 'failed to '];

function functionOutput({ p, envelope, state }: Seen): readonly Draft[] {
  const callId = textOf(p.call_id);
  if (callId === undefined) return [];
  const text = outputText(p.output);
  const { exitCode, output, running } = readToolText(text);
  const refused = exitCode === undefined && isRefusal(text);
  const failed =
    exitCode === undefined ? FAILURES.some((prefix) => text.startsWith(prefix)) : exitCode !== 0;
  const known = exitCode !== undefined && !running;
  const outcome = refused ? 'denied' : failed ? 'failure' : known ? 'success' : 'unknown';
  return [
    ...(refused ? refusal(state, { source: SOURCE, callId, reason: text, envelope }) : []),
    reported('tool.result', SOURCE, {
      ...envelope,
      tool_call_id: callId,
      outcome,
      exit_code: exitCode,
      output,
      error: refused || (failed && exitCode === undefined) ? text : undefined,
    }),
  ];
}

function tokens({ p, envelope, state, conversation }: Seen): readonly Draft[] {
  const usage = isObject(p.usage) ? p.usage : {};
  return [
    reported('model.turn', SOURCE, {
      ...envelope,
      phase: 'request',
      model: state.model.get(conversation ?? ''),
      response_id: textOf(p.response_id),
      input_tokens: uintOf(usage.input_tokens),
      output_tokens: uintOf(usage.output_tokens),
      cached_tokens: uintOf(usage.cached_input_tokens),
      reasoning_tokens: uintOf(usage.reasoning_output_tokens),
      outcome: 'success',
    }),
  ];
}

const partsOf = (content: unknown): string =>
  (Array.isArray(content) ? content : [])
    .map((part) => (isObject(part) ? (textOf(part.text) ?? '') : (textOf(part) ?? '')))
    .join('\n');

function pathOf(url: unknown): string | undefined {
  const text = textOf(url);
  if (!text?.startsWith('file:')) return text;
  try {
    return fileURLToPath(text);
  } catch {
    return text;
  }
}

function commandExecution(item: Loose, { envelope, turn, state }: Seen): readonly Draft[] {
  const id = textOf(item.id);
  if (id !== undefined && turn !== undefined) state.turnOfCall.set(id, turn);
  // −1 stands for a process that Codex did not let end by itself; that is no exit code.
  const exitCode = uintOf(item.exit_code);
  const done = item.status === 'completed' && (exitCode === undefined || exitCode === 0);
  const output = textOf(item.aggregated_output);
  return [
    reported('tool.call', SOURCE, {
      ...envelope,
      tool_call_id: id,
      command: commandOfArgv(item.command),
      cwd: pathOf(item.cwd),
    }),
    reported('tool.result', SOURCE, {
      ...envelope,
      tool_call_id: id,
      outcome: done ? 'success' : 'failure',
      exit_code: exitCode,
      output,
      output_bytes: output === undefined ? undefined : Buffer.byteLength(output),
    }),
  ];
}

function fileChange(item: Loose, { envelope }: Seen): readonly Draft[] {
  const entries = isObject(item.changes) ? Object.entries(item.changes) : [];
  const changes = entries.flatMap(([file, change]) => {
    if (!isObject(change)) return [];
    const moved = textOf(change.move_path);
    const one = `${textOf(change.type) ?? 'update'} ${file}`;
    return moved === undefined ? [one] : [one, `add ${moved}`];
  });
  const completed = item.status === 'completed';
  return [
    reported('tool.result', SOURCE, {
      ...envelope,
      tool_call_id: textOf(item.id),
      outcome: completed ? 'success' : 'failure',
      changes: completed ? changes : undefined,
      output: textOf(item.stdout),
      error: completed ? undefined : textOf(item.stderr),
    }),
  ];
}

function mcpToolCall(item: Loose, { envelope }: Seen): readonly Draft[] {
  const args = item.arguments === undefined ? undefined : JSON.stringify(item.arguments);
  const failed = item.status === 'failed' || isObject(item.error);
  const shared = { ...envelope, tool_call_id: textOf(item.id), tool: textOf(item.tool) };
  return [
    reported('tool.call', SOURCE, {
      ...shared,
      mcp_server: textOf(item.server),
      arguments: args,
    }),
    reported('tool.result', SOURCE, {
      ...shared,
      outcome: failed ? 'failure' : 'success',
      output: item.result === undefined ? undefined : JSON.stringify(item.result),
      error: isObject(item.error) ? textOf(item.error.message) : undefined,
    }),
  ];
}

const said =
  (phase: string, text: (item: Loose) => string) =>
  (item: Loose, { envelope, state, conversation }: Seen): readonly Draft[] => [
    reported('model.turn', SOURCE, {
      ...envelope,
      phase: item.phase === 'final_answer' ? 'final_answer' : phase,
      model: state.model.get(conversation ?? ''),
      text: text(item),
    }),
  ];

function userMessage(item: Loose, { envelope }: Seen): readonly Draft[] {
  const prompt = partsOf(item.content);
  return [
    reported('prompt', SOURCE, { ...envelope, prompt, prompt_bytes: Buffer.byteLength(prompt) }),
  ];
}

const ITEMS: ReadonlyMap<string, (item: Loose, seen: Seen) => readonly Draft[]> = new Map([
  ['CommandExecution', commandExecution],
  ['FileChange', fileChange],
  ['McpToolCall', mcpToolCall],
  ['AgentMessage', said('message', (item) => partsOf(item.content))],
  ['Reasoning', said('reasoning', (item) => partsOf(item.summary_text))],
  ['UserMessage', userMessage],
]);

function itemCompleted(seen: Seen): readonly Draft[] {
  const item = isObject(seen.p.item) ? seen.p.item : {};
  return ITEMS.get(String(item.type))?.(item, seen) ?? [];
}

const ended =
  (outcome: string): Handler =>
  ({ p, envelope }) => [
    reported('model.turn', SOURCE, {
      ...envelope,
      outcome,
      error: textOf(p.message) ?? textOf(p.reason) ?? textOf(p.type),
    }),
  ];

/** By `type`, or `type/payload.type` where the payload has one. */
const HANDLERS: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ['turn_context', turnContext],
  ['token_usage_record', tokens],
  ['event_msg/task_started', taskStarted],
  ['event_msg/item_completed', itemCompleted],
  ['event_msg/turn_aborted', ended('cancelled')],
  ['event_msg/error', ended('failure')],
  ['event_msg/stream_error', ended('failure')],
  ['response_item/function_call', functionCall],
  ['response_item/custom_tool_call', functionCall],
  ['response_item/local_shell_call', functionCall],
  ['response_item/tool_search_call', functionCall],
  ['response_item/function_call_output', functionOutput],
  ['response_item/custom_tool_call_output', functionOutput],
]);
/** Known, and told better by another line or of no interest. */
const NOISE: ReadonlySet<string> = new Set([
  'session_meta',
  'world_state',
  'event_msg/task_complete',
  'event_msg/token_count',
  'event_msg/thread_settings_applied',
  'response_item/message',
  'response_item/reasoning',
  'response_item/tool_search_output',
  'compacted',
]);

/** The fields of a file's first line that say whose it is; undefined where it is none. */
export function readSessionMeta(
  line: string,
): { id?: string; cwd?: string; startNs?: string } | undefined {
  const record: unknown = readJson(line);
  if (!isObject(record) || record.type !== 'session_meta' || !isObject(record.payload))
    return undefined;
  const { id, cwd, timestamp } = record.payload;
  const out = { id: textOf(id), cwd: textOf(cwd), startNs: isoNs(timestamp) };
  return Object.fromEntries(Object.entries(out).filter(([, value]) => value !== undefined));
}

/** A thread that another one started names it; what for, its source tells. */
function sessionMeta(id: string, p: Loose, state: CodexState): void {
  const parentId = textOf(p.parent_thread_id);
  if (parentId === undefined) return;
  const source = isObject(p.source) ? p.source.subagent : undefined;
  const named = isObject(source) ? Object.values(source).find((one) => textOf(one)) : source;
  const type = textOf(named) ?? textOf(p.thread_source);
  state.subagents.set(id, { parentId, ...(type === undefined ? {} : { type }) });
}

/** Maps the lines of the session files of one run, which began at `startNs`. */
export function createRolloutMapper(
  state: CodexState,
  startNs: bigint,
): (line: string, file: string) => Mapped {
  const conversationOf = new Map<string, string>();
  return (line, file) => {
    const record: unknown = readJson(line);
    if (!isObject(record) || !isObject(record.payload)) return undefined;
    const { payload: p, type } = record;
    if (type === 'session_meta' && textOf(p.id) !== undefined) {
      conversationOf.set(file, String(p.id));
      sessionMeta(String(p.id), p, state);
    }
    const key = textOf(p.type) === undefined ? String(type) : `${type}/${p.type}`;
    const handler = HANDLERS.get(key);
    const ts = isoNs(record.timestamp);
    if (handler === undefined || ts === undefined) return NOISE.has(key) ? [] : undefined;
    const conversation = conversationOf.get(file);
    const meta = p.internal_chat_message_metadata_passthrough;
    const turn =
      textOf(p.turn_id) ??
      (isObject(meta) ? textOf(meta.turn_id) : undefined) ??
      turnAt(state, conversation ?? '', ts);
    const envelope = { ts, conversation_id: conversation, turn_id: turn };
    const drafts = handler({ p, envelope, conversation, turn, state });
    return BigInt(ts) >= startNs ? drafts : [];
  };
}
