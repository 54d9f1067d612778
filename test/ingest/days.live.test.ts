import { expect, it } from 'vitest';
import { frame } from '#schemas';
import { createIngest } from '../../ingest/loop.ts';
import { fakeClock, fakeLog, fakeMeter } from '../fakes/ports.ts';
import { eventsOf, newStream, useEngine } from './engine.ts';

/** The engine's own limit of days in one block (`max_partitions_per_insert_block`). */
const ENGINE_DAYS_MAX = 100;

// Not among the unit tests only because a hundred partitions take seconds to write.
const engine = useEngine();

it('takes a batch of more days than the engine takes in one insert', async () => {
  const random = { bytes: (count: number) => new Uint8Array(count) };
  const [log, meter, clock] = [fakeLog(), fakeMeter(), fakeClock()];
  const ingest = createIngest({ store: engine.store, log, meter, clock, random });
  const stream = newStream();
  const days = ENGINE_DAYS_MAX + 5;
  const events = Array.from({ length: days }, (_, seq) =>
    stream.event(seq, { ts: `${1_500_000_000 + seq * 86_400}000000000` } as never),
  );
  const batch = { name: 'days', frames: [{ bytes: frame(events), origin: 'days/0' }] };
  const summary = await ingest.take(batch, new AbortController().signal);
  expect(summary).toEqual({ stored: days, duplicates: 0, parked: 0 });
  expect(log.lines).toEqual([]);
  expect(await eventsOf(engine.store, stream.stream_id)).toEqual(events);
});
