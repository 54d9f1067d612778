import { describe, expect, it } from 'vitest';
import { BATCH_LIMITS, type Message } from '../../ingest/cut.ts';
import type { Batch, Summary } from '../../ingest/outcome.ts';
import { type Committed, createWorker, type Membership } from '../../ingest/work.ts';
import { fakeClock, fakeLog, fakeMeter } from '../fakes/ports.ts';

const message = (offset: number): Message => ({ offset: String(offset), value: Buffer.from('x') });
const messages = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, i) => message(first + i));

/** A worker over a fake client and a fake ingest; `steps` has what it did, in order. */
function open(committed: Committed, refuseCommits = false) {
  const steps: string[] = [];
  const clock = fakeClock();
  const ingest = {
    take: async (batch: Batch): Promise<Summary> => {
      steps.push(`take ${batch.name}`);
      return { stored: 1, duplicates: 0, parked: 0 };
    },
    forget: () => {},
  };
  const worker = createWorker({
    log: fakeLog(),
    meter: fakeMeter(),
    clock,
    ingest,
    topic: 't',
    limits: { ...BATCH_LIMITS, messagesMax: 2 },
    committedOf: async () => committed,
    fail: (error) => void steps.push(`fail ${String(error)}`),
  });
  const member: Membership = {
    heartbeat: async () => {},
    commit: async (offset, note) => {
      if (refuseCommits) throw new Error('ILLEGAL_GENERATION');
      steps.push(`commit ${offset} ${note}`.trim());
    },
    resolve: (offset) => void steps.push(`resolve ${offset}`),
    isCurrent: () => true,
  };
  const work = (first: number, last: number, high = last + 1) =>
    worker.work(
      { partition: 0, messages: messages(first, last), highWatermark: String(high) },
      member,
    );
  return { worker, work, steps, clock };
}

describe('a worker', () => {
  it('writes down where a batch ends before it stores it, and commits afterwards', async () => {
    const { work, steps } = open({ offset: '5', note: '' });
    await work(5, 9);
    expect(steps).toEqual([
      'commit 5 cut=7',
      'take t/0/5-6',
      // The end of the next batch goes along with the commit of this one.
      'commit 7 cut=9',
      'resolve 7',
      'take t/0/7-8',
      'commit 9',
      'resolve 9',
    ]);
  });

  it('cuts where its predecessor said, and says so again', async () => {
    const { work, steps } = open({ offset: '5', note: 'cut=6' });
    await work(5, 7);
    expect(steps.slice(0, 2)).toEqual(['commit 5 cut=6', 'take t/0/5-5']);
  });

  it('stores nothing when the group does not take its word', async () => {
    const { work, steps } = open({ offset: '5', note: 'cut=7' }, true);
    await expect(work(5, 9)).rejects.toThrow('ILLEGAL_GENERATION');
    expect(steps).toEqual([]);
  });

  it('goes on from what is committed where a fetch starts before it, and stores nothing of that', async () => {
    const { work, steps } = open({ offset: '34', note: 'cut=37' });
    await work(27, 36);
    expect(steps).toEqual(['resolve 34']);
  });

  it('commits nothing that was fetched before the group was joined again', async () => {
    const { worker, work, steps } = open({ offset: '5', note: '' });
    const working = work(5, 9);
    worker.joined();
    await working;
    expect(steps).toEqual([]);
  });

  it('closes a tail by time, or at once when the fetch could not hold more', async () => {
    const quiet = open({ offset: '5', note: '' });
    await quiet.work(5, 5);
    expect(quiet.steps).toEqual([]);
    quiet.clock.advance(BATCH_LIMITS.windowMs);
    await quiet.work(5, 5);
    expect(quiet.steps.slice(0, 2)).toEqual(['commit 5 cut=6', 'take t/0/5-5']);
    const full = open({ offset: '5', note: '' });
    await full.work(5, 5, 100);
    expect(full.steps.slice(0, 2)).toEqual(['commit 5 cut=6', 'take t/0/5-5']);
  });

  it('leaves what is over behind whole batches to the next fetch, which fills it', async () => {
    const { work, steps, clock } = open({ offset: '5', note: '' });
    const taken = () => steps.filter((step) => step.startsWith('take'));
    await work(5, 7, 100);
    expect(taken()).toEqual(['take t/0/5-6']);
    clock.advance(BATCH_LIMITS.windowMs / 2);
    await work(7, 9, 100);
    expect(taken()).toEqual(['take t/0/5-6', 'take t/0/7-8']);
    // It is not left for ever.
    await work(9, 9, 10);
    clock.advance(BATCH_LIMITS.windowMs);
    await work(9, 9, 10);
    expect(taken()).toEqual(['take t/0/5-6', 'take t/0/7-8', 'take t/0/9-9']);
  });
});
