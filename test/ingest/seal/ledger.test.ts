import { describe, expect, it } from 'vitest';
import type { Head } from '#schemas';
import { placesOf } from '../../../ingest/seal/choose.ts';
import { createLedger } from '../../../ingest/seal/ledger.ts';

const head = (stream: number, seq: number, digest = 'a', final = false): Head => ({
  tenant: 'default',
  session_id: `0193a5e0-0000-7000-8000-${stream.toString(16).padStart(12, '0')}`,
  stream_id: `0193a5e1-0000-7000-8000-${stream.toString(16).padStart(12, '0')}`,
  ...{ seq, chain_count: seq, chain_head: 'b'.repeat(64), event_digest: digest.repeat(64), final },
});

describe('the ledger', () => {
  it('tells what is new from what is known and what contradicts', () => {
    const ledger = createLedger();
    expect(ledger.judge(head(1, 0))).toBe('new');
    ledger.add(head(1, 0), 5);
    expect(ledger.judge(head(1, 0))).toBe('known');
    expect(ledger.judge(head(1, 0, 'c'))).toBe('contradiction');
    expect(ledger.judge(head(1, 9))).toBe('new');
    ledger.add(head(1, 9, 'd', true), 6);
    expect(ledger.get(head(1, 0))).toMatchObject({ lastSeq: 9, final: true, sealedMs: 6 });
    // What lies between is covered by the chain of the newest head.
    expect(ledger.judge(head(1, 4, 'x'))).toBe('known');
    expect(ledger.judge(head(1, 0))).toBe('known');
    expect(ledger.judge(head(1, 9, 'e'))).toBe('contradiction');
    ledger.add(head(1, 9, 'e'), 7);
    expect(ledger.judge(head(1, 9, 'e'))).toBe('known');
    expect(ledger.judge(head(1, 9, 'd'))).toBe('known');
    expect(ledger.judge(head(1, 9, 'f'))).toBe('contradiction');
  });

  it('is the same whatever way the log was read: a place’s first head counts', () => {
    const ledger = createLedger();
    for (const one of [head(2, 5), head(2, 0), head(2, 0, 'c'), head(2, 5, 'd')])
      ledger.add(one, 1);
    for (const one of [head(2, 5), head(2, 0), head(2, 0, 'c'), head(2, 5, 'd')])
      expect(ledger.judge(one)).toBe('known');
  });

  it('forgets the streams that were sealed longest ago, beyond its bound', () => {
    const ledger = createLedger(3);
    for (const stream of [1, 2, 3]) ledger.add(head(stream, 0), 1);
    ledger.add(head(1, 5), 2);
    ledger.add(head(4, 0), 3);
    expect(ledger.streams).toBe(3);
    expect(ledger.get(head(2, 0))).toBeUndefined();
    expect(ledger.get(head(1, 0))).toBeDefined();
  });
});

describe('placesOf', () => {
  const seen = {
    ...{ tenant: 't', session_id: 's', stream_id: 'x' },
    ...{ lastSeq: 40, hasOpen: true, finalSeq: undefined, endsMs: 0, doubled: false },
  };
  const record = { openDigest: 'a', lastSeq: 30, lastDigest: 'b', final: false, sealedMs: 1_000 };

  it.each([
    ['a new stream: its open', seen, undefined, [0]],
    ['a new stream that ended: both ends', { ...seen, finalSeq: 40 }, undefined, [0, 40]],
    ['no open: the heartbeat at once', { ...seen, hasOpen: false }, undefined, [40]],
    ['a heartbeat before its turn: nothing', seen, { ...record, sealedMs: 9_000 }, []],
    ['a heartbeat at its turn, and what is sealed again', seen, record, [40, 30, 0]],
    ['nothing new: nothing', { ...seen, lastSeq: 30 }, record, []],
    [
      'an end that was written after it was sealed',
      { ...seen, lastSeq: 30, endsMs: 1_001 },
      record,
      [30, 0],
    ],
    ['a doubled place', { ...seen, lastSeq: 30, doubled: true }, record, [30, 0]],
    [
      'a close before its turn',
      { ...seen, finalSeq: 40 },
      { ...record, sealedMs: 9_000 },
      [40, 30, 0],
    ],
  ])('%s', (_, sighting, known, places) => {
    expect(placesOf(sighting, known, 10_000, 9_000)).toEqual(places);
  });
});
