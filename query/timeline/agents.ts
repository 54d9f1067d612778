/**
 * Agents and their subagents. An event belongs to the agent that `gen_ai.agent.id` in its attributes
 * names (OpenTelemetry’s semantic conventions), else to the only one of its conversation that has the
 * type which it tells (`gen_ai.agent.name`), else to that of its conversation. A subagent's parent
 * is what `parent_agent_id` says, else the agent whose call started it (`parent_tool_call_id`), else
 * the agent of their conversation.
 */
import { present } from './merge.ts';
import { settleDepths } from './tree.ts';
import { type FlatEvent, roleOf } from './view.ts';

export interface Agent {
  readonly id: string;
  readonly parentId?: string;
  readonly depth: number;
  /** What it is: its type, as the channel names it. */
  readonly type?: string;
  /** The tool call that started it. */
  readonly spawnCallId?: string;
  readonly conversationId?: string;
  readonly firstNs: string;
  readonly lastNs: string;
  readonly events: number;
  readonly callIds: readonly string[];
  readonly inputTokens: number;
  readonly outputTokens: number;
}

export interface Agents {
  /** By begin; a parent before its children. */
  readonly list: readonly Agent[];
  /** The agent of an event; undefined where the event is nobody's words. */
  readonly of: (event: FlatEvent) => string | undefined;
}

type Told = 'parentId' | 'type' | 'spawnCallId' | 'conversationId';
type Draft = { -readonly [K in Exclude<keyof Agent, Told>]: Agent[K] } & {
  [K in Told]?: string | undefined;
} & {
  calls: Set<string>;
  /** Types that its talk without an agent's id tells; undefined where it tells none. */
  loose: Set<string | undefined>;
  tokens: Map<string, [number, number]>;
};

const TELLS = new Set(['conversation', 'call', 'result', 'approval']);

const attr = (event: FlatEvent, name: string): string | undefined => {
  const { attrs } = event;
  const value = attrs !== undefined && Object.hasOwn(attrs, name) ? attrs[name] : undefined;
  return value === '' ? undefined : value;
};

type AgentOf = (event: FlatEvent) => string | undefined;

/** The agent that an event itself names. */
function namedAgents(events: readonly FlatEvent[]): AgentOf {
  const byType = new Map<string, string | undefined>();
  const typeOf = (event: FlatEvent, type: string) => JSON.stringify([event.conversation_id, type]);
  for (const event of events) {
    const [id, type] = [attr(event, 'gen_ai.agent.id'), attr(event, 'gen_ai.agent.name')];
    if (id === undefined || type === undefined) continue;
    const key = typeOf(event, type);
    // Of two agents of one type it is not known which is meant.
    byType.set(key, byType.has(key) && byType.get(key) !== id ? undefined : id);
  }
  return (event) => {
    if (!TELLS.has(roleOf(event))) return undefined;
    const type = attr(event, 'gen_ai.agent.name');
    const typed = type === undefined ? undefined : byType.get(typeOf(event, type));
    return attr(event, 'gen_ai.agent.id') ?? typed ?? event.conversation_id;
  };
}

/** Whether a prompt is what an agent gave to its subagent: nobody's request, but a part of a turn. */
export const isDelegated = (event: FlatEvent): boolean =>
  attr(event, 'parent_tool_call_id') !== undefined || attr(event, 'parent_agent_id') !== undefined;

function take(draft: Draft, event: FlatEvent): void {
  draft.events++;
  if (event.ts > draft.lastNs) draft.lastNs = event.ts;
  draft.parentId ??= attr(event, 'parent_agent_id');
  // A type without an id is that of a subagent as well, whose id the channel does not tell.
  const named = attr(event, 'gen_ai.agent.id') !== undefined;
  const type = attr(event, 'gen_ai.agent.name');
  if (named) draft.type ??= type;
  else if (roleOf(event) === 'conversation') draft.loose.add(type);
  draft.spawnCallId ??= attr(event, 'parent_tool_call_id');
  draft.conversationId ??= event.conversation_id;
  if (event.tool_call_id !== undefined) draft.calls.add(event.tool_call_id);
  if (event.input_tokens === undefined && event.output_tokens === undefined) return;
  const sum = draft.tokens.get(event.source) ?? [0, 0];
  sum[0] += event.input_tokens ?? 0;
  sum[1] += event.output_tokens ?? 0;
  draft.tokens.set(event.source, sum);
}

function finish({ calls, loose, tokens, ...draft }: Draft): Agent {
  const [type] = loose.size === 1 ? loose : [];
  // Several channels report one request: the one that reported most is believed.
  const [input = 0, output = 0] =
    [...tokens.values()].sort((a, b) => b[0] + b[1] - a[0] - a[1])[0] ?? [];
  return present({
    ...draft,
    type: draft.type ?? type,
    callIds: [...calls],
    inputTokens: input,
    outputTokens: output,
  }) as Agent;
}

/** The agents of a session and how they stand to one another; `events` in order. */
export function agentsOf(events: readonly FlatEvent[]): Agents {
  const drafts = new Map<string, Draft>();
  const byCall = new Map<string, string>();
  const agentOf = namedAgents(events);
  for (const event of events) {
    const id = agentOf(event);
    if (id === undefined) continue;
    let draft = drafts.get(id);
    if (draft === undefined) {
      const at = { firstNs: event.ts, lastNs: event.ts, events: 0, depth: 0 };
      const none = { callIds: [], inputTokens: 0, outputTokens: 0 };
      draft = { id, ...at, ...none, calls: new Set(), loose: new Set(), tokens: new Map() };
      drafts.set(id, draft);
    }
    take(draft, event);
    if (event.tool_call_id !== undefined && !byCall.has(event.tool_call_id))
      byCall.set(event.tool_call_id, id);
  }
  for (const draft of drafts.values()) {
    const { spawnCallId, conversationId } = draft;
    const spawner = spawnCallId === undefined ? undefined : byCall.get(spawnCallId);
    const parent = draft.parentId ?? spawner ?? conversationId;
    if (parent !== undefined && parent !== draft.id) draft.parentId = parent;
  }
  settleDepths(drafts);
  const children = new Map<string | undefined, Draft[]>();
  for (const draft of drafts.values()) {
    const list = children.get(draft.parentId);
    if (list === undefined) children.set(draft.parentId, [draft]);
    else list.push(draft);
  }
  const list: Agent[] = [];
  const todo = [...(children.get(undefined) ?? [])].reverse();
  for (let draft = todo.pop(); draft !== undefined; draft = todo.pop()) {
    list.push(finish(draft));
    todo.push(...[...(children.get(draft.id) ?? [])].reverse());
  }
  return {
    list,
    of: (event) =>
      agentOf(event) ??
      (event.tool_call_id === undefined ? undefined : byCall.get(event.tool_call_id)),
  };
}
