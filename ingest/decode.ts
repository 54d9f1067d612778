/** Frames -> arrivals and parked lines. Pure; whatever the bytes are, it never throws. */
import { type DeadLine, type FrameHeader, type GoodLine, unframe } from '#schemas';
import { type Arrival, type Incoming, keyOf, type Parked, type StreamKey } from './outcome.ts';

export interface DecodedFrame {
  readonly arrivals: readonly Arrival[];
  readonly parked: readonly Parked[];
}

const SECONDS_PER_DAY = 86_400;
const DETAIL_CHARACTERS_MAX = 2_000;
/** How many faults of one line are told in words. */
const FAULTS_MAX = 5;

function arrivalsOf(
  good: readonly GoodLine[],
  header: FrameHeader,
  { origin, atMs }: Incoming,
): Arrival[] {
  const { tenant, session_id, stream_id } = header;
  const key = keyOf(header);
  return good.map(({ seq, tsSeconds, bytes: line }) => {
    const day = Math.floor(tsSeconds / SECONDS_PER_DAY);
    return { tenant, session_id, stream_id, key, seq, day, line, origin, atMs };
  });
}

function parkedOf(
  dead: DeadLine,
  header: FrameHeader | undefined,
  { origin, atMs }: Incoming,
): Parked {
  const id: StreamKey = {
    tenant: header?.tenant ?? '',
    session_id: header?.session_id ?? '',
    stream_id: header?.stream_id ?? '',
  };
  const faults = dead.faults.slice(0, FAULTS_MAX);
  const words = faults.map(({ where, what }) => (where === '' ? what : `${where}: ${what}`));
  return {
    ...id,
    ...(dead.seq === undefined ? {} : { seq: dead.seq }),
    reason: dead.reason,
    field: faults[0]?.where ?? '',
    detail: words.join('; ').slice(0, DETAIL_CHARACTERS_MAX),
    bytes: dead.bytes,
    origin: dead.seq === undefined ? origin : `${origin}/${dead.seq}`,
    atMs,
  };
}

/** Takes one frame apart. */
export function decodeFrame(frame: Incoming): DecodedFrame {
  const { header, good, dead } = unframe(frame.bytes);
  return {
    arrivals: header === undefined ? [] : arrivalsOf(good, header, frame),
    parked: dead.map((line) => parkedOf(line, header, frame)),
  };
}
