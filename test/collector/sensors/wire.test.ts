/** The frames between supervisor and collector: any frames, cut anywhere. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createFrameReader,
  createFrameWriter,
  type Frame,
} from '../../../collector/sensors/wire.ts';

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const frame = fc.record({
  type: fc.integer({ min: 0, max: 65_535 }),
  pid: u32,
  a: u32,
  b: u32,
  flags: fc.integer({ min: 0, max: 65_535 }),
  parts: fc.array(
    fc.uint8Array({ maxLength: 300 }).map((list) => Buffer.from(list)),
    { maxLength: 4 },
  ),
});

describe('frames', () => {
  it('come out as they went in, whatever the cuts and the buffer', () => {
    const cuts = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 });
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 30 }),
        fc.integer({ min: 40, max: 2000 }),
        cuts,
        (frames, bytesMax, sizes) => {
          const written: Buffer[] = [];
          const writer = createFrameWriter((bytes) => written.push(Buffer.from(bytes)), bytesMax);
          for (const one of frames)
            writer.put(one.type, one.pid, one.a, one.b, one.flags, one.parts);
          writer.flush();
          expect(writer.pending()).toBe(false);
          const all = Buffer.concat(written);
          const reader = createFrameReader();
          const got: Frame[] = [];
          for (let at = 0, i = 0; at < all.length; i++) {
            const size = sizes[i % sizes.length] ?? 1;
            got.push(...reader.push(all.subarray(at, at + size)));
            at += size;
          }
          expect(reader.restBytes()).toBe(0);
          expect(got.map((one) => one.number)).toEqual(frames.map((_, index) => index));
          const plain = got.map(({ type, pid, a, b, flags, parts }) => ({
            ...{ type, pid, a, b, flags },
            parts: parts.map((part) => Buffer.from(part)),
          }));
          expect(plain).toEqual(frames);
        },
      ),
    );
  });

  it('that are torn are told, and broken ones throw', () => {
    const reader = createFrameReader();
    const written: Buffer[] = [];
    const writer = createFrameWriter((bytes) => written.push(Buffer.from(bytes)));
    writer.put(1, 2, 3, 4, 0, [Buffer.from('part')]);
    writer.flush();
    const bytes = Buffer.concat(written);
    expect(reader.push(bytes.subarray(0, -1))).toEqual([]);
    expect(reader.restBytes()).toBe(bytes.length - 1);
    expect(() => createFrameReader().push(Buffer.alloc(64, 0xff))).toThrow('stream is broken');
    const lying = Buffer.from(bytes);
    lying.writeUInt32LE(5000, 36);
    expect(() => createFrameReader().push(lying)).toThrow('stream is broken: part');
  });
});
