/**
 * What Claude Code gives to its hooks. They are asked before a call and told after it, so they know
 * what is being run at the very moment, and a call that has a before but no after was refused.
 */
import type { Draft } from '#schemas';
import type { Mapped } from '../adapter.ts';
import { approvalOf, attrsOf, type Call, callOf, subagentAttrs } from '../calls.ts';
import { isObject, jsonText, type Loose, msAsNs, promptOf, reported, textOf } from '../draft.ts';
import { asked, begin, type ClaudeState, readFailure, subagentOf, toolName } from './state.ts';
import { changesOf, outputOf } from './transcript.ts';

const SOURCE = 'hook';

interface Seen {
  readonly p: Loose;
  readonly envelope: Loose & { readonly ts: string };
  readonly callId: string | undefined;
  readonly call: Call;
  readonly state: ClaudeState;
}
type Handler = (seen: Seen) => readonly Draft[];

function preToolUse({ p, envelope, callId, call, state }: Seen): readonly Draft[] {
  const subagent = subagentOf(state, p.agent_id, { type: p.agent_type });
  const turn = textOf(p.prompt_id);
  const ask =
    callId === undefined
      ? asked(p.tool_name, p.tool_input)
      : begin(state, callId, p.tool_name, p.tool_input, { turn, subagent });
  call.begun = true;
  return [
    reported('tool.call', SOURCE, {
      ...envelope,
      ...ask,
      cwd: textOf(p.cwd),
      attrs: attrsOf(subagentAttrs(subagent)),
    }),
  ];
}

function result(seen: Seen, fields: Loose): readonly Draft[] {
  const { p, envelope, call, state } = seen;
  call.ran = true;
  state.refusals.delete(seen.callId ?? '');
  const subagent = subagentOf(state, p.agent_id, { type: p.agent_type }) ?? call.subagent;
  return [
    reported('tool.result', SOURCE, {
      ...envelope,
      tool: toolName(p.tool_name).tool,
      duration_ns: msAsNs(p.duration_ms),
      attrs: attrsOf(subagentAttrs(subagent)),
      ...fields,
    }),
  ];
}

function postToolUse(seen: Seen): readonly Draft[] {
  const response = seen.p.tool_response;
  const output = outputOf(response) ?? jsonText(response);
  return result(seen, {
    outcome: isObject(response) && response.interrupted === true ? 'cancelled' : 'success',
    output,
    output_bytes: output === undefined ? undefined : Buffer.byteLength(output),
    changes: changesOf(response),
  });
}

function postToolUseFailure(seen: Seen): readonly Draft[] {
  const text = textOf(seen.p.error) ?? '';
  const { exitCode, rest } = readFailure(textOf(seen.p.tool_name), text);
  return result(seen, {
    outcome: seen.p.is_interrupt === true ? 'cancelled' : 'failure',
    exit_code: exitCode,
    output: exitCode === undefined ? undefined : rest,
    error: exitCode === undefined ? text : undefined,
  });
}

/** Asks for approval. It does not say of which call: it is the last one that asks for the same. */
function permissionRequest({ p, envelope, state }: Seen): readonly Draft[] {
  const { tool, arguments: args, command } = asked(p.tool_name, p.tool_input);
  const shown = command ?? args;
  const same = [...state.calls.values()].findLast(
    (call) => call.tool === tool && call.arguments === args && !call.decided && !call.ran,
  );
  if (same !== undefined && shown !== undefined) {
    Object.assign(same, { askedNs: envelope.ts, shown });
    return [];
  }
  const call = { ...(tool === undefined ? {} : { tool }), ...(command ? { command } : {}) };
  return [
    approvalOf(SOURCE, { ...call, ...(shown === undefined ? {} : { shown }) }, envelope, {
      decision: 'asked',
      policy: textOf(p.permission_mode),
    }),
  ];
}

/** The automatic mode's own reviewer refused. */
function permissionDenied({ p, envelope, callId, call, state }: Seen): readonly Draft[] {
  if (call.decided) return [];
  call.decided = true;
  state.refusals.delete(callId ?? '');
  return [
    approvalOf(SOURCE, call, envelope, {
      decision: 'denied',
      decided_by: 'reviewer',
      reason: textOf(p.reason),
      policy: textOf(p.permission_mode),
    }),
  ];
}

function userPrompt({ p, envelope }: Seen): readonly Draft[] {
  return [promptOf(SOURCE, envelope, textOf(p.prompt))];
}

function subagentStart({ p, state }: Seen): readonly Draft[] {
  subagentOf(state, p.agent_id, { type: p.agent_type });
  return [];
}

function stopFailure({ p, envelope }: Seen): readonly Draft[] {
  const error = jsonText(p.error) ?? textOf(p.error_details) ?? 'the turn ended by an error';
  return [reported('model.turn', SOURCE, { ...envelope, outcome: 'failure', error })];
}

const HANDLERS: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ['UserPromptSubmit', userPrompt],
  ['PreToolUse', preToolUse],
  ['PostToolUse', postToolUse],
  ['PostToolUseFailure', postToolUseFailure],
  ['PermissionRequest', permissionRequest],
  ['PermissionDenied', permissionDenied],
  ['SubagentStart', subagentStart],
  ['SubagentStop', subagentStart],
  ['StopFailure', stopFailure],
]);

/** The hooks that are installed for a run: those that are understood. */
export const HOOK_EVENTS: readonly string[] = [...HANDLERS.keys()];

/** Hooks that a user may have post here; they add nothing. */
const NOISE: ReadonlySet<string> = new Set([
  'SessionStart',
  'SessionEnd',
  'Stop',
  'TaskCreated',
  'TaskCompleted',
  'Notification',
  'PreCompact',
  'PostCompact',
]);

/** The drafts of one hook payload; undefined where its event is not known. */
export function mapClaudeHook(payload: unknown, receivedNs: string, state: ClaudeState): Mapped {
  if (!isObject(payload)) return undefined;
  const name = String(payload.hook_event_name);
  const handler = HANDLERS.get(name);
  if (handler === undefined) return NOISE.has(name) ? [] : undefined;
  const callId = textOf(payload.tool_use_id);
  const session = textOf(payload.session_id);
  const mode = textOf(payload.permission_mode);
  if (session !== undefined && mode !== undefined) state.policy.set(session, mode);
  const envelope = {
    ts: receivedNs,
    conversation_id: session,
    turn_id: textOf(payload.prompt_id),
    tool_call_id: callId,
  };
  const call = callId === undefined ? {} : callOf(state.calls, callId);
  return handler({ p: payload, envelope, callId, call, state });
}
