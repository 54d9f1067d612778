/**
 * The correlation engine: event time, a sliding window [t - timespan, t] with both ends in it, no
 * suppression and no reset. It fires for each event that a referenced rule matches and at which the
 * condition holds; an ordered one for each event that completes the order. Same events in the same order, same firings: there is nothing else it knows.
 *
 * A correlation that refers to a correlation is fed by its firings, at the time of the event that
 * made it fire. Such a firing has the fields of that event, and under the names of its group the
 * values of its group.
 */
import {
  type EventMatcher,
  type Firing,
  type Hit,
  STREAM_LIMITS,
  type StreamLimits,
  type StreamMatcher,
  type StreamState,
} from '../rule.ts';
import { createView, type FieldView, numberOf, type RuleEvent, textsIn } from '../values.ts';
import type { Correlation } from './correlation.ts';
import { emptyGroup, feedGroup, type Group, type Match, type Spec } from './group.ts';
import { loadGroup, type SavedGroup, saveGroup } from './saved.ts';

/** A correlation with its references resolved. */
export interface Node {
  readonly correlation: Correlation;
  readonly sources: readonly Source[];
}
/** What a correlation refers to: a detection rule, or another correlation. */
export type Source = { readonly name: string } & (
  | { readonly test: EventMatcher }
  | { readonly node: Node }
);

/** A node laid out for running: its sources by their place among all inputs. */
interface Plan {
  readonly spec: Spec;
  readonly valueFields: readonly string[];
  readonly groupBy: readonly string[];
  /** For each source the fields that hold the values of the group. */
  readonly keyFields: readonly (readonly string[])[];
  readonly sources: readonly ({ readonly input: number } | { readonly plan: Plan })[];
  /** Its place among all nodes: where its groups are. */
  readonly at: number;
}

interface Layout {
  readonly inputs: EventMatcher[];
  readonly groupBy: (readonly string[])[];
  readonly fields: Set<string>;
  nodes: number;
}

/** The name of a field in a source's events: what the alias says of that rule, or the name. */
function aliased({ aliases }: Correlation, field: string, source: Source): string {
  const byRule = aliases.get(field);
  if (byRule === undefined) return field;
  const meta = 'node' in source ? source.node.correlation.meta : undefined;
  return byRule.get(source.name) ?? (meta?.name ? byRule.get(meta.name) : undefined) ?? field;
}

/** `keys`: the fields of one of this node's firings that those above it group by. */
function plan(node: Node, layout: Layout, above: readonly string[] | undefined): Plan {
  const { correlation, sources } = node;
  const { kind, windowNs, thresholds, condition, percentile, groupBy } = correlation;
  const at = layout.nodes++;
  const keyFields = sources.map((source) =>
    groupBy.map((field) => aliased(correlation, field, source)),
  );
  for (const field of [...keyFields.flat(), ...correlation.valueFields]) layout.fields.add(field);
  const laid = sources.map((source, index) => {
    const own = keyFields[index] as readonly string[];
    // Of an event's fields those in the keys of every level, in the order of the outermost one.
    const shared = above
      ?.map((field) => own[groupBy.indexOf(field)])
      .filter((field) => field !== undefined);
    const keys = shared ?? own;
    if ('node' in source) return { plan: plan(source.node, layout, keys) };
    layout.groupBy.push(keys);
    return { input: layout.inputs.push(source.test) - 1 };
  });
  const spec: Spec = {
    kind,
    windowNs,
    thresholds,
    names: sources.map(({ name }) => name),
    ...(condition === undefined ? {} : { condition }),
    ...(percentile === undefined ? {} : { percentile }),
  };
  return { spec, valueFields: correlation.valueFields, groupBy, keyFields, sources: laid, at };
}

const windowOf = ({ correlation, sources }: Node): bigint =>
  sources.reduce((longest, source) => {
    const inner = 'node' in source ? windowOf(source.node) : 0n;
    return inner > longest ? inner : longest;
  }, 0n) + correlation.windowNs;

/** The values of `fields` as texts; undefined where one of them is missing or null. */
function keyOf(view: FieldView, fields: readonly string[]): readonly string[] | undefined {
  const key: string[] = [];
  for (const field of fields) {
    const texts = textsIn(view.get(field));
    if (texts.length === 0) return undefined;
    key.push(texts.length === 1 ? (texts[0] as string) : JSON.stringify(texts));
  }
  return key;
}

/** What of an event is counted or added up; undefined where it has nothing to count. */
function countedValue(view: FieldView, { spec, valueFields }: Plan): string | number | undefined {
  const numeric =
    spec.kind === 'value_sum' || spec.kind === 'value_avg' || spec.percentile !== undefined;
  if (!numeric) {
    const values = keyOf(view, valueFields);
    return values === undefined ? undefined : JSON.stringify(values);
  }
  const value = view.get(valueFields[0] as string);
  return value === undefined || (typeof value === 'object' && value !== null)
    ? undefined
    : numberOf(value);
}

interface Inner extends Firing {
  readonly fields: FieldView;
}

/** A firing as an event: the values of its group over the fields of the event that made it fire. */
function overlay(fields: FieldView, names: readonly string[], key: readonly string[]): FieldView {
  const own = new Map(names.map((name, index) => [name, key[index] as string]));
  return createView({
    get: (name) => own.get(name) ?? fields.get(name),
    names: () => [...new Set([...own.keys(), ...fields.names()])],
  });
}

/** The groups of one node, in the order in which they were last met. */
type Groups = Map<string, Group>;

interface Run {
  readonly groups: readonly Groups[];
  readonly limits: StreamLimits;
  evicted: number;
  /** Groups, and what they hold. */
  size: number;
}

const sizeOf = ({ seen, steps }: Group): number => 1 + seen.length + steps.length;

function remove(run: Run, groups: Groups, key: string, group: Group): void {
  run.size -= sizeOf(group);
  groups.delete(key);
}

/** Groups whose newest event has left the window can't matter any more. */
function expire(run: Run, { at, spec }: Plan, timeNs: bigint): void {
  const groups = run.groups[at] as Groups;
  for (const [key, group] of groups) {
    if (group.timeNs >= timeNs - spec.windowNs) return;
    remove(run, groups, key, group);
  }
}

function groupFor(run: Run, of: Plan, key: string, timeNs: bigint): Group {
  const groups = run.groups[of.at] as Groups;
  const known = groups.get(key);
  const group = known ?? emptyGroup(timeNs, of.spec);
  if (known === undefined) run.size += sizeOf(group);
  groups.delete(key);
  groups.set(key, group);
  const [oldest] = groups;
  if (groups.size > run.limits.groupsMax && oldest !== undefined) {
    remove(run, groups, ...oldest);
    run.evicted++;
  }
  return group;
}

interface Keyed {
  readonly key: readonly string[];
  readonly fields: FieldView;
  readonly matches: Match[];
}

/** The matches of one event at one node, by group; an event may be in several by its aliases. */
function gather(of: Plan, event: RuleEvent, hits: readonly Hit[], run: Run): Map<string, Keyed> {
  const byKey = new Map<string, Keyed>();
  of.sources.forEach((source, index) => {
    const found: readonly Pick<Inner, 'fields' | 'events'>[] =
      'plan' in source
        ? feedNode(source.plan, event, hits, run)
        : hits
            .filter((hit) => hit.input === source.input)
            .slice(0, 1)
            .map(({ fields }) => ({ fields, events: [event.id] }));
    for (const { fields, events } of found) {
      const key = keyOf(fields, of.keyFields[index] as readonly string[]);
      if (key === undefined) continue;
      const value = of.valueFields.length === 0 ? undefined : countedValue(fields, of);
      if (of.valueFields.length > 0 && value === undefined) continue;
      const keyText = JSON.stringify(key);
      const keyed = byKey.get(keyText) ?? { key, fields, matches: [] };
      keyed.matches.push({ source: index, events, ...(value === undefined ? {} : { value }) });
      byKey.set(keyText, keyed);
    }
  });
  return byKey;
}

function feedNode(of: Plan, event: RuleEvent, hits: readonly Hit[], run: Run): readonly Inner[] {
  const firings: Inner[] = [];
  for (const [keyText, { key, fields, matches }] of gather(of, event, hits, run)) {
    expire(run, of, event.timeNs);
    const group = groupFor(run, of, keyText, event.timeNs);
    const before = sizeOf(group);
    const result = feedGroup(of.spec, group, event.timeNs, matches, run.limits);
    run.size += sizeOf(group) - before;
    run.evicted += result.evicted;
    if (result.events !== undefined)
      firings.push({
        timeNs: event.timeNs,
        key,
        events: result.events,
        fields: overlay(fields, of.groupBy, key),
      });
  }
  return firings;
}

const plans = (root: Plan): readonly Plan[] => [
  root,
  ...root.sources.flatMap((source) => ('plan' in source ? plans(source.plan) : [])),
];

/** What `save` gives: for each node its groups, in the order in which they were last met. */
type Saved = readonly (readonly SavedGroup[])[];

function open(root: Plan, limits: StreamLimits, saved?: unknown): StreamState {
  const all = plans(root).toSorted((a, b) => a.at - b.at);
  const stored = (saved ?? []) as Saved;
  const groups = all.map(
    ({ spec, at }): Groups => new Map(stored[at]?.map((one) => loadGroup(spec, one))),
  );
  const size = groups.flatMap((of) => [...of.values()]).reduce((sum, one) => sum + sizeOf(one), 0);
  const run: Run = { groups, limits, evicted: 0, size };
  const withoutFields = ({ timeNs, key, events }: Inner): Firing => ({ timeNs, key, events });
  return {
    feed: (event, hits) => feedNode(root, event, hits, run).map(withoutFields),
    advance: (timeNs) => {
      for (const one of all) expire(run, one, timeNs);
      return [];
    },
    save: (): Saved => groups.map((of) => [...of].map(([key, group]) => saveGroup(key, group))),
    stats: () => ({
      groups: groups.reduce((sum, of) => sum + of.size, 0),
      events: groups.reduce(
        (sum, of) =>
          sum + [...of.values()].reduce((n, { seen, steps }) => n + seen.length + steps.length, 0),
        0,
      ),
      evicted: run.evicted,
    }),
    get size() {
      return run.size;
    },
  };
}

/** Inputs without which a node never fires: of a sequence all, of a count the only one. */
function requiredOf({ spec, sources }: Plan): readonly number[] {
  const all = spec.condition === undefined && spec.thresholds.length === 0;
  const needed = sources.length === 1 || (spec.kind.startsWith('temporal') && all) ? sources : [];
  return needed.flatMap((source) => ('plan' in source ? requiredOf(source.plan) : [source.input]));
}

/** The stream matcher of a correlation. */
export function compileCorrelation(node: Node): StreamMatcher {
  const layout: Layout = { inputs: [], groupBy: [], fields: new Set(), nodes: 0 };
  const root = plan(node, layout, undefined);
  const required = requiredOf(root).toSorted((a, b) => a - b);
  return {
    inputs: layout.inputs,
    windowNs: windowOf(node),
    fields: [...layout.fields],
    groupBy: layout.groupBy,
    ...(required.length === 0 ? {} : { required }),
    open: (limits = STREAM_LIMITS, saved) => open(root, limits, saved),
  };
}
