import { describe, expect, it } from 'vitest';
import { behind, watchLag } from '../../ingest/lag.ts';
import { fakeClock, fakeLog, fakeMeter } from '../fakes/ports.ts';

const ends = (low: number, high: number, partition = 0) => ({
  partition,
  low: String(low),
  high: String(high),
});

describe('the lag of a group', () => {
  it('is what stands between commits and ends', () => {
    const committed = new Map([
      [0, '7'],
      [1, '-1'],
      [2, '20'],
    ]);
    const all = [ends(0, 10), ends(5, 9, 1), ends(0, 20, 2), ends(3, 4, 3)];
    expect(behind(all, committed)).toBe(3 + 4 + 0 + 1);
    // A commit beyond the end, as after a topic was made anew, is no lag.
    expect(behind([ends(0, 2)], new Map([[0, '9']]))).toBe(0);
  });

  it('is measured again and again, and brokers that are away are no fault', async () => {
    const [clock, log, meter] = [fakeClock(), fakeLog(), fakeMeter()];
    let away = false;
    const admin = {
      fetchTopicOffsets: async () => {
        if (away) throw new Error('away');
        return [{ ...ends(0, 10), offset: '10' }];
      },
      fetchOffsets: async () => [
        { topic: 't', partitions: [{ partition: 0, offset: '4', metadata: null }] },
      ],
    };
    const stop = watchLag({ admin, topic: 't', groupId: 'g', clock, log, meter });
    await expect.poll(() => meter.counts.get('telltale.ingest.lag')).toBe(6);
    away = true;
    clock.advance(15_000);
    await expect.poll(() => log.lines.map(({ event }) => event)).toEqual(['ingest.no_lag']);
    stop();
    away = false;
    clock.advance(60_000);
    expect(log.lines).toHaveLength(1);
  });
});
