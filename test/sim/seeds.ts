/** Seeds as tests: each must find the oracle without a complaint. */
import { describe, expect, it } from 'vitest';
import { type Controls, planOf } from './plan.ts';
import { simulate } from './run.ts';

/** Seeds in one test: few enough for a message to be read, many enough to keep the report short. */
const TOGETHER = 25;
const TIMEOUT_MS = 300_000;

/** Runs seeds `first` to `first + count - 1`. */
export function describeSeeds(first: number, count: number): void {
  describe(`seeds ${first} to ${first + count - 1}`, () => {
    for (let from = first; from < first + count; from += TOGETHER)
      it(
        `hold from ${from} on`,
        async () => {
          for (let seed = from; seed < Math.min(from + TOGETHER, first + count); seed++) {
            const { faults } = await simulate(planOf(seed));
            expect(faults, `npm run sim -- --seed ${seed} --trace`).toEqual([]);
          }
        },
        TIMEOUT_MS,
      );
  });
}

/** The first seed from `first` on at which the oracle complains with something switched off. */
export async function seedThatFinds(
  off: Partial<Controls>,
  first: number,
  count: number,
): Promise<number | undefined> {
  for (let seed = first; seed < first + count; seed++) {
    const { faults } = await simulate(planOf(seed), off);
    if (faults.length > 0) return seed;
  }
  return undefined;
}
