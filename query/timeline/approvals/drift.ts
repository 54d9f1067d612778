/**
 * Drift: what ran is not what was approved. Each finding names its evidence, by which method it was
 * found and how sure that is. What is only said in another way is none (`command.ts`).
 */
import type { Analysis } from '../analyse.ts';
import type { Files } from '../files.ts';
import { ofReuse, ofScope } from './creep.ts';
import type { Drift } from './finding.ts';
import { ofOrder } from './order.ts';
import { ofPolicy, policiesOf } from './policy.ts';
import type { Review } from './review.ts';
import { createVersions, ofScripts } from './scripts.ts';
import { ofArguments, ofCommand, ofHash } from './shown.ts';

/** All drift of a session, by time. */
export function driftOf(analysis: Analysis, files: Files, reviews: readonly Review[]): Drift[] {
  const versionsOf = createVersions(files);
  const policies = policiesOf(analysis.events);
  const found = [
    ...reviews.flatMap((review) => [
      ...ofOrder(analysis, review),
      ...ofCommand(analysis, review),
      ...ofArguments(analysis, review),
      ...ofScripts(versionsOf, review),
      ...ofPolicy(policies, analysis, review),
      ...ofScope(analysis, review),
    ]),
    ...ofHash(analysis, reviews),
    ...ofReuse(analysis, reviews),
  ];
  return found.sort((a, b) => (a.ns < b.ns ? -1 : a.ns > b.ns ? 1 : 0));
}
