/** What one recording of opencode remembers of its sessions, messages and questions. */
import { type Calls, createCalls, type Subagent } from '../calls.ts';
import { boundedMap, textOf } from '../draft.ts';

const ENTRIES_MAX = 20_000;

interface Message {
  role?: string;
  /** The turn: the user's message that it answers, or its own id where it is the user's. */
  turn?: string;
  model?: string;
  provider?: string;
}

export interface Question {
  readonly callId?: string;
  readonly askedNs: string;
  readonly shown: string;
  readonly permission?: string;
}

export interface OpencodeState {
  readonly calls: Calls;
  readonly messages: Map<string, Message>;
  /** The last turn of each session. */
  readonly lastTurn: Map<string, string>;
  /** Sessions that another one started. */
  readonly subagents: Map<string, Subagent>;
  readonly questions: Map<string, Question>;
  /** Parts and messages that were told already; each change of one repeats it. */
  readonly told: Map<string, true>;
  /** Names of MCP servers: their tools are called SERVER_TOOL. */
  readonly servers: Set<string>;
  /** Nobody is there to answer questions: the program answers them itself. */
  headless: boolean;
}

/** An empty memory. */
export const createOpencodeState = (): OpencodeState => ({
  calls: createCalls(),
  messages: boundedMap(ENTRIES_MAX),
  lastTurn: boundedMap(ENTRIES_MAX),
  subagents: boundedMap(ENTRIES_MAX),
  questions: boundedMap(ENTRIES_MAX),
  told: boundedMap(ENTRIES_MAX),
  servers: new Set(),
  headless: false,
});

/** Whether this is the first time that `key` is told. */
export function once(state: OpencodeState, key: string): boolean {
  if (state.told.has(key)) return false;
  state.told.set(key, true);
  return true;
}

/** The tool's own name, and its server where it is one's. */
export function toolName(
  state: OpencodeState,
  name: unknown,
): { readonly tool?: string; readonly mcp_server?: string } {
  const text = textOf(name);
  if (text === undefined) return {};
  const server = [...state.servers].find((one) => text.startsWith(`${one}_`));
  if (server === undefined) return { tool: text };
  return { tool: text.slice(server.length + 1), mcp_server: server };
}

/**
 * The turn of a message, or the last one of the session; a sub-agent's is that of the call that
 * started it.
 */
export function turnOf(
  state: OpencodeState,
  session: string,
  message?: string,
): string | undefined {
  const parent = state.subagents.get(session)?.parentCallId;
  const above = parent === undefined ? undefined : state.calls.get(parent)?.turn;
  const own = message === undefined ? undefined : state.messages.get(message)?.turn;
  return above ?? own ?? state.lastTurn.get(session);
}
