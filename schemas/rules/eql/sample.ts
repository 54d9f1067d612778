/**
 * The state of a sample: events that share a join key, one for each filter, in any order, and no
 * event for two filters. As in Elasticsearch (`max_samples_per_key` 1) each key gives one sample;
 * of all that are possible it is the one that is there first.
 */
import type { Firing, Hit, StreamLimits, StreamState } from '../rule.ts';
import type { RuleEvent } from '../values.ts';
import type { Pipe } from './ast.ts';
import { type KeyOf, keyTexts } from './key.ts';
import { createPipes, END_OF_TIME_NS, type SavedPipe } from './pipes.ts';

export interface SamplePlan {
  /** A filter's test is its place. */
  readonly filters: readonly KeyOf[];
  readonly pipes: readonly Pipe[];
}

/** Candidates for each filter; undefined once the key has given its sample. */
type Group = string[][] | undefined;

interface SavedSample {
  readonly groups: readonly (readonly [string, readonly (readonly string[])[] | null])[];
  readonly pipes: readonly SavedPipe[];
}

/** One event for each filter, none twice; undefined where that can't be. */
function choose(candidates: readonly string[][], taken: readonly string[]): string[] | undefined {
  const place = taken.length;
  if (place === candidates.length) return [...taken];
  for (const id of candidates[place] ?? []) {
    if (taken.includes(id)) continue;
    const found = choose(candidates, [...taken, id]);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Opens the state of a sample; `saved` is of `save()` of a state with the same plan. */
export function openSample(plan: SamplePlan, limits: StreamLimits, saved?: unknown): StreamState {
  const from = saved as SavedSample | undefined;
  const count = plan.filters.length;
  const pipes = createPipes(plan.pipes, from?.pipes);
  const groups = new Map<string, Group>(
    from?.groups.map(([key, sets]) => [key, sets?.map((ids) => [...ids])]),
  );
  let evicted = 0;
  const offer = (event: RuleEvent, { input, fields }: Hit): Firing[] => {
    const key = plan.filters[input]?.(fields);
    if (key === undefined) return [];
    if (!groups.has(key))
      groups.set(
        key,
        Array.from({ length: count }, () => []),
      );
    const ids = groups.get(key)?.[input];
    // As many as there are filters are enough: one of them is always free.
    if (ids === undefined || ids.length === count || ids.includes(event.id)) return [];
    ids.push(event.id);
    const events = choose(groups.get(key) ?? [], []);
    if (events === undefined) return [];
    groups.set(key, undefined);
    return [{ timeNs: event.timeNs, key: keyTexts(key), events }];
  };
  return {
    feed: (event, hits) => {
      const out = hits.flatMap((hit) => offer(event, hit));
      for (const key of groups.keys()) {
        if (groups.size <= limits.groupsMax) break;
        groups.delete(key);
        evicted += 1;
      }
      return pipes.push(out);
    },
    advance: (timeNs) => (timeNs < END_OF_TIME_NS ? [] : pipes.end()),
    save: (): SavedSample => ({
      groups: [...groups].map(([key, sets]) => [key, sets ?? null]),
      pipes: pipes.save(),
    }),
    stats: () => {
      let events = pipes.held();
      for (const sets of groups.values()) for (const ids of sets ?? []) events += ids.length;
      return { groups: groups.size, events, evicted };
    },
    get size() {
      return groups.size + pipes.held();
    },
  };
}
