/**
 * Conditions, checked and compiled to closures over the fields of an event. Logic has three values
 * (true, false, null): a comparison with a missing field is null, `not` null is null, and an event
 * matches where the whole is true. Only `== null` and `!= null` ask for a field to be there.
 */
import { type FieldView, fold as foldText, type Scalar } from '../values.ts';
import type {
  ArithmeticNode,
  ComparisonNode,
  ComparisonOperator,
  Expression,
  FieldNode,
  InNode,
  LogicNode,
  PatternNode,
  Position,
  SignNode,
} from './ast.ts';
import { compileCall } from './call.ts';
import { EqlError } from './cursor.ts';
import { calculate } from './functions.ts';
import { compileLucene } from './lucene.ts';
import {
  anyOf,
  constantOf,
  type FieldType,
  fits,
  isNumeric,
  type Operand,
  type Result,
  typeName,
} from './operand.ts';
import { compileFolded, compileWildcard } from './wildcard.ts';

/** What a compiler knows of the events that it compiles for. */
export interface Scope {
  /** The type of a field; undefined where no event has it. */
  readonly typeOf: (name: string) => FieldType | undefined;
  /** Called for a field without `?` that no event has. */
  readonly unknown: (what: string, at: Position) => void;
}

type Truth = boolean | null;
type Test = (fields: FieldView) => Truth;

const UNKNOWN_FIELD: FieldType = { type: 'any', list: true };

/** The type of a field; one that is not known may be anything. */
export function fieldType(field: FieldNode, scope: Scope): FieldType {
  const known = scope.typeOf(field.name);
  if (known !== undefined) return known;
  if (!field.optional) scope.unknown(`unknown field ${JSON.stringify(field.name)}`, field.at);
  return UNKNOWN_FIELD;
}

const asTruth = (value: Result): Truth => (typeof value === 'boolean' ? value : null);

/** A list of booleans counts as true where one entry is. */
const truthOf = (operand: Operand): Test => {
  if (!operand.list) return (fields) => asTruth(operand.run(fields));
  return (fields) => anyOf(operand.run(fields), asTruth);
};

const condition = (constant: boolean, run: Test): Operand => ({
  type: 'boolean',
  list: false,
  constant,
  run,
});

function compileField(field: FieldNode, scope: Scope): Operand {
  const { type, list } = fieldType(field, scope);
  const { name } = field;
  return { field: name, type, list, constant: false, run: (fields) => fields.get(name) ?? null };
}

function compileSign(node: SignNode, scope: Scope): Operand {
  const term = compileValue(node.term, scope);
  checkNumber(term, node.term.at, `"${node.operator}"`);
  if (node.operator === '+') return term;
  const negate = (value: Scalar) => (typeof value === 'number' ? -value : null);
  return { ...term, run: (fields) => mapValue(term.run(fields), negate) };
}

const mapValue = (value: Result, step: (one: Scalar) => Scalar): Result =>
  Array.isArray(value) ? value.map(step) : step(value as Scalar);

function checkNumber(operand: Operand, at: Position, where: string): void {
  if (fits(operand.type, 'number')) return;
  throw new EqlError(at, `${where} works on numbers, not on ${typeName(operand.type)}`);
}

function compileArithmetic(node: ArithmeticNode, scope: Scope): Operand {
  const left = compileValue(node.left, scope);
  const right = compileValue(node.right, scope);
  checkNumber(left, node.left.at, `"${node.operator}"`);
  checkNumber(right, node.right.at, `"${node.operator}"`);
  const float = left.type === 'float' || right.type === 'float';
  const whole = !float;
  const compute = (a: Result, b: Result): Scalar =>
    typeof a === 'number' && typeof b === 'number' ? calculate(node.operator, a, b, whole) : null;
  return {
    type: float ? 'float' : isNumeric(left.type) && isNumeric(right.type) ? 'integer' : 'any',
    list: false,
    constant: left.constant && right.constant,
    run: (fields) => compute(left.run(fields), right.run(fields)),
  };
}

const ORDER: Readonly<Record<ComparisonOperator, (a: Scalar, b: Scalar) => boolean>> = {
  '==': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '<': (a, b) => (a as number) < (b as number),
  '<=': (a, b) => (a as number) <= (b as number),
  '>': (a, b) => (a as number) > (b as number),
  '>=': (a, b) => (a as number) >= (b as number),
};

const isNull = (node: Expression): boolean => node.node === 'literal' && node.value === null;

function compileNullCheck(node: ComparisonNode, scope: Scope): Operand {
  const side = compileValue(isNull(node.left) ? node.right : node.left, scope);
  const wanted = node.operator === '==';
  return condition(side.constant, (fields) => (side.run(fields) === null) === wanted);
}

function compileComparison(node: ComparisonNode, scope: Scope): Operand {
  const equality = node.operator === '==' || node.operator === '!=';
  if (equality && (isNull(node.left) || isNull(node.right))) return compileNullCheck(node, scope);
  const left = compileValue(node.left, scope);
  const right = compileValue(node.right, scope);
  if (!left.constant && !right.constant) {
    throw new EqlError(node.at, 'EQL compares a field with a value, not with another field');
  }
  const known = left.type !== 'any' && left.type !== 'null';
  const wanted = isNumeric(left.type) ? 'number' : (left.type as 'string' | 'boolean');
  if (known && !fits(right.type, wanted)) {
    const sides = `${typeName(left.type)} and ${typeName(right.type)}`;
    throw new EqlError(node.at, `"${node.operator}" compares values of one type, not ${sides}`);
  }
  if (!equality && (left.type === 'boolean' || right.type === 'boolean')) {
    throw new EqlError(node.at, `"${node.operator}" does not order true and false`);
  }
  return condition(left.constant && right.constant, compareRun(node.operator, left, right));
}

/** A field, which may be a list, against a constant; `!=` holds where no entry is equal. */
function compareRun(operator: ComparisonOperator, left: Operand, right: Operand): Test {
  const flipped = left.constant;
  const [field, fixed] = flipped ? [right, constantOf(left)] : [left, constantOf(right)];
  if (fixed === null) return () => null;
  const negated = operator === '!=';
  const holds = ORDER[negated ? '==' : operator];
  const kind = typeof fixed;
  const one = (value: Scalar): Truth => {
    if (typeof value !== kind) return null;
    return flipped ? holds(fixed, value) : holds(value, fixed);
  };
  if (!field.list) {
    if (!negated) return (fields) => one(field.run(fields) as Scalar);
    return (fields) => negate(one(field.run(fields) as Scalar));
  }
  const any = (fields: FieldView) => anyOf(field.run(fields), one);
  return negated ? (fields) => negate(any(fields)) : any;
}

const negate = (value: Truth): Truth => (value === null ? null : !value);

function compilePattern(node: PatternNode, scope: Scope): Operand {
  const value = compileValue(node.value, scope);
  if (!fits(value.type, 'string')) {
    const found = typeName(value.type);
    throw new EqlError(node.value.at, `"${node.operator}" compares strings, not ${found}`);
  }
  if (node.insensitive && node.operator !== 'regex' && value.field !== undefined) {
    return condition(false, foldedTest(value.field, node));
  }
  const tests = node.patterns.map(({ text, at }) => {
    if (node.operator !== 'regex') return compileWildcard(text, node.insensitive);
    const regex = compileLucene(text, node.insensitive);
    if (!regex.ok) throw new EqlError(at, regex.reason);
    return (candidate: string) => regex.pattern.test(candidate);
  });
  const one = (candidate: Scalar): Truth => {
    if (typeof candidate !== 'string') return null;
    for (const matches of tests) if (matches(candidate)) return true;
    return false;
  };
  return condition(value.constant, listTest(value, one));
}

/** Wildcards that ignore case, over a field itself: the view folds it once for all rules. */
function foldedTest(field: string, node: PatternNode): Test {
  const matches = compileFolded(node.patterns.map(({ text }) => text));
  return (fields) => {
    const value = fields.get(field) ?? null;
    if (typeof value !== 'string' && !Array.isArray(value)) return null;
    const texts = fields.folded(field);
    if (texts.length === 0) return null;
    for (const text of texts) if (matches(text)) return true;
    return false;
  };
}

const listTest = (value: Operand, one: (value: Scalar) => Truth): Test =>
  value.list
    ? (fields) => anyOf(value.run(fields), one)
    : (fields) => one(value.run(fields) as Scalar);

function compileIn(node: InNode, scope: Scope): Operand {
  const value = compileValue(node.value, scope);
  const fold = (one: Scalar): Scalar =>
    node.insensitive && typeof one === 'string' ? foldText(one) : one;
  const members = new Set<Scalar>();
  for (const item of node.list) {
    const compiled = compileValue(item, scope);
    if (!compiled.constant) throw new EqlError(item.at, 'a list holds constants, not fields');
    const wanted = isNumeric(compiled.type) ? 'number' : (compiled.type as 'string' | 'boolean');
    if (compiled.type !== 'null' && !fits(value.type, wanted)) {
      const sides = `${typeName(value.type)} against ${typeName(compiled.type)}`;
      throw new EqlError(item.at, `"in" compares values of one type, not ${sides}`);
    }
    members.add(fold(constantOf(compiled)));
  }
  // A null in the list is equal to nothing, not even to null.
  members.delete(null);
  const one = (candidate: Scalar): Truth =>
    candidate === null ? null : members.has(fold(candidate));
  const test = listTest(value, one);
  return condition(value.constant, node.negated ? (fields) => negate(test(fields)) : test);
}

function compileLogic(node: LogicNode, scope: Scope): Operand {
  const terms = node.terms.map((term) => compileTest(term, scope));
  const tests = terms.map(truthOf);
  const decisive = node.node === 'or';
  const run: Test = (fields) => {
    let result: Truth = !decisive;
    for (const test of tests) {
      const held = test(fields);
      if (held === decisive) return decisive;
      if (held === null) result = null;
    }
    return result;
  };
  const constant = terms.every((term) => term.constant);
  return condition(constant, run);
}

/** Compiles what has to be true or false; throws `EqlError`. */
function compileTest(node: Expression, scope: Scope): Operand {
  const operand = compileValue(node, scope);
  if (fits(operand.type, 'boolean')) return operand;
  throw new EqlError(node.at, `a condition is true or false, not ${typeName(operand.type)}`);
}

function compileValue(node: Expression, scope: Scope): Operand {
  switch (node.node) {
    case 'literal': {
      const { value, float } = node;
      const number = float ? 'float' : 'integer';
      const type = value === null ? 'null' : typeof value === 'number' ? number : typeof value;
      return { type: type as Operand['type'], list: false, constant: true, run: () => value };
    }
    case 'field':
      return compileField(node, scope);
    case 'call':
      return compileCall(
        node,
        node.args.map((arg) => compileValue(arg, scope)),
      );
    case 'sign':
      return compileSign(node, scope);
    case 'arithmetic':
      return compileArithmetic(node, scope);
    case 'comparison':
      return compileComparison(node, scope);
    case 'pattern':
      return compilePattern(node, scope);
    case 'in':
      return compileIn(node, scope);
    case 'not': {
      const term = compileTest(node.term, scope);
      const test = truthOf(term);
      return condition(term.constant, (fields) => negate(test(fields)));
    }
    default:
      return compileLogic(node, scope);
  }
}

/**
 * Compiles a condition.
 *
 * @returns whether an event's fields make it true; the test never throws
 * @throws EqlError where a type does not fit, with the place
 */
export function compileCondition(node: Expression, scope: Scope): (fields: FieldView) => boolean {
  const test = truthOf(compileTest(node, scope));
  return (fields) => test(fields) === true;
}
