/**
 * What Codex writes as text around a tool's output, read strictly: everything below the header is
 * the command's own and may imitate it.
 *
 *     header = { line LF } "Output:" LF          every line one of HEADER, the first too
 *     line   = "Chunk ID: …" | "Wall time: …" | "Process exited with code N" | "Exit code: N"
 *            | "Process running with session ID N" | "Original token count: N" | …
 */
import { isObject, parseObject, textOf } from '../draft.ts';

const HEADER =
  /^(?:Chunk ID: .*|Wall time: .*|Process running with session ID .*|Original token count: \d+|Total output lines: \d+|(?:Process exited with code|Exit code:) (-?\d{1,10}))$/;
const HEADER_LINES_MAX = 8;
const OUTPUT = 'Output:';

export interface ToolText {
  readonly exitCode?: number;
  /** The tool's output without the header. */
  readonly output: string;
  /** It went on in the background. */
  readonly running: boolean;
}

/** Splits a tool's text into what the header says and the output. */
export function readToolText(text: string): ToolText {
  let at = 0;
  let exitCode: number | undefined;
  let running = false;
  for (let count = 0; count < HEADER_LINES_MAX; count++) {
    const end = text.indexOf('\n', at);
    const line = text.slice(at, end < 0 ? text.length : end);
    if (line === OUTPUT && count > 0) {
      const output = end < 0 ? '' : text.slice(end + 1);
      return { output, running, ...(exitCode === undefined ? {} : { exitCode }) };
    }
    const match = HEADER.exec(line);
    if (match === null || end < 0) break;
    if (match[1] !== undefined) exitCode = Number(match[1]);
    if (line.startsWith('Process running')) running = true;
    at = end + 1;
  }
  return { output: text, running: false };
}

/** The text of a tool output item: a string, or a list of parts. */
export function outputText(output: unknown): string {
  if (typeof output === 'string') return output;
  if (Array.isArray(output))
    return output.map((part) => (isObject(part) ? (textOf(part.text) ?? '') : '')).join('');
  if (isObject(output)) return textOf(output.content) ?? JSON.stringify(output);
  return '';
}

/** Refusals of a call that was never run; nobody was asked. */
const REFUSALS: readonly string[] = [
  'approval policy is ',
  'patch rejected',
  'rejected by user approval settings',
];

/** Whether a tool's text says that the call was refused before it ran. */
export const isRefusal = (text: string): boolean =>
  REFUSALS.some((prefix) => text.startsWith(prefix));

const SHELL_FLAGS: ReadonlySet<string> = new Set(['-c', '-lc', '-ic', '-lic']);

/** The shell command of an argument vector: what stands behind `sh -c`, or all of it. */
export function commandOfArgv(argv: unknown): string | undefined {
  if (!Array.isArray(argv)) return textOf(argv);
  const words = argv.map(String);
  const [, flag, script] = words;
  if (words.length === 3 && flag !== undefined && SHELL_FLAGS.has(flag)) return script;
  return words.length === 0 ? undefined : words.join(' ');
}

export interface CallText {
  readonly command?: string;
  readonly cwd?: string;
  readonly justification?: string;
  readonly escalates: boolean;
}

/** What a call's arguments ask for, where they are the JSON of a shell tool. */
export function readArguments(text: string | undefined): CallText {
  // Arguments that are no JSON (a patch, a cut text) name no command.
  const args = parseObject(text) ?? {};
  const command = textOf(args.cmd) ?? commandOfArgv(args.command);
  const cwd = textOf(args.workdir);
  const justification = textOf(args.justification);
  return {
    escalates: args.sandbox_permissions === 'require_escalated',
    ...(command === undefined ? {} : { command }),
    ...(cwd === undefined ? {} : { cwd }),
    ...(justification === undefined ? {} : { justification }),
  };
}
