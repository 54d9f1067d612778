/** A Sigma detection rule, and a Sigma filter, from a YAML document to an expression. */
import {
  at,
  type Entry,
  type MapNode,
  type Node,
  textOf,
  textsOf,
  type Warning,
} from '../document.ts';
import { type Place, refuse } from '../faults.ts';
import { readLogsource, readMeta } from '../meta.ts';
import type { EventMatcher, Pivot, RuleMeta } from '../rule.ts';
import { coversSource, type Logsource, recordView } from '../values.ts';
import { type Condition, parseCondition } from './condition.ts';
import { compileDetection, type DetectionContext } from './detection.ts';
import {
  anchorsOf,
  and,
  compileExpression,
  type Expression,
  fieldsOf,
  not,
  or,
  settle,
  tests,
} from './expression.ts';
import type { Placeholders } from './value.ts';

/** A detection rule before filters are put to it. */
export interface Detection {
  readonly type: 'detection';
  readonly meta: RuleMeta;
  readonly expression: Expression;
  readonly warnings: readonly Warning[];
}

/** A filter: an expression that is put to rules by *and*. */
export interface Filter {
  readonly type: 'filter';
  readonly title: string;
  readonly place: Place;
  readonly logsource: Logsource;
  /** Ids or names of rules; `any` is every rule of the log source. */
  readonly rules: readonly string[] | 'any';
  readonly expression: Expression;
  readonly warnings: readonly Warning[];
}

function build(condition: Condition, of: ReadonlyMap<string, Expression>): Expression {
  if (condition.op === 'name') return of.get(condition.name) as Expression;
  if (condition.op === 'not') return not(build(condition.of, of));
  const parts = condition.of.map((part) => build(part, of));
  return condition.op === 'and' ? and(parts) : or(parts);
}

function mapAt(map: MapNode, key: string): MapNode {
  const entry = at(map, key);
  if (entry === undefined) return refuse('shape', map.place, `a rule needs ${key}`);
  if (entry.value.type !== 'map')
    return refuse('shape', entry.value.place, `${key} has to be a map`);
  return entry.value;
}

/** Search identifiers put together by the condition; several conditions are alternatives. */
function expressionOf(
  section: MapNode,
  words: ReadonlySet<string>,
  context: DetectionContext,
): Expression {
  const identifiers = section.entries.filter(({ key }) => !words.has(key));
  const compiled = new Map(
    identifiers.map((entry): [string, Expression] => [
      entry.key,
      compileDetection(entry.value, context),
    ]),
  );
  const condition = at(section, 'condition');
  if (condition === undefined) return refuse('shape', section.place, 'a condition is missing');
  const parse = (entry: Entry) =>
    build(parseCondition(textOf(entry), [...compiled.keys()], entry.value.place), compiled);
  const { value } = condition;
  if (value.type !== 'list') return parse(condition);
  if (value.items.length === 0) return refuse('shape', value.place, 'condition is an empty list');
  return or(value.items.map((item: Node) => parse({ ...condition, value: item })));
}

const DETECTION_WORDS = new Set(['condition', 'timeframe']);
const FILTER_WORDS = new Set(['condition', 'rules']);

/** Checks the condition before all else: an obsolete rule is refused for being one. */
function checkObsolete(map: MapNode, section: MapNode): void {
  const condition = at(section, 'condition');
  if (condition !== undefined)
    for (const text of textsOf(condition))
      if (text.includes('|')) parseCondition(text, [], condition.value.place);
  const timeframe = at(section, 'timeframe');
  if (timeframe !== undefined)
    refuse('obsolete', timeframe.place, 'timeframe went with Sigma 1: write a correlation rule');
  const action = at(map, 'action');
  if (action !== undefined)
    refuse(
      'obsolete',
      action.place,
      'Sigma 2 has no actions: give each document all that it needs',
    );
}

const contextOf = (placeholders: Placeholders, warnings: Warning[]): DetectionContext => ({
  placeholders,
  warn: (warning) => warnings.push(warning),
});

/** Reads a detection rule. Throws a `Refusal`. */
export function readDetection(map: MapNode, placeholders: Placeholders): Detection {
  const warnings: Warning[] = [];
  const context = contextOf(placeholders, warnings);
  const section = mapAt(map, 'detection');
  checkObsolete(map, section);
  const meta = readMeta(map, 'sigma', readLogsource(map, context.warn), context.warn);
  const expression = expressionOf(section, DETECTION_WORDS, context);
  return { type: 'detection', meta, expression, warnings };
}

/** Reads a filter. Throws a `Refusal`. */
export function readFilter(map: MapNode, placeholders: Placeholders): Filter {
  const warnings: Warning[] = [];
  const context = contextOf(placeholders, warnings);
  const section = mapAt(map, 'filter');
  const logsource = readLogsource(map, context.warn);
  const { title } = readMeta(map, 'sigma', logsource, context.warn);
  const rules = at(section, 'rules');
  if (rules === undefined)
    return refuse('shape', section.place, 'a filter names the rules it is for');
  const names = textsOf(rules);
  if (names.length === 0)
    return refuse('shape', rules.value.place, 'a filter needs at least one rule');
  return {
    type: 'filter',
    title,
    place: map.place,
    logsource,
    rules: rules.value.type === 'scalar' && names[0] === 'any' ? 'any' : names,
    expression: expressionOf(section, FILTER_WORDS, context),
    warnings,
  };
}

/** Whether a filter is for a rule: it names it, and the rule's log source lies within its own. */
export function filters(filter: Filter, { id, name, logsource }: RuleMeta): boolean {
  if (!coversSource(filter.logsource, logsource)) return false;
  if (filter.rules === 'any') return true;
  return filter.rules.some((rule) => rule === id || rule === name);
}

function matcherOf(logsource: Logsource, expression: Expression): EventMatcher {
  const anchors = anchorsOf(expression);
  const fields = fieldsOf(expression);
  return {
    logsource,
    matches: compileExpression(expression),
    ...(anchors === undefined ? {} : { anchors }),
    ...(fields === undefined ? {} : { fields }),
  };
}

/** The type of a record of auditd, of which a system call makes several: most rules are of one. */
const RECORD_TYPE = 'type';

function pivotOf(logsource: Logsource, expression: Expression): Pivot {
  return {
    field: RECORD_TYPE,
    at: (type) => {
      const view = recordView({ [RECORD_TYPE]: type });
      const left = settle(expression, (leaf) =>
        tests(leaf, RECORD_TYPE) ? leaf.matches(view) : undefined,
      );
      if (typeof left !== 'boolean') return matcherOf(logsource, left);
      return left ? { logsource, matches: () => true, fields: [] } : undefined;
    },
  };
}

/** The test of a rule with its filters: it holds where the rule and all of them do. */
export function compileMatcher(rule: Detection, applied: readonly Filter[]): EventMatcher {
  const { logsource } = rule.meta;
  const expression = and([rule.expression, ...applied.map((filter) => filter.expression)]);
  const matcher = matcherOf(logsource, expression);
  if (!tests(expression, RECORD_TYPE)) return matcher;
  return { ...matcher, pivot: pivotOf(logsource, expression) };
}
