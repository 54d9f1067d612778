/** The state of a group as plain data, for a snapshot: times as decimal text, absences as null. */
import { countsValues, emptyGroup, type Group, recount, type Spec } from './group.ts';

type SavedSeen = readonly [time: string, events: readonly string[], value: string | number | null];

export interface SavedGroup {
  readonly key: string;
  readonly time: string;
  readonly seen: readonly SavedSeen[];
  readonly steps: readonly (SavedSeen | null)[];
}

type Seen = Group['seen'][number];

const saveSeen = ({ timeNs, events, value }: Seen): SavedSeen => [
  String(timeNs),
  events,
  value ?? null,
];

const loadSeen = ([time, events, value]: SavedSeen): Seen => ({
  timeNs: BigInt(time),
  events,
  ...(value === null ? {} : { value }),
});

export const saveGroup = (key: string, { timeNs, seen, steps }: Group): SavedGroup => ({
  key,
  time: String(timeNs),
  seen: seen.map(saveSeen),
  steps: steps.map((step) => (step === undefined ? null : saveSeen(step))),
});

/** The group that was saved, with its key; the counts are made again from the events. */
export function loadGroup(spec: Spec, saved: SavedGroup): [string, Group] {
  const group = emptyGroup(BigInt(saved.time), spec);
  for (const one of saved.seen) {
    const seen = loadSeen(one);
    group.seen.push(seen);
    if (countsValues(spec)) recount(group, seen.value, 1);
  }
  saved.steps.forEach((step, index) => {
    if (step !== null) group.steps[index] = loadSeen(step);
  });
  return [saved.key, group];
}
