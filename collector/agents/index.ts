/** The agents that Telltale knows. To add one: a file beside this one, and a line here. */
import path from 'node:path';
import type { Adapter } from './adapter.ts';
import { claude } from './claude/adapter.ts';
import { codex } from './codex/adapter.ts';
import { gemini } from './gemini/adapter.ts';
import { genai } from './genai.ts';
import { opencode } from './opencode/adapter.ts';

export type { Adapter } from './adapter.ts';

const ADAPTERS: readonly Adapter[] = [claude, codex, gemini, opencode, genai];

/** The name was none of the known ones. */
export class UnknownAgentError extends Error {}

/**
 * The adapter by name, or else by the command's basename; undefined where no name was given and
 * the command is no known agent. Throws `UnknownAgentError` for a name that is not known.
 */
export function findAdapter(
  name: string | undefined,
  argv: readonly string[],
): Adapter | undefined {
  if (name !== undefined) {
    const named = ADAPTERS.find((adapter) => adapter.name === name);
    if (named !== undefined) return named;
    const all = ADAPTERS.map((adapter) => adapter.name).join(', ');
    throw new UnknownAgentError(`no agent is called ${JSON.stringify(name)}; known: ${all}`);
  }
  const command = path.basename(argv[0] ?? '');
  return ADAPTERS.find((adapter) => adapter.commands.includes(command));
}
