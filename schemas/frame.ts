/**
 * A *frame* is what travels: consecutive events of one stream in one Kafka message or HTTP body.
 *
 *     {"telltale":1,"tenant":…,"session_id":…,"stream_id":…,"first_seq":0,"count":2,"bytes":345}\n
 *     <canonical JSON of event first_seq>\n
 *     <canonical JSON of the next>\n
 *
 * `bytes` counts all after the first newline, so a cut frame is known as one. Each line stands
 * alone: one bad event does not spoil its neighbours.
 */
import { isUtf8 } from 'node:buffer';
import { type Decoded, decode, encode } from './codec.ts';
import type { Fault } from './define.ts';
import { parseJson } from './parse-json.ts';
import type { DeadReason } from './reasons.ts';
import type { TelltaleEvent } from './registry.ts';
import { createScan, fieldIndex, isValue, scanLine, slotOf } from './scan.ts';
import { integerAt } from './scan-value.ts';

export const FRAME_VERSION = 1;
/** A frame is closed when it has this many bytes; one event larger than it travels alone. */
export const FRAME_BYTES_TARGET = 512 * 1024;
/** No frame is larger: the topic's `max.message.bytes` and the HTTP body limit are set by it. */
export const FRAME_BYTES_MAX = 15 * 1024 * 1024;
const HEADER_BYTES_MAX = 4096;
const NEWLINE = 0x0a;
const STREAM_FIELDS = ['tenant', 'session_id', 'stream_id'] as const;

export interface FrameHeader {
  readonly telltale: number;
  readonly tenant: string;
  readonly session_id: string;
  readonly stream_id: string;
  readonly first_seq: number;
  readonly count: number;
  readonly bytes: number;
}

/** One line of a frame that could not be an event. */
export interface DeadLine {
  /** Its number in the stream by its place, where the frame's header could be read. */
  readonly seq?: number;
  readonly reason: DeadReason;
  readonly faults: readonly Fault[];
  readonly bytes: Uint8Array;
}

/** One good line. */
export interface GoodLine {
  readonly seq: number;
  /** Whole seconds of its `ts`. */
  readonly tsSeconds: number;
  /** The very bytes that it came as, with the newline; a view of the frame's. */
  readonly bytes: Uint8Array;
  /** Made when it is first asked for. */
  readonly event: TelltaleEvent;
}

export interface Unframed {
  readonly header?: FrameHeader;
  readonly good: readonly GoodLine[];
  readonly dead: readonly DeadLine[];
}

/** Frames encoded lines; `lines` are canonical bytes of consecutive events of one stream. */
export function frameLines(
  id: Pick<FrameHeader, 'tenant' | 'session_id' | 'stream_id' | 'first_seq'>,
  lines: readonly Uint8Array[],
): Buffer {
  const bytes = lines.reduce((sum, line) => sum + line.length + 1, 0);
  const header: FrameHeader = {
    telltale: FRAME_VERSION,
    tenant: id.tenant,
    session_id: id.session_id,
    stream_id: id.stream_id,
    first_seq: id.first_seq,
    count: lines.length,
    bytes,
  };
  const newline = Buffer.of(NEWLINE);
  const parts: Uint8Array[] = [Buffer.from(`${JSON.stringify(header)}\n`)];
  for (const line of lines) parts.push(line, newline);
  return Buffer.concat(parts);
}

/** Frames consecutive events of one stream. */
export function frame(events: readonly TelltaleEvent[]): Buffer {
  const first = events[0];
  if (first === undefined) throw new Error('a frame needs at least one event');
  return frameLines({ ...first, first_seq: first.seq }, events.map(encode));
}

type HeaderResult =
  | { header: FrameHeader; body: Uint8Array }
  | { reason: DeadReason; what: string };

function readHeader(bytes: Uint8Array): HeaderResult {
  const end = bytes.subarray(0, HEADER_BYTES_MAX).indexOf(NEWLINE);
  if (end < 0) return { reason: 'not_a_frame', what: `no header line in ${bytes.length} bytes` };
  let value: Partial<FrameHeader> | null;
  try {
    value = JSON.parse(Buffer.from(bytes.subarray(0, end)).toString('utf8'));
  } catch {
    return { reason: 'not_a_frame', what: 'the header line is not JSON' };
  }
  if (typeof value !== 'object' || value === null || value.telltale === undefined)
    return { reason: 'not_a_frame', what: 'the header line has no "telltale" version' };
  if (value.telltale !== FRAME_VERSION)
    return {
      reason: 'frame_version',
      what: `version ${JSON.stringify(value.telltale)}; 1 is known`,
    };
  for (const name of STREAM_FIELDS)
    if (typeof value[name] !== 'string') return { reason: 'not_a_frame', what: `no ${name}` };
  for (const name of ['first_seq', 'count', 'bytes'] as const)
    if (!Number.isSafeInteger(value[name]) || (value[name] as number) < 0)
      return { reason: 'not_a_frame', what: `${name} is not a count` };
  return { header: value as FrameHeader, body: bytes.subarray(end + 1) };
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function readLine(bytes: Uint8Array): Decoded {
  try {
    return decode(utf8.decode(bytes));
  } catch {
    const faults = [{ where: '', what: 'the bytes are not UTF-8' }];
    return { ok: false, reason: 'not_utf8', faults };
  }
}

function mismatch(header: FrameHeader, event: TelltaleEvent, seq: number): string | undefined {
  for (const name of STREAM_FIELDS)
    if (event[name] !== header[name]) return `${name} is not the frame’s`;
  return event.seq === seq ? undefined : `seq is ${event.seq}, its place says ${seq}`;
}

class Line implements GoodLine {
  readonly seq: number;
  readonly tsSeconds: number;
  readonly bytes: Uint8Array;
  #event: TelltaleEvent | undefined;

  constructor(seq: number, tsSeconds: number, bytes: Uint8Array, event?: TelltaleEvent) {
    this.seq = seq;
    this.tsSeconds = tsSeconds;
    this.bytes = bytes;
    this.#event = event;
  }

  get event(): TelltaleEvent {
    this.#event ??= parseJson(utf8.decode(this.bytes)) as TelltaleEvent;
    return this.#event;
  }
}

const SEQ = fieldIndex('seq');
const TS = fieldIndex('ts');
/** A time is 19 digits: seconds, then 9 of nanoseconds. */
const SECONDS_DIGITS = 10;
const scan = createScan();

/**
 * The fast way: good lines of a frame by their bytes alone. Undefined for all others, and then the
 * slow way says what is wrong.
 */
function scanner(header: FrameHeader, body: Uint8Array) {
  const whole = isUtf8(body);
  const stated = STREAM_FIELDS.map((name) => ({
    index: fieldIndex(name),
    bytes: Buffer.from(JSON.stringify(header[name]).slice(1, -1)),
  }));
  return (at: number, newline: number, seq: number): GoodLine | undefined => {
    if (!whole || !scanLine(body, at, newline, scan)) return undefined;
    for (const { index, bytes } of stated) if (!isValue(body, scan, index, bytes)) return undefined;
    const slot = slotOf(scan, SEQ);
    if (integerAt(body, scan.starts[slot] as number, scan.ends[slot] as number) !== seq)
      return undefined;
    const ts = scan.starts[slotOf(scan, TS)] as number;
    const seconds = integerAt(body, ts, ts + SECONDS_DIGITS);
    return new Line(seq, seconds, body.subarray(at, newline + 1));
  };
}

const deadFrame = (
  reason: DeadReason,
  what: string,
  bytes: Uint8Array,
  seq?: number,
): DeadLine => ({
  ...(seq === undefined ? {} : { seq }),
  reason,
  faults: [{ where: 'frame', what }],
  bytes,
});

/** The slow way: the reference judges the line, and finds the words. */
function judge(header: FrameHeader, line: Uint8Array, seq: number): GoodLine | DeadLine {
  const bytes = line.subarray(0, -1);
  const decoded = readLine(bytes);
  if (!decoded.ok) return { seq, reason: decoded.reason, faults: decoded.faults, bytes };
  const wrong = mismatch(header, decoded.event, seq);
  if (wrong !== undefined) return deadFrame('frame_mismatch', wrong, bytes, seq);
  return new Line(seq, Number(decoded.event.ts.slice(0, SECONDS_DIGITS)), line, decoded.event);
}

/** Takes a frame apart. Never throws: what is not an event comes back as dead lines. */
export function unframe(bytes: Uint8Array): Unframed {
  const read = readHeader(bytes);
  if (!('header' in read)) return { good: [], dead: [deadFrame(read.reason, read.what, bytes)] };
  const { header, body } = read;
  const good: GoodLine[] = [];
  const dead: DeadLine[] = [];
  const scanned = scanner(header, body);
  let seq = header.first_seq;
  for (let at = 0; at < body.length; seq++) {
    const newline = body.indexOf(NEWLINE, at);
    if (newline < 0) {
      const what = `the frame ends in the middle of a line: ${body.length} of ${header.bytes} bytes came`;
      dead.push(deadFrame('frame_truncated', what, body.subarray(at), seq));
      break;
    }
    const line = scanned(at, newline, seq) ?? judge(header, body.subarray(at, newline + 1), seq);
    if ('reason' in line) dead.push(line);
    else good.push(line);
    at = newline + 1;
  }
  const whole = body.length === header.bytes && good.length + dead.length === header.count;
  if (!whole && !dead.some((line) => line.reason === 'frame_truncated')) {
    const what = `${body.length} of ${header.bytes} bytes and ${good.length + dead.length} of ${header.count} events came`;
    dead.push(deadFrame('frame_truncated', what, new Uint8Array()));
  }
  return { header, good, dead };
}
