/**
 * How Falco's plugin for coding agents (Prempti, source `coding_agent`) names a tool call of ours;
 * the one place where the two meet.
 *
 *     agent.name           agent, in the plugin's words: claude is claude_code
 *     agent.os             linux, the system that our sensors are for
 *     agent.session_id     session_id
 *     agent.cwd            cwd; agent.real_cwd without `.` and `..`, agent.real_cwd_prefix with a slash
 *     tool.use_id          tool_call_id
 *     tool.name            tool; "Bash" for each shell tool, mcp__server__tool for one of a server
 *     tool.input           arguments as compact JSON
 *     tool.input_command   command, of shell tools alone
 *     tool.file_path       the path in the arguments of Read, Write and Edit, or in a patch
 *     tool.real_file_path  the same from the root, without `.` and `..`
 *     tool.patch_op        of apply_patch: Add, Update, Delete, Move
 *
 * As in the plugin, what is not known is the empty text, and a patch is one call for each file that
 * it touches. The plugin follows symbolic links where it runs; an event is read later and elsewhere,
 * so paths are only put straight, which is what the plugin does for a path that does not exist.
 */
import type { FieldView } from '../values.ts';

const FIELDS = [
  ...(['agent.name', 'agent.os', 'agent.session_id', 'agent.cwd', 'agent.real_cwd'] as const),
  ...(['agent.real_cwd_prefix', 'tool.use_id', 'tool.name', 'tool.input'] as const),
  ...(['tool.input_command', 'tool.file_path', 'tool.real_file_path', 'tool.patch_op'] as const),
] as const;
export type FalcoField = (typeof FIELDS)[number];
/** A tool call, or one file of a patch, in Falco's fields. */
export type Told = Readonly<Record<FalcoField, string>>;

/** Where tool calls are found among the views of an event, and what is read of them. */
export const TOOL_CALLS = { product: 'telltale', category: 'tool.call' } as const;
export const FIELDS_READ: readonly string[] = [
  ...['kind', 'agent', 'session_id', 'cwd', 'tool_call_id', 'tool', 'mcp_server'],
  ...['arguments', 'command'],
];

const KNOWN: ReadonlySet<string> = new Set(FIELDS);
export const isFalcoField = (name: string): name is FalcoField => KNOWN.has(name);

/** Agents that the plugin calls by another name than their program or adapter. */
const AGENTS: ReadonlyMap<string, string> = new Map([
  ['claude', 'claude_code'],
  ['claude-code', 'claude_code'],
  ['cursor-agent', 'cursor'],
  ['gemini-cli', 'gemini'],
]);
/** Names of tools that run a command in a shell; Codex's hooks call its own "Bash" as well. */
const SHELLS = new Set([
  ...['Bash', 'bash', 'exec_command', 'execute_bash', 'container.exec', 'local_shell'],
  ...['local_shell_call', 'run_shell_command', 'shell', 'shell_command'],
]);
const FILE_TOOLS = new Set(['Read', 'Write', 'Edit']);

type Loose = Readonly<Record<string, unknown>>;

function parse(text: string): Loose | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    return JSON.parse(text) as Loose;
  } catch {
    // Arguments that were cut, or never were JSON.
    return undefined;
  }
}

const textIn = (input: Loose | undefined, name: string): string => {
  const value = input !== undefined && Object.hasOwn(input, name) ? input[name] : '';
  return typeof value === 'string' ? value : '';
};

/** A path without `.`, `..` and double slashes; `..` never leads above the first folder. */
function straight(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/'))
    if (part === '..') parts.pop();
    else if (part !== '.' && part !== '') parts.push(part);
  return (path.startsWith('/') ? '/' : '') + parts.join('/');
}

function resolve(path: string, cwd: string): string {
  if (path === '') return '';
  return straight(path.startsWith('/') || cwd === '' ? path : `${cwd}/${path}`);
}

const HEADER = /^\*\*\* (?:(Add|Update|Delete) File|(Move) to): (.+)$/;

interface Touch {
  readonly op: string;
  readonly path: string;
  /** Of the file's part of the patch. */
  readonly from: number;
}

/** The files that a patch touches, each with the part of the patch that is about it. */
function touched(patch: string): readonly { op: string; path: string; text: string }[] {
  const lines = patch.split(/\r?\n/);
  const begin = lines.indexOf('*** Begin Patch');
  const end = lines.indexOf('*** End Patch', begin);
  if (begin < 0 || end < 0) return [];
  const found: Touch[] = [];
  for (let line = begin + 1; line < end; line++) {
    const [, op, move, path] = HEADER.exec(lines[line] as string) ?? [];
    if (path === undefined) continue;
    // What is moved is told twice, where it was and where it goes, by the same part.
    const from = move === undefined ? line : (found.at(-1)?.from ?? line);
    found.push({ op: op ?? 'Move', path, from });
  }
  const starts = [...new Set(found.map(({ from }) => from)), end];
  return found.map(({ op, path, from }) => {
    const next = starts[starts.indexOf(from) + 1];
    return { op, path, text: lines.slice(from, next).join('\n') };
  });
}

function nameOf(tool: string, server: string, command: string): string {
  if (SHELLS.has(tool) || (tool === '' && command !== '')) return 'Bash';
  return server === '' || tool.startsWith('mcp__') ? tool : `mcp__${server}__${tool}`;
}

function tell(fields: FieldView): readonly Told[] {
  const text = (name: string): string => {
    const value = fields.get(name);
    return typeof value === 'string' ? value : '';
  };
  const given = text('arguments');
  const input = parse(given);
  const name = nameOf(text('tool'), text('mcp_server'), text('command'));
  const command = name === 'Bash' ? text('command') : '';
  const agent = text('agent');
  const cwd = straight(text('cwd'));
  const path = FILE_TOOLS.has(name) ? textIn(input, 'file_path') : '';
  // A shell's command is called differently by each agent; the plugin knows it by one name.
  const named = command !== '' && input?.command === undefined ? { command } : input;
  const told: Told = {
    'agent.name': AGENTS.get(agent) ?? agent,
    'agent.os': 'linux',
    'agent.session_id': text('session_id'),
    'agent.cwd': text('cwd'),
    'agent.real_cwd': cwd,
    'agent.real_cwd_prefix': cwd === '' || cwd === '/' ? cwd : `${cwd}/`,
    'tool.use_id': text('tool_call_id'),
    'tool.name': name,
    'tool.input': named === undefined ? given || '{}' : JSON.stringify(named),
    'tool.input_command': command,
    'tool.file_path': path,
    'tool.real_file_path': resolve(path, cwd),
    'tool.patch_op': '',
  };
  if (name !== 'apply_patch') return [told];
  const patch = input === undefined ? given : textIn(input, 'command') || textIn(input, 'input');
  const files = touched(patch);
  if (files.length === 0) return [told];
  return files.map((file) => ({
    ...told,
    'tool.input': JSON.stringify({ command: file.text }),
    'tool.file_path': file.path,
    'tool.real_file_path': resolve(file.path, cwd),
    'tool.patch_op': file.op,
  }));
}

const NOTHING: readonly Told[] = [];
/** All rules ask about the same view of an event. */
const known = new WeakMap<FieldView, readonly Told[]>();

/** A tool call of ours in Falco's fields, once for each file of a patch; nothing of other events. */
export function toolCalls(fields: FieldView): readonly Told[] {
  if (fields.get('kind') !== 'tool.call') return NOTHING;
  let told = known.get(fields);
  if (told === undefined) {
    told = tell(fields);
    known.set(fields, told);
  }
  return told;
}
