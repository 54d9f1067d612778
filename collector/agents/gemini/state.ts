/**
 * What one recording of Gemini CLI remembers. Its logs have no call id, so a call is found again by
 * its tool and arguments, which the model's answer and the session file give with the id.
 */
import { jsonIn } from '../../json.ts';
import { type Calls, callOf, createCalls, type Subagent } from '../calls.ts';
import { boundedMap, isObject, jsonText, textOf } from '../draft.ts';

const ENTRIES_MAX = 20_000;

export interface GeminiState {
  readonly calls: Calls;
  /** Calls by tool and arguments, in order, that no log has been tied to yet. */
  readonly waiting: Map<string, string[]>;
  /** The approval mode in force, by session. */
  readonly policy: Map<string, string>;
  /** Messages and calls that were told already: the session file repeats them as they change. */
  readonly told: Map<string, true>;
}

/** An empty memory. */
export const createGeminiState = (): GeminiState => ({
  calls: createCalls(),
  waiting: boundedMap(ENTRIES_MAX),
  policy: boundedMap(ENTRIES_MAX),
  told: boundedMap(ENTRIES_MAX),
});

/** Whether this is the first time that `key` is told. */
export function once(state: GeminiState, key: string): boolean {
  if (state.told.has(key)) return false;
  state.told.set(key, true);
  return true;
}

/** Arguments in one form, whatever the layout and the order of keys. */
function normal(args: unknown): string {
  const value = typeof args === 'string' ? jsonIn(args) : args;
  if (typeof args === 'string' && value === undefined) return args;
  return (
    JSON.stringify(value, (_key, inner: unknown) =>
      isObject(inner)
        ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
        : inner,
    ) ?? ''
  );
}

const keyOf = (tool: string, args: unknown): string => `${tool} ${normal(args)}`;

export interface Asked {
  readonly tool?: string;
  readonly arguments?: string;
  readonly command?: string;
}

const WRAPPER = /^\s*(?:\S+\/)?(?:sh|bash|zsh)\s+-c\s+/i;
/** What a backslash protects between double quotes. */
const ESCAPED = /\\(["\\$`])/g;

/**
 * The command as it is run: Gemini CLI takes a shell around it away (`sh -c "…"`) and runs what is
 * inside in its own. The arguments keep what the model asked for.
 */
export function unwrapped(command: string): string {
  const wrapper = WRAPPER.exec(command);
  if (wrapper === null) return command;
  const inner = command.slice(wrapper[0].length).trim();
  const quote = inner[0];
  if (inner.length < 2 || (quote !== '"' && quote !== "'") || !inner.endsWith(quote)) return inner;
  const text = inner.slice(1, -1);
  return quote === '"' ? text.replace(ESCAPED, '$1') : text;
}

/** What a call asks for; `args` is an object, or its JSON. */
export function asked(name: unknown, args: unknown): Asked {
  const tool = textOf(name);
  const text = jsonText(args);
  const input = typeof args === 'string' ? jsonIn(args) : args;
  const shell = tool === 'run_shell_command' && isObject(input);
  const given = shell ? textOf(input.command) : undefined;
  const command = given === undefined ? undefined : unwrapped(given);
  return {
    ...(tool === undefined ? {} : { tool }),
    ...(text === undefined ? {} : { arguments: text }),
    ...(command === undefined ? {} : { command }),
  };
}

/**
 * Remembers a call by its id, and puts it in line for its log under what it is said to ask for.
 * A channel that leaves the tool or the arguments out, or tells of others, must not keep the call
 * from being found under what another channel says, so each form of it stands in line once.
 */
export function remember(
  state: GeminiState,
  id: string,
  name: unknown,
  args: unknown,
  subagent?: Subagent,
): Asked {
  const all = asked(name, args);
  callOf(state.calls, id, { ...all, ...(subagent === undefined ? {} : { subagent }) });
  if (all.tool === undefined) return all;
  const key = keyOf(all.tool, args);
  if (once(state, `waiting ${id} ${key}`)) {
    const line = state.waiting.get(key);
    if (line === undefined) state.waiting.set(key, [id]);
    else line.push(id);
  }
  return all;
}

/** The id of the call that a log without one is about; the oldest of equal ones. */
export function takeId(state: GeminiState, name: unknown, args: unknown): string | undefined {
  const tool = textOf(name);
  const line = tool === undefined ? undefined : state.waiting.get(keyOf(tool, args));
  for (let id = line?.shift(); id !== undefined; id = line?.shift())
    if (once(state, `taken ${id}`)) return id;
  return undefined;
}
