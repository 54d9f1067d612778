/** Socket addresses and DNS questions out of raw bytes. */
import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isLoopback, readAddress, readDnsQuestion } from '../../../collector/sensors/address.ts';

const CWD = Buffer.from('/work');
const octets = (n: number) => fc.uint8Array({ minLength: n, maxLength: n });
const port = fc.integer({ min: 0, max: 65_535 });

function ip(family: number, number: number, bytes: Uint8Array): Buffer {
  const at = Buffer.alloc(family === 2 ? 16 : 28);
  at.writeUInt16LE(family, 0);
  at.writeUInt16BE(number, 2);
  at.set(bytes, family === 2 ? 4 : 8);
  return at;
}

describe('readAddress', () => {
  it('gives IPv4 as dotted numbers', () => {
    fc.assert(
      fc.property(octets(4), port, (bytes, number) => {
        expect(readAddress(ip(2, number, bytes), CWD)).toEqual({
          family: 'ip',
          ip: [...bytes].join('.'),
          port: number,
        });
      }),
    );
  });

  it('gives IPv6 in the form that the URL standard gives, too', () => {
    // Zeroes are made common, since they are what the short form is about.
    const words = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 65_535 })), {
      minLength: 8,
      maxLength: 8,
    });
    fc.assert(
      fc.property(words, port, (list, number) => {
        const bytes = Buffer.alloc(16);
        list.forEach((word, index) => {
          bytes.writeUInt16BE(word, 2 * index);
        });
        const mapped = list.slice(0, 5).every((word) => word === 0) && list[5] === 0xffff;
        fc.pre(!mapped);
        const full = list.map((word) => word.toString(16)).join(':');
        const got = readAddress(ip(10, number, bytes), CWD);
        expect(got).toEqual({
          family: 'ip',
          ip: new URL(`http://[${full}]`).hostname.slice(1, -1),
          port: number,
        });
        expect(got?.family === 'ip' && isIPv6(got.ip)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('gives mapped IPv4 as IPv4', () => {
    const bytes = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]);
    expect(readAddress(ip(10, 80, bytes), CWD)).toMatchObject({ ip: '192.0.2.1', port: 80 });
  });

  it('makes unix paths absolute and marks abstract ones', () => {
    const unix = (name: Buffer) => readAddress(Buffer.concat([Buffer.from([1, 0]), name]), CWD);
    expect(unix(Buffer.from('../s\0rest'))).toEqual({ family: 'unix', path: Buffer.from('/s') });
    expect(unix(Buffer.from('/a/b'))).toEqual({ family: 'unix', path: Buffer.from('/a/b') });
    expect(unix(Buffer.from('\0x\0y'))).toEqual({ family: 'unix', path: Buffer.from('@x\0y') });
    expect(unix(Buffer.alloc(0))).toEqual({ family: 'unix', path: Buffer.alloc(0) });
  });

  it('never throws, whatever the bytes', () => {
    const noise = fc.tuple(fc.constantFrom(0, 1, 2, 10, 16, 40), fc.uint8Array({ maxLength: 140 }));
    fc.assert(
      fc.property(noise, ([family, bytes]) => {
        const at = Buffer.from(bytes);
        if (at.length >= 2) at.writeUInt16LE(family, 0);
        readAddress(at, CWD);
        readDnsQuestion(at);
      }),
    );
  });
});

describe('readDnsQuestion', () => {
  const query = (labels: readonly Buffer[], flags = 1, count = 1) => {
    const header = Buffer.from([0, 1, flags, 0, 0, count, 0, 0, 0, 0, 0, 0]);
    const named = labels.map((label) => Buffer.concat([Buffer.from([label.length]), label]));
    return Buffer.concat([header, ...named, Buffer.from([0, 0, 1, 0, 1])]);
  };

  it('reads any name of host letters back', () => {
    const label = fc.stringMatching(/^[a-zA-Z0-9_-]{1,20}$/);
    fc.assert(
      fc.property(fc.array(label, { minLength: 1, maxLength: 8 }), (labels) => {
        const bytes = query(labels.map((text) => Buffer.from(text)));
        expect(readDnsQuestion(bytes)).toBe(labels.join('.').toLowerCase());
        for (let cut = 0; cut < bytes.length; cut++)
          expect(readDnsQuestion(bytes.subarray(0, cut))).toBeUndefined();
      }),
      { numRuns: 50 },
    );
  });

  it('escapes what could be taken for something else', () => {
    expect(readDnsQuestion(query([Buffer.from('a.b\\c\n\xff', 'latin1'), Buffer.from('d')]))).toBe(
      'a\\.b\\\\c\\010\\255.d',
    );
  });

  it('takes no answer, no empty message and no pointer for a question', () => {
    expect(readDnsQuestion(query([Buffer.from('a')], 0x81))).toBeUndefined();
    expect(readDnsQuestion(query([Buffer.from('a')], 1, 0))).toBeUndefined();
    expect(readDnsQuestion(query([]))).toBeUndefined();
    const pointer = Buffer.concat([query([]).subarray(0, 12), Buffer.from([0xc0, 12, 0, 1, 0, 1])]);
    expect(readDnsQuestion(pointer)).toBeUndefined();
  });

  it('knows loopback', () => {
    expect(['127.0.0.1', '127.9.9.9', '::1'].every(isLoopback)).toBe(true);
    expect(['128.0.0.1', '::2', '10.127.0.1'].some(isLoopback)).toBe(false);
  });
});
