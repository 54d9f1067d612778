/** What a hostile producer sends: bytes that are no frame, frames that lie, and lines that are no events. */
import { FRAME_VERSION, frameLines } from '#schemas';
import type { Dice } from './world.ts';

export interface Poison {
  readonly session: string;
  readonly bytes: Buffer;
}

/** Makes one bad message after the other; none speaks for a stream that a collector has. */
export function createPoison(dice: Dice): () => Poison {
  let n = 0;
  return () => {
    const id = `0193a5e0-0000-7000-8000-${(0xbad000 + n++).toString(16).padStart(12, '0')}`;
    const header = { tenant: 'default', session_id: id, stream_id: id, first_seq: 0 };
    const junk = Buffer.from(dice.bytes(dice.int(0, 40)));
    const bytes = dice.pick([
      () => junk,
      () => Buffer.alloc(0),
      () => Buffer.from('{"telltale":99}\n'),
      () => Buffer.from(`{"telltale":${FRAME_VERSION},"tenant":"\\ud800"}\n`),
      () => frameLines(header, [Buffer.from('{"kind":"no.such"}'), junk]),
      () => frameLines({ ...header, first_seq: 2 ** 40 }, [Buffer.from('[]')]),
      () => frameLines(header, [Buffer.from('null')]).subarray(0, -2),
    ])();
    return { session: id, bytes };
  };
}
