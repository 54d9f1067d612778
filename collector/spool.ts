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
 * collector loses nothing that it had stamped. Against power loss the files and their folder are
 * synced every `syncMs`; what is younger may be lost, and the stream then has no close and says
 * so. A torn last record fails its CRC and is cut off when the spool is opened again. `released`
 * is never synced: an old one only has events shipped again that ingest then drops.
 */
import path from 'node:path';
import { crc32 } from 'node:zlib';
import type { Clock, Log } from '#schemas';
import { type Disk, isDiskFull } from './disk.ts';
import type { StampedEvent, StreamIdentity } from './stamp.ts';

export interface SpoolSettings {
  readonly dir: string;
  /** Unreleased bytes of one stream after which `isFull`; one batch may go beyond. */
  readonly bytesMax: number;
  readonly segmentBytes: number;
  readonly syncMs: number;
}

export const SPOOL_DEFAULTS = {
  bytesMax: 1024 * 1024 * 1024,
  segmentBytes: 16 * 1024 * 1024,
  syncMs: 1000,
} as const;

export interface SpoolDeps {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Log;
  /** The process that owns the streams that are made or taken over. */
  readonly pid?: number;
}

/** One stored line on its way to the shipper. */
export interface SpooledLine {
  readonly seq: number;
  readonly bytes: Buffer;
}

export interface Spool {
  readonly identity: StreamIdentity;
  /** Writes events in order. False: the disk is full, or fails, and took nothing of `events`. */
  append(events: readonly StampedEvent[]): boolean;
  /** The bound is reached: what has no number yet should wait or be dropped. */
  readonly isFull: boolean;
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

/** The records of events, one behind the other, and where each ends. */
function recordsOf(events: readonly StampedEvent[]): { bytes: Buffer; ends: number[] } {
  const size = events.reduce((sum, one) => sum + one.bytes.length + RECORD_PREFIX_BYTES + 1, 0);
  const bytes = Buffer.allocUnsafe(size);
  const ends: number[] = [];
  let at = 0;
  for (const { bytes: line } of events) {
    bytes.write(`${crc32(line).toString(16).padStart(8, '0')} `, at, 'latin1');
    bytes.set(line, at + RECORD_PREFIX_BYTES);
    at += RECORD_PREFIX_BYTES + line.length;
    bytes[at++] = 0x0a;
    ends.push(at);
  }
  return { bytes, ends };
}

/** Field 22 of /proc/PID/stat: tells a process from a later one with the same number. */
function startTime(disk: Disk, pid: number): string | undefined {
  const stat = disk.read(`/proc/${pid}/stat`)?.toString('latin1');
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}

interface StreamFile {
  readonly identity: StreamIdentity;
  readonly ownerPid: number;
  readonly ownerStart: string;
}

/** Makes this process the owner. Synced: a stream without its identity could not be taken over. */
function claim(dir: string, identity: StreamIdentity, { disk, pid = process.pid }: SpoolDeps) {
  const ownerStart = startTime(disk, pid) ?? '';
  const owner: StreamFile = { identity, ownerPid: pid, ownerStart };
  const temporary = path.join(dir, `${STREAM_FILE}.${pid}`);
  disk.write(temporary, JSON.stringify(owner));
  disk.sync(temporary);
  disk.rename(temporary, path.join(dir, STREAM_FILE));
  disk.sync(dir);
}

/** Makes the spool of a new stream. */
export function createSpool(
  identity: StreamIdentity,
  settings: SpoolSettings,
  deps: SpoolDeps,
): Spool {
  const dir = path.join(settings.dir, identity.stream_id);
  deps.disk.makeDir(dir);
  claim(dir, identity, deps);
  deps.disk.sync(settings.dir);
  return spoolAt(dir, identity, [], 0, settings, deps);
}

/** Streams in `dir` that an earlier collector left behind and nobody owns now. */
export function abandonedStreams(dir: string, disk: Disk): readonly string[] {
  return disk
    .list(dir)
    .map((name) => path.join(dir, name))
    .filter((stream) => abandonedBy(stream, disk) !== undefined)
    .sort();
}

/** What a stream's former owner wrote; undefined while it lives, and where there is no stream. */
function abandonedBy(stream: string, disk: Disk): StreamFile | undefined {
  try {
    const text = disk.read(path.join(stream, STREAM_FILE))?.toString('utf8');
    const file = text === undefined ? undefined : (JSON.parse(text) as StreamFile);
    return file !== undefined && startTime(disk, file.ownerPid) !== file.ownerStart
      ? file
      : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Takes over the spool of a stream that its collector left behind; undefined when another process
 * has done so, or has finished it, since it was looked for.
 */
export function adoptSpool(
  dir: string,
  settings: SpoolSettings,
  deps: SpoolDeps,
): Spool | undefined {
  const { disk, log } = deps;
  const file = abandonedBy(dir, disk);
  if (file === undefined) return undefined;
  try {
    claim(dir, file.identity, deps);
  } catch (error) {
    // A full disk gets room by shipping. Two that ship the same only send it twice.
    if (!isDiskFull(error)) throw error;
    log.warn('spool.not_claimed', { dir });
  }
  const segments = disk
    .list(dir)
    .filter((name) => name.endsWith('.log'))
    .sort()
    .map((name) => scanSegment(path.join(dir, name), disk, log))
    .filter((segment) => segment.offsets.length > 1);
  const released = disk.read(path.join(dir, RELEASED_FILE))?.toString('latin1') ?? '';
  const releasedSeq = /^\d+$/.test(released) ? Number(released) : 0;
  return spoolAt(dir, file.identity, segments, releasedSeq, settings, deps);
}

/** Reads a segment's record boundaries; a torn or damaged tail is cut off and said so. */
function scanSegment(file: string, disk: Disk, log: Log): Segment {
  const bytes = disk.read(file) ?? Buffer.alloc(0);
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
    disk.truncate(file, at);
  }
  return { file, firstSeq: Number(path.basename(file, '.log')), offsets };
}

function spoolAt(
  dir: string,
  identity: StreamIdentity,
  segments: Segment[],
  releasedAtStart: number,
  settings: SpoolSettings,
  deps: SpoolDeps,
): Spool {
  const { disk, log } = deps;
  const endOf = (segment: Segment) => segment.firstSeq + segment.offsets.length - 1;
  const sizeOf = (segment: Segment) => segment.offsets.at(-1) as number;
  const last = segments.at(-1);
  let released = releasedAtStart;
  let next = last === undefined ? released : endOf(last);
  let writer: number | undefined;
  let closed = false;
  /** The last write failed: one story is told once. */
  let failing = false;
  /** Files, and their folder, that hold what a power loss would take. */
  const dirty = new Set<string>();
  const endSync = deps.clock.every(settings.syncMs, syncDirty);

  /** Not waited for, so that a slow disk never holds up the sensors. */
  function syncDirty(): void {
    for (const one of dirty)
      disk.syncLater(one, (error) => {
        if (error === null || closed) return;
        dirty.add(one);
        log.warn('spool.sync_failed', { path: one, error: error.message });
      });
    dirty.clear();
  }

  function segmentFor(): Segment {
    const current = segments.at(-1);
    if (writer !== undefined && current !== undefined) {
      if (sizeOf(current) < settings.segmentBytes) return current;
      disk.close(writer);
      writer = undefined;
    }
    const file = path.join(dir, `${String(next).padStart(10, '0')}.log`);
    writer = disk.open(file);
    dirty.add(dir);
    const segment: Segment = { file, firstSeq: next, offsets: [0] };
    segments.push(segment);
    return segment;
  }

  /** Index in a segment's `offsets` of its first unreleased record. */
  const unreleased = ({ firstSeq, offsets }: Segment) =>
    Math.min(Math.max(released - firstSeq, 0), offsets.length - 1);
  const pending = () =>
    segments.reduce((sum, one) => sum + one.offsets.length - 1 - unreleased(one), 0);
  const pendingBytes = () =>
    segments.reduce((sum, one) => sum + sizeOf(one) - (one.offsets[unreleased(one)] as number), 0);

  /** All of `bytes` behind the last record, or nothing. */
  function write(bytes: Buffer): Segment | undefined {
    let segment: Segment | undefined;
    try {
      segment = segmentFor();
      disk.append(writer as number, bytes);
      failing = false;
      return segment;
    } catch (error) {
      if (segment !== undefined) disk.truncate(segment.file, sizeOf(segment));
      const event = isDiskFull(error) ? 'spool.disk_full' : 'spool.write_failed';
      if (!failing) log.error(event, { dir, bytes: bytes.length, error: String(error) });
      failing = true;
      return undefined;
    }
  }

  function append(events: readonly StampedEvent[]): boolean {
    const { bytes, ends } = recordsOf(events);
    const segment = write(bytes);
    if (segment === undefined) return false;
    const start = sizeOf(segment);
    for (const end of ends) segment.offsets.push(start + end);
    next += events.length;
    dirty.add(segment.file);
    return true;
  }

  function peek(bytesMax: number): readonly SpooledLine[] {
    const segment = segments.find((one) => released < endOf(one));
    if (segment === undefined) return [];
    const first = unreleased(segment);
    const start = segment.offsets[first] as number;
    let last = first + 1;
    while (
      last + 1 < segment.offsets.length &&
      (segment.offsets[last + 1] as number) - start <= bytesMax
    )
      last++;
    const bytes = disk.readRange(segment.file, start, segment.offsets[last] as number);
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
    // Room is made first: on a full disk the marker can only be written when there is some.
    while (segments.length > 1 && endOf(segments[0] as Segment) <= released) {
      const { file } = segments.shift() as Segment;
      dirty.delete(file);
      disk.remove(file);
    }
    const temporary = path.join(dir, `${RELEASED_FILE}.new`);
    try {
      disk.write(temporary, String(released));
      disk.rename(temporary, path.join(dir, RELEASED_FILE));
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      log.warn('spool.released_not_noted', { dir, released });
    }
  }

  function close(options: { finished: boolean }): void {
    if (closed) return;
    closed = true;
    endSync();
    if (writer !== undefined) disk.close(writer);
    if (options.finished && pending() === 0) disk.remove(dir);
    else for (const one of dirty) disk.sync(one);
  }

  return {
    identity,
    append,
    get isFull() {
      return pendingBytes() >= settings.bytesMax;
    },
    peek,
    release,
    get pending() {
      return pending();
    },
    get pendingBytes() {
      return pendingBytes();
    },
    close,
  };
}
