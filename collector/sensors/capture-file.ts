/** Reads the calls that change files: which, by which name, with which mode. */
import type { CaptureDeps, Captured, Handler } from './capture.ts';
import { signed } from './capture.ts';
import type { Address } from './memory.ts';
import { FILE_SHAPES } from './shapes.ts';
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  O_CREAT,
  O_EXCL,
  O_TMPFILE_BIT,
  O_TRUNC,
  O_WRITE_MASK,
  O_WRONLY,
  SYS,
} from './syscalls.ts';
import { FILE_OPS, type FileOp, FLAG_TMPFILE, FLAG_UNREADABLE, FRAME, NO_NUMBER } from './wire.ts';

const NOTHING = Buffer.alloc(0);
const SLASH = 0x2f;
const F_OK = 0;
const MODE_BITS = 0o7777;
/** struct open_how up to its flags and mode. */
const OPEN_HOW_BYTES = 16;

const fileIndex = new Map<FileOp, number>(FILE_OPS.map((op, index) => [op, index]));
const indexOf = (op: FileOp) => fileIndex.get(op) ?? 0;

export function fileHandlers(deps: CaptureDeps): [number, Handler][] {
  const shaped = FILE_SHAPES.map(([number, shape]): [number, Handler] => [
    number,
    (call, process) => {
      const mode = shape.mode === undefined ? NO_NUMBER : call.low(shape.mode) & MODE_BITS;
      const first = { at: call.address(shape.path), dirfd: fd(call, shape.dirfd) };
      if (shape.path2 === undefined) {
        const made = one(deps, process.pid, shape.op, mode, first);
        return shape.op === 'mkdir' && exists(deps, process.pid, first.dirfd, made) ? [] : [made];
      }
      const second = { at: call.address(shape.path2), dirfd: fd(call, shape.dirfd2) };
      return [two(deps, process.pid, shape.op, first, second)];
    },
  ]);
  const unlinkat: Handler = (call, process) => {
    const op = (call.low(2) & AT_REMOVEDIR) === 0 ? 'delete' : 'rmdir';
    return [one(deps, process.pid, op, NO_NUMBER, { at: call.address(1), dirfd: fd(call, 0) })];
  };
  const fchmod: Handler = (call, process) => {
    const path = deps.procfs.directory(process.pid, signed(call.low(0)));
    const mode = call.low(1) & MODE_BITS;
    return [{ type: FRAME.file, a: indexOf('mode'), b: mode, flags: 0, parts: [NOTHING, path] }];
  };
  return [...shaped, ...openHandlers(deps), [SYS.unlinkat, unlinkat], [SYS.fchmod, fchmod]];
}

const fd = (call: { low(i: number): number }, argument: number | undefined) =>
  argument === undefined ? AT_FDCWD : signed(call.low(argument));

/** One path argument: where it starts and where its text lies. */
interface PathArgument {
  readonly dirfd: number;
  readonly at: Address;
}

/** The directory that a path is relative to; empty where it is absolute. */
function directoryOf(deps: CaptureDeps, pid: number, dirfd: number, path: Buffer): Buffer {
  return path[0] === SLASH ? NOTHING : deps.procfs.directory(pid, dirfd);
}

function one(
  deps: CaptureDeps,
  pid: number,
  op: FileOp,
  mode: number,
  path: PathArgument,
): Captured {
  const text = deps.memory.string(pid, path.at);
  const flags = text === undefined ? FLAG_UNREADABLE : 0;
  const parts =
    text === undefined ? [NOTHING, NOTHING] : [directoryOf(deps, pid, path.dirfd, text), text];
  return { type: FRAME.file, a: indexOf(op), b: mode, flags, parts };
}

/** What makes every directory on its way once more (mkdir -p) changes nothing: it fails. */
const exists = (deps: CaptureDeps, pid: number, dirfd: number, { flags, parts }: Captured) =>
  flags === 0 && deps.procfs.access(pid, dirfd, parts[1] ?? NOTHING, F_OK) === 0;

function two(
  deps: CaptureDeps,
  pid: number,
  op: FileOp,
  first: PathArgument,
  second: PathArgument,
): Captured {
  const [a, b] = deps.memory.strings(pid, first.at, second.at);
  const flags = a === undefined || b === undefined ? FLAG_UNREADABLE : 0;
  const from = a ?? NOTHING;
  const to = b ?? NOTHING;
  // The text of a symbolic link is relative to the link, not to a directory of the process.
  const dir = op === 'symlink' ? NOTHING : directoryOf(deps, pid, first.dirfd, from);
  const parts = [dir, from, directoryOf(deps, pid, second.dirfd, to), to];
  return { type: FRAME.file, a: indexOf(op), b: NO_NUMBER, flags, parts };
}

function openHandlers(deps: CaptureDeps): [number, Handler][] {
  const { memory } = deps;
  return [
    [
      SYS.openat,
      (call, { pid }) =>
        open(deps, pid, { dirfd: fd(call, 0), at: call.address(1) }, call.low(2), call.low(3)),
    ],
    [
      SYS.open,
      (call, { pid }) =>
        open(deps, pid, { dirfd: AT_FDCWD, at: call.address(0) }, call.low(1), call.low(2)),
    ],
    [
      SYS.creat,
      (call, { pid }) => {
        const flags = O_CREAT | O_WRONLY | O_TRUNC;
        return open(deps, pid, { dirfd: AT_FDCWD, at: call.address(0) }, flags, call.low(1));
      },
    ],
    [
      SYS.openat2,
      (call, { pid }) => {
        const how = memory.bytes(pid, call.address(2), OPEN_HOW_BYTES);
        if (how === undefined || how.length < OPEN_HOW_BYTES) return [];
        const path = { dirfd: fd(call, 0), at: call.address(1) };
        return open(deps, pid, path, how.readUInt32LE(0), how.readUInt32LE(8));
      },
    ],
  ];
}

/** Whether an open creates its file is found out before it is let go on. */
function open(
  deps: CaptureDeps,
  pid: number,
  path: PathArgument,
  flags: number,
  mode: number,
): Captured[] {
  if ((flags & O_WRITE_MASK) === 0) return [];
  const unnamed = (flags & O_TMPFILE_BIT) !== 0;
  if (!unnamed && (flags & O_CREAT) === 0) return [one(deps, pid, 'write', NO_NUMBER, path)];
  const created = one(deps, pid, 'create', mode & MODE_BITS, path);
  if (unnamed) return [{ ...created, flags: created.flags | FLAG_TMPFILE }];
  // O_EXCL on a file that exists fails, so what succeeds is a creation.
  if ((flags & O_EXCL) !== 0 || created.flags !== 0) return [created];
  const name = created.parts[1] ?? NOTHING;
  if (deps.procfs.access(pid, path.dirfd, name, F_OK) !== 0) return [created];
  return [{ ...created, a: indexOf('write'), b: NO_NUMBER }];
}
