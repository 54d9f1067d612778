/**
 * Claude Code's session file ("transcript"), a JSON line each; sub-agents have files of their own.
 *
 *     user       a prompt, or tool results: { message.content[], toolUseResult, promptId }
 *     assistant  one block of an answer:    { message { id, model, usage, content[1] }, requestId }
 *     system, summary, attachment, …        nothing that is recorded here
 *
 * It has what telemetry lacks: whole output, exit codes (as text), changed files, thinking, refusals.
 * A resumed session goes on in its old file: lines from before this run only refresh what is
 * remembered.
 */
import type { Draft } from '#schemas';
import { readJson } from '../../json.ts';
import type { Mapped } from '../adapter.ts';
import { attrsOf, callOf, type Subagent, subagentAttrs } from '../calls.ts';
import { isObject, isoNs, jsonText, type Loose, reported, textOf, uintOf } from '../draft.ts';
import { begin, type ClaudeState, readFailure, refuse, refusedBy, subagentOf } from './state.ts';

export const SOURCE = 'transcript';

interface Seen {
  readonly record: Loose;
  readonly message: Loose;
  readonly envelope: Loose;
  readonly subagent: Subagent | undefined;
  readonly state: ClaudeState;
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** The text of a content: text itself, or the text parts of a list. */
function contentText(content: unknown): string {
  if (typeof content === 'string') return content;
  return listOf(content)
    .map((part) => (isObject(part) && part.type === 'text' ? (textOf(part.text) ?? '') : ''))
    .filter((text) => text !== '')
    .join('\n');
}

/** What a tool printed: both streams of a shell command, else nothing that is better than its text. */
export function outputOf(response: unknown): string | undefined {
  if (!isObject(response)) return textOf(response);
  const { stdout, stderr } = response;
  if (typeof stdout !== 'string') return undefined;
  return [stdout, textOf(stderr) ?? ''].filter((text) => text !== '').join('\n');
}

/** The file that a tool says it changed. */
export function changesOf(response: unknown): readonly string[] | undefined {
  if (!isObject(response) || !Array.isArray(response.structuredPatch)) return undefined;
  const file = textOf(response.filePath) ?? textOf(response.notebook_path);
  if (file === undefined) return undefined;
  return [`${response.type === 'create' ? 'add' : 'update'} ${file}`];
}

function prompt({ message, envelope, subagent }: Seen, record: Loose): readonly Draft[] {
  const text = contentText(message.content);
  // What the agent wrote to itself (a command's output, a reminder) was not asked by anybody.
  if (text === '' || record.isMeta === true || record.isCompactSummary === true) return [];
  return [
    reported('prompt', SOURCE, {
      ...envelope,
      prompt: text,
      prompt_bytes: Buffer.byteLength(text),
      attrs: attrsOf(subagentAttrs(subagent)),
    }),
  ];
}

/** An error that is not a refusal, though the call has not run. */
const NOT_RUN = '<tool_use_error>';

function toolResult(block: Loose, seen: Seen): readonly Draft[] {
  const { record, envelope, state } = seen;
  const id = textOf(block.tool_use_id);
  if (id === undefined) return [];
  const call = callOf(state.calls, id);
  const response = record.toolUseResult;
  if (isObject(response) && textOf(response.agentId) !== undefined)
    subagentOf(state, response.agentId, { type: response.agentType, parentCallId: id });
  const text = contentText(block.content);
  const failed = block.is_error === true;
  const { exitCode, rest } = failed ? readFailure(call.tool, text) : { rest: text };
  // A hook told of its beginning and of no end: it was stopped in between.
  const stopped = call.begun === true && !text.startsWith(NOT_RUN);
  const by =
    failed && exitCode === undefined && call.ran !== true
      ? (refusedBy(text) ?? (stopped || call.denied === true ? 'unknown' : undefined))
      : undefined;
  const mine = { ...envelope, turn_id: envelope.turn_id ?? call.turn };
  if (by !== undefined) refuse(state, id, SOURCE, mine, { decided_by: by, reason: text });
  const output = failed
    ? exitCode === undefined
      ? undefined
      : rest
    : (outputOf(response) ?? text);
  const interrupted = isObject(response) && response.interrupted === true;
  const outcome = by !== undefined ? 'denied' : failed ? 'failure' : 'success';
  return [
    reported('tool.result', SOURCE, {
      ...mine,
      tool_call_id: id,
      tool: call.tool,
      outcome: interrupted ? 'cancelled' : outcome,
      exit_code: exitCode,
      output,
      output_bytes: output === undefined ? undefined : Buffer.byteLength(output),
      error: failed && exitCode === undefined ? text : undefined,
      changes: failed ? undefined : changesOf(response),
      attrs: attrsOf(subagentAttrs(seen.subagent ?? call.subagent)),
    }),
  ];
}

function user(seen: Seen): readonly Draft[] {
  const results = listOf(seen.message.content).filter(
    (block): block is Loose => isObject(block) && block.type === 'tool_result',
  );
  return results.length === 0
    ? prompt(seen, seen.record)
    : results.flatMap((block) => toolResult(block, seen));
}

/** The tokens of a response, once: every block of it is a line that repeats them. */
function usageOf({ record, message, envelope, subagent, state }: Seen): readonly Draft[] {
  const id = textOf(message.id);
  const usage = isObject(message.usage) ? message.usage : undefined;
  if (id === undefined || usage === undefined || state.counted.has(id)) return [];
  state.counted.set(id, true);
  return [
    reported('model.turn', SOURCE, {
      ...envelope,
      phase: 'request',
      model: textOf(message.model),
      provider: 'anthropic',
      response_id: textOf(record.requestId),
      finish_reason: textOf(message.stop_reason),
      input_tokens: uintOf(usage.input_tokens),
      output_tokens: uintOf(usage.output_tokens),
      cached_tokens: uintOf(usage.cache_read_input_tokens),
      outcome: 'success',
      attrs: attrsOf({ message_id: id }, subagentAttrs(subagent)),
    }),
  ];
}

function blockOf(block: unknown, seen: Seen): readonly Draft[] {
  const { record, message, envelope, subagent, state } = seen;
  if (!isObject(block)) return [];
  if (block.type === 'tool_use') {
    const id = textOf(block.id);
    if (id === undefined) return [];
    const turn = textOf(envelope.turn_id);
    const ask = begin(state, id, block.name, block.input, { turn, subagent });
    return [
      reported('tool.call', SOURCE, {
        ...envelope,
        tool_call_id: id,
        ...ask,
        cwd: textOf(record.cwd),
        attrs: attrsOf(subagentAttrs(subagent)),
      }),
    ];
  }
  const text = block.type === 'thinking' ? textOf(block.thinking) : textOf(block.text);
  if (text === undefined) return [];
  return [
    reported('model.turn', SOURCE, {
      ...envelope,
      phase: block.type === 'thinking' ? 'reasoning' : 'message',
      model: textOf(message.model),
      response_id: textOf(record.requestId),
      text,
      attrs: attrsOf(subagentAttrs(subagent)),
    }),
  ];
}

function assistant(seen: Seen): readonly Draft[] {
  const { record, message, envelope } = seen;
  if (record.isApiErrorMessage === true)
    return [
      reported('model.turn', SOURCE, {
        ...envelope,
        outcome: 'failure',
        error: contentText(message.content) || jsonText(record.error) || 'the request failed',
      }),
    ];
  return [...usageOf(seen), ...listOf(message.content).flatMap((block) => blockOf(block, seen))];
}

/** A request that failed and is tried again. */
function apiError(record: Loose, envelope: Loose): readonly Draft[] {
  const error = isObject(record.error) ? record.error : {};
  return [
    reported('model.turn', SOURCE, {
      ...envelope,
      phase: 'request',
      outcome: 'failure',
      http_status: uintOf(error.status),
      attempt: uintOf(record.retryAttempt),
      error: textOf(error.message) ?? jsonText(record.error) ?? 'the request failed',
    }),
  ];
}

/** Known, and of no interest. */
const NOISE: ReadonlySet<unknown> = new Set([
  'ai-title',
  'attachment',
  'custom-title',
  'file-history-snapshot',
  'last-prompt',
  'mode',
  'permission-mode',
  'pr-link',
  'progress',
  'queue-operation',
  'summary',
  'system',
  'tag',
]);

/** The fields of a line that say whose file it is; undefined where it says nothing. */
export function readTranscriptLine(
  line: string,
): { readonly cwd?: string; readonly ns?: string } | undefined {
  const record: unknown = readJson(line);
  if (!isObject(record) || textOf(record.sessionId) === undefined) return undefined;
  const cwd = textOf(record.cwd);
  const ns = isoNs(record.timestamp);
  return { ...(cwd === undefined ? {} : { cwd }), ...(ns === undefined ? {} : { ns }) };
}

interface FileState {
  turn?: string;
  subagent?: Subagent;
}

function subagentFile(record: Loose, at: FileState, state: ClaudeState): Subagent | undefined {
  const id = textOf(record.agentId);
  if (id === undefined || record.isSidechain !== true) return undefined;
  if (at.subagent?.id === id) return at.subagent;
  const message = isObject(record.message) ? record.message : {};
  const parentCallId = state.spawning.get(contentText(message.content));
  const subagent = subagentOf(state, id, { parentCallId, type: record.attributionAgent });
  if (subagent !== undefined) at.subagent = subagent;
  return subagent;
}

/** Maps the lines of the session files of one run, which began at `startNs`. */
export function createTranscriptMapper(
  state: ClaudeState,
  startNs: bigint,
): (line: string, file: string) => Mapped {
  const files = new Map<string, FileState>();
  return (line, file) => {
    const record: unknown = readJson(line);
    if (!isObject(record)) return undefined;
    const { type } = record;
    const ts = isoNs(record.timestamp);
    const session = textOf(record.sessionId);
    const mode = textOf(record.permissionMode);
    if (session !== undefined && mode !== undefined) state.policy.set(session, mode);
    const at = files.get(file) ?? {};
    files.set(file, at);
    at.turn = textOf(record.promptId) ?? at.turn ?? '';
    const envelope = { ts, conversation_id: session, turn_id: textOf(at.turn) };
    if (type === 'system' && record.subtype === 'api_error' && ts !== undefined)
      return BigInt(ts) >= startNs ? apiError(record, envelope) : [];
    if (type !== 'user' && type !== 'assistant') return NOISE.has(type) ? [] : undefined;
    if (ts === undefined || !isObject(record.message)) return undefined;
    const subagent = subagentFile(record, at, state);
    const seen: Seen = { record, message: record.message, envelope, subagent, state };
    const drafts = type === 'user' ? user(seen) : assistant(seen);
    return BigInt(ts) >= startNs ? drafts : [];
  };
}
