/**
 * What an approval was for, against what its call touched: another file than those it names, or
 * another host. Only calls that name what they touch can be judged: a file tool, a fetch, a plain
 * command of the file utilities; a build may touch anything.
 */
import path from 'node:path';
import type { Analysis } from '../analyse.ts';
import { present } from '../merge.ts';
import { argumentStrings, type Named, namedBy, pathScore } from '../running.ts';
import { type FlatEvent, isSeen } from '../view.ts';
import type { Review } from './review.ts';
import { baseOf, readScript, textsOf, unwrap } from './words.ts';

/** Something that was touched beyond what was approved. */
export interface Beyond {
  readonly what: string;
  readonly event: FlatEvent;
  readonly confidencePct: number;
}

const FILE_COMMANDS = new Set(
  'rm cp mv touch tee mkdir rmdir ln chmod chown truncate install'.split(' '),
);
const NET_COMMANDS = new Set('curl wget nc ncat ftp'.split(' '));
const CHANGING = new Set([
  'create',
  'write',
  'truncate',
  'rename',
  'delete',
  'link',
  'symlink',
  'rmdir',
]);
/** Where programs put what nobody asked them for. */
const SCRATCH =
  /^\/(tmp|var\/tmp|dev|proc|run|sys)\/|\/(\.cache|\.local|\.config|\.npm|__pycache__)\//;
const HOST = /(?:[a-z][a-z0-9+.-]*:\/\/|@|^|\s)((?:[a-z0-9-]+\.)+[a-z][a-z0-9-]+)/gi;
const HOSTS_MAX = 64;
const FILES_MAX = 256;
const TEXT_CHARS_MAX = 16_384;
/** Files of a tool's own making beside the one it writes: `.a.txt.swp`, `a.txt.tmp123`, `a.txt~`. */
const beside = (named: string, file: string): boolean =>
  path.posix.dirname(named) === path.posix.dirname(file) &&
  baseOf(file).includes(baseOf(named)) &&
  baseOf(file) !== baseOf(named);

interface Asked {
  /** Absolute paths and folders; undefined where the call does not say what it touches. */
  readonly files?: readonly string[];
  readonly named: Named;
  readonly hosts?: ReadonlySet<string>;
}

function hostsIn(text: string): Set<string> {
  const found = [...text.slice(0, TEXT_CHARS_MAX).matchAll(HOST)].slice(0, HOSTS_MAX);
  return new Set(found.map((match) => (match[1] ?? '').toLowerCase()));
}

/** What a plain command names; undefined where it may touch anything. */
function ofCommand(text: string, cwd: string | undefined): Pick<Asked, 'files' | 'hosts'> {
  const { commands, simple, targets } = readScript(text);
  const all = commands.map((words) => unwrap(textsOf(words)).argv);
  if (commands.some((words) => words.some(({ open }) => open))) return {};
  const plain = (names: ReadonlySet<string>) =>
    all.length > 0 && all.every(([program = '']) => names.has(baseOf(program)));
  const words = [...all.flatMap((argv) => argv.slice(1)), ...textsOf(targets)];
  if (plain(FILE_COMMANDS))
    return {
      files: words
        .filter((word) => !word.startsWith('-'))
        .slice(0, FILES_MAX)
        .map((word) => path.posix.resolve(cwd ?? '/', word)),
    };
  return simple && plain(NET_COMMANDS) ? { hosts: hostsIn(words.join(' ')) } : {};
}

function askedOf(review: Review): Asked | undefined {
  const { call, shown, cwd } = review;
  if (call === undefined) return undefined;
  const text = shown?.expected.inner ?? call.command;
  if (text !== undefined) {
    const { files, hosts } = ofCommand(text, cwd);
    if (files === undefined && hosts === undefined) return undefined;
    return { named: namedBy(call, cwd), ...present({ files, hosts }) };
  }
  if (call.arguments === undefined) return undefined;
  const named = namedBy(call, cwd);
  const hosts = hostsIn(argumentStrings(call.arguments).slice(0, HOSTS_MAX).join('\n'));
  const urls = /:\/\//.test(named.text);
  return {
    named,
    ...(named.paths.size > 0 && !urls ? { files: [...named.paths].slice(0, FILES_MAX) } : {}),
    ...(urls && hosts.size > 0 ? { hosts } : {}),
  };
}

/** `www.a.example` for `a.example`, and the other way about. */
const related = (a: string, b: string): boolean =>
  a === b || a.endsWith(`.${b}`) || b.endsWith(`.${a}`);

function fileBeyond(asked: Asked, event: FlatEvent): boolean {
  const { files, named } = asked;
  if (files === undefined || event.file_path === undefined) return false;
  if (!CHANGING.has(event.file_op ?? '') || event.outcome === 'failure') return false;
  const touched = [event.file_path, event.file_target_path ?? event.file_path];
  return !touched.some(
    (file) =>
      SCRATCH.test(file) ||
      pathScore(named, file) > 0 ||
      files.some((one) => file === one || file.startsWith(`${one}/`) || beside(one, file)) ||
      // Into a folder that is named: `cp a b dir` touches `dir/a`.
      files.some((one) => path.posix.dirname(file) === one),
  );
}

function hostBeyond(asked: Asked, event: FlatEvent): boolean {
  const host = event.net_host?.toLowerCase();
  if (asked.hosts === undefined || asked.hosts.size === 0 || host === undefined) return false;
  if (event.net_op === 'dns' || host === 'localhost' || /^[\d.:]+$/.test(host)) return false;
  return ![...asked.hosts].some((one) => related(one, host));
}

/** What the kernel saw a call touch that its approval did not name; one entry a name. */
export function beyond(analysis: Analysis, review: Review): Beyond[] {
  const asked = askedOf(review);
  if (asked === undefined) return [];
  const out = new Map<string, Beyond>();
  for (const event of analysis.causedBy.get(review.callId) ?? []) {
    if (!isSeen(event)) continue;
    const what = fileBeyond(asked, event)
      ? event.file_path
      : hostBeyond(asked, event)
        ? event.net_host
        : undefined;
    if (what === undefined || out.has(what)) continue;
    out.set(what, { what, event, confidencePct: event.file_path === undefined ? 70 : 80 });
  }
  return [...out.values()];
}
