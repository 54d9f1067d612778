/** Which tool calls were running at a time; and what each of them names: commands, paths, hosts. */
import path from 'node:path';
import type { ToolCall } from './merge.ts';
import { shiftNs } from './view.ts';

/** Channels and kernel stamp by different clocks and at different ends of the same moment. */
export const CALL_SLACK_NS = 50_000_000n;
/** So many calls at one moment are looked at, the newest first: a bound on hostile sessions. */
const RUNNING_MAX = 16;
/** So deep are the folders of one named path looked at. */
const FOLDERS_MAX = 32;
/** Strings within a call's arguments that are looked at. */
const LEAVES_MAX = 2000;
/** Characters of a call's text in which host names are looked for. */
const TEXT_CHARS_MAX = 16_384;

/**
 * The calls that were running at each of `times`, newest first; a call that never ended runs on.
 * One sweep: `times` may be in any order and are answered by their index.
 */
export function runningAt(calls: readonly ToolCall[], times: readonly string[]): ToolCall[][] {
  const starts = calls
    .map((call) => ({ call, ns: shiftNs(call.startedNs, -CALL_SLACK_NS) }))
    .sort((a, b) => (a.ns < b.ns ? -1 : a.ns > b.ns ? 1 : 0));
  const ends = new Map(
    calls.map((call) => [
      call,
      call.endedNs === undefined ? undefined : shiftNs(call.endedNs, CALL_SLACK_NS),
    ]),
  );
  const order = times.map((ns, index) => ({ ns, index }));
  order.sort((a, b) => (a.ns < b.ns ? -1 : a.ns > b.ns ? 1 : a.index - b.index));
  const out: ToolCall[][] = times.map(() => []);
  // By start; ended calls are dropped only where the look for the newest comes by, so that each
  // call is dropped once and no time costs more than `RUNNING_MAX`.
  const active: ToolCall[] = [];
  let next = 0;
  for (const { ns, index } of order) {
    for (let start = starts[next]; start !== undefined && start.ns <= ns; start = starts[++next])
      active.push(start.call);
    const newest: ToolCall[] = [];
    while (newest.length < RUNNING_MAX) {
      const call = active.pop();
      if (call === undefined) break;
      if ((ends.get(call) ?? ns) >= ns) newest.push(call);
    }
    active.push(...newest.toReversed());
    out[index] = newest;
  }
  return out;
}

/** What a call names, ready for look-ups. */
export interface Named {
  /** Commands and whole argument strings: to be found as an argument of a process. */
  readonly texts: ReadonlySet<string>;
  readonly command?: string;
  /** Absolute paths. */
  readonly paths: ReadonlySet<string>;
  /** Relative paths whose directory nobody told. */
  readonly tails: ReadonlySet<string>;
  /** Folders below the call's own that the named paths lie in: made on the way to a file. */
  readonly folders: ReadonlySet<string>;
  /** The beginning of all of it, for host names, in lower case. */
  readonly text: string;
}

function leavesOf(value: unknown, out: string[]): void {
  if (out.length >= LEAVES_MAX) return;
  if (typeof value === 'string') out.push(value);
  else if (typeof value === 'object' && value !== null)
    for (const item of Object.values(value)) leavesOf(item, out);
}

/** The strings in a call's arguments: of JSON its leaves, else the text itself. */
export function argumentStrings(text: string): readonly string[] {
  try {
    const out: string[] = [];
    leavesOf(JSON.parse(text), out);
    return out;
  } catch {
    return [text];
  }
}

/** Paths in a patch as coding agents write it: `*** Update File: src/a.ts`. */
const PATCH_PATH = /^\*\*\* (?:Add File|Update File|Delete File|Move to): (.+)$/gm;
const CHANGE = /^[a-z]+ (.+)$/s;

function pathsNamed(call: ToolCall, strings: readonly string[]): string[] {
  const changed = call.changes.map((change) => CHANGE.exec(change)?.[1] ?? change);
  const patched = strings.flatMap((text) => [...text.matchAll(PATCH_PATH)].map((m) => m[1] ?? ''));
  const plain = strings.filter((text) => text.length < 4096 && !/[\n\0]/.test(text));
  return [...changed, ...patched, ...plain].filter((name) => name !== '');
}

/** The folders that a relative path goes through: `a/b/c.txt` gives `a` and `a/b`. */
function foldersOf(name: string): string[] {
  const parts = path.posix.normalize(name).split('/').slice(0, FOLDERS_MAX);
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('/'));
}

/** What `call` names; `cwd` is the session's, for a call that does not tell its own. */
export function namedBy(call: ToolCall, cwd: string | undefined): Named {
  const strings = call.arguments === undefined ? [] : argumentStrings(call.arguments);
  const base = call.cwd ?? cwd;
  const paths = new Set<string>();
  const tails = new Set<string>();
  const folders = new Set<string>();
  for (const name of pathsNamed(call, strings).slice(0, LEAVES_MAX)) {
    if (!name.startsWith('/') && !base?.startsWith('/')) {
      tails.add(path.posix.normalize(name));
      continue;
    }
    const file = path.posix.resolve(base ?? '/', name);
    paths.add(file);
    if (base === undefined || !file.startsWith(`${base}/`)) continue;
    for (const folder of foldersOf(file.slice(base.length + 1))) folders.add(`${base}/${folder}`);
  }
  const command = call.command?.trim();
  const texts = new Set([...strings, ...(command === undefined ? [] : [command])]);
  texts.delete('');
  return {
    texts,
    paths,
    tails,
    folders,
    text: [command ?? '', ...strings].join('\n').slice(0, TEXT_CHARS_MAX).toLowerCase(),
    ...(command === undefined || command === '' ? {} : { command }),
  };
}

/**
 * How surely `file` is one that the call names: 85 for the very path, 60 for its tail or for a
 * folder on the way to it, else 0.
 */
export function pathScore(named: Named, file: string): number {
  const normal = path.posix.normalize(file);
  if (named.paths.has(normal)) return 85;
  if (named.folders.has(normal)) return 60;
  if (named.tails.size === 0) return 0;
  const parts = normal.split('/');
  for (let from = Math.max(1, parts.length - 32); from < parts.length; from++)
    if (named.tails.has(parts.slice(from).join('/'))) return 60;
  return 0;
}

/** How surely a process with these arguments is the call's: 90 the very text, 75 within, else 0. */
export function commandScore(named: Named, argv: readonly string[]): number {
  if (argv.length === 0) return 0;
  if (argv.some((arg) => named.texts.has(arg.trim())) || named.texts.has(argv.join(' '))) return 90;
  const { command } = named;
  if (command === undefined || command.length < 4) return 0;
  return argv.some((arg) => arg.includes(command)) ? 75 : 0;
}

/**
 * How surely the call names this peer: 70 where a host, or an address with its port, stands in its
 * command or arguments, else 0. An address alone says little: much runs on 127.0.0.1.
 */
export function peerScore(named: Named, host?: string, ip?: string, port?: number): number {
  const says = (text: string) => named.text.includes(text.toLowerCase());
  if (host !== undefined && host.length >= 4 && says(host)) return 70;
  if (ip === undefined || port === undefined) return 0;
  return says(ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`) ? 70 : 0;
}
