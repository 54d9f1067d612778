import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TelltaleEvent } from '#schemas';
import { foldFiles } from '../../../query/timeline/fold.ts';
import { printStory } from '../../../query/timeline/print.ts';
import { buildStory } from '../../../query/timeline/story.ts';
import { callOf, createEvents, STREAM, sessionOf } from './events.ts';
import { realisticSession } from './realistic.ts';

const print = (events: readonly TelltaleEvent[], width = 100, verbose = false, color = false) =>
  printStory(buildStory(sessionOf(events)), { width, color, verbose });

describe('the story', () => {
  it('does not depend on the order of its events', () => {
    const events = realisticSession();
    const wanted = buildStory(sessionOf(events));
    fc.assert(
      fc.property(fc.shuffledSubarray(events, { minLength: events.length }), (shuffled) => {
        expect(buildStory(sessionOf(shuffled))).toEqual(wanted);
      }),
      { numRuns: 50 },
    );
  });

  it('is the same for any part of it in any order, and every event has one place at most', () => {
    const events = realisticSession();
    fc.assert(
      fc.property(fc.shuffledSubarray(events), (part) => {
        const sorted = [...part].sort((a, b) => a.seq - b.seq);
        const story = buildStory(sessionOf(part));
        expect(story).toEqual(buildStory(sessionOf(sorted)));
        const ids = [...story.before, ...story.turns.flatMap(({ items }) => items)]
          .filter((item) => item.type === 'call')
          .map(({ call }) => call.id);
        expect(new Set(ids).size).toBe(ids.length);
        expect(ids.length).toBe(story.counts.calls);
      }),
      { numRuns: 50 },
    );
  });

  it('of no event at all can be told and printed', () => {
    expect(print([])).toContain('session');
  });

  it('reads as it always did', () => {
    expect(print(realisticSession())).toMatchSnapshot('100 columns');
    expect(print(realisticSession(), 72, true)).toMatchSnapshot('72 columns, verbose');
  });

  it('keeps within its columns', () => {
    for (const width of [60, 80, 100, 160])
      for (const line of print(realisticSession(), width).split('\n'))
        expect([...line].length, line).toBeLessThanOrEqual(width);
  });
});

describe('a large session', { timeout: 90_000 }, () => {
  const limitMs = 8_000;
  const timed = (events: readonly TelltaleEvent[]) => {
    // Processor time: the machine may have other things to do.
    const before = process.cpuUsage();
    print(events, 100, true);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };

  it('of 50,000 events in 2,500 calls is told in seconds', () => {
    const e = createEvents(STREAM, false);
    const events: TelltaleEvent[] = [];
    for (let n = 0; n < 2_500; n++) {
      const [from, pid] = [n * 10, 1000 + n * 4];
      events.push(...callOf(e, `c${n}`, from, from + 9, { tool: 'shell', command: `make ${n}` }));
      events.push(e.run(from + 1, pid, 1, ['sh', '-c', `make ${n}`]));
      for (let k = 0; k < 16; k++)
        events.push(
          e.see(from + 2, { kind: 'file', pid, file_op: 'write', file_path: `/w/${n}/${k}` }),
        );
      events.push(e.end(from + 8, pid, 0));
    }
    expect(events).toHaveLength(50_000);
    expect(timed(events)).toBeLessThan(limitMs);
  });

  it('is told in seconds also when made to be slow: calls that overlap, one deep chain, one peer', () => {
    const e = createEvents(STREAM, false);
    const events: TelltaleEvent[] = [];
    for (let n = 0; n < 10_000; n++) {
      events.push(...callOf(e, `c${n}`, n / 1000, 1000 + n, { command: `run ${n}` }));
      events.push(
        e.run(
          20 + n,
          2 + n,
          1 + n,
          ['sh', `${n}`],
          n % 2 ? { tool_call_id: `c${n}`, attribution: 'env_key' } : {},
        ),
      );
      events.push(
        e.say(20 + n, {
          kind: 'policy.decision',
          decision: 'allow',
          policy_type: 'network',
          net_host: 'one.example',
          net_port: 1 + n,
        }),
      );
      events.push(
        e.see(20 + n, {
          kind: 'net',
          pid: 2 + n,
          net_op: 'connect',
          net_host: 'one.example',
          net_port: 1 + n,
        }),
      );
    }
    expect(events).toHaveLength(50_000);
    expect(timed(events)).toBeLessThan(limitMs);
  });

  it('of one process that runs 150,000 programs does not overflow', () => {
    const e = createEvents(STREAM, false);
    const events = Array.from({ length: 150_000 }, (_, n) => e.run(n / 100, 5, 1, ['a']));
    expect(print([...events, ...callOf(e, 'c', 0, 9, { command: 'b' })])).toContain('1 process');
  });
});

describe('folding files', () => {
  const file = (path: string, fate = 'created') =>
    ({ path, fate, ops: [], count: 1, firstNs: '', seen: true, attribution: {} }) as never;

  it('keeps within its lines and loses no file', () => {
    const segment = fc.constantFrom('a', 'b', 'c', 'src');
    const paths = fc.uniqueArray(
      fc.array(segment, { minLength: 1, maxLength: 5 }).map((p) => `/w/${p.join('/')}`),
    );
    fc.assert(
      fc.property(paths, fc.integer({ min: 2, max: 10 }), (names, max) => {
        const lines = foldFiles(
          names.map((name) => file(name)),
          '/w',
          max,
        );
        expect(lines.length).toBeLessThanOrEqual(max);
        const told = lines.flatMap((line) => (line.type === 'file' ? [line.file] : line.files));
        expect(told.map(({ path }) => path).sort()).toEqual([...names].sort());
        for (const line of lines)
          if (line.type === 'directory')
            for (const { path } of line.files) expect(path.startsWith(line.path)).toBe(true);
      }),
    );
  });

  it('keeps a deleted file in sight among many created ones', () => {
    const many = Array.from({ length: 30 }, (_, n) => file(`/w/d${n}/f`));
    const lines = foldFiles([...many, file('/w/gone', 'deleted')], '/w', 4);
    expect(lines.some((line) => line.type === 'file' && line.file.path === '/w/gone')).toBe(true);
  });
});
