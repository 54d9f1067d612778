/** The chain finds every change and says where; the account of a stream always adds up. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  accountFor,
  addRange,
  countRanges,
  createChainVerifier,
  type Draft,
  factsOf,
  hasNumber,
  missingRanges,
  publicKeyOf,
  type Range,
  type Ranges,
  type TelltaleEvent,
  toRanges,
  verifyChain,
} from '#schemas';
import { createStamper, type StreamIdentity } from '../../collector/stamp.ts';
import { fakeClock } from '../fakes/ports.ts';

const identity: StreamIdentity = {
  tenant: 'acme',
  session_id: '0193a5e0-0000-7000-8000-000000000001',
  stream_id: '0193a5e0-0000-7000-8000-0000000000aa',
  agent: 'demo',
  host: 'box',
  user: 'dev',
};
const other: StreamIdentity = { ...identity, stream_id: '0193a5e0-0000-7000-8000-0000000000bb' };

/** Where the checkpoints of a recorded stream stand: open, 4 files, heartbeat, 4 files, close. */
const HEARTBEAT_SEQ = 5;
const CLOSE_SEQ = 10;

/** A whole stream as the collector stamps it. */
function recorded(id: StreamIdentity = identity): TelltaleEvent[] {
  const clock = fakeClock();
  const stamper = createStamper(id, clock);
  const events: TelltaleEvent[] = [];
  const add = (draft: Record<string, unknown>) => {
    const whole = {
      ts: clock.wallNs().toString(),
      source: 'test',
      assurance: 'verified',
      ...draft,
    };
    events.push(stamper.stamp(whole as unknown as Draft).event);
  };
  const file = (name: string) => add({ kind: 'file', file_path: name, file_op: 'write' });
  add({
    kind: 'session.open',
    public_key: stamper.publicKey,
    schema_version: '1',
    command_args: ['true'],
  });
  for (const name of ['/a', '/b', '/c', '/d']) file(name);
  add({ kind: 'session.heartbeat', ...stamper.checkpoint() });
  for (const name of ['/e', '/f', '/g', '/h']) file(name);
  add({ kind: 'session.close', close_reason: 'exited', ...stamper.checkpoint() });
  return events;
}
const events = recorded();
const at = (seq: number) => events[seq] as TelltaleEvent;
/** The checkpoint that first covers an event; the last one covers itself with its signature only. */
const guardOf = (seq: number) => (seq < HEARTBEAT_SEQ ? HEARTBEAT_SEQ : CLOSE_SEQ);
const changed = (seq: number, change: Record<string, unknown>): TelltaleEvent[] =>
  events.map((event) => (event.seq === seq ? ({ ...event, ...change } as TelltaleEvent) : event));

/** Another valid value of the same type. */
function altered(value: unknown): unknown {
  if (typeof value === 'number') return value + 1;
  if (typeof value === 'boolean') return !value;
  if (Array.isArray(value)) return [...value, 'x'];
  const text = String(value);
  return text.endsWith('0') ? `${text.slice(0, -1)}1` : `${text.slice(0, -1)}0`;
}

describe('the chain of a stream', () => {
  it('was recorded as the tests below assume', () => {
    expect(events.map((event) => event.kind)).toEqual([
      'session.open',
      ...Array(4).fill('file'),
      'session.heartbeat',
      ...Array(4).fill('file'),
      'session.close',
    ]);
  });

  it('is intact as recorded, in any order', () => {
    const intact = { verdict: 'intact', checkpoints: 2, covered: CLOSE_SEQ, faults: [] };
    expect(verifyChain(identity, events)).toEqual(intact);
    fc.assert(
      fc.property(fc.shuffledSubarray(events, { minLength: events.length }), (shuffled) => {
        expect(verifyChain(identity, shuffled)).toEqual(intact);
      }),
      { numRuns: 20 },
    );
  });

  const edits = events
    .filter((event) => event.seq < CLOSE_SEQ)
    .flatMap((event) =>
      Object.entries(event)
        .filter(([name]) => name !== 'seq' && name !== 'public_key' && name !== 'kind')
        .filter(([name]) => !['chain_count', 'chain_head', 'signature'].includes(name))
        .map(([name, value]) => [event.seq, name, altered(value)] as const),
    );
  it.each(edits)('finds event %i with another %s', (seq, name, value) => {
    const result = verifyChain(identity, changed(seq, { [name]: value }));
    const guard = guardOf(seq);
    const from = guard === HEARTBEAT_SEQ ? 0 : HEARTBEAT_SEQ;
    expect(result.verdict).toBe('broken');
    expect(result.faults).toEqual([
      { seq: guard, what: `an event from ${from} to ${guard - 1} is not what was recorded` },
    ]);
  });

  it.each([HEARTBEAT_SEQ, CLOSE_SEQ])('finds a forged checkpoint at %i', (seq) => {
    const places = (change: Record<string, unknown>) =>
      verifyChain(identity, changed(seq, change)).faults.map((fault) => fault.seq);
    expect(places({ chain_head: 'ab'.repeat(32) })).toContain(seq);
    expect(places({ chain_count: seq - 1 })).toContain(seq);
    expect(places({ signature: Buffer.alloc(64).toString('base64') })).toContain(seq);
    expect(places({ signature: undefined })).toContain(seq);
  });

  it('covers of the last event its checkpoint only: nothing stands behind its other fields', () => {
    const close = changed(CLOSE_SEQ, { close_reason: 'signalled' });
    expect(verifyChain(identity, close)).toMatchObject({ verdict: 'intact', covered: CLOSE_SEQ });
  });

  it('finds another key in session.open: no signature fits it', () => {
    const [open] = recorded(other);
    if (open?.kind !== 'session.open') throw new Error('no session.open');
    const result = verifyChain(identity, changed(0, { public_key: open.public_key }));
    expect(result.verdict).toBe('broken');
    expect(result.faults.map((fault) => fault.seq)).toEqual([HEARTBEAT_SEQ, CLOSE_SEQ]);
  });

  it('finds a whole recording made again by somebody without the key', () => {
    const forged = recorded().map((event) => (event.seq === 0 ? at(0) : event));
    const what = 'the checkpoint’s signature is wrong';
    const faults = [HEARTBEAT_SEQ, CLOSE_SEQ].map((seq) => ({ seq, what }));
    expect(verifyChain(identity, forged)).toMatchObject({ verdict: 'broken', covered: 0, faults });
  });

  it.each(events.map((event) => event.seq))('finds event %i dropped', (seq) => {
    const left = events.filter((event) => event.seq !== seq);
    const account = accountFor(factsOf(left));
    const result = verifyChain(identity, left);
    if (seq === CLOSE_SEQ) {
      expect(account).toMatchObject({ verdict: 'open', unaccounted: [] });
      expect(result).toMatchObject({ verdict: 'intact', covered: HEARTBEAT_SEQ });
      return;
    }
    expect(account).toMatchObject({ verdict: 'incomplete', unaccounted: [[seq, seq]] });
    // No checkpoint behind the hole speaks for what stands before it.
    expect(result.covered).toBe(seq > HEARTBEAT_SEQ ? HEARTBEAT_SEQ : 0);
  });

  it('finds any two events swapped', () => {
    const places = fc.integer({ min: 0, max: CLOSE_SEQ });
    fc.assert(
      fc.property(places, places, (a, b) => {
        fc.pre(a !== b);
        const left = events.map((event) => {
          if (event.seq === a) return { ...at(b), seq: a };
          return event.seq === b ? { ...at(a), seq: b } : event;
        }) as TelltaleEvent[];
        const result = verifyChain(identity, left);
        expect(result.verdict).not.toBe('intact');
      }),
    );
  });

  it('finds an event put in twice, and at its place', () => {
    const result = verifyChain(identity, [...events, { ...at(3), ts: at(4).ts }]);
    expect(result.faults).toEqual([{ seq: 3, what: 'the number stands twice' }]);
  });

  it('finds events spliced in from another stream', () => {
    const foreign = recorded(other);
    for (let seq = 0; seq < CLOSE_SEQ; seq++) {
      const left = events.map((event) => (event.seq === seq ? foreign[seq] : event));
      const result = verifyChain(identity, left as TelltaleEvent[]);
      expect(result.verdict).toBe('broken');
      expect(result.faults[0]?.seq).toBe(seq === HEARTBEAT_SEQ ? seq : guardOf(seq));
    }
    expect(verifyChain(identity, foreign).verdict).toBe('broken');
    expect(verifyChain(other, foreign).verdict).toBe('intact');
  });

  it.each([1, 2, 5, 6, 10])('sees a tail of %i cut off as a stream that is open', (length) => {
    const left = events.slice(0, -length);
    const account = accountFor(factsOf(left));
    expect(account).toMatchObject({ verdict: 'open', closed: false, produced: left.length });
    const covered = left.length > HEARTBEAT_SEQ ? HEARTBEAT_SEQ : 0;
    const verdict = covered > 0 ? 'intact' : 'unverifiable';
    expect(verifyChain(identity, left)).toMatchObject({ verdict, covered, faults: [] });
  });

  it('says of the same events the same, one by one', () => {
    const verifier = createChainVerifier(identity);
    for (const event of events) verifier.add(event);
    expect(verifier.result()).toEqual(verifyChain(identity, events));
  });

  it('takes no key from bytes that are none', () => {
    fc.assert(
      fc.property(fc.base64String(), (text) => {
        const isKey = Buffer.from(text, 'base64').length === 32;
        expect(publicKeyOf(text) !== undefined).toBe(isKey);
      }),
    );
  });
});

const LAST = 40;
const numbers = fc.uniqueArray(fc.integer({ min: 0, max: LAST }));
const range = fc
  .tuple(fc.integer({ min: 0, max: LAST }), fc.integer({ min: 0, max: LAST }))
  .map(([a, b]): Range => [Math.min(a, b), Math.max(a, b)]);
const gap = fc.oneof(
  range.map(([gap_first_seq, gap_last_seq]) => ({ gap_first_seq, gap_last_seq })),
  fc.record({ gap_count: fc.nat(9) }, { requiredKeys: [] }),
  // A range the wrong way round declares no numbers.
  fc.constant({ gap_first_seq: 3, gap_last_seq: 2, gap_count: 1 }),
);
const facts = fc
  .record({
    stored: numbers.map(toRanges),
    parked: numbers.map(toRanges),
    gaps: fc.array(gap, { maxLength: 5 }),
    closed: fc.boolean(),
  })
  .map(({ closed, ...rest }) => {
    const highest = rest.stored.at(-1)?.[1];
    return { ...rest, ...(closed && highest !== undefined ? { closeCount: highest } : {}) };
  });

describe('the account of a stream', () => {
  it('adds up: produced = stored + parked + declared + unaccounted', () => {
    fc.assert(
      fc.property(facts, (one) => {
        const account = accountFor(one);
        const { stored, parked, declaredMissing, unaccounted } = account;
        const sum = stored + parked + declaredMissing + countRanges(unaccounted);
        expect(sum).toBe(account.produced);
      }),
    );
  });

  it('counts each number once, under the best that is known of it', () => {
    fc.assert(
      fc.property(facts, (one) => {
        const account = accountFor(one);
        const declared: Range[] = [];
        for (const { gap_first_seq: from, gap_last_seq: to } of one.gaps as {
          gap_first_seq?: number;
          gap_last_seq?: number;
        }[])
          if (from !== undefined && to !== undefined && from <= to) declared.push([from, to]);
        const tally = { stored: 0, parked: 0, declaredMissing: 0 };
        for (let n = 0; n < account.produced; n++) {
          if (hasNumber(one.stored, n)) tally.stored++;
          else if (hasNumber(one.parked, n)) tally.parked++;
          else if (declared.some(([from, to]) => from <= n && n <= to)) tally.declaredMissing++;
          else expect(hasNumber(account.unaccounted, n)).toBe(true);
        }
        expect(account).toMatchObject(tally);
      }),
    );
  });

  it('calls complete only what is closed, stored in full and without a gap', () => {
    fc.assert(
      fc.property(facts, (one) => {
        const account = accountFor(one);
        const whole = account.stored === account.produced;
        const lossless = account.unnumberedLost === 0 && !account.unknownLoss;
        expect(account.verdict === 'complete').toBe(account.closed && whole && lossless);
        expect(account.verdict === 'incomplete').toBe(account.unaccounted.length > 0);
        expect(account.closed).toBe(one.closeCount !== undefined);
      }),
    );
  });

  it('is complete for a stream as recorded, and open for none of it', () => {
    const whole = { verdict: 'complete', produced: events.length, stored: events.length };
    expect(accountFor(factsOf(events))).toMatchObject(whole);
    const none = { verdict: 'open', produced: 0, stored: 0, unaccounted: [] };
    expect(accountFor(factsOf([]))).toMatchObject(none);
  });

  it('misses what a stored close counts', () => {
    const close = events.filter((event) => event.seq === CLOSE_SEQ);
    const missing = { verdict: 'incomplete', unaccounted: [[0, CLOSE_SEQ - 1]] };
    expect(accountFor(factsOf(close))).toMatchObject(missing);
  });
});

/** Sorted, disjoint, and no two that touch. */
function isNormal(ranges: Ranges): boolean {
  return ranges.every(([from, to], index) => {
    const before = ranges[index - 1];
    return from <= to && (before === undefined || before[1] + 1 < from);
  });
}
const members = (ranges: Ranges): number[] =>
  ranges.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, i) => from + i));

describe('ranges', () => {
  const list = fc.array(fc.integer({ min: 0, max: LAST }));

  it('hold the very numbers they were made from', () => {
    fc.assert(
      fc.property(list, (given) => {
        const ranges = toRanges(given);
        const wanted = [...new Set(given)].sort((a, b) => a - b);
        expect(members(ranges)).toEqual(wanted);
        expect(isNormal(ranges)).toBe(true);
        expect(countRanges(ranges)).toBe(wanted.length);
        for (let n = -1; n <= LAST + 1; n++) expect(hasNumber(ranges, n)).toBe(wanted.includes(n));
      }),
    );
  });

  it('take a range in, stay normal, and leave the given set alone', () => {
    fc.assert(
      fc.property(list, range, (given, [from, to]) => {
        const ranges = toRanges(given);
        const copy = structuredClone(ranges);
        const sum = addRange(ranges, from, to);
        expect(sum).toEqual(toRanges([...given, ...members([[from, to]])]));
        expect(ranges).toEqual(copy);
      }),
    );
  });

  it('and what is missing make 0..last, without overlap', () => {
    fc.assert(
      fc.property(list, fc.integer({ min: -1, max: LAST + 5 }), (given, last) => {
        const missing = missingRanges(toRanges(given), last);
        expect(isNormal(missing)).toBe(true);
        const wanted = Array.from({ length: last + 1 }, (_, n) => n);
        expect(members(missing)).toEqual(wanted.filter((n) => !given.includes(n)));
      }),
    );
  });
});
