/**
 * What Codex gives to its hooks, where a user has one post it here. It adds the turn of a call as
 * it begins; it knows neither exit code nor decision, and calls every shell tool "Bash".
 */
import type { Draft } from '#schemas';
import type { Mapped } from '../adapter.ts';
import { approvalOf } from '../calls.ts';
import { isObject, jsonText, type Loose, promptOf, reported, textOf } from '../draft.ts';
import { type CodexState, rememberCall } from './state.ts';

const SOURCE = 'hook';

type Handler = (payload: Loose, envelope: Loose, state: CodexState) => readonly Draft[];

function commandOf(payload: Loose): string | undefined {
  const input = isObject(payload.tool_input) ? payload.tool_input : {};
  return payload.tool_name === 'Bash' ? textOf(input.command) : undefined;
}

/** `Bash` is the hook's word for `exec_command`; the tool's own name comes from other channels. */
const toolOf = (payload: Loose): string | undefined =>
  payload.tool_name === 'Bash' ? undefined : textOf(payload.tool_name);

function preToolUse(p: Loose, envelope: Loose, state: CodexState): readonly Draft[] {
  const id = textOf(p.tool_use_id);
  const turn = textOf(p.turn_id);
  const command = commandOf(p);
  if (id !== undefined && turn !== undefined) state.turnOfCall.set(id, turn);
  if (id !== undefined && command !== undefined && !state.call.has(id))
    rememberCall(state, id, undefined, JSON.stringify({ cmd: command }));
  const attrs = { hook_tool: textOf(p.tool_name) ?? '' };
  return [
    reported('tool.call', SOURCE, {
      ...envelope,
      tool_call_id: id,
      tool: toolOf(p),
      command,
      cwd: textOf(p.cwd),
      attrs,
    }),
  ];
}

function postToolUse(p: Loose, envelope: Loose): readonly Draft[] {
  const response = p.tool_response;
  const output = typeof response === 'string' ? response : response && JSON.stringify(response);
  return [
    reported('tool.result', SOURCE, {
      ...envelope,
      tool_call_id: textOf(p.tool_use_id),
      tool: toolOf(p),
      outcome: 'unknown',
      output,
    }),
  ];
}

/**
 * A question was asked. The hook is not told for which call: it is the last one with this command
 * that nobody decided on, and its decision then tells question and answer as one.
 */
function permissionRequest(p: Loose, envelope: Loose, state: CodexState): readonly Draft[] {
  const command = commandOf(p);
  const shown = command ?? jsonText(p.tool_input);
  const asked = { askedNs: String(envelope.ts), ...(shown === undefined ? {} : { shown }) };
  const [id] =
    [...state.call].findLast(
      ([one, call]) => command !== undefined && call.command === command && !state.decided.has(one),
    ) ?? [];
  if (id !== undefined && shown !== undefined) {
    state.asked.set(id, { askedNs: asked.askedNs, shown });
    return [];
  }
  return [
    approvalOf(SOURCE, command === undefined ? asked : { ...asked, command }, envelope, {
      decision: 'asked',
      tool: textOf(p.tool_name),
      policy: textOf(p.permission_mode),
    }),
  ];
}

/** Questions that were never answered: the run ended before. */
export function openQuestions(state: CodexState): readonly Draft[] {
  return [...state.asked].flatMap(([id, asked]) => {
    if (state.decided.has(id)) return [];
    const { command } = state.call.get(id) ?? {};
    const call = command === undefined ? asked : { ...asked, command };
    const envelope = { ts: asked.askedNs, tool_call_id: id, turn_id: state.turnOfCall.get(id) };
    return [approvalOf(SOURCE, call, envelope, { decision: 'asked' })];
  });
}

function userPrompt(p: Loose, envelope: Loose): readonly Draft[] {
  return [promptOf(SOURCE, envelope, textOf(p.prompt))];
}

function stop(p: Loose, envelope: Loose): readonly Draft[] {
  const text = textOf(p.last_assistant_message);
  if (text === undefined) return [];
  const model = textOf(p.model);
  return [reported('model.turn', SOURCE, { ...envelope, phase: 'final_answer', model, text })];
}

const HANDLERS: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ['UserPromptSubmit', userPrompt],
  ['PreToolUse', preToolUse],
  ['PostToolUse', postToolUse],
  ['PermissionRequest', permissionRequest],
  ['Stop', stop],
  ['SessionStart', () => []],
]);

/** The drafts of one hook payload; undefined where its event is not known. */
export function mapCodexHook(payload: unknown, receivedNs: string, state: CodexState): Mapped {
  if (!isObject(payload)) return undefined;
  const handler = HANDLERS.get(String(payload.hook_event_name));
  if (handler === undefined) return undefined;
  const envelope = {
    ts: receivedNs,
    conversation_id: textOf(payload.session_id),
    turn_id: textOf(payload.turn_id),
  };
  return handler(payload, envelope, state);
}
