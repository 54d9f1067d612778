/**
 * The spool: the collector's bounded memory on disk between the sensors and the network.
 *
 *     DIR/<stream id>/stream.json        identity and owner (process id and its start time)
 *     DIR/<stream id>/<first seq>.log    a segment: one record an event, in order
 *     DIR/<stream id>/released           the number of the first event not yet acknowledged
 *
 *     record = <CRC-32 of the line, 8 hex digits> SP <canonical line> LF
 *
 * `append` has written the record to the operating system when it returns, so that a killed
 * collector loses nothing that it had stamped. Against power loss the file is synced every
 * `syncMs`; what is younger may be lost, and the stream then has no close and says so. A torn
 * last record fails its CRC and is cut off when the spool is opened again.
 */
import fs from 'node:fs';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import type { Log } from '#schemas';
import type { StampedEvent, StreamIdentity } from './stamp.ts';

export interface SpoolSettings {
  readonly dir: string;
  /** Unreleased bytes of one stream; appending past it is refused. */
  readonly bytesMax: number;
  readonly segmentBytes: number;
  readonly syncMs: number;
}

export const SPOOL_DEFAULTS = {
  bytesMax: 1024 * 1024 * 1024,
  segmentBytes: 16 * 1024 * 1024,
  syncMs: 1000,
} as const;

/** One stored line on its way to the shipper. */
export interface SpooledLine {
  readonly seq: number;
  readonly bytes: Buffer;
}

export interface Spool {
  readonly identity: StreamIdentity;
  /** Writes events in order. False: the spool is full and nothing of `events` was taken. */
  append(events: readonly StampedEvent[]): boolean;
  /** Lines from the first unreleased one on, at most `bytesMax` bytes but at least one line. */
  peek(bytesMax: number): readonly SpooledLine[];
  /** Everything below `seq` is acknowledged and may be forgotten. */
  release(seq: number): void;
  /** Events that wait to be shipped. */
  readonly pending: number;
  readonly pendingBytes: number;
  /** Gives up ownership; removes the stream's folder when all is released and it is closed. */
  close(options: { finished: boolean }): void;
}

interface Segment {
  readonly file: string;
  readonly firstSeq: number;
  /** Byte offset of each record, and the end. */
  readonly offsets: number[];
}

const RECORD_PREFIX_BYTES = 9;
const STREAM_FILE = 'stream.json';
const RELEASED_FILE = 'released';

const record = (bytes: Buffer): Buffer =>
  Buffer.concat([
    Buffer.from(`${crc32(bytes).toString(16).padStart(8, '0')} `),
    bytes,
    Buffer.of(0x0a),
  ]);

/** Field 22 of /proc/PID/stat: tells a process from a later one with the same number. */
function startTime(pid: number): string | undefined {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

interface StreamFile {
  readonly identity: StreamIdentity;
  readonly ownerPid: number;
  readonly ownerStart: string;
}

function claim(dir: string, identity: StreamIdentity): void {
  const owner: StreamFile = {
    identity,
    ownerPid: process.pid,
    ownerStart: startTime(process.pid) ?? '',
  };
  const temporary = path.join(dir, `${STREAM_FILE}.${process.pid}`);
  fs.writeFileSync(temporary, JSON.stringify(owner), { mode: 0o600 });
  fs.renameSync(temporary, path.join(dir, STREAM_FILE));
}

/** Makes the spool of a new stream. */
export function createSpool(identity: StreamIdentity, settings: SpoolSettings, log: Log): Spool {
  const dir = path.join(settings.dir, identity.stream_id);
  fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
  claim(dir, identity);
  return spoolAt(dir, identity, [], 0, settings, log);
}

/** Streams in `dir` that an earlier collector left behind and nobody owns now. */
export function abandonedStreams(dir: string): readonly string[] {
  if (!fs.existsSync(dir)) return [];
  return fs
    .readdirSync(dir)
    .map((name) => path.join(dir, name))
    .filter((stream) => {
      const file = readStreamFile(stream);
      return file !== undefined && startTime(file.ownerPid) !== file.ownerStart;
    })
    .sort();
}

function readStreamFile(dir: string): StreamFile | undefined {
  try {
    return JSON.parse(fs.readFileSync(path.join(dir, STREAM_FILE), 'utf8')) as StreamFile;
  } catch {
    return undefined;
  }
}

/** Takes over the spool of a stream that its collector left behind. */
export function adoptSpool(dir: string, settings: SpoolSettings, log: Log): Spool {
  const file = readStreamFile(dir);
  if (file === undefined) throw new Error(`${dir} holds no readable ${STREAM_FILE}`);
  claim(dir, file.identity);
  const segments = fs
    .readdirSync(dir)
    .filter((name) => name.endsWith('.log'))
    .sort()
    .map((name) => scanSegment(path.join(dir, name), log));
  const releasedFile = path.join(dir, RELEASED_FILE);
  const released = fs.existsSync(releasedFile) ? Number(fs.readFileSync(releasedFile, 'utf8')) : 0;
  return spoolAt(dir, file.identity, segments, released, settings, log);
}

/** Reads a segment's record boundaries; a torn or damaged tail is cut off and said so. */
function scanSegment(file: string, log: Log): Segment {
  const bytes = fs.readFileSync(file);
  const offsets = [0];
  let at = 0;
  for (;;) {
    const end = bytes.indexOf(0x0a, at);
    if (end < 0) break;
    const line = bytes.subarray(at + RECORD_PREFIX_BYTES, end);
    const crc = bytes.toString('latin1', at, at + 8);
    if (crc !== crc32(line).toString(16).padStart(8, '0')) break;
    at = end + 1;
    offsets.push(at);
  }
  if (at < bytes.length) {
    log.warn('spool.torn_tail', { file, keptBytes: at, cutBytes: bytes.length - at });
    fs.truncateSync(file, at);
  }
  return { file, firstSeq: Number(path.basename(file, '.log')), offsets };
}

function spoolAt(
  dir: string,
  identity: StreamIdentity,
  segments: Segment[],
  releasedAtStart: number,
  settings: SpoolSettings,
  log: Log,
): Spool {
  const tail = segments.at(-1);
  let released = releasedAtStart;
  let next = tail === undefined ? released : tail.firstSeq + tail.offsets.length - 1;
  let writer: number | undefined;
  let dirty = false;
  let closed = false;
  const timer = setInterval(() => sync(), settings.syncMs);
  timer.unref();

  function sync(): void {
    if (!dirty || writer === undefined) return;
    dirty = false;
    // Asynchronous, so that a slow disk never holds up the sensors.
    fs.fdatasync(writer, (error) => {
      if (error !== null && !closed) log.warn('spool.sync_failed', { dir, error: error.message });
    });
  }

  function segmentFor(): Segment {
    const last = segments.at(-1);
    if (writer !== undefined && last !== undefined) {
      if ((last.offsets.at(-1) as number) < settings.segmentBytes) return last;
      const full = writer;
      fs.fdatasync(full, () => fs.close(full, () => {}));
    }
    const file = path.join(dir, `${String(next).padStart(10, '0')}.log`);
    writer = fs.openSync(file, 'a', 0o600);
    const segment: Segment = { file, firstSeq: next, offsets: [0] };
    segments.push(segment);
    return segment;
  }

  const sizeOf = (segment: Segment) => segment.offsets.at(-1) as number;
  const pendingBytes = () =>
    segments.reduce((sum, segment) => {
      const index = Math.min(Math.max(released - segment.firstSeq, 0), segment.offsets.length - 1);
      return sum + sizeOf(segment) - (segment.offsets[index] as number);
    }, 0);

  function append(events: readonly StampedEvent[]): boolean {
    const records = events.map(({ bytes }) => record(bytes));
    const size = records.reduce((sum, bytes) => sum + bytes.length, 0);
    if (pendingBytes() + size > settings.bytesMax) return false;
    const segment = segmentFor();
    const bytes = Buffer.concat(records);
    if (!writeWhole(writer as number, bytes, sizeOf(segment), log)) return false;
    let end = sizeOf(segment);
    for (const { length } of records) {
      end += length;
      segment.offsets.push(end);
    }
    next += events.length;
    dirty = true;
    return true;
  }

  function peek(bytesMax: number): readonly SpooledLine[] {
    const segment = segments.find((one) => released < one.firstSeq + one.offsets.length - 1);
    if (segment === undefined) return [];
    const first = Math.max(released - segment.firstSeq, 0);
    const start = segment.offsets[first] as number;
    let last = first + 1;
    while (
      last + 1 < segment.offsets.length &&
      (segment.offsets[last + 1] as number) - start <= bytesMax
    )
      last++;
    const bytes = readRange(segment.file, start, segment.offsets[last] as number);
    const lines: SpooledLine[] = [];
    for (let i = first; i < last; i++) {
      const from = (segment.offsets[i] as number) - start + RECORD_PREFIX_BYTES;
      const to = (segment.offsets[i + 1] as number) - start - 1;
      lines.push({ seq: segment.firstSeq + i, bytes: bytes.subarray(from, to) });
    }
    return lines;
  }

  function release(seq: number): void {
    released = Math.max(released, seq);
    const temporary = path.join(dir, `${RELEASED_FILE}.new`);
    fs.writeFileSync(temporary, String(released), { mode: 0o600 });
    fs.renameSync(temporary, path.join(dir, RELEASED_FILE));
    while (segments.length > 1) {
      const oldest = segments[0] as Segment;
      if (oldest.firstSeq + oldest.offsets.length - 1 > released) break;
      fs.rmSync(oldest.file, { force: true });
      segments.shift();
    }
  }

  function close(options: { finished: boolean }): void {
    if (closed) return;
    closed = true;
    clearInterval(timer);
    if (writer !== undefined) {
      fs.fdatasyncSync(writer);
      fs.closeSync(writer);
    }
    if (options.finished && released >= next) fs.rmSync(dir, { recursive: true, force: true });
  }

  return {
    identity,
    append,
    peek,
    release,
    get pending() {
      return next - released;
    },
    get pendingBytes() {
      return pendingBytes();
    },
    close,
  };
}

/** Writes all of `bytes` or nothing: on a full disk the file is cut back and false returned. */
function writeWhole(fd: number, bytes: Buffer, size: number, log: Log): boolean {
  try {
    for (let at = 0; at < bytes.length; ) at += fs.writeSync(fd, bytes, at);
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    fs.ftruncateSync(fd, size);
    if (code !== 'ENOSPC' && code !== 'EDQUOT' && code !== 'EFBIG') throw error;
    log.error('spool.disk_full', { code, bytes: bytes.length });
    return false;
  }
}

function readRange(file: string, from: number, to: number): Buffer {
  const bytes = Buffer.allocUnsafe(to - from);
  const fd = fs.openSync(file, 'r');
  try {
    for (let at = 0; at < bytes.length; ) {
      const got = fs.readSync(fd, bytes, at, bytes.length - at, from + at);
      if (got === 0) throw new Error(`${file} is shorter than it was written`);
      at += got;
    }
  } finally {
    fs.closeSync(fd);
  }
  return bytes;
}
