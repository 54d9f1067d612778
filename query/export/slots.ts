/** How many exports run at once: each holds a query of the engine for as long as its reader takes. */

import { Readable } from 'node:stream';
import { QueryError } from '../errors.ts';

/**
 * Makes a taker of places, of which there are `max`. A place is taken before anything is read, so
 * that requests which come together can't all pass, and is free again when the answer's stream is
 * closed, read or not, or when there came to be none.
 *
 * @throws {QueryError} `QUERY_LIMIT_REACHED` where all are taken.
 */
export function createSlots(max: number) {
  let taken = 0;
  return async <T>(
    answer: (stream: (pieces: AsyncIterable<Uint8Array>) => Readable) => Promise<T>,
  ): Promise<T> => {
    if (taken >= max)
      throw new QueryError('QUERY_LIMIT_REACHED', `${max} exports are running: try again`);
    taken++;
    let stream: Readable | undefined;
    try {
      return await answer((pieces) => {
        stream = Readable.from(pieces, { objectMode: false });
        return stream.once('close', () => taken--);
      });
    } catch (error) {
      if (stream === undefined) taken--;
      else stream.destroy();
      throw error;
    }
  };
}
