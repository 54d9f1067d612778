/** The verifier finds every change and says where; it says intact of nothing that it can't prove. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createChainVerifier,
  type IntegrityFaultKind,
  provesChange,
  publicKeyOf,
  type TelltaleEvent,
  verifyChain,
} from '#schemas';
import { anyEvent } from './arbitraries.ts';
import { CLOSE_SEQ, HEARTBEAT_SEQS, identity, other, recordedStream } from './streams.ts';

const events = recordedStream();
const CHECKPOINTS = [...HEARTBEAT_SEQS, CLOSE_SEQ];
const at = (seq: number) => events[seq] as TelltaleEvent;
/** The checkpoint that proves an event, and the first event that it proves. */
const guardOf = (seq: number) => CHECKPOINTS.find((checkpoint) => checkpoint > seq) as number;
const firstOf = (guard: number) => (CHECKPOINTS[CHECKPOINTS.indexOf(guard) - 1] ?? -1) + 1;
const changed = (seq: number, change: Record<string, unknown>): TelltaleEvent[] =>
  events.map((event) => (event.seq === seq ? ({ ...event, ...change } as TelltaleEvent) : event));
const verify = (list: readonly TelltaleEvent[]) => verifyChain(identity, list);
const kinds = (list: readonly TelltaleEvent[]): IntegrityFaultKind[] =>
  verify(list).faults.map((fault) => fault.kind);

/** Another value of the same type. */
function altered(value: unknown): unknown {
  if (typeof value === 'number') return value + 1;
  if (Array.isArray(value)) return [...value, 'x'];
  if (typeof value === 'object') return { ...value, x: 'y' };
  const text = String(value);
  return text.endsWith('0') ? `${text.slice(0, -1)}1` : `${text.slice(0, -1)}0`;
}

describe('a recorded stream', () => {
  it('is intact up to its very last field, in any order', () => {
    const intact = {
      verdict: 'intact',
      events: events.length,
      checkpoints: 3,
      covered: events.length,
      sealed: true,
      erased: 0,
      unproved: [],
      faults: [],
      faultCount: 0,
    };
    expect(verify(events)).toEqual(intact);
    fc.assert(
      fc.property(fc.shuffledSubarray(events, { minLength: events.length }), (shuffled) => {
        expect(verify(shuffled)).toEqual(intact);
      }),
      { numRuns: 20 },
    );
  });

  it('shows each checkpoint and its opening, authentic', () => {
    const seen: [number, boolean][] = [];
    const onCheckpoint = (point: { event: TelltaleEvent; authentic: boolean }) =>
      void seen.push([point.event.seq, point.authentic]);
    const verifier = createChainVerifier(identity, { onCheckpoint });
    for (const event of events) verifier.add(event);
    expect(seen).toEqual([0, ...CHECKPOINTS].map((seq) => [seq, true]));
  });
});

const edits = events.flatMap((event) =>
  Object.entries(event)
    .filter(([name]) => name !== 'seq')
    .map(([name, value]) => [event.seq, name, altered(value)] as const),
);

describe('any field of any event that is changed is found and located', () => {
  const ofEvents = edits.filter(([seq]) => !CHECKPOINTS.includes(seq));
  const located: Record<string, IntegrityFaultKind> = {
    tenant: 'foreign',
    session_id: 'foreign',
    stream_id: 'foreign',
    kind: 'changed',
  };
  it.each(ofEvents)('event %i with another %s', (seq, name, value) => {
    const result = verify(changed(seq, { [name]: value }));
    const guard = guardOf(seq);
    if (name === 'kind' && seq === 0) {
      // Without its opening nothing says which version and which key the stream has.
      expect(result).toMatchObject({ verdict: 'unverifiable', covered: 0 });
      return;
    }
    expect(result.verdict).toBe('broken');
    if (name === 'public_key') {
      expect(result.covered).toBe(0);
      return;
    }
    const [fault] = result.faults;
    expect(fault?.kind).toBe(located[name] ?? 'changed');
    expect(result.covered).toBe(firstOf(guard));
    if (fault?.kind === 'foreign' || name === 'kind') expect(fault?.seq).toBe(seq);
    else expect(fault).toMatchObject({ seq: guard, range: [firstOf(guard), guard - 1] });
    // What stands behind the next checkpoint is still proved, so nothing else is blamed.
    expect(result.faults.every((one) => one.seq === fault?.seq || one.kind === 'missing')).toBe(
      true,
    );
  });

  const ofCheckpoints = edits.filter(([seq]) => CHECKPOINTS.includes(seq));
  it.each(ofCheckpoints)('checkpoint %i with another %s', (seq, name, value) => {
    const result = verify(changed(seq, { [name]: value }));
    expect(result.verdict).toBe('broken');
    expect(result.sealed).toBe(false);
    const [fault] = result.faults;
    expect(fault?.seq).toBe(seq);
    if (['chain_head', 'chain_count'].includes(name)) {
      expect(result.faults).toHaveLength(1);
      expect(result.covered).toBe(events.length);
    } else expect(result.covered).toBe(firstOf(seq));
    if (!(name in located)) expect(fault?.kind).toBe('checkpoint_changed');
  });

  it.each(events.map((event) => event.seq))('event %i with a salt or an erasure put in', (seq) => {
    const salt = { content_salt: '00'.repeat(16) };
    expect(verify(changed(seq, salt)).verdict).toBe('broken');
    expect(verify(changed(seq, { erased: { attrs: '00'.repeat(32) } })).verdict).toBe('broken');
    expect(verify(changed(seq, { erased: { nothing: '00'.repeat(32) } })).verdict).toBe('broken');
    expect(verify(changed(seq, { erased: {} })).verdict).toBe('intact');
  });

  it('a salt in upper case, which is the same key', () => {
    const { content_salt } = at(1);
    expect(kinds(changed(1, { content_salt: content_salt?.toUpperCase() }))[0]).toBe('malformed');
  });
});

describe('checkpoints', () => {
  it.each(CHECKPOINTS)('at %i: a signature that is no such thing is found', (seq) => {
    for (const signature of ['', 'x', '!', 'AAAA', Buffer.alloc(64).toString('base64')])
      expect(kinds(changed(seq, { signature }))[0]).toBe('checkpoint_changed');
    expect(kinds(changed(seq, { signature: undefined }))[0]).toBe('unsigned');
    const { signature } = at(seq) as { signature?: string };
    // The same bytes in another base64.
    expect(kinds(changed(seq, { signature: ` ${signature}` }))[0]).toBe('checkpoint_changed');
    expect(kinds(changed(seq, { signature: signature?.replace('==', '') }))).not.toEqual([]);
  });

  it('of a recording made again by somebody with other keys are forged', () => {
    const made = recordedStream(identity, 'two');
    const forged = made.map((event) => (event.seq === 0 ? at(0) : event));
    const result = verify(forged);
    expect(result).toMatchObject({ verdict: 'broken', covered: 0, sealed: false });
    expect(result.faults[0]).toMatchObject({ kind: 'forged', seq: 5, range: [0, 5] });
    // And with its own opening it is another recording: only the log tells them apart.
    expect(verify(made).verdict).toBe('intact');
  });

  it('after a cut that are made with other keys are found', () => {
    const made = recordedStream(identity, 'two');
    for (let cut = 6; cut <= CLOSE_SEQ; cut++) {
      const spliced = [...events.slice(0, cut), ...made.slice(cut)];
      const result = verify(spliced);
      expect(result.verdict).toBe('broken');
      expect(result.covered).toBe(firstOf(guardOf(cut - 1) ?? CLOSE_SEQ));
    }
  });

  it('that are missing leave nothing behind them proved', () => {
    const left = events.filter((event) => event.seq !== HEARTBEAT_SEQS[1]);
    const result = verify(left);
    expect(result).toMatchObject({ verdict: 'unverifiable', covered: 6, sealed: false });
    expect(result.faults.map((fault) => fault.kind)).toEqual(['missing', 'key_lost']);
    expect(result.unproved).toEqual([[6, 13]]);
  });

  it('may stand behind a hole, and prove what comes after them', () => {
    const result = verify(events.filter((event) => event.seq !== 7));
    expect(result).toMatchObject({ verdict: 'unverifiable', covered: 6, unproved: [[6, 9]] });
    expect(result.faults).toMatchObject([{ seq: 7, kind: 'missing', range: [7, 7] }]);
    const edited = changed(12, { ts: at(11).ts }).filter((event) => event.seq !== 7);
    expect(verify(edited).faults).toMatchObject([
      { kind: 'missing' },
      { kind: 'changed', seq: 13, range: [11, 12] },
    ]);
  });
});

describe('numbers', () => {
  it.each(events.map((event) => event.seq))('without %i the stream is not intact', (seq) => {
    const result = verify(events.filter((event) => event.seq !== seq));
    if (seq === CLOSE_SEQ) {
      expect(result).toMatchObject({ verdict: 'intact', covered: 11, sealed: false });
      return;
    }
    expect(result.verdict).toBe('unverifiable');
    expect(result.faults[0]).toMatchObject({ kind: 'missing', seq, range: [seq, seq] });
    expect(result.covered).toBe(firstOf(CHECKPOINTS.includes(seq) ? seq : guardOf(seq)));
  });

  it.each([1, 3, 4, 8, 9, 13])('a tail of %i cut off leaves an open stream', (length) => {
    const left = events.slice(0, -length);
    const covered = CHECKPOINTS.filter((seq) => seq < left.length).at(-1) ?? -1;
    const verdict = covered < 0 ? 'unverifiable' : 'intact';
    expect(verify(left)).toMatchObject({ verdict, covered: covered + 1, sealed: false });
  });

  it('behind the close are found', () => {
    const late = { ...at(1), seq: CLOSE_SEQ + 1 } as TelltaleEvent;
    const result = verify([...events, late]);
    expect(result).toMatchObject({ verdict: 'broken', sealed: false, covered: CLOSE_SEQ + 1 });
    expect(kinds([...events, late])).toEqual(['after_close']);
  });

  it('of a cut tail under a close that was kept are found', () => {
    const left = events.filter((event) => event.seq < 8 || event.seq === CLOSE_SEQ);
    expect(verify(left).faults[0]).toMatchObject({ kind: 'missing', range: [8, 12] });
    const moved = left.map((event) => (event.seq === CLOSE_SEQ ? { ...event, seq: 8 } : event));
    expect(verify(moved as TelltaleEvent[])).toMatchObject({ verdict: 'broken', sealed: false });
  });

  it('that stand twice are found: the same event, and another', () => {
    for (const event of events) {
      const { seq } = event;
      expect(verify([...events, event]).faults).toMatchObject([{ seq, kind: 'twice' }]);
      const fork = { ...event, observed_ts: at(0).ts };
      expect(verify([...events, fork]).faults).toMatchObject([{ seq, kind: 'fork' }]);
    }
  });

  it('that go down are found', () => {
    const verifier = createChainVerifier(identity);
    for (const seq of [0, 1, 2, 1, 3, 4, 5]) verifier.add(at(seq));
    expect(verifier.result()).toMatchObject({ verdict: 'broken', covered: 6 });
    expect(verifier.result().faults).toMatchObject([{ seq: 1, kind: 'order' }]);
  });

  it('that are swapped are found', () => {
    const places = fc.integer({ min: 0, max: CLOSE_SEQ });
    fc.assert(
      fc.property(places, places, (a, b) => {
        fc.pre(a !== b);
        const left = events.map((event) => {
          if (event.seq === a) return { ...at(b), seq: a };
          return event.seq === b ? { ...at(a), seq: b } : event;
        }) as TelltaleEvent[];
        expect(verify(left).verdict).toBe('broken');
      }),
    );
  });
});

describe('events of another stream', () => {
  const foreign = recordedStream(other);
  it('are found, and whole streams under another name', () => {
    for (let seq = 0; seq < CLOSE_SEQ; seq++) {
      const left = events.map((event) => (event.seq === seq ? foreign[seq] : event));
      const result = verify(left as TelltaleEvent[]);
      expect(result.verdict).toBe('broken');
      expect(result.faults).toContainEqual({
        seq,
        kind: 'foreign',
        what: 'the event is of another stream',
      });
    }
    expect(verify(foreign).verdict).toBe('broken');
    expect(verifyChain(other, foreign).verdict).toBe('intact');
  });

  it('are found when they were given this stream’s names', () => {
    const { tenant, session_id, stream_id } = identity;
    const renamed = foreign.map((event) => ({ ...event, tenant, session_id, stream_id }));
    expect(verify(renamed as TelltaleEvent[])).toMatchObject({ verdict: 'broken', covered: 0 });
  });
});

describe('whatever stands in the rows', () => {
  const junk = fc.oneof(
    fc.anything(),
    fc.constantFrom<unknown>(null, undefined, -1, 2 ** 53, Number.NaN, 'x', [], {}, '\0', 1n),
  );

  it('the verifier never throws, and calls nothing intact that was not recorded so', () => {
    const edit = fc.tuple(fc.nat(CLOSE_SEQ), fc.constantFrom(...edits), junk);
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (list) => {
        let rows = events as unknown[];
        let same = true;
        for (const [seq, [, name], value] of list) {
          const before = (rows[seq] as Record<string, unknown> | undefined)?.[name];
          if (before !== value) same = false;
          rows = rows.map((row, index) =>
            index === seq ? { ...(row as object), [name]: value } : row,
          );
        }
        const verifier = createChainVerifier(identity);
        for (const row of rows) verifier.add(row as TelltaleEvent);
        const { verdict } = verifier.result();
        const hollow = list.every(
          ([, [, name], value]) => value === undefined || (name === 'erased' && value === null),
        );
        if (!same && !hollow) expect(verdict).not.toBe('intact');
      }),
      { numRuns: 1500 },
    );
  });

  it('nothing is proved of rows that are none', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(junk, anyEvent), { minLength: 1, maxLength: 8 }), (rows) => {
        const verifier = createChainVerifier(identity);
        for (const row of rows) verifier.add(row as TelltaleEvent);
        const result = verifier.result();
        expect(result).toMatchObject({ covered: 0, sealed: false });
        expect(result.verdict).not.toBe('intact');
        expect(result.faultCount).toBeGreaterThan(0);
      }),
    );
  });

  it('the findings stay bounded', () => {
    const verifier = createChainVerifier(identity);
    for (let n = 0; n < 5000; n++) verifier.add({ ...at(1), seq: 2 * n } as TelltaleEvent);
    const { faults, faultCount, unproved } = verifier.result();
    expect(faults).toHaveLength(1000);
    expect(faultCount).toBeGreaterThanOrEqual(5000);
    expect(unproved.length).toBeLessThanOrEqual(1000);
    expect(faults.some(({ kind }) => provesChange(kind))).toBe(false);
  });

  it('no key is taken from bytes that are none', () => {
    fc.assert(
      fc.property(fc.oneof(fc.base64String(), junk), (text) => {
        const isKey = typeof text === 'string' && Buffer.from(text, 'base64').length === 32;
        expect(publicKeyOf(text) !== undefined).toBe(isKey);
      }),
    );
  });
});
