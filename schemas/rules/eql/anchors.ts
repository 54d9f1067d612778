/**
 * The literals without which a condition can't hold, for the index over all tests: whenever the
 * condition is true, one of its anchors is in the event. A condition that offers none has no
 * anchors and is tested on every event of its category.
 */
import type { Anchor, Need } from '../rule.ts';
import { fold } from '../values.ts';
import type { CallNode, ComparisonNode, Expression, PatternNode } from './ast.ts';
import { literalOf } from './wildcard.ts';

/** More literals than that are not worth an index. */
const ANCHORS_MAX = 64;
type Found = readonly Anchor[] | undefined;

const CALLS: Readonly<Record<string, Anchor['how']>> = {
  startsWith: 'startswith',
  endsWith: 'endswith',
  stringContains: 'contains',
};

function ofPattern(node: PatternNode): Found {
  const { value, operator, patterns } = node;
  if (value.node !== 'field' || operator === 'regex') return undefined;
  const anchors: Anchor[] = [];
  for (const { text } of patterns) {
    const literal = literalOf(text);
    if (literal === undefined) return undefined;
    anchors.push({ field: value.name, how: literal.how, text: fold(literal.text) });
  }
  return anchors;
}

function ofCall({ name, args }: CallNode): Found {
  const how = Object.hasOwn(CALLS, name) ? CALLS[name] : undefined;
  const [field, text] = args;
  if (how === undefined || field?.node !== 'field' || text?.node !== 'literal') return undefined;
  if (typeof text.value !== 'string' || text.value === '') return undefined;
  return [{ field: field.name, how, text: fold(text.value) }];
}

function equals(field: Expression, values: readonly Expression[]): Found {
  if (field.node !== 'field') return undefined;
  const anchors: Anchor[] = [];
  for (const value of values) {
    if (value.node !== 'literal' || typeof value.value !== 'string') return undefined;
    anchors.push({ field: field.name, how: 'equals', text: fold(value.value) });
  }
  return anchors;
}

/** Fields with a handful of values, of which each is common: an index over them finds everything. */
const COMMON = new Set([
  ...['kind', 'outcome', 'decision', 'policy_type', 'file_op', 'net_op', 'attribution', 'source'],
  ...['event.action', 'event.category', 'event.outcome', 'event.type', 'agent', 'tool'],
]);

/** How well an index can tell events apart by these: the weakest counts. */
const strength = (anchors: readonly Anchor[]): number =>
  Math.min(
    ...anchors.map(({ field, how, text }) => {
      if (COMMON.has(field)) return 0;
      return text.length + (how === 'equals' ? 8 : 0);
    }),
  );

function find(node: Expression): Found {
  switch (node.node) {
    case 'pattern':
      return ofPattern(node);
    case 'call':
      return ofCall(node);
    case 'in':
      return node.negated ? undefined : equals(node.value, node.list);
    case 'comparison':
      if (node.operator !== '==') return undefined;
      return equals(node.left, [node.right]) ?? equals(node.right, [node.left]);
    case 'and': {
      // One term is enough, because all of them have to hold.
      const found = node.terms.map(find).filter((one) => one !== undefined);
      if (found.length === 0) return undefined;
      return found.reduce((best, one) => (strength(one) > strength(best) ? one : best));
    }
    case 'or': {
      const found = node.terms.map(find);
      const all = found.flatMap((one) => one ?? []);
      return found.includes(undefined) || all.length > ANCHORS_MAX ? undefined : all;
    }
    default:
      return undefined;
  }
}

const isNull = (node: Expression): boolean => node.node === 'literal' && node.value === null;

/** A comparison with null or with a number that stands on the right. */
function ofComparison({ left, operator, right }: ComparisonNode): Need | undefined {
  if (left.node === 'field' && operator === '!=' && isNull(right)) return { present: left.name };
  const value = right.node === 'literal' ? right.value : undefined;
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) return undefined;
  if (left.node === 'field') return { number: left.name, operator, value };
  const [field] = left.node === 'call' && left.name === 'length' ? left.args : [];
  if (field?.node !== 'field' || (operator !== '>' && operator !== '>=')) return undefined;
  return { long: field.name, charactersMin: operator === '>' ? value + 1 : value };
}

/** All that a condition needs of the text of an event; undefined where nothing is known. */
export function needOfCondition(node: Expression): Need | undefined {
  if (node.node === 'and') {
    const known = node.terms.map(needOfCondition).filter((one) => one !== undefined);
    return known.length === 0 ? undefined : { all: known };
  }
  if (node.node === 'or') {
    const parts = node.terms.map(needOfCondition);
    const known = parts.filter((one) => one !== undefined);
    return known.length < parts.length ? undefined : { either: known };
  }
  const anchors = find(node);
  if (anchors !== undefined) return { one: anchors };
  return node.node === 'comparison' ? ofComparison(node) : undefined;
}

/** The anchors of a condition; undefined where it has none. */
export function anchorsOf(condition: Expression): Found {
  const found = find(condition);
  return found === undefined || found.length > ANCHORS_MAX ? undefined : found;
}
