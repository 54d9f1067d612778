/**
 * A detection as an expression over tests of fields; from it come the closure that decides, and
 * the literals without which it can't hold.
 */
import type { Anchor } from '../rule.ts';
import type { FieldView } from '../values.ts';

/** One test of an event. `cost` orders the tests of a conjunction, cheap ones first. */
export interface Leaf {
  readonly op: 'test';
  readonly cost: number;
  readonly matches: (fields: FieldView) => boolean;
  /** The fields that it reads; absent: any that the event has. */
  readonly fields?: readonly string[];
  /** Where it is given, one of these holds whenever the test does. */
  readonly anchors?: readonly Anchor[];
}
export type Expression =
  | Leaf
  | { readonly op: 'and' | 'or'; readonly of: readonly Expression[] }
  | { readonly op: 'not'; readonly of: Expression };

export const and = (of: readonly Expression[]): Expression =>
  of.length === 1 ? (of[0] as Expression) : { op: 'and', of };
export const or = (of: readonly Expression[]): Expression =>
  of.length === 1 ? (of[0] as Expression) : { op: 'or', of };
export const not = (of: Expression): Expression => ({ op: 'not', of });

function costOf(expression: Expression): number {
  if (expression.op === 'test') return expression.cost;
  if (expression.op === 'not') return costOf(expression.of);
  return expression.of.reduce((sum, one) => sum + costOf(one), 0);
}

/** The closure of an expression. Tests are pure, so those of a conjunction may change places. */
export function compileExpression(expression: Expression): (fields: FieldView) => boolean {
  if (expression.op === 'test') return expression.matches;
  if (expression.op === 'not') {
    const inner = compileExpression(expression.of);
    return (fields) => !inner(fields);
  }
  const parts = expression.of.toSorted((a, b) => costOf(a) - costOf(b)).map(compileExpression);
  const wanted = expression.op === 'or';
  return (fields) => {
    for (const part of parts) if (part(fields) === wanted) return wanted;
    return !wanted;
  };
}

/** Fields with a handful of values, of which each is common: an index over them finds everything. */
const COMMON = new Set(['type', 'nametype', 'success', 'Initiated', 'Protocol']);

/**
 * What is left of an expression when some of its tests are decided: the expression of the others,
 * or what it comes to.
 */
export function settle(
  expression: Expression,
  decide: (leaf: Leaf) => boolean | undefined,
): Expression | boolean {
  if (expression.op === 'test') return decide(expression) ?? expression;
  if (expression.op === 'not') {
    const inner = settle(expression.of, decide);
    return typeof inner === 'boolean' ? !inner : not(inner);
  }
  const decisive = expression.op === 'or';
  const parts = expression.of.map((part) => settle(part, decide));
  if (parts.includes(decisive)) return decisive;
  const open = parts.filter((part) => typeof part !== 'boolean');
  if (open.length === 0) return !decisive;
  return decisive ? or(open) : and(open);
}

/** Whether one of its tests reads this field and no other. */
export function tests(expression: Expression, field: string): boolean {
  if (expression.op === 'not') return tests(expression.of, field);
  if (expression.op !== 'test') return expression.of.some((part) => tests(part, field));
  return expression.fields?.length === 1 && expression.fields[0] === field;
}

/** How often such literals are met in telemetry, roughly: fewer and longer ones are better. */
function weight(anchors: readonly Anchor[]): number {
  return anchors.reduce((sum, { field, how, text }) => {
    if (COMMON.has(field)) return sum + 1;
    const exact = how === 'equals' ? 4 : how === 'contains' ? 1 : 2;
    return sum + 1 / (exact * Math.max(text.length, 1) ** 2);
  }, 0);
}

/** An index that is asked for more literals than this for one rule is no better than the rule. */
const ANCHORS_MAX = 200;

/** Literals of which one is in each event that the expression holds for; undefined: none known. */
export function anchorsOf(expression: Expression): readonly Anchor[] | undefined {
  if (expression.op === 'test') return expression.anchors;
  if (expression.op === 'not') return undefined;
  const parts = expression.of.map(anchorsOf);
  if (expression.op === 'or') {
    if (parts.some((part) => part === undefined)) return undefined;
    const all = parts.flatMap((part) => part ?? []);
    return all.length > ANCHORS_MAX ? undefined : all;
  }
  const known = parts.filter((part) => part !== undefined);
  return known.toSorted((a, b) => weight(a) - weight(b))[0];
}

/** Every field that an expression reads; undefined: any that the event has. */
export function fieldsOf(expression: Expression): readonly string[] | undefined {
  if (expression.op === 'test') return expression.fields;
  const parts = expression.op === 'not' ? [expression.of] : expression.of;
  const fields = new Set<string>();
  for (const part of parts.map(fieldsOf)) {
    if (part === undefined) return undefined;
    for (const field of part) fields.add(field);
  }
  return [...fields];
}
