/**
 * Where the arguments of calls stand that are read by a table: file calls and guarded calls. Both
 * forms of the supervisor read by it; the native one gets it as bytes.
 */
import { GUARDED_SHAPES } from './guarded.ts';
import { SYS } from './syscalls.ts';
import { FILE_OPS, type FileOp } from './wire.ts';

/** Indexes of arguments; without a `dirfd` a path starts at the working directory. */
export interface FileShape {
  readonly op: FileOp;
  readonly path: number;
  readonly dirfd?: number;
  readonly path2?: number;
  readonly dirfd2?: number;
  readonly mode?: number;
}

export const FILE_SHAPES: readonly (readonly [number, FileShape])[] = [
  [SYS.rename, { op: 'rename', path: 0, path2: 1 }],
  [SYS.renameat, { op: 'rename', dirfd: 0, path: 1, dirfd2: 2, path2: 3 }],
  [SYS.renameat2, { op: 'rename', dirfd: 0, path: 1, dirfd2: 2, path2: 3 }],
  [SYS.link, { op: 'link', path: 0, path2: 1 }],
  [SYS.linkat, { op: 'link', dirfd: 0, path: 1, dirfd2: 2, path2: 3 }],
  [SYS.symlink, { op: 'symlink', path: 0, path2: 1 }],
  [SYS.symlinkat, { op: 'symlink', path: 0, dirfd2: 1, path2: 2 }],
  [SYS.unlink, { op: 'delete', path: 0 }],
  [SYS.rmdir, { op: 'rmdir', path: 0 }],
  [SYS.mkdir, { op: 'mkdir', path: 0, mode: 1 }],
  [SYS.mkdirat, { op: 'mkdir', dirfd: 0, path: 1, mode: 2 }],
  [SYS.truncate, { op: 'truncate', path: 0 }],
  [SYS.mknod, { op: 'mknod', path: 0, mode: 1 }],
  [SYS.mknodat, { op: 'mknod', dirfd: 0, path: 1, mode: 2 }],
  [SYS.chmod, { op: 'mode', path: 0, mode: 1 }],
  [SYS.fchmodat, { op: 'mode', dirfd: 0, path: 1, mode: 2 }],
  [SYS.fchmodat2, { op: 'mode', dirfd: 0, path: 1, mode: 2 }],
];

const NONE = 0xff;
const NO_PATH = 0xfe;
const GUARDED = 0xff;
const SHAPE_BYTES = 8;

/**
 * The table as `struct shape` of native/base.h, 8 bytes an entry: number u16 | op u8 (FILE_OPS or
 * 0xff) | path, dirfd, path2, dirfd2, mode u8 (0xff none; dirfd 0xfe: the text is no path).
 */
export function shapeBytes(): Buffer {
  const entry = (number: number, op: number, at: readonly (number | null | undefined)[]) => {
    const bytes = Buffer.alloc(SHAPE_BYTES);
    bytes.writeUInt16LE(number, 0);
    bytes[2] = op;
    at.forEach((index, i) => {
      bytes[3 + i] = index === null ? NO_PATH : (index ?? NONE);
    });
    return bytes;
  };
  return Buffer.concat([
    ...FILE_SHAPES.map(([number, { op, path, dirfd, path2, dirfd2, mode }]) =>
      entry(number, FILE_OPS.indexOf(op), [path, dirfd, path2, dirfd2, mode]),
    ),
    ...GUARDED_SHAPES.map(({ number, path, dirfd, path2, dirfd2 }) =>
      entry(number, GUARDED, [path, dirfd, path2, dirfd2, undefined]),
    ),
  ]);
}
