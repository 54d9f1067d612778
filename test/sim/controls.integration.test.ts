/**
 * An oracle that can't fail proves nothing: with one protection switched off it must complain. The
 * seeds are the first ones that do, counted from 1 (`README.md`); the same seeds hold with it on.
 */
import { describe, expect, it } from 'vitest';
import { type Controls, planOf } from './plan.ts';
import { simulate } from './run.ts';
import { seedThatFinds } from './seeds.ts';

/** Where a seed stopped finding it because the code takes other steps now, later ones may. */
const MORE_SEEDS = 150;
const TIMEOUT_MS = 300_000;

/** Protection -> the first seed that finds it missing, and what the oracle then says. */
const FOUND: Readonly<Record<keyof Controls, readonly [seed: number, says: RegExp]>> = {
  noToken: [7, /stored twice/],
  shortWindow: [9, /stored twice/],
  noRecovery: [3, /stored twice/],
  noForget: [412, /stored twice/],
  noCutNote: [60, /stored twice/],
  noFence: [271, /stored twice/],
  commitFirst: [1, /lost|did not drain/],
  ackAtOnce: [2, /came after|lost/],
  severalPartitions: [1, /lost/],
  // A letter is lost as well as an event.
  trustInserts: [7, /lost|were poison/],
  noSync: [32, /lost/],
  noSettle: [209, /stored twice/],
};

describe('the oracle finds', () => {
  it.each(Object.entries(FOUND))(
    '%s',
    async (name, [first, says]) => {
      const off = { [name]: true };
      const seed = await seedThatFinds(off, first, MORE_SEEDS);
      expect(seed, `no seed from ${first} on finds it`).toBeDefined();
      const { faults } = await simulate(planOf(seed as number), off);
      expect(faults.join('\n')).toMatch(says);
      expect((await simulate(planOf(seed as number))).faults).toEqual([]);
    },
    TIMEOUT_MS,
  );
});

describe('a loss that nobody declared', () => {
  it('is never called complete, whatever the producer loses', { timeout: TIMEOUT_MS }, async () => {
    let lossy = 0;
    for (let seed = 1; seed <= 40; seed++) {
      const { faults } = await simulate(planOf(seed), { severalPartitions: true });
      if (faults.some((fault) => fault.includes('lost'))) lossy++;
      expect(faults.filter((fault) => fault.includes('says '))).toEqual([]);
    }
    expect(lossy).toBeGreaterThan(5);
  });
});

describe('a run', () => {
  it('is a function of its seed: the same steps at the same times', {
    timeout: TIMEOUT_MS,
  }, async () => {
    for (const seed of [9, 13, 229]) {
      const traces = [[], []] as [string[], string[]];
      for (const trace of traces) await simulate(planOf(seed), {}, (line) => trace.push(line));
      expect(traces[0].length).toBeGreaterThan(20);
      expect(traces[1]).toEqual(traces[0]);
    }
  });
});
