/**
 * Gemini CLI's session file ("chat"), JSON lines that are events: a header, `{"$set": …}` patches,
 * and messages; a message comes again, under its id, when its calls have ended.
 *
 *     { id, timestamp, type: "user", content: [{ text } | { functionResponse }] }
 *     { id, timestamp, type: "gemini", content, thoughts[], tokens, model, toolCalls[] }
 *
 * A running call is not in it; a failing command's status is "success" there.
 */
import type { Draft } from '#schemas';
import { readJson } from '../../json.ts';
import type { Mapped } from '../adapter.ts';
import { attrsOf, type Subagent, subagentAttrs } from '../calls.ts';
import { isObject, isoNs, jsonText, type Loose, reported, textOf, uintOf } from '../draft.ts';
import { type GeminiState, once, remember } from './state.ts';

export const SOURCE = 'chat';

interface Seen {
  readonly message: Loose;
  readonly envelope: Loose;
  readonly subagent: Subagent | undefined;
  readonly state: GeminiState;
}

const listOf = (value: unknown): readonly Loose[] =>
  Array.isArray(value) ? value.filter(isObject) : [];

/** What the program tells the model of its surroundings before the first prompt. */
const CONTEXT = '<session_context>';

const textParts = (content: unknown): string =>
  typeof content === 'string'
    ? content
    : listOf(content)
        .map((part) => textOf(part.text) ?? '')
        .filter((text) => text !== '')
        .join('\n');

function user({ message, envelope, subagent, state }: Seen): readonly Draft[] {
  const text = textParts(message.content);
  if (text === '' || text.startsWith(CONTEXT) || !once(state, String(message.id))) return [];
  return [
    reported('prompt', SOURCE, {
      ...envelope,
      prompt: text,
      prompt_bytes: Buffer.byteLength(text),
      attrs: attrsOf(subagentAttrs(subagent)),
    }),
  ];
}

/**
 * What Gemini CLI writes below a shell command's output. A command may print such lines itself, so
 * this is its claim; the line is only there where the code is not 0.
 */
const EXIT =
  /\nExit Code: (\d{1,3})(?:\nSignal: [^\n]*)?(?:\nBackground PIDs: [^\n]*)?(?:\nProcess Group PGID: \d+)?(?:\n<\/untrusted_context>)?$/;

const DENIED = 'denied by policy';

function outputText(result: unknown): string | undefined {
  const [first] = listOf(result);
  const response = isObject(first?.functionResponse) ? first.functionResponse.response : undefined;
  if (!isObject(response)) return undefined;
  return textOf(response.output) ?? textOf(response.error);
}

/** Files that an edit shows as a difference. */
function changesOf(display: unknown): readonly string[] | undefined {
  if (!isObject(display) || textOf(display.fileDiff) === undefined) return undefined;
  const file = textOf(display.filePath) ?? textOf(display.fileName);
  if (file === undefined) return undefined;
  return [`${display.isNewFile === true ? 'add' : 'update'} ${file}`];
}

/** The states of a call that has ended. */
const ENDED: ReadonlySet<unknown> = new Set(['success', 'error', 'cancelled']);

function toolCall(one: Loose, { envelope, subagent, state }: Seen): readonly Draft[] {
  const id = textOf(one.id);
  if (id === undefined || !ENDED.has(one.status)) return [];
  const asked = remember(state, id, one.name, one.args, subagent);
  if (!once(state, `result ${id}`)) return [];
  const shell = one.name === 'run_shell_command';
  const text = outputText(one.result);
  const match = shell && text !== undefined ? EXIT.exec(text) : null;
  const exitCode = match === null ? undefined : Number(match[1]);
  const denied = one.status === 'error' && text?.includes(DENIED) === true;

  const failed = one.status === 'error' || (exitCode !== undefined && exitCode !== 0);
  const output = textOf(one.resultDisplay) ?? (failed && exitCode === undefined ? undefined : text);
  const shared = {
    ...envelope,
    tool_call_id: id,
    attrs: attrsOf(subagentAttrs(subagent)),
  };
  const outcome = denied ? 'denied' : failed ? 'failure' : 'success';
  return [
    reported('tool.call', SOURCE, { ...shared, ...asked }),
    reported('tool.result', SOURCE, {
      ...shared,
      ts: isoNs(one.timestamp) ?? envelope.ts,
      tool: asked.tool,
      outcome: one.status === 'cancelled' ? 'cancelled' : outcome,
      exit_code: exitCode,
      output,
      output_bytes: output === undefined ? undefined : Buffer.byteLength(output),
      error: one.status === 'error' ? (text ?? jsonText(one.resultDisplay)) : undefined,
      changes: failed ? undefined : changesOf(one.resultDisplay),
    }),
  ];
}

function answer(seen: Seen): readonly Draft[] {
  const { message, envelope, subagent, state } = seen;
  const calls = listOf(message.toolCalls).flatMap((one) => toolCall(one, seen));
  if (!once(state, String(message.id))) return calls;
  const tokens = isObject(message.tokens) ? message.tokens : {};
  const shared = {
    ...envelope,
    model: textOf(message.model),
    attrs: attrsOf(subagentAttrs(subagent)),
  };
  const thoughts = listOf(message.thoughts)
    .map(
      ({ subject, description }) => `**${textOf(subject) ?? ''}**\n\n${textOf(description) ?? ''}`,
    )
    .join('\n');
  const text = textParts(message.content);
  const part = (phase: string, said: string): readonly Draft[] =>
    said === '' ? [] : [reported('model.turn', SOURCE, { ...shared, phase, text: said })];
  return [
    reported('model.turn', SOURCE, {
      ...shared,
      phase: 'request',
      provider: 'gcp.gemini',
      input_tokens: uintOf(tokens.input),
      output_tokens: uintOf(tokens.output),
      cached_tokens: uintOf(tokens.cached),
      reasoning_tokens: uintOf(tokens.thoughts),
      outcome: 'success',
    }),
    ...part('reasoning', thoughts),
    ...part('message', text),
    ...calls,
  ];
}

function failed({ message, envelope, state }: Seen): readonly Draft[] {
  if (!once(state, String(message.id))) return [];
  const error = textParts(message.content) || 'the turn ended by an error';
  return [reported('model.turn', SOURCE, { ...envelope, outcome: 'failure', error })];
}

const nothing = (): readonly Draft[] => [];

const TYPES: ReadonlyMap<unknown, (seen: Seen) => readonly Draft[]> = new Map([
  ['user', user],
  ['gemini', answer],
  ['error', failed],
  ['info', nothing],
  ['warning', nothing],
]);

/** The fields of a file's first line that say whose it is; undefined where it is none. */
export function readChatHeader(
  line: string,
): { readonly id: string; readonly startNs?: string } | undefined {
  const record: unknown = readJson(line);
  const id = isObject(record) ? textOf(record.sessionId) : undefined;
  if (!isObject(record) || id === undefined || record.projectHash === undefined) return undefined;
  const startNs = isoNs(record.startTime);
  return { id, ...(startNs === undefined ? {} : { startNs }) };
}

/** Maps the lines of the session files of one run, which began at `startNs`. */
export function createChatMapper(
  state: GeminiState,
  startNs: bigint,
): (line: string, file: string) => Mapped {
  const headers = new Map<string, { session: string; subagent?: Subagent }>();
  return (line, file) => {
    const record: unknown = readJson(line);
    if (!isObject(record)) return undefined;
    const session = textOf(record.sessionId);
    if (session !== undefined) {
      const child = record.kind === 'subagent';
      headers.set(file, { session, ...(child ? { subagent: { id: session } } : {}) });
      return [];
    }
    const handler = TYPES.get(record.type);
    const ts = isoNs(record.timestamp);
    if (handler === undefined || ts === undefined)
      return '$set' in record || '$rewindTo' in record ? [] : undefined;
    const at = headers.get(file);
    const envelope = { ts, conversation_id: at?.session };
    const drafts = handler({ message: record, envelope, subagent: at?.subagent, state });
    return BigInt(ts) >= startNs ? drafts : [];
  };
}
