/**
 * Reads a stopped process's memory. Everything is read before the call is let go on. Returned
 * buffers are views on one scratch area: they are valid until the next stop.
 */
import { addressOf, type Libc } from './native.ts';

/** Longer than any path that the kernel takes (PATH_MAX is 4,096). */
const STRING_BYTES_MAX = 4096;
/** First read of a string: most are shorter, and it rarely crosses into a second page. */
const FIRST_READ_BYTES = 256;
/** The kernel's own limit of one argument (MAX_ARG_STRLEN). */
const ARGUMENT_BYTES_MAX = 128 * 1024;
/** Pointers of an argument vector that are read at once, and strings that are read at once. */
const VECTOR_COUNT = 64;
const VECTOR_BYTES = 8 * VECTOR_COUNT;
/** The kernel takes no more than 6 MiB of arguments and environment together. */
const ARGUMENTS_BYTES_MAX = 6 * 1024 * 1024;
const SCRATCH_BYTES = 512 * 1024;
/** struct iovec. */
const VECTOR_ENTRY_BYTES = 16;
/** User addresses of x86_64 lie below 2^47: the high half of an address is below this. */
const USER_HIGH_MAX = 0x8000;

/** A 64-bit register: two halves, so that no big integer is made on the way. */
export interface Address {
  readonly low: number;
  readonly high: number;
}

export const isNull = (at: Address): boolean => at.low === 0 && at.high === 0;

export function plus(at: Address, bytes: number): Address {
  const low = at.low + bytes;
  return low < 0x1_0000_0000
    ? { low, high: at.high }
    : { low: low - 0x1_0000_0000, high: at.high + 1 };
}

const NOTHING = Buffer.alloc(0);
const END = Buffer.from([0]);

/** Memory for what one stop reads: taken from one area that does not move. */
export interface Scratch {
  /** Begins a new stop: what was read for the last one is given up. */
  reset(): void;
  room(size: number): Buffer;
  /** Returns what is not kept of the room that was taken last. */
  giveBack(room: Buffer, kept: number): void;
  readonly addressOf: (room: Buffer) => bigint;
}

export function createScratch(): Scratch {
  const area = Buffer.alloc(SCRATCH_BYTES);
  const base = Number(addressOf(area));
  let used = 0;
  const inside = (room: Buffer) => room.buffer === area.buffer;
  return {
    reset() {
      used = 0;
    },
    room(size) {
      if (used + size > SCRATCH_BYTES) return Buffer.alloc(size);
      used += size;
      return area.subarray(used - size, used);
    },
    giveBack(room, kept) {
      if (inside(room)) used -= room.length - kept;
    },
    addressOf: (room) =>
      inside(room) ? BigInt(base + room.byteOffset - area.byteOffset) : addressOf(room),
  };
}

export interface Memory {
  /** `size` bytes or as many as are there; undefined where none can be read. */
  bytes(pid: number, at: Address, size: number): Buffer | undefined;
  /** A C string; undefined where the memory can't be read. */
  string(pid: number, at: Address): Buffer | undefined;
  /** Two C strings in one read, where both are short. */
  strings(pid: number, a: Address, b: Address): [Buffer | undefined, Buffer | undefined];
  /** A C string and a vector of them, as NUL-ended strings, in two reads where all are short. */
  command(pid: number, path: Address, argv: Address): [Buffer | undefined, Buffer | undefined];
}

/** Reads `count` pieces, one behind the other, into `into`; how many bytes, 0 where none. */
type ReadPieces = (pid: number, into: Buffer, count: number) => number;

interface Pieces {
  set(index: number, at: Address, size: number): void;
  readonly read: ReadPieces;
}

/** process_vm_readv(2), or /proc/PID/mem where a kernel or a policy has not got it. */
function createPieces(libc: Libc, scratch: Scratch): Pieces {
  const local = Buffer.alloc(4096);
  const remote = Buffer.alloc(4096);
  const readByFile = (pid: number, into: Buffer): number => {
    const high = remote.readUInt32LE(4);
    if (high >= USER_HIGH_MAX) return 0;
    const fd = libc.open(Buffer.from(`/proc/${pid}/mem\0`), 0, 0);
    if (fd < 0) return 0;
    const at = high * 0x1_0000_0000 + remote.readUInt32LE(0);
    const got = libc.pread(fd, into, Math.min(into.length, remote.readUInt32LE(8)), at);
    libc.close(fd);
    return Math.max(got, 0);
  };
  return {
    set(index, at, size) {
      const entry = index * VECTOR_ENTRY_BYTES;
      remote.writeUInt32LE(at.low, entry);
      remote.writeUInt32LE(at.high, entry + 4);
      remote.writeUInt32LE(size, entry + 8);
      remote.writeUInt32LE(0, entry + 12);
    },
    read(pid, into, count) {
      local.writeBigUInt64LE(scratch.addressOf(into), 0);
      local.writeUInt32LE(into.length, 8);
      const got = libc.processVmReadv(pid, local, 1, remote, count, 0);
      if (got > 0) return got;
      return count === 1 ? readByFile(pid, into) : 0;
    },
  };
}

export function createMemory(libc: Libc, scratch: Scratch): Memory {
  const pieces = createPieces(libc, scratch);
  const bytes = (pid: number, at: Address, size: number): Buffer | undefined => {
    const into = scratch.room(size);
    pieces.set(0, at, size);
    const got = pieces.read(pid, into, 1);
    return got > 0 ? into.subarray(0, got) : undefined;
  };
  /** Two pieces in one read; one after the other where the first is cut short. */
  const pair = (pid: number, a: Address, sizeA: number, b: Address, sizeB: number) => {
    const into = scratch.room(sizeA + sizeB);
    pieces.set(0, a, sizeA);
    pieces.set(1, b, sizeB);
    const got = pieces.read(pid, into, 2);
    if (got > sizeA) return [into.subarray(0, sizeA), into.subarray(sizeA, got)] as const;
    return [bytes(pid, a, sizeA), bytes(pid, b, sizeB)] as const;
  };
  /** The string that begins with `first`, of at most `most` bytes. */
  const finish = (pid: number, at: Address, first: Buffer | undefined, most: number) => {
    if (first === undefined) return undefined;
    const end = first.indexOf(0);
    if (end >= 0) return first.subarray(0, end);
    const more = bytes(pid, plus(at, first.length), most - first.length);
    if (more === undefined) return first;
    const last = more.indexOf(0);
    return Buffer.concat([first, last < 0 ? more : more.subarray(0, last)]);
  };
  const read = { bytes, finish, pieces, scratch };
  return {
    bytes,
    string: (pid, at) => finish(pid, at, bytes(pid, at, FIRST_READ_BYTES), STRING_BYTES_MAX),
    strings(pid, a, b) {
      const [one, two] = pair(pid, a, FIRST_READ_BYTES, b, FIRST_READ_BYTES);
      return [finish(pid, a, one, STRING_BYTES_MAX), finish(pid, b, two, STRING_BYTES_MAX)];
    },
    command(pid, path, argv) {
      const [text, vector] = isNull(argv)
        ? [bytes(pid, path, FIRST_READ_BYTES), undefined]
        : pair(pid, path, FIRST_READ_BYTES, argv, VECTOR_BYTES);
      const name = finish(pid, path, text, STRING_BYTES_MAX);
      return [name, vector === undefined ? undefined : readVector(read, pid, argv, vector)];
    },
  };
}

interface Reading {
  readonly bytes: (pid: number, at: Address, size: number) => Buffer | undefined;
  readonly finish: (
    pid: number,
    at: Address,
    first: Buffer | undefined,
    most: number,
  ) => Buffer | undefined;
  readonly pieces: Pieces;
  readonly scratch: Scratch;
}

/** The strings of a NULL-ended vector of pointers, whose first pointers are in `first`. */
function readVector(read: Reading, pid: number, at: Address, first: Buffer): Buffer {
  const strings: Buffer[] = [];
  let total = 0;
  for (let got: Buffer | undefined = first, done = 0; got !== undefined && got.length >= 8; ) {
    const list: Address[] = [];
    let ended = false;
    for (let i = 0; i + 8 <= got.length && !ended; i += 8) {
      const pointer = { low: got.readUInt32LE(i), high: got.readUInt32LE(i + 4) };
      ended = isNull(pointer);
      if (!ended) list.push(pointer);
    }
    for (const text of readStrings(read, pid, list)) {
      strings.push(text, END);
      total += text.length + 1;
    }
    if (ended || total > ARGUMENTS_BYTES_MAX) break;
    done += list.length;
    got = read.bytes(pid, plus(at, 8 * done), VECTOR_BYTES);
  }
  return Buffer.concat(strings);
}

/** The strings of up to VECTOR_COUNT pointers, copied, in one read where none is long. */
function readStrings(read: Reading, pid: number, list: readonly Address[]): Buffer[] {
  if (list.length === 0) return [];
  const into = read.scratch.room(list.length * FIRST_READ_BYTES);
  list.forEach((at, index) => {
    read.pieces.set(index, at, FIRST_READ_BYTES);
  });
  const got = read.pieces.read(pid, into, list.length);
  const strings = list.map((at, index) => {
    const end = (index + 1) * FIRST_READ_BYTES;
    const first =
      end <= got
        ? into.subarray(end - FIRST_READ_BYTES, end)
        : read.bytes(pid, at, FIRST_READ_BYTES);
    return Buffer.from(read.finish(pid, at, first, ARGUMENT_BYTES_MAX) ?? NOTHING);
  });
  return strings;
}
