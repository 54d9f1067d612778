/**
 * A condition as it is for events of one kind: every comparison of `kind` is worked out, and what
 * that decides falls away. Most conditions over any category are a row of branches for a kind each,
 * and only one of them is left, with its own literals for the index.
 */
import type { ComparisonNode, Expression, InNode, LiteralNode, LogicNode } from './ast.ts';

const literal = (value: boolean, { at }: Expression): LiteralNode => ({
  node: 'literal',
  value,
  float: false,
  at,
});
const isLiteral = (node: Expression, value: boolean): boolean =>
  node.node === 'literal' && node.value === value;
const isKind = (node: Expression): boolean => node.node === 'field' && node.name === 'kind';

function decideComparison(node: ComparisonNode, kind: string): Expression {
  const { left, right, operator } = node;
  if (operator !== '==' && operator !== '!=') return node;
  const other = isKind(left) ? right : isKind(right) ? left : undefined;
  if (other?.node !== 'literal' || typeof other.value !== 'string') return node;
  return literal((other.value === kind) === (operator === '=='), node);
}

function decideIn(node: InNode, kind: string): Expression {
  const { value, list, insensitive, negated } = node;
  if (!isKind(value) || insensitive) return node;
  if (!list.every((one) => one.node === 'literal')) return node;
  return literal(list.some((one) => one.value === kind) !== negated, node);
}

/**
 * With three values of truth as with two: what is false makes a conjunction false, whatever is
 * missing beside it, and what is true may be left out of it; and the other way about.
 */
function decideLogic(node: LogicNode, kind: string): Expression {
  const decisive = node.node === 'or';
  const terms = node.terms.map((term) => decide(term, kind));
  if (terms.some((term) => isLiteral(term, decisive))) return literal(decisive, node);
  const open = terms.filter((term) => !isLiteral(term, !decisive));
  const [only] = open;
  if (only === undefined) return literal(!decisive, node);
  return open.length === 1 ? only : { ...node, terms: open };
}

/** The condition for events whose `kind` is this text: it holds for the same ones of them. */
export function decide(node: Expression, kind: string): Expression {
  switch (node.node) {
    case 'comparison':
      return decideComparison(node, kind);
    case 'in':
      return decideIn(node, kind);
    case 'not': {
      const term = decide(node.term, kind);
      if (term.node !== 'literal' || typeof term.value !== 'boolean') return { ...node, term };
      return literal(!term.value, node);
    }
    case 'and':
    case 'or':
      return decideLogic(node, kind);
    default:
      return node;
  }
}

/** Whether a condition holds whatever the event is. */
export const isTrue = (node: Expression): boolean => isLiteral(node, true);

/** Whether a condition that is decided can hold at all. */
export const canHold = (node: Expression): boolean =>
  !(node.node === 'literal' && node.value !== true);
