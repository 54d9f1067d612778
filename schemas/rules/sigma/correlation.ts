/** A Sigma correlation rule, from a YAML document to what `correlate.ts` runs. */
import { at, type Entry, type MapNode, textOf, textsOf, type Warning } from '../document.ts';
import { type Place, quoted, refuse } from '../faults.ts';
import { readMeta } from '../meta.ts';
import type { RuleMeta } from '../rule.ts';
import { type Condition, parseCondition } from './condition.ts';

export const KINDS = [
  'event_count',
  'value_count',
  'temporal',
  'temporal_ordered',
  'value_sum',
  'value_avg',
  'value_percentile',
] as const;
export type Kind = (typeof KINDS)[number];

export const OPERATORS = ['lt', 'lte', 'gt', 'gte', 'eq', 'neq'] as const;
export interface Threshold {
  readonly how: (typeof OPERATORS)[number];
  readonly number: number;
}

export interface Reference {
  /** An id or a name. */
  readonly to: string;
  readonly place: Place;
}

export interface Correlation {
  readonly type: 'correlation';
  readonly meta: RuleMeta;
  readonly place: Place;
  readonly kind: Kind;
  readonly rules: readonly Reference[];
  readonly groupBy: readonly string[];
  /** Alias -> the field that it is in the events of each rule, by the rule's name or id. */
  readonly aliases: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly windowNs: bigint;
  /** All of these have to hold of the count, sum, average or percentile. */
  readonly thresholds: readonly Threshold[];
  /** Extended condition of a temporal correlation: over the names of rules. */
  readonly condition?: Condition;
  readonly valueFields: readonly string[];
  /** Which percentile of numbers; absent: the share of the event's own value, in percent. */
  readonly percentile?: number;
  /** Whether the rules referred to alert on their own as well. */
  readonly generate: boolean;
  readonly warnings: readonly Warning[];
}

/** The largest count that a threshold may ask for: so many events are held for each group. */
export const COUNT_MAX = 100_000;
const UNIT_NS: Readonly<Record<string, bigint>> = {
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
  d: 86_400_000_000_000n,
};

function timespan(section: MapNode): bigint {
  const entry = at(section, 'timespan');
  if (entry === undefined) return refuse('shape', section.place, 'a correlation needs a timespan');
  const found = /^([1-9]\d{0,6})([smhd])$/.exec(textOf(entry));
  if (found !== null) return BigInt(found[1] as string) * (UNIT_NS[found[2] as string] as bigint);
  const reason = `timespan ${quoted(textOf(entry))} is not a number and one of s, m, h, d`;
  return refuse('value', entry.value.place, reason);
}

function aliasesOf(section: MapNode): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const entry = at(section, 'aliases');
  if (entry === undefined) return new Map();
  const map = (node: Entry): MapNode =>
    node.value.type === 'map'
      ? node.value
      : refuse('shape', node.value.place, `${quoted(node.key)} has to be a map`);
  return new Map(
    map(entry).entries.map((alias) => [
      alias.key,
      new Map(map(alias).entries.map((rule) => [rule.key, textOf(rule)])),
    ]),
  );
}

function numberAt({ key, value }: Entry): number {
  if (value.type === 'scalar' && typeof value.value === 'number' && Number.isFinite(value.value))
    return value.value;
  return refuse('value', value.place, `${quoted(key)} has to be a number`);
}

interface Criterion {
  readonly thresholds: readonly Threshold[];
  readonly valueFields: readonly string[];
  readonly percentile?: number;
  readonly condition?: Condition;
}

const isOperator = (key: string): key is Threshold['how'] =>
  (OPERATORS as readonly string[]).includes(key);

function criterionOf(map: MapNode, kind: Kind): Criterion {
  const thresholds: Threshold[] = [];
  let valueFields: readonly string[] = [];
  let percentile: number | undefined;
  for (const entry of map.entries) {
    const { key, place } = entry;
    if (isOperator(key)) thresholds.push({ how: key, number: numberAt(entry) });
    else if (key === 'field' && kind.startsWith('value_')) valueFields = textsOf(entry);
    else if (key === 'percentile' && kind === 'value_percentile') percentile = numberAt(entry);
    else refuse('shape', place, `a condition of ${kind} has no ${quoted(key)}`);
  }
  if (thresholds.length === 0)
    refuse('shape', map.place, `condition needs one of ${OPERATORS.join(', ')}`);
  if (kind.endsWith('_count') && thresholds.some(({ number }) => number > COUNT_MAX))
    refuse('limit', map.place, `counts beyond ${COUNT_MAX} are not kept`);
  if (percentile !== undefined && (percentile < 0 || percentile > 100))
    refuse('value', map.place, 'percentile lies between 0 and 100');
  if (kind.startsWith('value_') && valueFields.length === 0)
    refuse('shape', map.place, `a condition of ${kind} needs a field`);
  if (kind !== 'value_count' && valueFields.length > 1)
    refuse('shape', map.place, `${kind} is of one field`);
  return { thresholds, valueFields, ...(percentile === undefined ? {} : { percentile }) };
}

function namesIn(condition: Condition): readonly string[] {
  if (condition.op === 'name') return [condition.name];
  return condition.op === 'not' ? namesIn(condition.of) : condition.of.flatMap(namesIn);
}

/** An extended condition: rules by name, with and, or, not. */
function extended(entry: Entry, kind: Kind, rules: readonly Reference[]): Criterion {
  const { place } = entry.value;
  if (!kind.startsWith('temporal'))
    refuse('condition', place, `a condition of ${kind} is a map such as {gte: 10}`);
  const names = rules.map(({ to }) => to);
  const condition = parseCondition(textOf(entry), names, place);
  const used = namesIn(condition);
  const unused = names.filter((name) => !used.includes(name));
  if (unused.length > 0)
    refuse('condition', place, `the condition leaves out ${unused.join(', ')} of its rules`);
  if (kind === 'temporal') return { thresholds: [], valueFields: [], condition };
  const conjunction =
    condition.op === 'name' ||
    (condition.op === 'and' && condition.of.every((part) => part.op === 'name'));
  if (!conjunction)
    refuse(
      'condition',
      place,
      'an ordered correlation takes "and" alone: or and not have no order',
    );
  return { thresholds: [], valueFields: [] };
}

function criterion(section: MapNode, kind: Kind, rules: readonly Reference[]): Criterion {
  const entry = at(section, 'condition');
  if (entry === undefined) {
    if (kind.startsWith('temporal')) return { thresholds: [], valueFields: [] };
    return refuse('shape', section.place, `a correlation of ${kind} needs a condition`);
  }
  if (entry.value.type === 'scalar') return extended(entry, kind, rules);
  if (entry.value.type !== 'map')
    return refuse('shape', entry.value.place, 'condition has to be a map or a text');
  const found = criterionOf(entry.value, kind);
  const holds = (count: number) => found.thresholds.every((one) => meets(one, count));
  const steps = rules.length;
  const all =
    holds(steps) && !Array.from({ length: steps }, (_, count) => holds(count)).some(Boolean);
  if (kind === 'temporal_ordered' && !all)
    refuse('condition', entry.value.place, `an ordered correlation is of all its ${steps} rules`);
  return found;
}

/** Whether a number meets a threshold. */
export function meets({ how, number }: Threshold, value: number): boolean {
  switch (how) {
    case 'lt':
      return value < number;
    case 'lte':
      return value <= number;
    case 'gt':
      return value > number;
    case 'gte':
      return value >= number;
    case 'eq':
      return value === number;
    case 'neq':
      return value !== number;
  }
}

const KEYS = new Set([
  ...['type', 'rules', 'group-by', 'timespan', 'aliases', 'condition', 'generate'],
]);

/** Without a list the rules are those that an extended condition names, in the order of their names. */
function referencesInCondition(section: MapNode): readonly Reference[] {
  const entry = at(section, 'condition');
  if (entry?.value.type !== 'scalar')
    return refuse('shape', section.place, 'a correlation names its rules');
  const words = textOf(entry).match(/[^\s()]+/g) ?? [];
  const names = words.filter((word) => !/^(and|or|not)$/i.test(word));
  return [...new Set(names)].map((to) => ({ to, place: entry.value.place }));
}

function referencesOf(section: MapNode): readonly Reference[] {
  const entry = at(section, 'rules');
  if (entry === undefined) return referencesInCondition(section);
  const items = entry.value.type === 'list' ? entry.value.items : [entry.value];
  const rules = items.map((value) => ({ to: textOf({ ...entry, value }), place: value.place }));
  if (rules.length === 0) refuse('shape', entry.value.place, 'a correlation needs a rule');
  if (new Set(rules.map(({ to }) => to)).size < rules.length)
    refuse('shape', entry.value.place, 'a rule stands in the list twice');
  return rules;
}

function generateOf(map: MapNode, section: MapNode): boolean {
  // The specification has it beside `correlation`, its reference implementation within.
  const entry = at(section, 'generate') ?? at(map, 'generate');
  if (entry === undefined) return false;
  if (entry.value.type === 'scalar' && typeof entry.value.value === 'boolean')
    return entry.value.value;
  return refuse('shape', entry.value.place, 'generate has to be true or false');
}

/** Reads a correlation rule; its references are resolved later. Throws a `Refusal`. */
export function readCorrelation(map: MapNode): Correlation {
  const warnings: Warning[] = [];
  const warn = (warning: Warning) => warnings.push(warning);
  const entry = at(map, 'correlation');
  const section = entry?.value;
  if (section?.type !== 'map')
    return refuse('shape', entry?.place ?? map.place, 'correlation has to be a map');
  const type = at(section, 'type');
  if (type === undefined) return refuse('shape', section.place, 'a correlation needs a type');
  const kind =
    KINDS.find((one) => one === textOf(type)) ??
    refuse('shape', type.value.place, `type has to be one of ${KINDS.join(', ')}`);
  for (const { key, place } of section.entries)
    if (!KEYS.has(key)) refuse('shape', place, `a correlation has no ${quoted(key)}`);
  const rules = referencesOf(section);
  const group = at(section, 'group-by');
  if (group === undefined)
    warn({
      ...section.place,
      code: 'shape',
      reason: 'group-by is missing: all events are one group',
    });
  return {
    type: 'correlation',
    meta: readMeta(map, 'sigma', {}, warn),
    place: map.place,
    kind,
    rules,
    groupBy: group === undefined ? [] : textsOf(group),
    aliases: aliasesOf(section),
    windowNs: timespan(section),
    ...criterion(section, kind, rules),
    generate: generateOf(map, section),
    warnings,
  };
}
