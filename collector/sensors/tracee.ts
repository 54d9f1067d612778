/**
 * Reads a stopped process: its memory, and the kernel's state of it under /proc. Everything is
 * read before the call is let go on, and nothing here writes. Returned buffers are views on one
 * scratch area: they are valid until the next stop.
 */
import { addressOf, errno, type Libc } from './native.ts';
import { AT_FDCWD } from './syscalls.ts';

/** Longer than any path that the kernel takes (PATH_MAX is 4,096). */
const STRING_BYTES_MAX = 4096;
/** First read of a string: most paths are shorter, and it rarely crosses into a second page. */
const FIRST_READ_BYTES = 256;
/** The kernel's own limit of one argument (MAX_ARG_STRLEN). */
const ARGUMENT_BYTES_MAX = 128 * 1024;
/** Pointers of an argument vector that are read at once, and strings that are read at once. */
const VECTOR_COUNT = 64;
/** The kernel takes no more than 6 MiB of arguments and environment together. */
const ARGUMENTS_BYTES_MAX = 6 * 1024 * 1024;
const SCRATCH_BYTES = 512 * 1024;
const LINK_BYTES_MAX = 8192;
const EINTR = 4;

/** A 64-bit register: two halves, so that no big integer is made on the way. */
export interface Address {
  readonly low: number;
  readonly high: number;
}

const NOTHING = Buffer.alloc(0);

export interface Tracee {
  /** Begins a new stop: forgets what was read for the last one. */
  reset(): void;
  /** A C string; undefined where the memory can't be read. */
  string(pid: number, at: Address): Buffer | undefined;
  /** Two C strings in one read. */
  strings(pid: number, a: Address, b: Address): [Buffer | undefined, Buffer | undefined];
  /** `size` bytes or as many as are there; undefined where none can be read. */
  bytes(pid: number, at: Address, size: number): Buffer | undefined;
  /** An argument vector as NUL-ended strings; undefined where it can't be read. */
  arguments(pid: number, at: Address): Buffer | undefined;
  /** The target of /proc/PID/`name`; empty where it can't be read. */
  link(pid: number, name: string): Buffer;
  /** The directory that a path starts from: dirfd, or the working directory. */
  directory(pid: number, dirfd: number): Buffer;
  /** The whole of /proc/PID/`name`; empty where it can't be read. */
  file(pid: number, name: string): Buffer;
  /** access(2) on the path as `pid` sees it: 0 or an errno. */
  access(pid: number, dirfd: number, path: Buffer, mode: number): number;
}

export function createTracee(libc: Libc): Tracee {
  const scratch = Buffer.alloc(SCRATCH_BYTES);
  const base = addressOf(scratch);
  const local = Buffer.alloc(4096);
  const remote = Buffer.alloc(4096);
  const pathBytes = Buffer.alloc(2 * STRING_BYTES_MAX + 256);
  let used = 0;

  /** A part of the scratch area; a large one gets a buffer of its own. */
  const room = (size: number): Buffer => {
    if (used + size > SCRATCH_BYTES) return Buffer.alloc(size);
    used += size;
    return scratch.subarray(used - size, used);
  };
  /** Returns what a read left over of the room that was taken last. */
  const giveBack = (into: Buffer, kept: number) => {
    if (into.buffer === scratch.buffer) used -= into.length - kept;
  };
  const setRemote = (index: number, low: number, high: number, size: number) => {
    remote.writeUInt32LE(low >>> 0, index * 16);
    remote.writeUInt32LE(high >>> 0, index * 16 + 4);
    remote.writeUInt32LE(size, index * 16 + 8);
    remote.writeUInt32LE(0, index * 16 + 12);
  };
  /** Reads `count` remote pieces one behind the other; the number of bytes, 0 where none. */
  const readPieces = (pid: number, into: Buffer, count: number): number => {
    const at =
      into.buffer === scratch.buffer
        ? base + BigInt(into.byteOffset - scratch.byteOffset)
        : addressOf(into);
    local.writeBigUInt64LE(at, 0);
    local.writeUInt32LE(into.length, 8);
    local.writeUInt32LE(0, 12);
    const got = libc.processVmReadv(pid, local, 1, remote, count, 0);
    if (got > 0) return got;
    return count === 1 ? readByFile(pid, into) : 0;
  };
  /** The way for kernels without process_vm_readv, or where a filter refuses it. */
  const readByFile = (pid: number, into: Buffer): number => {
    const high = remote.readUInt32LE(4);
    // Nothing of a user process lies beyond 2^47 on x86_64 (2^56 with five levels, not used).
    if (high >= 0x8000) return 0;
    const fd = libc.open(procPath(pid, 'mem'), 0, 0);
    if (fd < 0) return 0;
    const at = high * 0x1_0000_0000 + remote.readUInt32LE(0);
    const got = libc.pread(fd, into, Math.min(into.length, remote.readUInt32LE(8)), at);
    libc.close(fd);
    return Math.max(got, 0);
  };
  const procPath = (pid: number, name: string): Buffer => {
    const length = pathBytes.write(`/proc/${pid}/${name}`, 'latin1');
    pathBytes[length] = 0;
    return pathBytes;
  };

  const bytes = (pid: number, at: Address, size: number): Buffer | undefined => {
    const into = room(size);
    setRemote(0, at.low, at.high, size);
    const got = readPieces(pid, into, 1);
    return got > 0 ? into.subarray(0, got) : undefined;
  };
  /** A string whose first `first` bytes are there and hold no end. */
  const restOf = (pid: number, at: Address, first: Buffer, most: number): Buffer => {
    const more = bytes(pid, plus(at, first.length), most - first.length);
    if (more === undefined) return Buffer.from(first);
    const end = more.indexOf(0);
    return Buffer.concat([first, end < 0 ? more : more.subarray(0, end)]);
  };
  const string = (pid: number, at: Address): Buffer | undefined => {
    const first = bytes(pid, at, FIRST_READ_BYTES);
    if (first === undefined) return undefined;
    const end = first.indexOf(0);
    if (end >= 0) return first.subarray(0, end);
    return restOf(pid, at, first, STRING_BYTES_MAX);
  };

  const pointers = (pid: number, at: Address): Address[] | undefined => {
    const found: Address[] = [];
    for (;;) {
      const got = bytes(pid, plus(at, 8 * found.length), 8 * VECTOR_COUNT);
      if (got === undefined) return found.length === 0 ? undefined : found;
      for (let i = 0; i + 8 <= got.length; i += 8) {
        const pointer = { low: got.readUInt32LE(i), high: got.readUInt32LE(i + 4) };
        if (pointer.low === 0 && pointer.high === 0) return found;
        found.push(pointer);
      }
      if (got.length < 8 || found.length * 8 > ARGUMENTS_BYTES_MAX) return found;
    }
  };
  const argumentsAt = (pid: number, at: Address): Buffer | undefined => {
    if (at.low === 0 && at.high === 0) return NOTHING;
    const list = pointers(pid, at);
    if (list === undefined) return undefined;
    const strings: Buffer[] = [];
    let total = 0;
    for (let i = 0; i < list.length && total < ARGUMENTS_BYTES_MAX; i += VECTOR_COUNT) {
      for (const text of argumentStrings(pid, list.slice(i, i + VECTOR_COUNT))) {
        strings.push(text, END);
        total += text.length + 1;
      }
    }
    return Buffer.concat(strings);
  };
  /** Strings of up to VECTOR_COUNT pointers, in one read where none is long. */
  const argumentStrings = (pid: number, list: readonly Address[]): Buffer[] => {
    const saved = used;
    const into = room(list.length * FIRST_READ_BYTES);
    list.forEach((at, i) => {
      setRemote(i, at.low, at.high, FIRST_READ_BYTES);
    });
    const got = readPieces(pid, into, list.length);
    const strings = list.map((at, i) => {
      const piece = into.subarray(i * FIRST_READ_BYTES, (i + 1) * FIRST_READ_BYTES);
      const first = (i + 1) * FIRST_READ_BYTES <= got ? piece : bytes(pid, at, FIRST_READ_BYTES);
      if (first === undefined) return NOTHING;
      const end = first.indexOf(0);
      if (end >= 0) return Buffer.from(first.subarray(0, end));
      return Buffer.from(restOf(pid, at, first, ARGUMENT_BYTES_MAX));
    });
    used = saved;
    return strings;
  };

  const link = (pid: number, name: string): Buffer => {
    const into = room(LINK_BYTES_MAX);
    const got = libc.readlink(procPath(pid, name), into, LINK_BYTES_MAX);
    giveBack(into, Math.max(got, 0));
    return got > 0 ? into.subarray(0, got) : NOTHING;
  };
  const file = (pid: number, name: string): Buffer => {
    const fd = libc.open(procPath(pid, name), 0, 0);
    if (fd < 0) return NOTHING;
    const pieces: Buffer[] = [];
    for (;;) {
      const into = room(64 * 1024);
      const got = libc.read(fd, into, into.length);
      if (got < 0 && errno() === EINTR) continue;
      giveBack(into, Math.max(got, 0));
      if (got > 0) pieces.push(into.subarray(0, got));
      // The kernel fills the buffer as long as there is more.
      if (got < into.length) break;
    }
    libc.close(fd);
    return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
  };
  const access = (pid: number, dirfd: number, path: Buffer, mode: number): number => {
    const absolute = path[0] === 0x2f;
    const from = absolute ? 'root' : dirfd === AT_FDCWD ? 'cwd' : `fd/${dirfd}`;
    const length = pathBytes.write(`/proc/${pid}/${from}${absolute ? '' : '/'}`, 'latin1');
    if (length + path.length >= pathBytes.length) return ENAMETOOLONG;
    path.copy(pathBytes, length);
    pathBytes[length + path.length] = 0;
    return libc.faccessat(AT_FDCWD, pathBytes, mode, 0) === 0 ? 0 : errno();
  };

  return {
    reset() {
      used = 0;
    },
    string,
    strings: (pid, a, b) => [string(pid, a), string(pid, b)],
    bytes,
    arguments: argumentsAt,
    link,
    directory: (pid, dirfd) => link(pid, dirfd === AT_FDCWD ? 'cwd' : `fd/${dirfd}`),
    file,
    access,
  };
}

const END = Buffer.from([0]);
const ENAMETOOLONG = 36;

function plus(at: Address, bytes: number): Address {
  const low = at.low + bytes;
  return low < 0x1_0000_0000
    ? { low, high: at.high }
    : { low: low - 0x1_0000_0000, high: at.high + 1 };
}
