/** A short mutation campaign; the long one is `npm run mutations`. */
import { describe, expect, it } from 'vitest';
import { runCampaign, tableOf } from './campaign.ts';

const SEEDS = [11, 12, 13];
const COUNT = 200;

describe('mutations of clean bundles', () => {
  it.each(SEEDS)(
    'are all found, located, and judged alike by both verifiers: seed %i',
    async (seed) => {
      const { outcomes } = await runCampaign(seed, COUNT);
      const missed = outcomes.filter((one) => !(one.found && one.located && one.agreed));
      expect(missed.map(({ story }) => story)).toEqual([]);
      expect(outcomes).toHaveLength(COUNT);
      expect(tableOf(outcomes)).toContain('edit a field');
    },
  );
});
