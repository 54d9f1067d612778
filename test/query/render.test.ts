import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  eventCursor,
  readEventCursor,
  readSessionCursor,
  sessionCursor,
} from '../../query/cursor.ts';
import { QueryError } from '../../query/errors.ts';
import { eventOf, parseTime, timeText } from '../../query/render.ts';

const ns = fc.bigInt({ min: 1_000_000_000_000_000_000n, max: 8_999_999_999_999_999_999n });

describe('times', () => {
  it('are written with all digits and read back exactly', () => {
    fc.assert(
      fc.property(ns, (value) => {
        expect(parseTime(timeText(String(value)))).toBe(String(value));
        expect(parseTime(String(value))).toBe(String(value));
      }),
    );
    expect(timeText('1764000000000000001')).toBe('2025-11-24T16:00:00.000000001Z');
    expect(parseTime('2025-11-24T17:30:00.5+01:30')).toBe('1764000000500000000');
  });

  it('that are none are refused', () => {
    for (const text of ['', 'now', '2025-13-01T00:00:00Z', '2025-11-24', '1', '99'.repeat(10)])
      expect(parseTime(text)).toBeUndefined();
  });
});

describe('cursors', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(ns, fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.uuid(), (ts, seq, streamId) => {
        const place = { ts: String(ts), seq, streamId };
        expect(readEventCursor(eventCursor(place))).toEqual(place);
        const session = { startedNs: String(ts), id: streamId };
        expect(readSessionCursor(sessionCursor(session))).toEqual(session);
      }),
    );
  });

  it('are refused as any other text, never with another error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String(), fc.uuid()), (text) => {
        expect(() => readEventCursor(text)).toThrow(QueryError);
      }),
    );
  });
});

describe('rows', () => {
  it('of an unknown kind keep their envelope', () => {
    const row = {
      kind: 'from.the.future',
      seq: 3,
      ts_ns: '1764000000000000000',
      agent: '',
      pid: 0,
    };
    expect(eventOf({ ...row, stream_id: 's', exe: '/x' })).toEqual({
      kind: 'from.the.future',
      seq: 3,
      ts: row.ts_ns,
      stream_id: 's',
    });
  });
});
