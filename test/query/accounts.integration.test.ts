/** Completeness and integrity from the table alone: each verdict, and against the pure account. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { accountFor, type Draft, factsOf } from '#schemas';
import { sessionVerdict } from '../../query/accounts.ts';
import { eventsIn, insertDead, insertEvents, type SeedStream, stampStream } from './seed.ts';
import { openTestStore, type Service, serve, type TestStore } from './service.ts';

let test: TestStore;
let service: Service;
beforeAll(async () => {
  test = await openTestStore();
  service = await serve(test.store);
});
afterAll(async () => {
  await service.app.close();
  await test.close();
});

let sessions = 0;
function ids(): { session: string; stream: string } {
  const n = String(++sessions).padStart(6, '0');
  return {
    session: `0193a5e0-0000-7000-8000-a00000${n}`,
    stream: `0193a5e0-0000-7000-8000-b00000${n}`,
  };
}

const QUERY = `query ($id: ID!) { session(id: $id) {
  completeness { verdict streams { completeness {
    verdict closed produced stored parked declaredMissing unnumberedLost unknownLoss
    unaccounted { first last } } } }
  streams { integrity { verdict checkpoints covered faults { seq what } } } } }`;

async function ask(session: string) {
  const answer = await service.ask(QUERY, { id: session });
  expect(answer.errors).toBeUndefined();
  return answer.data?.session;
}

const gap = (fields: object): Draft =>
  ({
    kind: 'gap',
    ts: '1764000000000000500',
    source: 'collector',
    assurance: 'verified',
    gap_reason: 'spool_full',
    ...fields,
  }) as Draft;

async function seeded(seed: SeedStream) {
  const at = { ...ids(), ...seed };
  await insertEvents(test.store, stampStream(at));
  return at;
}

describe('completeness', () => {
  it('is complete, open, incomplete or declared', async () => {
    const whole = await seeded({});
    const open = await seeded({ close: false });
    const torn = await seeded({ lost: [2, 3, 9] });
    const noClose = await seeded({ lost: [15] });
    const told = await seeded({
      drafts: [gap({ gap_first_seq: 2, gap_last_seq: 3 }), gap({}), gap({ gap_count: 1 })],
      lost: [2, 3],
    });
    const verdicts = [];
    for (const { session } of [whole, open, torn, noClose, told])
      verdicts.push((await ask(session)).completeness.verdict);
    expect(verdicts).toEqual(['complete', 'open', 'incomplete', 'open', 'declared']);
    const [stream] = (await ask(torn.session)).completeness.streams;
    expect(stream.completeness).toMatchObject({
      closed: true,
      produced: 16,
      stored: 13,
      unaccounted: [
        { first: 2, last: 3 },
        { first: 9, last: 9 },
      ],
    });
  });

  it('counts parked numbers, also of a stream of which nothing else is stored', async () => {
    const at = await seeded({ lost: [5] });
    await insertDead(test.store, { ...at, seq: 5 });
    await insertDead(test.store, { ...at, seq: 7, reason: 'conflict' });
    const other = ids().stream;
    await insertDead(test.store, { session: at.session, stream: other, seq: 2 });
    const { completeness } = await ask(at.session);
    const counted = completeness.streams.map(({ completeness: c }: never) => c);
    expect(counted).toMatchObject([
      { verdict: 'declared', stored: 15, parked: 1, unaccounted: [] },
      { verdict: 'incomplete', stored: 0, parked: 1, unaccounted: [{ first: 0, last: 1 }] },
    ]);
    expect(completeness.verdict).toBe('incomplete');
  });

  it('is what the pure account says of the same events, whatever is lost or stored twice', async () => {
    const numbers = fc.uniqueArray(fc.integer({ min: 0, max: 15 }), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(numbers, fc.boolean(), async (lost, twice) => {
        const at = { ...ids(), lost };
        const events = stampStream(at);
        if (events.length === 0) return;
        await insertEvents(test.store, events);
        if (twice) await insertEvents(test.store, events.slice(0, 3));
        const { unaccounted, ...account } = accountFor(factsOf(eventsIn(events)));
        const [stream] = (await ask(at.session)).completeness.streams;
        expect(stream.completeness).toEqual({
          ...account,
          unaccounted: unaccounted.map(([first, last]) => ({ first, last })),
        });
      }),
      { numRuns: 8 },
    );
  });

  it('of a session is its worst stream’s', () => {
    expect(sessionVerdict(['complete', 'declared', 'open'])).toBe('open');
    expect(sessionVerdict(['open', 'incomplete'])).toBe('incomplete');
    expect(sessionVerdict(['complete'])).toBe('complete');
    expect(sessionVerdict([])).toBe('incomplete');
  });
});

describe('integrity', () => {
  it('is intact, and broken when one stored event is another', async () => {
    const at = ids();
    const events = stampStream(at);
    const changed = events.map((stamped, seq) =>
      seq === 7
        ? { ...stamped, bytes: Buffer.from(stamped.bytes.toString().replace('/w/out', '/w/xxx')) }
        : stamped,
    );
    await insertEvents(test.store, changed);
    const [stream] = (await ask(at.session)).streams;
    expect(stream.integrity).toMatchObject({ verdict: 'broken', checkpoints: 1 });
    expect(stream.integrity.faults[0].seq).toBe(15);
    const good = await seeded({});
    expect((await ask(good.session)).streams[0].integrity).toEqual({
      verdict: 'intact',
      checkpoints: 1,
      covered: 16,
      faults: [],
    });
  });

  it('sees that a number stands twice', async () => {
    const at = ids();
    const events = stampStream(at);
    await insertEvents(test.store, events);
    await insertEvents(test.store, events.slice(4, 5));
    const [stream] = (await ask(at.session)).streams;
    expect(stream.integrity).toMatchObject({
      verdict: 'broken',
      faults: [{ seq: 4, what: 'the event stands twice' }],
    });
  });
});
