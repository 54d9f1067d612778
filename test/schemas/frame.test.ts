/** Frames: what goes in comes out, and whatever was done to one, nothing good of it is lost. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  DEAD_REASONS,
  encode,
  FRAME_VERSION,
  frame,
  frameLines,
  type GoodLine,
  type TelltaleEvent,
  unframe,
} from '#schemas';

const id = {
  tenant: 'acme',
  session_id: '0193a5e0-0000-7000-8000-000000000001',
  stream_id: '0193a5e0-0000-7000-8000-0000000000aa',
};

/** Events of one stream, with paths that look like parts of a frame. */
function eventsOf(paths: readonly string[], firstSeq = 0): TelltaleEvent[] {
  return paths.map((file_path, index) => ({
    ...id,
    seq: firstSeq + index,
    kind: 'file',
    ts: '1764000000000000000',
    observed_ts: '1764000000000000001',
    source: 'test',
    assurance: 'observed',
    file_op: 'write',
    file_path,
  })) as TelltaleEvent[];
}
const events = eventsOf(['/plain', '/new\nline', '/ü漢😀'], 7);
const bytes = frame(events);
const lines = events.map((event) => Buffer.from(encode(event)));
const NEWLINE = 0x0a;
const body = bytes.indexOf('\n') + 1;
/** A good line's bytes as text; they end in a newline. */
const textOf = ({ bytes }: GoodLine): string => {
  const text = Buffer.from(bytes).toString('utf8');
  expect(text.at(-1)).toBe('\n');
  return text.slice(0, -1);
};
const goodSeqs = (given: Uint8Array) => unframe(given).good.map((line) => line.event.seq);
const deadOf = (given: Uint8Array) => unframe(given).dead.map(({ seq, reason }) => [seq, reason]);

/** The frame with another header; the body stays. */
function withHeader(change: Record<string, unknown>): Buffer {
  const header = JSON.parse(bytes.subarray(0, body).toString('utf8'));
  const text = JSON.stringify({ ...header, ...change });
  return Buffer.concat([Buffer.from(`${text}\n`), bytes.subarray(body)]);
}

describe('a frame', () => {
  it('gives back events, their very bytes, and its header', () => {
    const path = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 });
    const paths = fc.array(path, { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(paths, fc.nat(2 ** 32 - 9), (list, firstSeq) => {
        const given = eventsOf(list, firstSeq);
        const { header, good, dead } = unframe(frame(given));
        expect(dead).toEqual([]);
        expect(good.map((line) => line.event)).toEqual(given);
        const came = good.map(textOf);
        expect(good.map(({ seq }) => seq)).toEqual(given.map(({ seq }) => seq));
        expect(good.map((line) => String(line.tsSeconds))).toEqual(
          given.map(({ ts }) => ts.slice(0, 10)),
        );
        expect(came).toEqual(given.map((event) => Buffer.from(encode(event)).toString('utf8')));
        const { length: count } = given;
        expect(header).toMatchObject({ ...id, telltale: 1, first_seq: firstSeq, count });
      }),
    );
  });

  it('is made of at least one event', () => {
    expect(() => frame([])).toThrow('at least one event');
  });

  it('cut at any byte keeps each line that came whole, and is known to be cut', () => {
    const ends: number[] = [];
    for (const line of lines) ends.push((ends.at(-1) ?? body) + line.length + 1);
    for (let cut = 0; cut < bytes.length; cut++) {
      const { good, dead } = unframe(bytes.subarray(0, cut));
      expect(good).toHaveLength(ends.filter((end) => end <= cut).length);
      expect(dead).toHaveLength(1);
      expect(dead[0]?.reason).toBe(cut < body ? 'not_a_frame' : 'frame_truncated');
      // A line that came in part is kept with its number; a cut between lines has no bytes to keep.
      if (cut > body && !ends.includes(cut)) expect(dead[0]?.seq).toBe(7 + good.length);
    }
  });

  const spoiled: [string, Buffer, string][] = [
    ['not JSON', Buffer.from('{"kind":'), 'not_json'],
    ['empty', Buffer.alloc(0), 'not_json'],
    ['not UTF-8', Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), 'not_utf8'],
    [
      'UTF-8 cut inside a character',
      Buffer.concat([lines[1]?.subarray(0, -1) as Buffer, Buffer.from([0xe6, 0xbc])]),
      'not_utf8',
    ],
    ['of a kind that nobody knows', Buffer.from('{"kind":"nope"}'), 'unknown_kind'],
    ['JSON that is no object', Buffer.from('[1,2]'), ''],
    ['an event without its fields', Buffer.from('{"kind":"file"}'), 'invalid'],
    [
      'an event spaced out',
      Buffer.from(JSON.stringify(events[1], null, 1).replaceAll('\n', '')),
      'not_canonical',
    ],
    [
      'an event of another stream',
      Buffer.from(encode({ ...(events[1] as TelltaleEvent), stream_id: id.session_id })),
      'frame_mismatch',
    ],
    [
      'an event of another tenant',
      Buffer.from(encode({ ...(events[1] as TelltaleEvent), tenant: 'evil' })),
      'frame_mismatch',
    ],
    [
      'an event out of its place',
      Buffer.from(encode({ ...(events[1] as TelltaleEvent), seq: 9 })),
      'frame_mismatch',
    ],
  ];
  it.each(spoiled)('keeps the neighbours of a line that is %s', (_what, line, reason) => {
    const given = frameLines({ ...id, first_seq: 7 }, [
      lines[0] as Buffer,
      line,
      lines[2] as Buffer,
    ]);
    const { good, dead } = unframe(given);
    expect(good.map((one) => one.event)).toEqual([events[0], events[2]]);
    expect(dead).toHaveLength(1);
    expect(dead[0]?.seq).toBe(8);
    expect(Buffer.from(dead[0]?.bytes ?? [])).toEqual(line);
    if (reason !== '') expect(dead[0]?.reason).toBe(reason);
    expect(dead[0]?.faults.length).toBeGreaterThan(0);
  });

  it.each([0, FRAME_VERSION + 1, '1', null, true, [1]])('of version %j is parked whole', (v) => {
    const given = withHeader({ telltale: v });
    const { good, dead } = unframe(given);
    expect(good).toEqual([]);
    expect(dead.map((line) => line.reason)).toEqual(['frame_version']);
    expect(Buffer.from(dead[0]?.bytes ?? [])).toEqual(given);
  });

  const headers: [string, Record<string, unknown>][] = [
    ['no version', { telltale: undefined }],
    ['no tenant', { tenant: undefined }],
    ['a session that is a number', { session_id: 1 }],
    ['no stream', { stream_id: null }],
    ['a first number below 0', { first_seq: -1 }],
    ['a count that is not whole', { count: 1.5 }],
    ['a length in words', { bytes: '10' }],
  ];
  it.each(headers)('with %s in its header is not a frame', (_what, change) => {
    expect(deadOf(withHeader(change))).toEqual([[undefined, 'not_a_frame']]);
  });

  it('that promises more than it holds is known to be cut; what it holds is kept', () => {
    for (const change of [{ count: 4 }, { bytes: bytes.length }, { count: 0 }, { bytes: 0 }]) {
      expect(goodSeqs(withHeader(change))).toEqual([7, 8, 9]);
      expect(deadOf(withHeader(change))).toEqual([[undefined, 'frame_truncated']]);
    }
  });

  const reasons: readonly string[] = DEAD_REASONS;
  it('never throws over random bytes, and gives only reasons of the list', () => {
    const random = fc.uint8Array({ maxLength: 300 });
    const afterHeader = random.map((tail) => Buffer.concat([bytes.subarray(0, body), tail]));
    const json = fc.json().map((text) => Buffer.from(`${text}\n`));
    fc.assert(
      fc.property(fc.oneof(random, afterHeader, json), (given) => {
        const { good, dead } = unframe(given);
        expect(good).toEqual([]);
        expect(dead.length).toBeGreaterThan(0);
        for (const line of dead) expect(reasons).toContain(line.reason);
      }),
      { numRuns: 500 },
    );
  });

  it('with one byte changed gives only events that were sent, or says what is wrong', () => {
    const sent = new Set(lines.map((line) => line.toString('utf8')));
    const place = fc.integer({ min: 0, max: bytes.length - 1 });
    fc.assert(
      fc.property(place, fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const given = Buffer.from(bytes);
        given[at] = (given[at] as number) ^ mask;
        const { good, dead } = unframe(given);
        const strange = good.filter((one) => !sent.has(textOf(one)));
        // Inside a text one letter for another is still an event: the chain finds that one.
        expect(strange.length).toBeLessThanOrEqual(1);
        for (const one of good) expect(Buffer.from(encode(one.event)).toString()).toBe(textOf(one));
        // A newline more or less moves the lines behind it from their places; all else spoils one.
        const moved = given[at] === NEWLINE || bytes[at] === NEWLINE;
        if (at >= body && !moved) expect(good.length).toBeGreaterThanOrEqual(lines.length - 1);
        expect(moved || at < body || dead.length <= 1).toBe(true);
        for (const line of dead) expect(reasons).toContain(line.reason);
      }),
      { numRuns: 1000 },
    );
  });
});
