/** The two verifiers together, on clean bundles: both say what is true, and the same. */
import { describe, expect, it } from 'vitest';
import { verifyEvidence } from '../../schemas/evidence/verify.ts';
import { CLEAN } from './clean.ts';
import { exportFiles, sourceOf, tarOf } from './pack.ts';
import { verifyBundle } from './second.ts';
import { createWorld, LOG, type Store, WITNESS } from './world.ts';

const KEYS = { logKeys: [LOG.verifier], witnesses: [WITNESS.verifier] };
const TEXT_KEYS = { logKeys: [LOG.verifier.text], witnesses: [WITNESS.verifier.text] };

describe.each(CLEAN)('a clean bundle: $name', (one) => {
  it.each([1, 2, 3])('gets its verdicts from both verifiers, seed %i', async (seed) => {
    const world = createWorld(`${one.name} ${seed}`, one.plan);
    const store = world.stores[0] as Store;
    const log = one.log === false ? undefined : await world.log(store.session);
    const files = exportFiles(store, log, one.content);
    const first = await verifyEvidence(
      sourceOf(files, 1000),
      one.log === false ? { logKeys: KEYS.logKeys } : KEYS,
    );
    const second = verifyBundle(
      tarOf(files),
      one.log === false ? { logKeys: TEXT_KEYS.logKeys } : TEXT_KEYS,
    );
    expect(first.integrity.faults).toEqual([]);
    const { integrity, completeness, assurance } = one;
    for (const report of [first, second])
      expect([
        report.integrity.verdict,
        report.completeness.verdict,
        report.assurance.verdict,
      ]).toEqual([integrity, completeness, assurance]);
  });
});
