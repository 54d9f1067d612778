/** How an event looks to the rules of both languages, with the programs behind it. */
import { eqlViews } from './eql/taxonomy.ts';
import { createLineage, type Lineage } from './lineage.ts';
import type { Views } from './raise.ts';
import { sigmaViews } from './sigma/taxonomy.ts';

export interface ViewMaker {
  readonly views: Views;
  readonly lineage: Lineage;
}

/** Views with a memory of their own for who started whom. */
export function createViews(): ViewMaker {
  const lineage = createLineage();
  const views: Views = (event) => {
    const kin = lineage.observe(event);
    return [...sigmaViews(event, kin), ...eqlViews(event, kin)];
  };
  return { views, lineage };
}
