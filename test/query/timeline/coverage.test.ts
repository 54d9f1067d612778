import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TelltaleEvent } from '#schemas';
import { coverageOf } from '../../../query/timeline/coverage.ts';
import { inOrder } from '../../../query/timeline/view.ts';
import { at, createEvents, STREAM, sessionOf } from './events.ts';

const sensor = (e: ReturnType<typeof createEvents>, ms: number, coverage: string, rung = 1) =>
  e.make(ms, 'collector', {
    kind: 'sensor',
    sensor_name: rung === 1 ? 'seccomp' : 'otlp',
    sensor_rung: rung,
    coverage,
  });
const mapOf = (events: readonly TelltaleEvent[], streams = sessionOf(events).streams) =>
  coverageOf(inOrder(events), streams);

describe('coverage', () => {
  it('is unknown without a word of a sensor, and none by channels alone', () => {
    const e = createEvents();
    const [first, channel] = [e.run(1, 2, 1, ['a']), sensor(e, 2, 'complete', 4)];
    expect(mapOf([first]).verdict(at(0), at(9))).toBe('unknown');
    expect(mapOf([first, channel]).verdict(at(3), at(9))).toBe('none');
  });

  it('is complete while the sensor says so, and no longer', () => {
    const e = createEvents();
    const events = [
      sensor(e, 10, 'complete'),
      sensor(e, 50, 'partial'),
      sensor(e, 70, 'none'),
      e.run(99, 2, 1, ['a']),
    ];
    const map = mapOf(events);
    expect(map.verdict(at(11), at(49))).toBe('complete');
    expect(map.verdict(at(11), at(60))).toBe('partial');
    expect(map.verdict(at(5), at(20))).toBe('partial');
    expect(map.verdict(at(71), at(90))).toBe('none');
    expect(map.of(at(20), at(60)).sensors.map(({ coverage }) => coverage)).toEqual([
      'complete',
      'partial',
    ]);
  });

  it('is not complete where something is lost, declared or not, or the sensor was', () => {
    const e = createEvents();
    const events = [
      sensor(e, 1, 'complete'),
      e.run(10, 2, 1, ['a']),
      e.run(20, 3, 1, ['b']),
      e.make(30, 'collector', { kind: 'gap', gap_reason: 'spool_full', gap_count: 4 }),
      e.run(40, 4, 1, ['c']),
      e.make(60, 'collector', { kind: 'gap', gap_reason: 'sensor_lost', sensor_name: 'seccomp' }),
      e.run(90, 5, 1, ['d']),
    ];
    const map = mapOf(events);
    expect(map.verdict(at(5), at(15))).toBe('complete');
    expect(map.verdict(at(15), at(25))).toBe('partial');
    expect(map.verdict(at(31), at(39))).toBe('complete');
    expect(map.verdict(at(70), at(80))).toBe('none');
    expect(map.of(at(22), at(35)).losses).toMatchObject([{ reason: 'spool_full', count: 4 }]);
    const holed = events.filter((_, seq) => seq !== 2);
    const [stream] = sessionOf(holed).streams;
    if (stream?.completeness === undefined) throw new Error('no stream');
    const streams = [
      {
        streamId: STREAM,
        completeness: { ...stream.completeness, unaccounted: [[2, 2]] as const },
      },
    ];
    const found = mapOf(holed, streams).of(at(11), at(12)).losses;
    expect(found).toContainEqual(
      expect.objectContaining({ reason: 'unaccounted', count: 1, fromNs: at(10), toNs: at(30) }),
    );
  });

  it('counts channels and assurance as a look at each event does', () => {
    const e = createEvents();
    const events = Array.from({ length: 60 }, (_, n) =>
      n % 3 === 0 ? e.run(n, n + 2, 1, ['a']) : e.say(n, { kind: 'prompt', prompt: `${n}` }),
    );
    const map = mapOf(events);
    fc.assert(
      fc.property(fc.nat(70), fc.nat(70), (a, b) => {
        const [from, to] = [at(Math.min(a, b)), at(Math.max(a, b))];
        const within = events.filter(({ ts }) => ts >= from && ts <= to);
        const { channels, assurance } = map.of(from, to);
        const seen = within.filter(({ source }) => source === 'seccomp').length;
        expect(channels.find(({ source }) => source === 'seccomp')?.events ?? 0).toBe(seen);
        expect(assurance.verified).toBe(seen);
        expect(assurance.reported).toBe(within.length - seen);
      }),
    );
  });
});
