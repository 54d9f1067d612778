/** Places of exports: taken before anything is read, and free again however an export ends. */

import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createSlots } from '../../../query/export/slots.ts';

async function* endless(): AsyncGenerator<Uint8Array> {
  for (;;) yield Buffer.alloc(1000);
}
const REFUSED = { code: 'QUERY_LIMIT_REACHED', message: '2 exports are running: try again' };

describe('places of exports', () => {
  it('are refused to those beyond, though all came together', async () => {
    const inSlot = createSlots(2);
    const asked = [1, 2, 3, 4].map(() =>
      inSlot(async (streamOf) => {
        await new Promise((done) => setImmediate(done));
        return streamOf(endless());
      }),
    );
    const outcomes = await Promise.allSettled(asked);
    expect(outcomes.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'rejected',
    ]);
    for (const one of outcomes)
      if (one.status === 'fulfilled') one.value.destroy();
      else expect(one.reason).toMatchObject(REFUSED);
  });

  it('are free again after an end, a reader that left, and a failure before and after the stream', async () => {
    const inSlot = createSlots(2);
    const open = () => inSlot(async (streamOf) => streamOf(endless()));
    const closed = async (stream: Readable) => {
      stream.destroy();
      await once(stream, 'close');
    };
    await open();
    await expect(inSlot(() => Promise.reject(new Error('no such session')))).rejects.toThrow();
    await closed(await open());
    const inSend = inSlot(async (streamOf) => {
      streamOf(endless());
      throw new Error('the answer was gone');
    });
    await expect(inSend).rejects.toThrow('the answer was gone');
    await new Promise((done) => setImmediate(done));
    const short = await inSlot(async (streamOf) =>
      streamOf(
        (async function* () {
          yield Buffer.from('all');
        })(),
      ),
    );
    const read: unknown[] = [];
    for await (const piece of short) read.push(String(piece));
    expect(read).toEqual(['all']);
    await open();
    await expect(open()).rejects.toMatchObject(REFUSED);
  });
});
