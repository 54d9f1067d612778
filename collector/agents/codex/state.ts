/**
 * What one recording of Codex remembers between its channels. OTLP logs carry no turn; the session
 * file ties a turn to the trace that those logs have, and to the calls made in it.
 */
import type { Draft } from '#schemas';
import { boundedMap, reported } from '../draft.ts';
import { type CallText, readArguments } from './text.ts';

const ENTRIES_MAX = 20_000;
const TURNS_MAX = 1000;

export interface CodexState {
  readonly turnOfTrace: Map<string, string>;
  readonly turnOfCall: Map<string, string>;
  /** The turns of a conversation with their begin, in order, by the session file. */
  readonly turns: Map<string, { readonly ns: string; readonly id: string }[]>;
  /** Approval and sandbox policy in force, by conversation, in words. */
  readonly policy: Map<string, string>;
  /** A digest of that policy in full, by conversation. */
  readonly policyVersion: Map<string, string>;
  /** Conversations that another one started, such as an automatic review. */
  readonly subagents: Map<string, Subthread>;
  readonly model: Map<string, string>;
  readonly call: Map<string, CallText & { readonly tool?: string }>;
  /** When somebody was asked about a call, and the text that was shown. */
  readonly asked: Map<string, { readonly askedNs: string; readonly shown: string }>;
  /** Calls whose approval was reported. */
  readonly decided: Map<string, true>;
  /** Calls of which the sandbox denied something. */
  readonly denied: Map<string, true>;
  /** Spans of requests that the proxy refused; their decision comes before the span does. */
  readonly deniedSpan: Map<string, true>;
}

export interface Subthread {
  readonly type?: string;
  readonly parentId: string;
}

/** The draft with whose it is, where a sub-agent's conversation. */
export function withSubagent(draft: Draft, state: CodexState): Draft {
  const id = draft.conversation_id;
  const thread = id === undefined ? undefined : state.subagents.get(id);
  if (id === undefined || thread === undefined) return draft;
  const whose = {
    'gen_ai.agent.id': id,
    ...(thread.type === undefined ? {} : { 'gen_ai.agent.name': thread.type }),
    parent_agent_id: thread.parentId,
  };
  const { attrs } = draft as { attrs?: Readonly<Record<string, string>> };
  return { ...draft, attrs: { ...attrs, ...whose } } as Draft;
}

/** An empty memory. */
export function createCodexState(): CodexState {
  return {
    turnOfTrace: boundedMap(ENTRIES_MAX),
    turnOfCall: boundedMap(ENTRIES_MAX),
    turns: boundedMap(ENTRIES_MAX),
    policy: boundedMap(ENTRIES_MAX),
    policyVersion: boundedMap(ENTRIES_MAX),
    subagents: boundedMap(ENTRIES_MAX),
    model: boundedMap(ENTRIES_MAX),
    call: boundedMap(ENTRIES_MAX),
    asked: boundedMap(ENTRIES_MAX),
    decided: boundedMap(ENTRIES_MAX),
    denied: boundedMap(ENTRIES_MAX),
    deniedSpan: boundedMap(ENTRIES_MAX),
  };
}

/** Remembers a call's tool and arguments, and gives what they ask for. */
export function rememberCall(
  state: CodexState,
  id: string,
  tool: string | undefined,
  text: string | undefined,
): CallText {
  const call = readArguments(text);
  state.call.set(id, { ...call, ...(tool === undefined ? {} : { tool }) });
  return call;
}

/** Notes that a turn of a conversation began. */
export function beginTurn(state: CodexState, conversation: string, id: string, ns: string): void {
  const list = state.turns.get(conversation);
  if (list === undefined) state.turns.set(conversation, [{ ns, id }]);
  else if (list.at(-1)?.id !== id) list.push({ ns, id });
  if (list !== undefined && list.length > TURNS_MAX) list.shift();
}

/** The turn that ran in a conversation at a time: telemetry comes in late, and in batches. */
export function turnAt(state: CodexState, conversation: string, ns: string): string | undefined {
  return state.turns.get(conversation)?.findLast((turn) => turn.ns <= ns)?.id;
}

interface Refused {
  readonly source: string;
  readonly callId: string;
  readonly reason: string;
  /** ts, conversation_id, turn_id and so on. */
  readonly envelope: Readonly<Record<string, unknown>>;
}

/**
 * A call that the policy refused without asking anyone: Codex reports no decision for it, only a
 * result. Both channels see that result; the first of them makes the approval.
 */
export function refusal(state: CodexState, refused: Refused): Draft[] {
  if (state.decided.has(refused.callId)) return [];
  state.decided.set(refused.callId, true);
  const call = state.call.get(refused.callId);
  return [
    reported('approval', refused.source, {
      ...refused.envelope,
      tool_call_id: refused.callId,
      decision: 'denied',
      decided_by: 'config',
      tool: call?.tool,
      command: call?.command,
      justification: call?.justification,
      policy: state.policy.get(String(refused.envelope.conversation_id)),
      policy_version: state.policyVersion.get(String(refused.envelope.conversation_id)),
      reason: refused.reason,
    }),
  ];
}
