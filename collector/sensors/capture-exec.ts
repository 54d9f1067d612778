/**
 * Reads what a process wants to run, and then what it does run. At execve only the wish is known.
 * The first call that every C library and Go make in a new program is arch_prctl(ARCH_SET_FS):
 * there the kernel's own account of the program is read, before its first own instruction.
 */
import type { CaptureDeps, Captured, Handler } from './capture.ts';
import { signed } from './capture.ts';
import type { Process } from './processes.ts';
import type { Procfs } from './procfs.ts';
import { AT_EMPTY_PATH, AT_FDCWD, SYS } from './syscalls.ts';
import { FLAG_UNREADABLE, FRAME } from './wire.ts';

const NOTHING = Buffer.alloc(0);
const SLASH = 0x2f;
const X_OK = 1;
const EACCES = 13;
/** Places of one search along PATH that are kept to say why it failed. */
const PLACES_MAX = 64;

/** An execve whose success is not known yet. */
export interface PendingExec {
  readonly argvLow: number;
  readonly argvHigh: number;
  readonly base: string;
  /** Where it was tried, absolute unless the directory is not known. */
  readonly places: readonly Buffer[];
}

export function execHandlers(deps: CaptureDeps): [number, Handler][] {
  return [
    [SYS.execve, attempt(deps, 0, undefined)],
    [SYS.execveat, attempt(deps, 1, 0)],
    [
      SYS.arch_prctl,
      (_call, process) => {
        if (process.pending === undefined) return [];
        const state = programState(deps, process, FRAME.execDone);
        process.pending = undefined;
        process.threaded = false;
        return [state];
      },
    ],
    [
      SYS.exit_group,
      (call) => [{ type: FRAME.exiting, a: call.low(0) & 0xff, b: 0, flags: 0, parts: [] }],
    ],
  ];
}

/** `path` is the index of the path argument, before that of the vector. */
function attempt(deps: CaptureDeps, path: number, dirfdAt: number | undefined): Handler {
  const { memory, procfs } = deps;
  return (call, process) => {
    const { pid } = process;
    const dirfd = dirfdAt === undefined ? AT_FDCWD : signed(call.low(dirfdAt));
    const vector = call.address(path + 1);
    const [text, argv] = memory.command(pid, call.address(path), vector);
    const byFd = text?.length === 0 && dirfdAt !== undefined && (call.low(4) & AT_EMPTY_PATH) !== 0;
    const name = byFd ? procfs.directory(pid, dirfd) : (text ?? NOTHING);
    const dir = name[0] === SLASH ? NOTHING : procfs.directory(pid, dirfd);
    const base = name.toString('latin1', name.lastIndexOf(SLASH) + 1);
    const before = process.pending;
    // A search along PATH tries the same name with the same vector in one place after another.
    const continues =
      before?.argvLow === vector.low && before.argvHigh === vector.high && before.base === base;
    const settled =
      before === undefined || continues ? [] : [programState(deps, process, FRAME.execSettle)];
    const place =
      dir.length === 0 ? Buffer.from(name) : Buffer.concat([dir, Buffer.from('/'), name]);
    const places = continues ? [...before.places.slice(1 - PLACES_MAX), place] : [place];
    process.pending = { argvLow: vector.low, argvHigh: vector.high, base, places };
    process.dns = undefined;
    const tried: Captured = {
      type: FRAME.execTry,
      a: 0,
      b: continues ? 1 : 0,
      flags: text === undefined ? FLAG_UNREADABLE : 0,
      parts: [dir, name, argv ?? NOTHING],
    };
    return [...settled, tried];
  };
}

/** The kernel's own account of the program that a process runs, and why an exec may have failed. */
export function programState(deps: CaptureDeps, process: Process, type: number): Captured {
  const { procfs, keysOf } = deps;
  const { pid } = process;
  const parts = [procfs.link(pid, 'exe'), procfs.link(pid, 'cwd'), procfs.file(pid, 'cmdline')];
  const a = type === FRAME.execSettle ? execError(procfs, process.pending, pid) : 0;
  return { type, a, b: 0, flags: 0, parts: [...parts, keysOf(pid)] };
}

/**
 * Why a search failed, as execvp(3) reports it: EACCES if any place gave it, else what the last one
 * gave; 0 where a file was there that could be run, so that the reason is another one. `root` is
 * the process whose root directory counts.
 */
export function execError(procfs: Procfs, pending: PendingExec | undefined, root: number): number {
  let last = 0;
  let denied = false;
  for (const place of pending?.places ?? []) {
    last = procfs.access(root, AT_FDCWD, place, X_OK);
    if (last === 0) return 0;
    denied ||= last === EACCES;
  }
  return denied ? EACCES : last;
}
