/**
 * Sigma documents put together: filters to the rules that they are for, correlations to the rules
 * that they refer to, by id or by name, over all files of a folder.
 */
import type { Warning } from '../document.ts';
import { type Fault, type Outcome, outcome, quoted, refuse } from '../faults.ts';
import type { EventMatcher, Rule } from '../rule.ts';
import { compileCorrelation, type Node, type Source } from './correlate.ts';
import type { Correlation, Reference } from './correlation.ts';
import { compileMatcher, type Detection, type Filter, filters } from './rule.ts';

/** Correlations may refer to correlations so many times over. */
const CHAIN_MAX = 8;

export interface SigmaDocuments {
  readonly detections: readonly Detection[];
  readonly correlations: readonly Correlation[];
  readonly filters: readonly Filter[];
  /** Names and ids of documents that were refused: whoever refers to them is told so. */
  readonly refused: ReadonlySet<string>;
}

export interface Linked {
  readonly rules: readonly Rule[];
  readonly faults: readonly Fault[];
  readonly warnings: readonly Warning[];
}

interface Tested {
  readonly detection: Detection;
  readonly test: EventMatcher;
}
type Target = Tested | Correlation;

interface Linker {
  readonly byName: ReadonlyMap<string, readonly Target[]>;
  readonly refused: ReadonlySet<string>;
}

function index(targets: readonly Target[]): Linker['byName'] {
  const byName = new Map<string, Target[]>();
  for (const target of targets) {
    const { meta } = 'test' in target ? target.detection : target;
    for (const name of new Set([meta.id, meta.name]))
      if (name !== undefined) byName.set(name, [...(byName.get(name) ?? []), target]);
  }
  return byName;
}

function resolve({ to, place }: Reference, { byName, refused }: Linker): Target {
  const [target, ...more] = byName.get(to) ?? [];
  if (more.length > 0) refuse('reference', place, `several rules are called ${quoted(to)}`);
  if (target !== undefined) return target;
  const why = refused.has(to) ? 'was refused' : 'is not among these rules';
  return refuse('reference', place, `the rule ${quoted(to)} ${why}`);
}

/** The correlation with all that it refers to; `path` is what leads to it. */
function nodeOf(correlation: Correlation, linker: Linker, path: readonly Correlation[]): Node {
  if (path.includes(correlation))
    refuse('reference', correlation.place, 'the correlation refers to itself in the end');
  if (path.length >= CHAIN_MAX)
    refuse('limit', correlation.place, `correlations are chained more than ${CHAIN_MAX} times`);
  const sources = correlation.rules.map((reference): Source => {
    const target = resolve(reference, linker);
    if ('test' in target) return { name: reference.to, test: target.test };
    return { name: reference.to, node: nodeOf(target, linker, [...path, correlation]) };
  });
  checkAliases(correlation, linker);
  return { correlation, sources };
}

function checkAliases({ aliases, rules, place }: Correlation, linker: Linker): void {
  const known = new Set(
    rules.flatMap((reference) => {
      const target = resolve(reference, linker);
      const { meta } = 'test' in target ? target.detection : target;
      return [reference.to, meta.id, meta.name];
    }),
  );
  for (const [alias, fields] of aliases)
    for (const rule of fields.keys())
      if (!known.has(rule))
        refuse('reference', place, `alias ${quoted(alias)}: ${quoted(rule)} is none of its rules`);
}

/** Rules that a correlation without `generate` refers to: they alert through it alone. */
function silenced(nodes: readonly Node[]): ReadonlySet<EventMatcher | Correlation> {
  const found = new Set<EventMatcher | Correlation>();
  for (const { correlation, sources } of nodes)
    for (const source of sources)
      if (!correlation.generate)
        found.add('test' in source ? source.test : source.node.correlation);
  return found;
}

function filterWarnings(all: readonly Filter[], detections: readonly Detection[]): Warning[] {
  return all.flatMap((filter): readonly Warning[] => {
    if (filter.rules === 'any') return [];
    const used = detections.some(({ meta }) => filters(filter, meta));
    const reason = `filter ${quoted(filter.title)} is for no rule that is here`;
    return used ? [] : [{ ...filter.place, code: 'reference', reason }];
  });
}

/** Links the documents of a folder. Never throws a `Refusal`. */
export function linkSigma(documents: SigmaDocuments): Linked {
  const tested = documents.detections.map((detection): Tested => {
    const applied = documents.filters.filter((filter) => filters(filter, detection.meta));
    return { detection, test: compileMatcher(detection, applied) };
  });
  const byName = index([...tested, ...documents.correlations]);
  const linker: Linker = { byName, refused: documents.refused };
  const nodes = documents.correlations.map(
    (correlation): Outcome<Node> => outcome(() => nodeOf(correlation, linker, [])),
  );
  const good = nodes.flatMap((node) => (node.ok ? [node.value] : []));
  const silent = silenced(good);
  const rules = [
    ...tested.map(({ detection, test }): Rule => {
      const { meta, warnings } = detection;
      return { meta, matcher: { type: 'event', test }, alerts: !silent.has(test), warnings };
    }),
    ...good.map((node): Rule => {
      const { meta, warnings } = node.correlation;
      const matcher = { type: 'stream', stream: compileCorrelation(node) } as const;
      return { meta, matcher, alerts: !silent.has(node.correlation), warnings };
    }),
  ];
  return {
    rules,
    faults: nodes.flatMap((node) => (node.ok ? [] : [node.fault])),
    warnings: [
      ...documents.filters.flatMap(({ warnings }) => warnings),
      ...filterWarnings(documents.filters, documents.detections),
    ],
  };
}
