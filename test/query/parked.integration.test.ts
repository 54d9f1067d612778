/** Parked lines over GraphQL: beside their event while they stand, and marked when replayed. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEAD_TABLE, frameLines } from '#schemas';
import { createClock, systemRandom } from '../../deploy/process/clock.ts';
import { createIngest } from '../../ingest/loop.ts';
import { deadLine, type Parked } from '../../ingest/outcome.ts';
import { createReplay } from '../../ingest/replay.ts';
import { fakeLog, fakeMeter } from '../fakes/ports.ts';
import { insertEvents, SESSION, STREAM, stampStream, TENANT } from './seed.ts';
import { openTestStore, type Service, serve, type TestStore } from './service.ts';

let test: TestStore;
let service: Service;
const EVIL = '"\u001b[2J<script>" is not a known kind';
const stamped = stampStream({ lost: [] });
const LOST = [3, 4];

function letterOf(seq: number, bytes: Uint8Array): Parked {
  const id = { tenant: TENANT, session_id: SESSION, stream_id: STREAM, seq };
  const fault = { reason: 'unknown_kind', field: 'kind', detail: EVIL } as const;
  return { ...id, ...fault, bytes, origin: `events/0/7/${seq}` };
}

beforeAll(async () => {
  test = await openTestStore();
  await insertEvents(
    test.store,
    stamped.filter(({ event }) => !LOST.includes(event.seq)),
  );
  const good = stamped.find(({ event }) => event.seq === 3)?.bytes as Buffer;
  const letters = [letterOf(3, good), letterOf(4, Buffer.from('{"kind":"no.such"}'))];
  const lines = Buffer.from(letters.map((one) => `${deadLine(one, Date.now())}\n`).join(''));
  const more = { rows: letters.length, dedupToken: 'letters', timeMs: 20_000 };
  await test.store.insert({ table: DEAD_TABLE, lines, ...more });
  service = await serve(test.store);
});
afterAll(async () => {
  await service.app.close();
  await test.close();
});

async function ask() {
  const { data, errors } = await service.ask(`{ session(id: "${SESSION}") {
    timeline { nodes { seq parked { seq reason field detail } } }
    deadLetters { seq replayedAt }
    completeness { streams { completeness { stored parked unaccountedCount } } }
    findings { kind text } } }`);
  expect(errors).toBeUndefined();
  const nodes = data?.session.timeline.nodes as { seq: number; parked: { seq: number }[] }[];
  const beside = nodes.filter(({ parked }) => parked.length > 0);
  return { session: data?.session, beside };
}

const line = (seq: number) => ({ seq, reason: 'unknown_kind', field: 'kind', detail: EVIL });

describe('parked lines', () => {
  it('stand beside the event before them, as they are', async () => {
    const { session, beside } = await ask();
    expect(beside).toEqual([{ seq: 2, parked: [line(3), line(4)] }]);
    expect(session.deadLetters).toEqual([
      { seq: 3, replayedAt: null },
      { seq: 4, replayedAt: null },
    ]);
    const stored = stamped.length - 2;
    const account = { stored, parked: 2, unaccountedCount: 0 };
    expect(session.completeness.streams).toEqual([{ completeness: account }]);
  });

  it('become events when they are replayed; what is left stands, and the mark is shown', async () => {
    const shared = { store: test.store, log: fakeLog(), meter: fakeMeter() };
    const ingest = createIngest({ ...shared, clock: createClock(), random: systemRandom });
    const { signal } = new AbortController();
    await createReplay({ ...shared, ingest }).run({}, { dryRun: false }, signal);
    const { session, beside } = await ask();
    expect(beside).toEqual([{ seq: 3, parked: [line(4)] }]);
    expect(session.deadLetters).toEqual([
      { seq: 4, replayedAt: null },
      { seq: 3, replayedAt: expect.stringMatching(/^20.*Z$/) },
    ]);
    const account = { stored: stamped.length - 1, parked: 1, unaccountedCount: 0 };
    expect(session.completeness.streams).toEqual([{ completeness: account }]);
    const parked = session.findings.filter(({ kind }: { kind: string }) => kind === 'parked');
    expect(parked).toEqual([
      { kind: 'parked', text: expect.stringContaining('1 event could not be stored') },
    ]);
    // A frame with the same line again is a duplicate.
    const bytes = frameLines(
      { tenant: TENANT, session_id: SESSION, stream_id: STREAM, first_seq: 3 },
      [stamped.find(({ event }) => event.seq === 3)?.bytes as Buffer],
    );
    const summary = await ingest.take({ name: 'again', frames: [{ bytes, origin: 'x' }] }, signal);
    expect(summary).toEqual({ stored: 0, duplicates: 1, parked: 0 });
  });
});
