/**
 * The history of each file in a session. A file is what stands at a path until it is deleted or
 * another is moved there; it keeps its history when it, or a folder above it, is renamed, and a
 * hard link is one more name for it. Symbolic links that were made in the session are followed;
 * the sensor writes paths as they were said.
 *
 * All is kept in one tree of names, so that moving a folder of any size is one step.
 */
import { eventId } from '#schemas';
import type { Analysis } from './analyse.ts';
import { type Attribution, UNATTRIBUTED } from './attribution.ts';
import { present } from './merge.ts';
import { type FlatEvent, isSeen, roleOf } from './view.ts';

/** One thing that happened to a file. */
export interface FileVersion {
  readonly eventId: string;
  readonly ns: string;
  /** create, write, rename …; `claimed` where only the agent says that it changed it. */
  readonly op: string;
  /** The path that was used for it. */
  readonly path: string;
  /** Where it was renamed or linked to, or from. */
  readonly otherPath?: string;
  readonly sha256?: string;
  readonly bytes?: number;
  readonly error?: string;
  readonly processId?: string;
  readonly attribution: Attribution;
  /** Whether the kernel showed it. */
  readonly seen: boolean;
  /** The content may be another afterwards. */
  readonly changes: boolean;
}

/** What stood at a path for a time: one file. */
export interface FileHistory {
  /** The event by which it came to be known. */
  readonly id: string;
  /** All names that it had, in order. */
  readonly paths: readonly string[];
  readonly versions: readonly FileVersion[];
  readonly gone: boolean;
}

export interface Files {
  /** All that were touched, by the first event. */
  readonly list: readonly FileHistory[];
  /** The files that had this name at some time, in order of their begin. */
  readonly at: (path: string) => readonly FileHistory[];
}

interface FileDraft {
  readonly id: string;
  readonly paths: Set<string>;
  readonly versions: FileVersion[];
  /** Calls of which the kernel showed a version, or one channel has claimed it already. */
  readonly knownOf: Set<string | undefined>;
  /** Names that it has now. */
  links: number;
  gone: boolean;
}

interface Node {
  children: Map<string, Node>;
  file?: FileDraft;
  /** Where a symbolic link that stands here points. */
  link?: string;
}

/** Names deeper than this stand as one name: a bound on hostile paths. */
const DEPTH_MAX = 64;
const LINKS_MAX = 16;

function partsOf(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.length <= DEPTH_MAX) return parts;
  return [...parts.slice(0, DEPTH_MAX), parts.slice(DEPTH_MAX).join('/')];
}

/** One of its names is gone; the file itself stays while it has another. */
function dropName(file: FileDraft | undefined): void {
  if (file !== undefined && --file.links <= 0) file.gone = true;
}

const newNode = (): Node => ({ children: new Map() });

function createTree() {
  const root = newNode();

  /** The node of a path. Links on the way are followed; one at its end only where `through`. */
  function walk(path: string, through: boolean): Node {
    let parts = partsOf(path);
    let node = root;
    let links = 0;
    for (let at = 0; at < parts.length; at++) {
      const name = parts[at] as string;
      let next = node.children.get(name);
      if (next === undefined) {
        next = newNode();
        node.children.set(name, next);
      }
      node = next;
      const last = at === parts.length - 1;
      if (node.link === undefined || (last && !through) || ++links > LINKS_MAX) continue;
      parts = [...partsOf(node.link), ...parts.slice(at + 1)].slice(0, 2 * DEPTH_MAX);
      node = root;
      at = -1;
    }
    return node;
  }

  /** Moves what stands at a name, with all below it, to another. */
  function move(from: string, to: string): void {
    const source = walk(from, false);
    const target = walk(to, false);
    if (source === target) return;
    target.children = source.children;
    source.children = new Map();
    if (source.link === undefined) delete target.link;
    else target.link = source.link;
    if (target.file !== source.file) dropName(target.file);
    if (source.file === undefined) delete target.file;
    else target.file = source.file;
    delete source.file;
    delete source.link;
  }
  return { walk, move };
}

const CHANGING = new Set(['create', 'write', 'truncate', 'rename', 'delete', 'link', 'symlink']);
const CLAIM = /^([a-z]+) (.+)$/s;

function versionOf(analysis: Analysis, event: FlatEvent, path: string): FileVersion {
  const id = eventId(event);
  const other = path === event.file_path ? event.file_target_path : event.file_path;
  return {
    eventId: id,
    ns: event.ts,
    op: event.file_op ?? '',
    path,
    attribution: analysis.attribution.get(id) ?? UNATTRIBUTED,
    seen: isSeen(event),
    changes: event.outcome !== 'failure' && CHANGING.has(event.file_op ?? ''),
    ...present({
      otherPath: other,
      sha256: event.file_sha256,
      bytes: event.file_bytes,
      error: event.error,
      processId: analysis.processes.of(id)?.id,
    }),
  };
}

function createHistory(analysis: Analysis) {
  const tree = createTree();
  const list: FileDraft[] = [];
  const byPath = new Map<string, FileDraft[]>();

  function name(file: FileDraft, path: string): void {
    if (file.paths.has(path)) return;
    file.paths.add(path);
    const known = byPath.get(path);
    if (known === undefined) byPath.set(path, [file]);
    else known.push(file);
  }
  function fileAt(node: Node, path: string, id: string): FileDraft {
    if (node.file === undefined || node.file.gone) {
      const [paths, knownOf] = [new Set<string>(), new Set<string | undefined>()];
      node.file = { id, paths, versions: [], knownOf, links: 1, gone: false };
      list.push(node.file);
    }
    name(node.file, path);
    return node.file;
  }
  function add(file: FileDraft, version: FileVersion): void {
    file.versions.push(version);
    const { toolCallId } = version.attribution;
    if (version.seen || toolCallId !== undefined) file.knownOf.add(toolCallId);
  }
  function touch(event: FlatEvent, path: string, through = true): FileDraft {
    const node = tree.walk(path, through);
    const file = fileAt(node, path, eventId(event));
    add(file, versionOf(analysis, event, path));
    return file;
  }
  /** A move or a link: both have two names. */
  function two(event: FlatEvent, path: string, target: string): void {
    const file = touch(event, path, event.file_op !== 'rename');
    if (event.outcome === 'failure') return;
    if (event.file_op === 'rename') {
      const replaced = tree.walk(target, false).file;
      if (replaced !== undefined && replaced !== file)
        add(replaced, versionOf(analysis, event, target));
      tree.move(path, target);
    } else {
      const node = tree.walk(target, false);
      if (node.file === file) return;
      dropName(node.file);
      node.file = file;
      file.links++;
    }
    name(file, target);
  }
  function symlink(event: FlatEvent, points: string, at: string): void {
    const node = tree.walk(at, false);
    const file = fileAt(node, at, eventId(event));
    add(file, versionOf(analysis, event, at));
    if (event.outcome !== 'failure') node.link = points;
  }
  return {
    tree,
    list,
    byPath,
    take(event: FlatEvent): void {
      const { file_path: path, file_target_path: target, file_op: op } = event;
      if (path === undefined || !path.startsWith('/')) return;
      if (op === 'symlink' && target !== undefined) symlink(event, path, target);
      else if (target !== undefined) two(event, path, target);
      else {
        const removes = (op === 'delete' || op === 'rmdir') && event.outcome !== 'failure';
        const node = tree.walk(path, !removes);
        const file = touch(event, path, !removes);
        if (!removes) return;
        dropName(file);
        delete node.file;
        delete node.link;
      }
    },
    claim(event: FlatEvent, path: string): void {
      const file = fileAt(tree.walk(path, true), path, eventId(event));
      const toolCallId = event.tool_call_id;
      if (file.knownOf.has(toolCallId)) return;
      add(file, {
        eventId: eventId(event),
        ns: event.ts,
        op: 'claimed',
        path,
        attribution: {
          method: 'native',
          confidencePct: 100,
          recorded: true,
          ...present({ toolCallId }),
        },
        seen: false,
        changes: false,
      });
    },
  };
}

/** Paths that a result says were changed, made absolute. */
export function claimedPaths(event: FlatEvent, cwd: string | undefined): string[] {
  return (event.changes ?? []).flatMap((change) => {
    const name = CLAIM.exec(change)?.[2] ?? change;
    if (name.startsWith('/')) return [name];
    return cwd === undefined ? [] : [`${cwd.replace(/\/$/, '')}/${name.replace(/^\.\//, '')}`];
  });
}

/** The files of a session. Its cost is that of the lengths of their paths. */
export function buildFiles(analysis: Analysis): Files {
  const history = createHistory(analysis);
  const cwdOf = new Map(analysis.calls.map(({ id, cwd }) => [id, cwd]));
  const cwd = analysis.events.find((event) => event.command_args !== undefined)?.cwd;
  for (const event of analysis.events) {
    if (roleOf(event) === 'effect') history.take(event);
    else if (event.changes !== undefined)
      for (const path of claimedPaths(event, cwdOf.get(event.tool_call_id ?? '') ?? cwd))
        history.claim(event, path);
  }
  const done = new Map<FileDraft, FileHistory>();
  const list = history.list.map((file) => {
    const { id, paths, versions, gone } = file;
    const finished = { id, paths: [...paths], versions, gone };
    done.set(file, finished);
    return finished;
  });
  return {
    list,
    at(path) {
      const found = new Set(history.byPath.get(path) ?? []);
      // A file that came here by the move of a folder above it has no event under this name.
      const here = history.tree.walk(path, true).file;
      if (here !== undefined) found.add(here);
      return [...found].flatMap((file) => done.get(file) ?? []);
    },
  };
}
