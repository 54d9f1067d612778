/**
 * What one recording of Claude Code remembers between its channels, and how its tools are read the
 * same way from each of them.
 */
import type { Draft } from '#schemas';
import { approvalOf, type Calls, callOf, createCalls, type Subagent } from '../calls.ts';
import { boundedMap, isObject, jsonText, type Loose, textOf } from '../draft.ts';

const ENTRIES_MAX = 20_000;

export interface ClaudeState {
  readonly calls: Calls;
  readonly subagents: Map<string, Subagent>;
  /** Calls that start a sub-agent, by the prompt that they give it: its file begins with it. */
  readonly spawning: Map<string, string>;
  readonly turnOfTrace: Map<string, string>;
  /** The permission mode in force, by session. */
  readonly policy: Map<string, string>;
  /** Responses whose tokens were told; each block of one repeats them. */
  readonly counted: Map<string, true>;
  /** Requests for approval of a tool that are waiting for their answer. */
  readonly blocked: Map<string, { readonly ts: string; readonly durationNs?: number }>;
  /** Refusals that no decision was reported for yet. */
  readonly refusals: Map<string, Refusal>;
}

interface Refusal {
  readonly source: string;
  readonly envelope: Loose;
  readonly fields: Loose;
}

/** An empty memory. */
export function createClaudeState(): ClaudeState {
  return {
    calls: createCalls(),
    subagents: boundedMap(ENTRIES_MAX),
    spawning: boundedMap(ENTRIES_MAX),
    turnOfTrace: boundedMap(ENTRIES_MAX),
    policy: boundedMap(ENTRIES_MAX),
    counted: boundedMap(ENTRIES_MAX),
    blocked: boundedMap(ENTRIES_MAX),
    refusals: boundedMap(ENTRIES_MAX),
  };
}

export interface ToolName {
  readonly tool?: string;
  readonly mcp_server?: string;
}

/** `mcp__SERVER__TOOL` is a server's tool; `mcp_tool` stands for a name that was left out. */
export function toolName(name: unknown): ToolName {
  const text = textOf(name);
  if (text === undefined || text === 'mcp_tool') return {};
  const [, server, tool] = /^mcp__(.+?)__(.+)$/s.exec(text) ?? [];
  return server === undefined || tool === undefined ? { tool: text } : { tool, mcp_server: server };
}

export interface Asked extends ToolName {
  readonly arguments?: string;
  readonly command?: string;
}

/** What a call asks for, by its tool and input as an object. */
export function asked(name: unknown, input: unknown): Asked {
  const args = jsonText(input);
  const command = name === 'Bash' && isObject(input) ? textOf(input.command) : undefined;
  return {
    ...toolName(name),
    ...(args === undefined ? {} : { arguments: args }),
    ...(command === undefined ? {} : { command }),
  };
}

/** The tools that start a sub-agent. */
const SPAWNERS: ReadonlySet<unknown> = new Set(['Agent', 'Task']);

/** Remembers a call and what it asks for. */
export function begin(
  state: ClaudeState,
  id: string,
  name: unknown,
  input: unknown,
  known: { readonly turn?: string | undefined; readonly subagent?: Subagent | undefined },
): Asked {
  const all = asked(name, input);
  const { tool, command, arguments: args } = all;
  const given = Object.entries({ ...known, tool, command, arguments: args });
  callOf(state.calls, id, Object.fromEntries(given.filter(([, value]) => value !== undefined)));
  const prompt = isObject(input) ? textOf(input.prompt) : undefined;
  if (SPAWNERS.has(name) && prompt !== undefined) state.spawning.set(prompt, id);
  return all;
}

/** The sub-agent by its id; what is known of it is added. */
export function subagentOf(
  state: ClaudeState,
  id: unknown,
  known: { readonly type?: unknown; readonly parentCallId?: string | undefined } = {},
): Subagent | undefined {
  const name = textOf(id);
  if (name === undefined) return undefined;
  const subagent = state.subagents.get(name) ?? { id: name };
  const type = textOf(known.type);
  if (type !== undefined) subagent.type = type;
  if (known.parentCallId !== undefined) subagent.parentCallId = known.parentCallId;
  state.subagents.set(name, subagent);
  return subagent;
}

/** How a shell command's failure begins. What follows is the command's own. */
const EXIT = /^Exit code (\d{1,3})(?:\n|$)/;

/** The exit code in the words of a shell tool's failure, and its output behind it. */
export function readFailure(
  tool: string | undefined,
  text: string,
): { exitCode?: number; rest: string } {
  const match = tool === 'Bash' ? EXIT.exec(text) : null;
  if (match === null) return { rest: text };
  return { exitCode: Number(match[1]), rest: text.slice(match[0].length) };
}

/** Refusals as Claude Code words them, by whom they are. The call was not run. */
const REFUSALS: readonly (readonly [by: string, words: string])[] = [
  ['config', 'This command requires approval'],
  ['config', 'requires approval: '],
  ['config', "but you haven't granted it yet"],
  ['config', ' has been denied.'],
  ['config', 'was blocked. For security, Claude Code may only'],
  ['user', "The user doesn't want to proceed with this tool use"],
  ['user', "The user doesn't want to take this action right now"],
];
/** A refusal's words are short; a long text is a tool's own output. */
const REFUSAL_CHARS_MAX = 4000;

/** Who refused a call by the words of its error; undefined where they are no refusal. */
export function refusedBy(text: string): string | undefined {
  if (text.length > REFUSAL_CHARS_MAX) return undefined;
  return REFUSALS.find(([, words]) => text.includes(words))?.[0];
}

/**
 * A refused call. Most have no decision of their own in any channel; those that have one tell it
 * in telemetry, a second later. So what is known of a refusal waits for that.
 */
export function refuse(
  state: ClaudeState,
  id: string,
  source: string,
  envelope: Loose,
  fields: Loose,
): void {
  if (callOf(state.calls, id).decided || state.refusals.has(id)) return;
  state.refusals.set(id, { source, envelope: { ...envelope, tool_call_id: id }, fields });
}

/** Questions that were never answered: the run ended before. */
export function openQuestions(state: ClaudeState): Draft[] {
  const out: Draft[] = [];
  for (const [id, call] of state.calls) {
    if (call.askedNs === undefined || call.decided === true || call.ran === true) continue;
    const envelope = { ts: call.askedNs, turn_id: call.turn, tool_call_id: id };
    out.push(approvalOf('hook', call, envelope, { decision: 'asked' }));
  }
  return out;
}

const WAIT_NS = 15_000_000_000n;

/** The refusals that no decision will come for any more at `ns`; all of them without a time. */
export function dueRefusals(state: ClaudeState, ns?: string): Draft[] {
  const out: Draft[] = [];
  for (const [id, { source, envelope, fields }] of state.refusals) {
    if (ns !== undefined && BigInt(String(envelope.ts)) + WAIT_NS > BigInt(ns)) break;
    state.refusals.delete(id);
    const call = callOf(state.calls, id);
    if (call.decided) continue;
    call.decided = true;
    out.push(
      approvalOf(source, call, envelope, {
        decision: 'denied',
        policy: state.policy.get(String(envelope.conversation_id)),
        ...fields,
      }),
    );
  }
  return out;
}
