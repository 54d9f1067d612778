/** Dead letters tried again: what is good becomes an event once, whatever dies on the way. */
import { describe, expect, it } from 'vitest';
import {
  DEAD_TABLE,
  encode,
  frame,
  REPLAYS_TABLE,
  type Store,
  StoreError,
  type TelltaleEvent,
} from '#schemas';
import { createClock, systemRandom } from '../../deploy/process/clock.ts';
import { createIngest } from '../../ingest/loop.ts';
import { deadLine, type Parked } from '../../ingest/outcome.ts';
import { createReplay, type ReplayFilter } from '../../ingest/replay.ts';
import { fakeLog, fakeMeter } from '../fakes/ports.ts';
import {
  deadOf,
  eventsOf,
  LIMITS,
  newStream,
  seqsOf,
  type TestStream,
  useEngine,
} from './engine.ts';

const engine = useEngine();
const { signal } = new AbortController();

/** As a process of its own would have it: nothing is known but what the table says. */
function replayWith(store: Store) {
  const shared = { store, log: fakeLog(), meter: fakeMeter() };
  const ingest = createIngest({ ...shared, clock: createClock(), random: systemRandom });
  return createReplay({ ...shared, ingest });
}
const run = (filter: ReplayFilter, dryRun = false) =>
  replayWith(engine.store).run(filter, { dryRun }, signal);

let parkings = 0;
async function park(store: Store, letters: readonly Parked[]): Promise<void> {
  const lines = Buffer.from(letters.map((one) => `${deadLine(one, Date.now())}\n`).join(''));
  const dedupToken = `test/${++parkings}`;
  await store.insert({
    table: DEAD_TABLE,
    lines,
    rows: letters.length,
    dedupToken,
    timeMs: 20_000,
  });
}

type Reason = Parked['reason'];
const letterOf = (event: TelltaleEvent, reason: Reason, bytes = encode(event)): Parked => ({
  tenant: event.tenant,
  session_id: event.session_id,
  stream_id: event.stream_id,
  seq: event.seq,
  reason,
  field: 'kind',
  detail: 'an older worker did not know it',
  bytes,
  origin: `events/0/${++parkings}/${event.seq}`,
});

async function store(stream: TestStream, seqs: readonly number[]): Promise<void> {
  const shared = { store: engine.store, log: fakeLog(), meter: fakeMeter() };
  const ingest = createIngest({ ...shared, clock: createClock(), random: systemRandom });
  const frames = seqs.map((seq) => ({ bytes: frame([stream.event(seq)]), origin: `test/${seq}` }));
  await ingest.take({ name: `test/${++parkings}`, frames }, signal);
}

async function marksOf(session: string): Promise<string[]> {
  const text = `SELECT outcome FROM ${REPLAYS_TABLE} WHERE session_id = {s:String} ORDER BY outcome`;
  const rows = await engine.store.query({ text, params: { s: session } }, LIMITS);
  return rows.map((row) => String(row.outcome));
}

const none = { stored: 0, parkedAgain: 0, conflict: 0, bad: 0, unsettled: 0 };

describe('replaying dead letters', () => {
  it('stores what is good now, once, and says what is not', async () => {
    const stream = newStream();
    const session = stream.session_id;
    await store(stream, [0, 1, 5]);
    await park(engine.store, [
      letterOf(stream.event(2), 'unknown_kind'),
      letterOf(stream.event(3), 'unknown_kind', Buffer.from('{"kind":"still.unknown"}')),
      // Stored already: a run that died before it could mark.
      letterOf(stream.event(1), 'unknown_kind'),
      letterOf(stream.event(4), 'store_refused'),
      // Another event has the number.
      letterOf(stream.event(5, { pid: 43 }), 'conflict'),
    ]);
    expect(await run({ session }, true)).toEqual([
      { reason: 'conflict', letters: 1, ...none, conflict: 1 },
      { reason: 'store_refused', letters: 1, ...none, stored: 1 },
      { reason: 'unknown_kind', letters: 3, ...none, stored: 2, bad: 1 },
    ]);
    expect(await seqsOf(engine.store, stream.stream_id)).toEqual([0, 1, 5]);
    expect(await marksOf(session)).toEqual([]);

    expect(await run({ session, reason: 'store_refused' })).toEqual([
      { reason: 'store_refused', letters: 1, ...none, stored: 1 },
    ]);
    expect(await run({ session })).toEqual([
      { reason: 'conflict', letters: 1, ...none, conflict: 1 },
      { reason: 'unknown_kind', letters: 3, ...none, stored: 2, bad: 1 },
    ]);
    expect(await eventsOf(engine.store, stream.stream_id)).toEqual(
      [0, 1, 2, 4, 5].map((seq) => stream.event(seq)),
    );
    // What was replayed stands no more; what was not still does; nothing was deleted.
    expect(await run({ session })).toEqual([
      { reason: 'conflict', letters: 1, ...none, conflict: 1 },
      { reason: 'unknown_kind', letters: 1, ...none, bad: 1 },
    ]);
    expect(await marksOf(session)).toEqual(['stored', 'stored', 'stored']);
    expect(await deadOf(engine.store, session)).toHaveLength(5);
  });

  it('leaves alone what a worker may yet have again', async () => {
    const stream = newStream();
    const session = stream.session_id;
    await park(
      engine.store,
      stream.events(0, 1).map((event) => letterOf(event, 'unknown_kind')),
    );
    const isSettled = (origin: string) => origin.endsWith('/0');
    const options = { dryRun: false, isSettled };
    const counts = await replayWith(engine.store).run({ session }, options, signal);
    expect(counts).toEqual([
      { reason: 'unknown_kind', letters: 2, ...none, stored: 1, unsettled: 1 },
    ]);
    expect(await seqsOf(engine.store, stream.stream_id)).toEqual([0]);
  });

  it('takes a whole frame apart whose version it did not know', async () => {
    const stream = newStream();
    const header = { tenant: '', session_id: '', stream_id: '' };
    const bytes = frame(stream.events(0, 3));
    const letter = letterOf(stream.event(0), 'frame_version', bytes);
    const { seq: _none, ...whole } = { ...letter, ...header };
    await park(engine.store, [whole]);
    const counts = await run({ reason: 'frame_version' });
    expect(counts).toEqual([{ reason: 'frame_version', letters: 1, ...none, stored: 1 }]);
    expect(await eventsOf(engine.store, stream.stream_id)).toEqual(stream.events(0, 3));
    expect(await run({ reason: 'frame_version' })).toEqual([]);
  });

  it('stores one of two letters that claim one number, and leaves the other', async () => {
    const stream = newStream();
    const session = stream.session_id;
    await park(engine.store, [
      letterOf(stream.event(0), 'unknown_kind'),
      letterOf(stream.event(0, { pid: 43 }), 'unknown_kind'),
      letterOf(stream.event(0), 'unknown_kind'),
    ]);
    const [counts] = await run({ session });
    expect(counts?.letters).toBe(3);
    expect(await seqsOf(engine.store, stream.stream_id)).toEqual([0]);
    const same = (await eventsOf(engine.store, stream.stream_id))[0]?.pid === 42 ? 2 : 1;
    expect(counts).toMatchObject({ stored: same, conflict: 3 - same });
    expect(await deadOf(engine.store, session)).toHaveLength(3);
  });

  it('replaces the letter when the store refuses the event again', async () => {
    const stream = newStream();
    const session = stream.session_id;
    await park(engine.store, [letterOf(stream.event(0), 'store_refused')]);
    const refusing: Store = {
      ...engine.store,
      insert: async (insert) => {
        if (insert.table === 'telltale.events')
          throw new StoreError({ code: 'refused', engineCode: 27, message: 'still no' });
        return engine.store.insert(insert);
      },
    };
    const counts = await replayWith(refusing).run({ session }, { dryRun: false }, signal);
    expect(counts).toEqual([{ reason: 'store_refused', letters: 1, ...none, parkedAgain: 1 }]);
    const details = (await deadOf(engine.store, session)).map((row) => String(row.detail));
    expect(details.sort()).toEqual(['an older worker did not know it', 'still no']);
    expect(await run({ session })).toEqual([
      { reason: 'store_refused', letters: 1, ...none, stored: 1 },
    ]);
    expect(await eventsOf(engine.store, stream.stream_id)).toEqual([stream.event(0)]);
  });

  it.each([
    ['events', 'before'],
    ['events', 'after'],
    ['dead_replays', 'before'],
    ['dead_replays', 'after'],
  ])('is exactly once when it dies at an insert into %s, %s it landed', async (table, when) => {
    const stream = newStream();
    const session = stream.session_id;
    const letters = stream.events(0, 49).map((event) => letterOf(event, 'unknown_kind'));
    await park(engine.store, letters);
    const dying: Store = {
      ...engine.store,
      insert: async (insert) => {
        const hit = insert.table === `telltale.${table}`;
        if (hit && when === 'before') throw new StoreError({ code: 'closed', message: 'killed' });
        await engine.store.insert(insert);
        if (hit) throw new StoreError({ code: 'closed', message: 'killed' });
      },
    };
    const first = replayWith(dying).run({ session }, { dryRun: false }, signal);
    await expect(first).rejects.toThrow('killed');
    const marked = table === 'dead_replays' && when === 'after';
    expect(await run({ session })).toEqual(
      marked ? [] : [{ reason: 'unknown_kind', letters: 50, ...none, stored: 50 }],
    );
    expect(await eventsOf(engine.store, stream.stream_id)).toEqual(stream.events(0, 49));
    expect(await marksOf(session)).toEqual(Array(50).fill('stored'));
  });
});
