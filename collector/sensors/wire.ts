/**
 * What the supervisor writes and the collector reads: raw facts in frames, in the order in which
 * the kernel stopped the calls. All meaning is given on the collector's side (`interpret.ts`).
 *
 *     frame = length u32 | type u16 | flags u16 | number u32 | pid u32 | seconds u32
 *           | nanoseconds u32 | a u32 | b u32 | count u32 | count × (length u32 | bytes)
 *
 * All numbers are little-endian; `length` counts the bytes after itself; seconds and nanoseconds
 * are of the monotonic clock; `number` counts frames from 0, so that a hole can't pass unseen.
 * Strings are the tracee's own bytes: they need not be UTF-8 and never hold NUL, so a list of
 * them (argv, join keys) is one part in which each ends in NUL.
 */

export const FRAME = {
  /** The supervisor is ready; parts: JSON facts (`Hello`). */
  hello: 1,
  /** This rung can't work here; parts: JSON `LaunchFault`. The last frame. */
  refused: 2,
  /** A process seen for the first time: a = ppid; parts: join keys (orphans only). */
  process: 3,
  /** execve entry: b = 1 continues a search along PATH; parts: dir, path, argv. */
  execTry: 4,
  /** The new program's first stop; parts: exe, cwd, cmdline (NUL-ended strings), join keys. */
  execDone: 5,
  /** A later sign of life of a process whose exec was never confirmed: a = why it may have
   * failed (errno, 0 unknown); the same parts. */
  execSettle: 6,
  /** a = index of FILE_OPS, b = mode or NO_NUMBER; parts: dir, path[, dir, path]. */
  file: 7,
  /** a = index of NET_OPS, b = IPPROTO or NO_NUMBER; parts: sockaddr, cwd, payload. */
  net: 8,
  /** exit_group entry: a = code. Only where the kernel gives no exit state by pidfd. */
  exiting: 9,
  /** A process is gone: a = wait status or NO_NUMBER. */
  exit: 10,
  /** A call that would go round the filter was answered ENOSYS: a = index of EVASIONS. */
  blocked: 11,
  /** The probe is over; what follows is the command's. */
  go: 12,
  /** The command could not be started: parts: JSON `LaunchFault`. */
  notStarted: 13,
  /** The command's main process is gone and all before it is written: a = wait status. */
  mainExit: 14,
  /** Recording ends here: a = processes that still run; parts: their ids as text. */
  end: 15,
  /** The command runs: its exec succeeded. */
  running: 16,
  /** A process ended whose exec was never confirmed: a = why it may have failed. */
  execLost: 17,
  /** A guarded call (`guarded.ts`): a = its number; parts: six registers of 8 bytes, and per
   * path of its shape: dir, path. */
  call: 18,
  /** The collector took nothing for too long: a = stops that were let go on unrecorded. */
  dropped: 19,
  /** A new supervisor has taken over from one that died: parts: why, as text. */
  resumed: 20,
} as const;

export const FILE_OPS = [
  'create',
  'write',
  'rename',
  'delete',
  'mode',
  'link',
  'symlink',
  'mkdir',
  'rmdir',
  'truncate',
  'mknod',
  'read',
] as const;
export type FileOp = (typeof FILE_OPS)[number];

export const NET_OPS = ['connect', 'bind', 'send'] as const;

export const EVASIONS = ['io_uring_setup', 'foreign_architecture'] as const;

/** The tracee's memory could not be read: the strings are missing. */
export const FLAG_UNREADABLE = 1;
/** An unnamed file in the directory `path` (O_TMPFILE). */
export const FLAG_TMPFILE = 2;
/** The caller had other threads, which can change what was read before the kernel reads it. */
export const FLAG_RACEABLE = 4;
/** Stands for "not known" in `a` and `b`. */
export const NO_NUMBER = 0xffffffff;

const HEADER_BYTES = 36;
/** Nothing that the kernel allows is longer: argv and environment are at most 6 MiB. */
const FRAME_BYTES_MAX = 64 * 1024 * 1024;

const NOTHING = Buffer.alloc(0);

/** What `hello` carries. */
export interface Hello {
  readonly pid: number;
  readonly monotonicNs: string;
  readonly wallNs: string;
  readonly exitState: boolean;
  readonly noNewPrivs: boolean;
  /** How reads of secret files are seen; absent where they are not. */
  readonly secretReads?: 'fanotify' | 'inotify' | 'none';
}

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly number: number;
  readonly pid: number;
  readonly sec: number;
  readonly nsec: number;
  readonly a: number;
  readonly b: number;
  readonly parts: readonly Buffer[];
}

export interface FrameWriter {
  /** Takes the time of what is written next: now. */
  stamp(): void;
  put(
    type: number,
    pid: number,
    a: number,
    b: number,
    flags: number,
    parts: readonly Buffer[],
  ): void;
  flush(): void;
  readonly pending: () => boolean;
  /** How long the oldest frame waits to be written, by the times of the stops. */
  readonly ageMs: () => number;
}

/**
 * Collects frames in one buffer of `bytesMax` and hands them to `write`, which must take all of
 * them (it blocks: this is the back-pressure on the agent).
 */
export function createFrameWriter(
  write: (bytes: Buffer) => void,
  bytesMax = 64 * 1024,
): FrameWriter {
  const buffer = Buffer.alloc(bytesMax);
  let used = 0;
  let number = 0;
  let time: readonly [number, number] = process.hrtime();
  let oldest = time;
  const flush = () => {
    if (used === 0) return;
    const bytes = used;
    used = 0;
    write(buffer.subarray(0, bytes));
  };
  const encode = (to: Buffer, at: number, length: number, put: PutArguments) => {
    to.writeUInt32LE(length - 4, at);
    to.writeUInt16LE(put.type, at + 4);
    to.writeUInt16LE(put.flags, at + 6);
    to.writeUInt32LE(number, at + 8);
    to.writeUInt32LE(put.pid, at + 12);
    to.writeUInt32LE(time[0], at + 16);
    to.writeUInt32LE(time[1], at + 20);
    to.writeUInt32LE(put.a >>> 0, at + 24);
    to.writeUInt32LE(put.b >>> 0, at + 28);
    to.writeUInt32LE(put.parts.length, at + 32);
    let offset = at + HEADER_BYTES;
    for (const part of put.parts) {
      to.writeUInt32LE(part.length, offset);
      part.copy(to, offset + 4);
      offset += 4 + part.length;
    }
    number = (number + 1) >>> 0;
  };
  return {
    stamp() {
      time = process.hrtime();
    },
    put(type, pid, a, b, flags, parts) {
      let length = HEADER_BYTES;
      for (const part of parts) length += 4 + part.length;
      if (used + length > bytesMax) flush();
      const put = { type, pid, a, b, flags, parts };
      if (length > bytesMax) {
        const large = Buffer.alloc(length);
        encode(large, 0, length, put);
        write(large);
        return;
      }
      if (used === 0) oldest = time;
      encode(buffer, used, length, put);
      used += length;
    },
    flush,
    pending: () => used > 0,
    ageMs: () => (used === 0 ? 0 : (time[0] - oldest[0]) * 1e3 + (time[1] - oldest[1]) / 1e6),
  };
}

interface PutArguments {
  readonly type: number;
  readonly pid: number;
  readonly a: number;
  readonly b: number;
  readonly flags: number;
  readonly parts: readonly Buffer[];
}

export interface FrameReader {
  /** The whole frames that `chunk` completes. Throws `Error` if the bytes are not frames. */
  push(chunk: Buffer): Frame[];
  /** Bytes of a frame that was never completed. */
  readonly restBytes: () => number;
}

/**
 * Cuts a byte stream into frames; the parts are views on the chunks, so use them at once. `mark` is
 * what a supervisor writes first that takes over from one that was killed: a torn frame before it
 * is given up. It is random and unknown to the command, so that no frame can hold it.
 */
export function createFrameReader(mark?: Buffer): FrameReader {
  let pieces: Buffer[] = [];
  let held = 0;
  let need = 4;
  const take = (bytes: Buffer): Frame[] => {
    const frames: Frame[] = [];
    let at = 0;
    need = 4;
    while (bytes.length - at >= 4) {
      const length = bytes.readUInt32LE(at);
      if (length > FRAME_BYTES_MAX || length < HEADER_BYTES - 4)
        throw new Error(`the supervisor's stream is broken: frame of ${length} bytes`);
      if (bytes.length - at < 4 + length) {
        need = 4 + length;
        break;
      }
      frames.push(decodeFrame(bytes, at, at + 4 + length));
      at += 4 + length;
    }
    pieces = at === bytes.length ? [] : [bytes.subarray(at)];
    held = bytes.length - at;
    return frames;
  };
  /** Whether the mark is in `chunk`, or begins in what is held and ends in it. */
  const isMarked = (chunk: Buffer): boolean => {
    if (mark === undefined) return false;
    const before = pieces.at(-1)?.subarray(1 - mark.length) ?? NOTHING;
    const seam = Buffer.concat([before, chunk.subarray(0, mark.length - 1)]);
    return seam.includes(mark) || chunk.includes(mark);
  };
  const push = (chunk: Buffer): Frame[] => {
    const marked = isMarked(chunk);
    pieces.push(chunk);
    held += chunk.length;
    if (marked && mark !== undefined) {
      const all = Buffer.concat(pieces);
      const at = all.indexOf(mark);
      const frames = take(all.subarray(0, at));
      pieces = [];
      held = 0;
      need = 4;
      return [...frames, ...push(all.subarray(at + mark.length))];
    }
    if (held < need) return [];
    return take(pieces.length === 1 ? chunk : Buffer.concat(pieces));
  };
  return {
    push,
    restBytes: () => held,
  };
}

function decodeFrame(bytes: Buffer, at: number, end: number): Frame {
  const count = bytes.readUInt32LE(at + 32);
  const parts: Buffer[] = [];
  let offset = at + HEADER_BYTES;
  for (let i = 0; i < count; i++) {
    const length = offset + 4 <= end ? bytes.readUInt32LE(offset) : end;
    if (offset + 4 + length > end) throw new Error("the supervisor's stream is broken: part");
    parts.push(bytes.subarray(offset + 4, offset + 4 + length));
    offset += 4 + length;
  }
  return {
    type: bytes.readUInt16LE(at + 4),
    flags: bytes.readUInt16LE(at + 6),
    number: bytes.readUInt32LE(at + 8),
    pid: bytes.readUInt32LE(at + 12),
    sec: bytes.readUInt32LE(at + 16),
    nsec: bytes.readUInt32LE(at + 20),
    a: bytes.readUInt32LE(at + 24),
    b: bytes.readUInt32LE(at + 28),
    parts,
  };
}
