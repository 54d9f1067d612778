/**
 * opencode, as it tells its plugins (see plugin.ts). All that is known of a call is in one place
 * there: arguments, exit code, output, question and answer, sub-agents.
 */
import type { Draft } from '#schemas';
import { readJson } from '../../json.ts';
import type { Mapped } from '../adapter.ts';
import { approvalOf, attrsOf, callOf, subagentAttrs } from '../calls.ts';
import { epochMsNs, isObject, jsonText, type Loose, reported, textOf, uintOf } from '../draft.ts';
import { begin, mapPart, SOURCE } from './parts.ts';
import { type OpencodeState, once, turnOf } from './state.ts';

type Handler = (p: Loose, ns: string, state: OpencodeState) => readonly Draft[];

function sessionCreated(p: Loose, _ns: string, state: OpencodeState): readonly Draft[] {
  const info = isObject(p.info) ? p.info : {};
  const id = textOf(info.id);
  if (id === undefined || textOf(info.parentID) === undefined) return [];
  const known = state.subagents.get(id) ?? { id };
  const type = textOf(info.agent);
  if (type !== undefined && known.type === undefined) known.type = type;
  state.subagents.set(id, known);
  return [];
}

/** The words of an error as opencode wraps it: `{ name, data: { message, statusCode } }`. */
function failureOf(error: unknown): { readonly error: string; readonly http_status?: number } {
  const outer = isObject(error) ? error : {};
  const data = isObject(outer.data) ? outer.data : {};
  const status = uintOf(data.statusCode);
  const words = textOf(data.message) ?? textOf(outer.message) ?? textOf(outer.name);
  return {
    error: words ?? jsonText(error) ?? 'the request failed',
    ...(status === undefined ? {} : { http_status: status }),
  };
}

function messageUpdated(p: Loose, ns: string, state: OpencodeState): readonly Draft[] {
  const info = isObject(p.info) ? p.info : {};
  const id = textOf(info.id);
  if (id === undefined) return [];
  const chosen = isObject(info.model) ? info.model : {};
  const role = textOf(info.role);
  const turn = role === 'user' ? id : textOf(info.parentID);
  const model = textOf(info.modelID) ?? textOf(chosen.modelID);
  const provider = textOf(info.providerID) ?? textOf(chosen.providerID);
  const known = { role, turn, model, provider };
  const given = Object.entries(known).filter(([, value]) => value !== undefined);
  state.messages.set(id, { ...state.messages.get(id), ...Object.fromEntries(given) });
  const owner = textOf(info.sessionID);
  if (owner !== undefined && turn !== undefined) state.lastTurn.set(owner, turn);
  if (info.error === undefined || info.error === null || !once(state, `error ${id}`)) return [];
  const session = textOf(info.sessionID) ?? '';
  const aborted = isObject(info.error) && info.error.name === 'MessageAbortedError';
  return [
    reported('model.turn', SOURCE, {
      ts: ns,
      conversation_id: session,
      turn_id: turnOf(state, session, id),
      phase: 'request',
      model,
      provider,
      outcome: aborted ? 'cancelled' : 'failure',
      ...failureOf(info.error),
      attrs: attrsOf(subagentAttrs(state.subagents.get(session))),
    }),
  ];
}

function partUpdated(p: Loose, ns: string, state: OpencodeState): readonly Draft[] {
  return isObject(p.part) ? mapPart(p.part, epochMsNs(p.time) ?? ns, state) : [];
}

function permissionAsked(p: Loose, ns: string, state: OpencodeState): readonly Draft[] {
  const id = textOf(p.id);
  if (id === undefined) return [];
  const metadata = isObject(p.metadata) ? p.metadata : {};
  const callId = isObject(p.tool) ? textOf(p.tool.callID) : undefined;
  const { permission, patterns } = p;
  const shown =
    textOf(metadata.command) ??
    textOf(metadata.diff) ??
    JSON.stringify({ permission, patterns, metadata });
  const name = textOf(permission);
  state.questions.set(id, {
    askedNs: ns,
    shown,
    ...(callId === undefined ? {} : { callId }),
    ...(name === undefined ? {} : { permission: name }),
  });
  return [];
}

const REPLIES: ReadonlyMap<unknown, readonly [decision: string, scope: string]> = new Map([
  ['once', ['approved', 'once']],
  ['always', ['approved', 'always']],
  ['reject', ['denied', 'once']],
]);

/** One record for question and answer. An answer does not say who gave it. */
function permissionReplied(p: Loose, ns: string, state: OpencodeState): readonly Draft[] {
  const id = textOf(p.requestID) ?? textOf(p.permissionID) ?? '';
  const asked = state.questions.get(id);
  state.questions.delete(id);
  const { callId } = asked ?? {};
  const call = callId === undefined ? {} : callOf(state.calls, callId, { decided: true });
  const [decision = 'asked', scope] = REPLIES.get(p.reply ?? p.response) ?? [];
  const session = textOf(p.sessionID);
  const envelope = {
    ts: ns,
    conversation_id: session,
    turn_id: call.turn,
    tool_call_id: callId,
  };
  const question = asked === undefined ? {} : { askedNs: asked.askedNs, shown: asked.shown };
  return [
    approvalOf(SOURCE, { ...call, ...question }, envelope, {
      decision,
      scope,
      decided_by: state.headless ? 'config' : 'user',
      justification: textOf(p.message),
      attrs: asked?.permission === undefined ? undefined : { permission: asked.permission },
    }),
  ];
}

/** Questions that were never answered: the run ended before. */
export function openQuestions(state: OpencodeState): readonly Draft[] {
  return [...state.questions.values()].map(({ callId, askedNs, shown }) => {
    const call = callId === undefined ? {} : callOf(state.calls, callId);
    const envelope = { ts: askedNs, turn_id: call.turn, tool_call_id: callId };
    return approvalOf(SOURCE, { ...call, shown }, envelope, { decision: 'asked' });
  });
}

function sessionError(p: Loose, ns: string, _state: OpencodeState): readonly Draft[] {
  const failure = failureOf(p.error);
  const outcome = 'failure';
  return [
    reported('model.turn', SOURCE, {
      ts: ns,
      conversation_id: textOf(p.sessionID),
      outcome,
      ...failure,
    }),
  ];
}

function sessionStatus(p: Loose, ns: string): readonly Draft[] {
  const status = isObject(p.status) ? p.status : {};
  if (status.type !== 'retry') return [];
  return [
    reported('model.turn', SOURCE, {
      ts: ns,
      conversation_id: textOf(p.sessionID),
      phase: 'request',
      outcome: 'failure',
      attempt: uintOf(status.attempt),
      error: textOf(status.message) ?? 'the request failed and is tried again',
    }),
  ];
}

const HANDLERS: ReadonlyMap<unknown, Handler> = new Map<unknown, Handler>([
  ['session.created', sessionCreated],
  ['session.error', sessionError],
  ['session.status', sessionStatus],
  ['message.updated', messageUpdated],
  ['message.part.updated', partUpdated],
  ['permission.asked', permissionAsked],
  ['permission.replied', permissionReplied],
]);

/** The drafts of one event of opencode's bus, at `ns`; undefined where it is not known. */
export function mapEvent(event: unknown, ns: string, state: OpencodeState): Mapped {
  if (!isObject(event)) return undefined;
  const handler = HANDLERS.get(event.type);
  return handler?.(isObject(event.properties) ? event.properties : {}, ns, state);
}

function before(p: Loose, ns: string, state: OpencodeState): readonly Draft[] {
  const id = textOf(p.callID);
  const session = textOf(p.sessionID) ?? '';
  if (id === undefined) return [];
  const turn_id = state.calls.get(id)?.turn ?? turnOf(state, session);
  const envelope = { ts: ns, conversation_id: textOf(p.sessionID), turn_id };
  return begin(state, id, p.tool, p.args, envelope, session);
}

/** Maps the lines that the plugin wrote. */
export function createLineMapper(state: OpencodeState): (line: string) => Mapped {
  return (line) => {
    const record: unknown = readJson(line);
    const ns = isObject(record) ? epochMsNs(record.at) : undefined;
    if (!isObject(record) || ns === undefined) return undefined;
    if (isObject(record.event)) return mapEvent(record.event, ns, state);
    if (isObject(record.before)) return before(record.before, ns, state);
    if (Array.isArray(record.mcp)) {
      for (const name of record.mcp) if (typeof name === 'string') state.servers.add(name);
      return [];
    }
    if (!Array.isArray(record.argv)) return undefined;
    state.headless = record.argv.includes('run');
    return [];
  };
}
