/** What a verifier finds on its way: all of it counted, and the first of it listed in order. */
import { isBefore, type Place } from './format.ts';

/** The most places that are listed. */
export const PLACES_MAX = 100;

export interface Findings {
  /** Something is not what was recorded. */
  fault(place: Place): void;
  /** Something can't be checked. */
  stretch(place: Place): void;
  readonly faults: readonly Place[];
  readonly stretches: readonly Place[];
  readonly faultCount: number;
  readonly stretchCount: number;
  /** The first fault, or where there is none the first stretch. */
  readonly first: Place | undefined;
}

function createList() {
  const listed: Place[] = [];
  let count = 0;
  return {
    listed,
    add(place: Place): void {
      count++;
      const behind = listed.findIndex((one) => isBefore(place, one));
      listed.splice(behind < 0 ? listed.length : behind, 0, place);
      if (listed.length > PLACES_MAX) listed.length = PLACES_MAX;
    },
    get count() {
      return count;
    },
  };
}

export function createFindings(): Findings {
  const faults = createList();
  const stretches = createList();
  return {
    fault: faults.add,
    stretch: stretches.add,
    faults: faults.listed,
    stretches: stretches.listed,
    get faultCount() {
      return faults.count;
    },
    get stretchCount() {
      return stretches.count;
    },
    get first() {
      return faults.listed[0] ?? stretches.listed[0];
    },
  };
}
