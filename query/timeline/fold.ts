/** Long lists of files, folded so that what matters stays in sight. */
import type { FileChange, FileFate } from './effects.ts';

/** Files of one folded directory, or one file. */
export type Folded =
  | { readonly type: 'file'; readonly file: FileChange }
  | {
      readonly type: 'directory';
      readonly path: string;
      readonly files: readonly FileChange[];
      readonly fates: ReadonlyMap<FileFate, number>;
    };

/** The directories of a path below `cwd`, or else from the root; the first of them is the fold. */
function keyOf(path: string, cwd: string | undefined): string | undefined {
  if (cwd !== undefined && cwd !== '/' && path.startsWith(`${cwd}/`)) {
    const slash = path.indexOf('/', cwd.length + 1);
    return slash < 0 ? undefined : path.slice(0, slash + 1);
  }
  const parts = path.split('/');
  return parts.length <= 3 ? undefined : `${parts.slice(0, 3).join('/')}/`;
}

/** The longest directory that all of them lie in. */
function commonDirectory(paths: readonly string[]): string {
  let prefix = paths[0] ?? '';
  for (const path of paths) {
    while (!path.startsWith(prefix)) prefix = prefix.slice(0, -1);
  }
  return prefix.slice(0, prefix.lastIndexOf('/') + 1);
}

function fold(files: readonly FileChange[]): Folded {
  const fates = new Map<FileFate, number>();
  for (const { fate } of files) fates.set(fate, (fates.get(fate) ?? 0) + 1);
  return { type: 'directory', path: commonDirectory(files.map(({ path }) => path)), files, fates };
}

/**
 * At most `max` lines for `files`: all of them where they fit; else each directory with more than
 * `max / 2` of them becomes one line, and what still is too much the last line. A file that failed
 * or was deleted or renamed, and one that the kernel did not show, stays in sight while there is
 * room. Order is kept: a directory stands where its first file did.
 */
export function foldFiles(
  files: readonly FileChange[],
  cwd: string | undefined,
  max: number,
): Folded[] {
  if (files.length <= max) return files.map((file) => ({ type: 'file', file }));
  const byKey = new Map<string, FileChange[]>();
  for (const file of files) {
    const key = keyOf(file.path, cwd) ?? file.path;
    const group = byKey.get(key);
    if (group === undefined) byKey.set(key, [file]);
    else group.push(file);
  }
  const lines = [...byKey.values()].flatMap((group): Folded[] =>
    group.length > max / 2 ? [fold(group)] : group.map((file) => ({ type: 'file', file })),
  );
  if (lines.length <= max) return lines;
  const weight = (line: Folded): number =>
    line.type === 'directory'
      ? 2
      : line.file.fate === 'created' || line.file.fate === 'read'
        ? 0
        : 1;
  const kept = new Set([...lines].sort((a, b) => weight(b) - weight(a)).slice(0, max - 1));
  const rest = lines
    .filter((line) => !kept.has(line))
    .flatMap((line) => (line.type === 'file' ? [line.file] : line.files));
  return [...lines.filter((line) => kept.has(line)), fold(rest)];
}
