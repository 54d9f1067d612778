/** A short mutation campaign; the long one is `npm run mutations`. */
import { describe, expect, it } from 'vitest';
import { REGISTRY } from '#schemas';
import { verifyEvidence } from '../../schemas/evidence/verify.ts';
import { judge, runCampaign, tableOf } from './campaign.ts';
import { CLEAN, type CleanCase } from './clean.ts';
import { editable, editOne } from './mutate-store.ts';
import { sourceOf } from './pack.ts';
import { coveredRows, createSubject, KEYS } from './subject.ts';
import { createDice } from './world.ts';

const SEEDS = [11, 12, 13];
const COUNT = 200;
/** About 15 s of CPU at most; on a machine that does other things it may take a while. */
const PATIENCE_MS = 300_000;

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
    PATIENCE_MS,
  );
});

/** A bundle with every kind that a collector stamps by itself, and one that has gaps too. */
const SUBJECTS = ['one stream', 'a declared gap'];

describe('each field of each kind', () => {
  it(
    'is found and located when it is edited',
    async () => {
      const edited = new Set<string>();
      const missed: string[] = [];
      for (const name of SUBJECTS) {
        const clean = CLEAN.find((one) => one.name === name) as CleanCase;
        const subject = await createSubject(clean, 'each field');
        const report = await verifyEvidence(sourceOf(subject.files), KEYS);
        for (const row of coveredRows(subject))
          for (const field of editable(row.kind)) {
            const key = `${row.kind}.${field}`;
            if (edited.has(key)) continue;
            edited.add(key);
            const mutation = editOne(subject, row, field, false, createDice(key));
            if (mutation === undefined) throw new Error(`${key} was not edited`);
            const { found, located, agreed, story } = await judge(subject, report, mutation);
            if (!(found && located && agreed)) missed.push(story);
          }
      }
      expect(missed).toEqual([]);
      const all = [...REGISTRY.keys()].flatMap((kind) =>
        editable(kind).map((one) => `${kind}.${one}`),
      );
      expect(all.filter((key) => !edited.has(key))).toEqual([]);
    },
    PATIENCE_MS,
  );
});
