/**
 * What one correlation knows of one group: the events of the window, or how far a sequence has
 * come. Plain data with the functions that move it by event time.
 */
import type { StreamLimits } from '../rule.ts';
import { COUNT_MAX, type Correlation, meets } from './correlation.ts';

/** An event of a referenced rule, or the firing of a referenced correlation. */
export interface Match {
  /** Its place among the referenced rules. */
  readonly source: number;
  readonly events: readonly string[];
  /** The value of the field that is counted, added up or ranked. */
  readonly value?: string | number;
}

interface Seen {
  readonly timeNs: bigint;
  readonly events: readonly string[];
  readonly value?: string | number;
}

/** The state of one group; which of its parts are in use depends on the kind of correlation. */
export interface Group {
  /** Of the newest event. */
  timeNs: bigint;
  /** Counts and values: the events of the window, oldest first. */
  readonly seen: Seen[];
  /** How often each value stands in `seen`, where values are counted. */
  readonly counts: Map<string | number, number>;
  /** `temporal`: the newest event of each rule. `temporal_ordered`: of all chains of the first n
   * rules the one that began last; its time is that of its first event. */
  readonly steps: (Seen | undefined)[];
}

export type Spec = Pick<
  Correlation,
  'kind' | 'windowNs' | 'thresholds' | 'condition' | 'percentile'
> & {
  /** Names of the referenced rules, in their order. */
  readonly names: readonly string[];
};

export const emptyGroup = (timeNs: bigint, spec: Spec): Group => ({
  timeNs,
  seen: [],
  counts: new Map(),
  steps: spec.kind.startsWith('temporal') ? spec.names.map(() => undefined) : [],
});

/** Whether how often each value stands in the window matters. */
export const countsValues = (spec: Spec): boolean =>
  spec.kind === 'value_count' ||
  (spec.kind === 'value_percentile' && spec.percentile === undefined);

/** Takes a value into the counts, or with -1 out of them. */
export function recount(group: Group, value: string | number | undefined, by: number): void {
  if (value === undefined) return;
  const count = (group.counts.get(value) ?? 0) + by;
  if (count > 0) group.counts.set(value, count);
  else group.counts.delete(value);
}

function dropOldest(spec: Spec, group: Group, count: number): void {
  for (const { value } of group.seen.splice(0, count))
    if (countsValues(spec)) recount(group, value, -1);
}

/** How many events of a group are kept, and whether what is dropped beyond that changes nothing. */
function capacity(spec: Spec, limits: StreamLimits): { keep: number; exact: boolean } {
  const counted = spec.kind.endsWith('_count');
  const needed = Math.max(0, ...spec.thresholds.map(({ number }) => Math.floor(number) + 1));
  const keep = Math.max(limits.eventsPerGroupMax, counted ? Math.min(needed, COUNT_MAX) + 1 : 0);
  // A rule that only asks for "at least n" has seen enough with the newest n.
  const lower = spec.thresholds.every(({ how }) => how === 'gt' || how === 'gte');
  return { keep, exact: spec.kind === 'event_count' && lower };
}

/** The value below which `percentile` percent of the numbers lie, between neighbours linearly. */
function percentileOf(numbers: readonly number[], percentile: number): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const place = ((sorted.length - 1) * percentile) / 100;
  const low = sorted[Math.floor(place)] as number;
  const high = sorted[Math.ceil(place)] as number;
  return low + (high - low) * (place - Math.floor(place));
}

/**
 * The number that the thresholds are about. Sums are made anew over the window each time: a sum
 * that is carried along would depend on what it has seen before, by rounding.
 */
function measure(spec: Spec, group: Group, match: Match): number {
  const numbers = () => group.seen.map(({ value }) => value as number);
  const sum = () => numbers().reduce((total, number) => total + number, 0);
  switch (spec.kind) {
    case 'value_count':
      return group.counts.size;
    case 'value_sum':
      return sum();
    case 'value_avg':
      return sum() / group.seen.length;
    case 'value_percentile':
      if (spec.percentile !== undefined) return percentileOf(numbers(), spec.percentile);
      return (100 * (group.counts.get(match.value as string) ?? 0)) / group.seen.length;
    default:
      return group.seen.length;
  }
}

/** What of a window holds the condition, as event ids in order; undefined: it does not hold. */
export type Result = { readonly events?: readonly string[]; readonly evicted: number };

function feedWindow(
  spec: Spec,
  group: Group,
  timeNs: bigint,
  match: Match,
  limits: StreamLimits,
): Result {
  const oldest = timeNs - spec.windowNs;
  const stale = group.seen.findIndex((seen) => seen.timeNs >= oldest);
  dropOldest(spec, group, stale < 0 ? group.seen.length : stale);
  const { events, value } = match;
  group.seen.push({ timeNs, events, ...(value === undefined ? {} : { value }) });
  if (countsValues(spec)) recount(group, value, 1);
  const { keep, exact } = capacity(spec, limits);
  const surplus = Math.max(group.seen.length - keep, 0);
  dropOldest(spec, group, surplus);
  const evicted = exact ? 0 : surplus;
  const number = measure(spec, group, match);
  if (!spec.thresholds.every((threshold) => meets(threshold, number))) return { evicted };
  return { evicted, events: group.seen.flatMap((seen) => seen.events) };
}

type Presence = (name: string) => boolean;

function holds(condition: NonNullable<Spec['condition']>, present: Presence): boolean {
  if (condition.op === 'name') return present(condition.name);
  if (condition.op === 'not') return !holds(condition.of, present);
  const wanted = condition.op === 'or';
  return condition.of.some((part) => holds(part, present) === wanted) === wanted;
}

function feedTemporal(
  spec: Spec,
  group: Group,
  timeNs: bigint,
  matches: readonly Match[],
): readonly string[] | undefined {
  for (const { source, events } of matches) group.steps[source] = { timeNs, events };
  const oldest = timeNs - spec.windowNs;
  const inWindow = group.steps.map((step) =>
    step !== undefined && step.timeNs >= oldest ? step : undefined,
  );
  const present = (name: string) => inWindow[spec.names.indexOf(name)] !== undefined;
  const count = inWindow.filter((step) => step !== undefined).length;
  const met =
    spec.condition !== undefined
      ? holds(spec.condition, present)
      : spec.thresholds.length > 0
        ? spec.thresholds.every((threshold) => meets(threshold, count))
        : count === spec.names.length;
  if (!met) return undefined;
  const newest = new Set(matches.map(({ source }) => source));
  const part = (isNew: boolean): Seen[] =>
    inWindow.filter((step, source) => step !== undefined && newest.has(source) === isNew) as Seen[];
  const before = part(false).sort((a, b) =>
    a.timeNs < b.timeNs ? -1 : a.timeNs > b.timeNs ? 1 : 0,
  );
  // The event that completes it stands last, also behind another one of the same time.
  return [...new Set([...before, ...part(true)].flatMap((step) => step.events))];
}

/** Fires for the event that fills the last step, not for one that finds a sequence behind it. */
function feedOrdered(
  spec: Spec,
  group: Group,
  timeNs: bigint,
  matches: readonly Match[],
): readonly string[] | undefined {
  const { steps } = group;
  const last = steps.length - 1;
  let whole: Seen | undefined;
  // From the last step to the first: one event fills one step of a chain, never two.
  for (const { source, events } of matches.toSorted((a, b) => b.source - a.source)) {
    const before = source === 0 ? { timeNs, events: [] } : steps[source - 1];
    if (before === undefined) continue;
    const chain = { timeNs: before.timeNs, events: [...before.events, ...events] };
    steps[source] = chain;
    if (source === last) whole = chain;
  }
  return whole !== undefined && whole.timeNs >= timeNs - spec.windowNs ? whole.events : undefined;
}

/** Takes the matches of one event into a group. */
export function feedGroup(
  spec: Spec,
  group: Group,
  timeNs: bigint,
  matches: readonly Match[],
  limits: StreamLimits,
): Result {
  group.timeNs = timeNs;
  if (spec.kind === 'temporal' || spec.kind === 'temporal_ordered') {
    const feed = spec.kind === 'temporal' ? feedTemporal : feedOrdered;
    const events = feed(spec, group, timeNs, matches);
    return events === undefined ? { evicted: 0 } : { events, evicted: 0 };
  }
  // An event that several of the rules match is one event.
  return feedWindow(spec, group, timeNs, matches[0] as Match, limits);
}
