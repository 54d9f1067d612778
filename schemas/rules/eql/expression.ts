/**
 * The conditions of EQL, from weak to strong:
 *
 *     or          and (`or` and)*
 *     and         not (`and` not)*
 *     not         `not` not | comparison
 *     comparison  sum (`==` | `!=` | `<` | `<=` | `>` | `>=`) sum
 *               | sum (`:` | `like` | `like~` | `regex` | `regex~`) (string | `(` string, … `)`)
 *               | sum `not`? (`in` | `in~`) `(` or, … `)`  |  sum
 *     sum         product ((`+` | `-`) product)*
 *     product     sign ((`*` | `/` | `%`) sign)*
 *     sign        (`+` | `-`) sign | primary
 *     primary     literal | call | field | `(` or `)`
 */
import type {
  ArithmeticOperator,
  ComparisonOperator,
  Expression,
  FieldNode,
  Position,
} from './ast.ts';
import { type Cursor, DEPTH_MAX, EqlError } from './cursor.ts';
import type { Token } from './lexer.ts';

const COMPARISONS = ['==', '!=', '<=', '>=', '<', '>'] as const;
const OF_RELATIONS = new Set(['child', 'descendant', 'event']);

/** Parses a condition; throws `EqlError`. */
export function parseCondition(cursor: Cursor): Expression {
  return cursor.nested(() => parseChain(cursor, 'or', () => parseChain(cursor, 'and', parseNot)));
}

/** One or more terms between `and`s or `or`s, kept flat. */
function parseChain(
  cursor: Cursor,
  node: 'and' | 'or',
  parseTerm: (cursor: Cursor) => Expression,
): Expression {
  const at = cursor.peek().at;
  const first = parseTerm(cursor);
  const terms = [first];
  while (cursor.takeWord(node)) terms.push(parseTerm(cursor));
  return terms.length === 1 ? first : { node, terms, at };
}

function parseNot(cursor: Cursor): Expression {
  const at = cursor.peek().at;
  if (!cursor.takeWord('not')) return parseComparison(cursor);
  return { node: 'not', term: cursor.nested(() => parseNot(cursor)), at };
}

function parseComparison(cursor: Cursor): Expression {
  const value = parseSum(cursor);
  const condition = parseTail(cursor, value);
  if (condition !== value && comparisonAt(cursor) !== undefined) {
    cursor.fail('comparisons cannot be chained: expected "and" between them');
  }
  return condition;
}

/** Whether a comparison of any kind begins here. */
function comparisonAt(cursor: Cursor): Token | undefined {
  const token = cursor.peek();
  const sign = COMPARISONS.some((one) => cursor.isSign(one)) || cursor.isSign(':');
  const words = token.type === 'name' && ['like', 'regex', 'in'].includes(token.text);
  return sign || words ? token : undefined;
}

/** What follows a value: a comparison, a pattern, a list, or nothing. */
function parseTail(cursor: Cursor, value: Expression): Expression {
  const token = cursor.peek();
  const { at } = token;
  if (cursor.isSign('=')) cursor.fail('"=" does not compare: expected "==" or ":"');
  const operator = COMPARISONS.find((one) => cursor.isSign(one));
  if (operator !== undefined) return parseOperator(cursor, value, operator);
  if (cursor.takeSign(':')) {
    const patterns = parsePatterns(cursor, '":"');
    return { node: 'pattern', operator: ':', insensitive: true, value, patterns, at };
  }
  if (token.type === 'name' && (token.text === 'like' || token.text === 'regex')) {
    const { text, tilde } = cursor.next();
    const patterns = parsePatterns(cursor, `"${text}"`);
    const kind = text === 'like' ? 'like' : 'regex';
    return { node: 'pattern', operator: kind, insensitive: tilde, value, patterns, at };
  }
  const negated = cursor.isWord('not');
  const list = cursor.peek(negated ? 1 : 0);
  if (list.type !== 'name' || list.text !== 'in') return value;
  if (negated) cursor.next();
  cursor.next();
  return { node: 'in', insensitive: list.tilde, negated, value, list: parseList(cursor), at };
}

function parseOperator(cursor: Cursor, left: Expression, operator: ComparisonOperator): Expression {
  const { at } = cursor.next();
  return { node: 'comparison', operator, left, right: parseSum(cursor), at };
}

function parsePatterns(cursor: Cursor, after: string): { text: string; at: Position }[] {
  const one = () => {
    const token = cursor.peek();
    if (token.type !== 'string') cursor.fail(`expected a string after ${after}`);
    cursor.next();
    return { text: token.text, at: token.at };
  };
  if (!cursor.takeSign('(')) return [one()];
  const patterns = [one()];
  while (cursor.takeSign(',') && !cursor.isSign(')')) patterns.push(one());
  cursor.expectSign(')', `or "," in the list after ${after}`);
  return patterns;
}

function parseList(cursor: Cursor): Expression[] {
  cursor.expectSign('(', 'after "in"');
  const list = [parseCondition(cursor)];
  while (cursor.takeSign(',') && !cursor.isSign(')')) list.push(parseCondition(cursor));
  cursor.expectSign(')', 'or "," in the list after "in"');
  return list;
}

/** A chain of operators of equal strength, grouped from the left. */
function parseArithmetic(
  cursor: Cursor,
  operators: readonly ArithmeticOperator[],
  parseTerm: (cursor: Cursor) => Expression,
): Expression {
  let left = parseTerm(cursor);
  for (let length = 1; ; length += 1) {
    const operator = operators.find((one) => cursor.isSign(one));
    if (operator === undefined) return left;
    // Grouped from the left a chain is a tree as deep as it is long.
    if (length === DEPTH_MAX) {
      throw new EqlError(cursor.peek().at, `more than ${DEPTH_MAX} operators in a row`);
    }
    const { at } = cursor.next();
    left = { node: 'arithmetic', operator, left, right: parseTerm(cursor), at };
  }
}

function parseSum(cursor: Cursor): Expression {
  return parseArithmetic(cursor, ['+', '-'], (inner) =>
    parseArithmetic(inner, ['*', '/', '%'], parseSign),
  );
}

function parseSign(cursor: Cursor): Expression {
  const token = cursor.peek();
  const operator = (['-', '+'] as const).find((one) => cursor.takeSign(one));
  if (operator === undefined) return parsePrimary(cursor);
  return { node: 'sign', operator, term: cursor.nested(() => parseSign(cursor)), at: token.at };
}

function parsePrimary(cursor: Cursor): Expression {
  const token = cursor.peek();
  const { at, text } = token;
  if (cursor.takeSign('(')) {
    const inner = parseCondition(cursor);
    cursor.expectSign(')', 'to close the bracket');
    return inner;
  }
  if (token.type === 'string') {
    cursor.next();
    return { node: 'literal', value: text, float: false, at };
  }
  if (token.type === 'integer' || token.type === 'decimal') return parseNumber(cursor);
  if (token.type === 'name' && !token.tilde && (text === 'true' || text === 'false')) {
    cursor.next();
    return { node: 'literal', value: text === 'true', float: false, at };
  }
  if (cursor.takeWord('null')) return { node: 'literal', value: null, float: false, at };
  if (token.type === 'name' && cursor.isName() && cursor.isSign('(', 1)) return parseCall(cursor);
  if (OF_RELATIONS.has(text) && cursor.isWord('of', 1)) {
    cursor.fail('"child of", "descendant of" and "event of" are not part of the dialect');
  }
  if (cursor.isSign('?') || cursor.isName()) return parseField(cursor);
  return cursor.fail('expected a field, a value, a function or "("');
}

function parseNumber(cursor: Cursor): Expression {
  const { text, type, at } = cursor.next();
  const value = Number(text);
  if (!Number.isFinite(value) || (type === 'integer' && !Number.isSafeInteger(value))) {
    throw new EqlError(at, `the number ${text.slice(0, 40)} is too large`);
  }
  return { node: 'literal', value, float: type === 'decimal', at };
}

function parseCall(cursor: Cursor): Expression {
  const { text: name, tilde: insensitive, at } = cursor.next();
  cursor.expectSign('(', `after ${name}`);
  const args: Expression[] = [];
  if (!cursor.isSign(')')) {
    args.push(parseCondition(cursor));
    while (cursor.takeSign(',')) args.push(parseCondition(cursor));
  }
  cursor.expectSign(')', `or "," in the arguments of ${name}`);
  return { node: 'call', name, insensitive, args, at };
}

/** A field name with its dots: `process.name`, `?user.id`, `` attrs.`a-b` ``. */
export function parseField(cursor: Cursor): FieldNode {
  const { at } = cursor.peek();
  const optional = cursor.takeSign('?');
  const parts: string[] = [];
  do {
    // After a dot a keyword is a name like any other: `process.any`.
    const token = cursor.peek();
    const named = parts.length === 0 ? cursor.isName() : token.type === 'name';
    if (!named && token.type !== 'escaped') cursor.fail('expected a field name');
    if (token.tilde) cursor.fail('a field name takes no "~"');
    parts.push(cursor.next().text);
  } while (cursor.takeSign('.'));
  return { node: 'field', name: parts.join('.'), optional, at };
}
