/** The kernel's own account of a process: its links and files under /proc, and paths as it sees
 * them. Nothing here writes. Returned buffers are valid until the next stop (`memory.ts`). */
import { readdirSync, statSync } from 'node:fs';
import type { Scratch } from './memory.ts';
import { errno, type Libc } from './native.ts';
import { AT_FDCWD } from './syscalls.ts';

const LINK_BYTES_MAX = 8192;
const FILE_CHUNK_BYTES = 64 * 1024;
const PATH_BYTES_MAX = 16 * 1024;
const EINTR = 4;
const ENAMETOOLONG = 36;
const NOTHING = Buffer.alloc(0);
/** Field 52 of /proc/PID/stat, counted from the state, which is the first after the name. */
const STAT_EXIT_CODE_INDEX = 49;

export interface Procfs {
  /** The target of /proc/PID/`name`; empty where it can't be read. */
  link(pid: number, name: string): Buffer;
  /** The directory that a path starts from: dirfd, or the working directory. */
  directory(pid: number, dirfd: number): Buffer;
  /** The whole of /proc/PID/`name`; empty where it can't be read. */
  file(pid: number, name: string): Buffer;
  /** A number of /proc/PID/status; 0 where it can't be read. */
  status(pid: number, name: string): number;
  /** How many threads a process has; 1 where it can't be seen. */
  threads(pid: number): number;
  /** The wait status of a process that is dead and was not waited for. */
  zombieStatus(pid: number): number | undefined;
  /** The living processes below `pid`, by one look at all of /proc; dead ones do not count. */
  descendants(pid: number): number[];
  /** access(2) on `path` as `pid` sees it: 0 or an errno. */
  access(pid: number, dirfd: number, path: Buffer, mode: number): number;
}

export function createProcfs(libc: Libc, scratch: Scratch): Procfs {
  const name = Buffer.alloc(PATH_BYTES_MAX);
  const pathOf = (pid: number, file: string): Buffer => {
    name[name.write(`/proc/${pid}/${file}`, 'latin1')] = 0;
    return name;
  };
  const link = (pid: number, file: string): Buffer => {
    const into = scratch.room(LINK_BYTES_MAX);
    const got = libc.readlink(pathOf(pid, file), into, LINK_BYTES_MAX);
    scratch.giveBack(into, Math.max(got, 0));
    return got > 0 ? into.subarray(0, got) : NOTHING;
  };
  const file = (pid: number, which: string): Buffer => {
    const fd = libc.open(pathOf(pid, which), 0, 0);
    if (fd < 0) return NOTHING;
    const whole = readAll(libc, scratch, fd);
    libc.close(fd);
    return whole;
  };
  return {
    link,
    file,
    directory: (pid, dirfd) => link(pid, dirfd === AT_FDCWD ? 'cwd' : `fd/${dirfd}`),
    status(pid, field) {
      const text = file(pid, 'status').toString('latin1');
      const at = text.indexOf(`\n${field}:`);
      return at < 0 ? 0 : Number.parseInt(text.slice(at + field.length + 2), 10) || 0;
    },
    descendants(pid) {
      const children = new Map<number, number[]>();
      for (const name of readdirSync('/proc')) {
        if (!/^\d+$/.test(name)) continue;
        const [state = 'X', ppid] = statFields(file(Number(name), 'stat'));
        if (state !== 'Z' && state !== 'X')
          children.set(Number(ppid), [...(children.get(Number(ppid)) ?? []), Number(name)]);
      }
      const below: number[] = [];
      for (let next = children.get(pid) ?? []; next.length > 0; ) {
        below.push(...next);
        next = next.flatMap((parent) => children.get(parent) ?? []);
      }
      return below;
    },
    // A directory has a link for itself, one for its name and one for each directory in it.
    threads: (pid) => (statSync(`/proc/${pid}/task`, { throwIfNoEntry: false })?.nlink ?? 3) - 2,
    zombieStatus(pid) {
      const fields = statFields(file(pid, 'stat'));
      const code = Number(fields[STAT_EXIT_CODE_INDEX]);
      return fields[0] === 'Z' && Number.isInteger(code) ? code >>> 0 : undefined;
    },
    access(pid, dirfd, path, mode) {
      const absolute = path[0] === 0x2f;
      const from = absolute ? 'root' : dirfd === AT_FDCWD ? 'cwd/' : `fd/${dirfd}/`;
      const length = name.write(`/proc/${pid}/${from}`, 'latin1');
      if (length + path.length >= name.length) return ENAMETOOLONG;
      path.copy(name, length);
      name[length + path.length] = 0;
      return libc.faccessat(AT_FDCWD, name, mode, 0) === 0 ? 0 : errno();
    },
  };
}

/** The fields of /proc/PID/stat from the state on; the name before them may hold anything. */
function statFields(stat: Buffer): string[] {
  const text = stat.toString('latin1');
  return text
    .slice(text.lastIndexOf(')') + 2)
    .trim()
    .split(' ');
}

function readAll(libc: Libc, scratch: Scratch, fd: number): Buffer {
  const pieces: Buffer[] = [];
  for (;;) {
    const into = scratch.room(FILE_CHUNK_BYTES);
    const got = libc.read(fd, into, into.length);
    if (got < 0 && errno() === EINTR) continue;
    scratch.giveBack(into, Math.max(got, 0));
    if (got > 0) pieces.push(into.subarray(0, got));
    // The kernel fills the buffer as long as there is more.
    if (got < into.length) break;
  }
  return pieces.length === 1 ? (pieces[0] ?? NOTHING) : Buffer.concat(pieces);
}
