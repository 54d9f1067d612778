/** Frames -> arrivals and parked lines. Pure; whatever the bytes are, it never throws. */
import { type DeadLine, type FrameHeader, type GoodLine, unframe } from '#schemas';
import type { Arrival, Incoming, Parked, StreamKey } from './outcome.ts';

export interface DecodedFrame {
  readonly arrivals: readonly Arrival[];
  readonly parked: readonly Parked[];
}

const NS_PER_DAY = 86_400_000_000_000n;
const DETAIL_CHARACTERS_MAX = 2_000;
/** How many faults of one line are told in words. */
const FAULTS_MAX = 5;

const dayOf = (ts: string): number => Number(BigInt(ts) / NS_PER_DAY);

function arrivalOf({ event, line }: GoodLine, origin: string): Arrival {
  const { tenant, session_id, stream_id, seq, ts } = event;
  return { tenant, session_id, stream_id, seq, day: dayOf(ts), line, origin };
}

function parkedOf(dead: DeadLine, header: FrameHeader | undefined, origin: string): Parked {
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
  };
}

/** Takes one frame apart. */
export function decodeFrame({ bytes, origin }: Incoming): DecodedFrame {
  const { header, good, dead } = unframe(bytes);
  return {
    arrivals: good.map((line) => arrivalOf(line, origin)),
    parked: dead.map((line) => parkedOf(line, header, origin)),
  };
}
