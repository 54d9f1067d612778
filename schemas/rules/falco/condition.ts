/**
 * Compiles a parsed condition to a test of one tool call, with the literals without which it can't
 * hold. As in Falco there are two truth values: each field of a tool call is there, if only empty.
 */
import type { Anchor } from '../rule.ts';
import { fold } from '../values.ts';
import { type Check, ConditionError, type Expression, type Operand } from './parser.ts';
import { isFalcoField, type Told } from './taxonomy.ts';

type Test = (told: Told) => boolean;
type Value = (told: Told) => string;

export interface Compiled {
  readonly test: Test;
  /** One of these is in the event whenever the test holds; absent where nothing has to be. */
  readonly anchors?: readonly Anchor[];
  /** How many comparisons it makes at most, those of its macros included. */
  readonly checks: number;
}

/** What a condition may refer to. Both throw a `ConditionError` for what can't be used. */
export interface Scope {
  macro(name: string, at: number): Compiled;
  /** The items of a list; undefined for a word that is none's name. */
  list(name: string): readonly string[] | undefined;
}

/** Macros that name others many times grow by the power of their depth. */
const CHECKS_MAX = 10_000;
/** More literals than that are not worth an index. */
const ANCHORS_MAX = 64;

const upper = (text: string) => text.replace(/[a-z]+/g, (found) => found.toUpperCase());
/** In ASCII alone, as the C library does it in its own locale. */
const lower = (text: string) => text.replace(/[A-Z]+/g, (found) => found.toLowerCase());

const TRANSFORMERS: ReadonlyMap<string, (text: string) => string> = new Map([
  ['tolower', lower],
  ['toupper', upper],
  ['basename', (text: string) => text.slice(text.lastIndexOf('/') + 1)],
]);

const componentsOf = (path: string) => path.split('/').filter((part) => part !== '');

/** Whether `path` is `folder` or lies in it, by whole names. */
function isWithin(path: string, folder: string): boolean {
  const parts = componentsOf(path);
  return componentsOf(folder).every((part, index) => parts[index] === part);
}

type Compare = (left: string, right: string) => boolean;
const equal: Compare = (left, right) => left === right;
const COMPARE: ReadonlyMap<string, Compare> = new Map([
  ['=', equal],
  ['==', equal],
  ['in', equal],
  ['intersects', equal],
  ['!=', (left: string, right: string) => left !== right],
  ['contains', (left: string, right: string) => left.includes(right)],
  ['icontains', (left: string, right: string) => lower(left).includes(lower(right))],
  ['startswith', (left: string, right: string) => left.startsWith(right)],
  ['endswith', (left: string, right: string) => left.endsWith(right)],
  ['pmatch', isWithin],
]);

function readerOf({ field, transformers, at }: Operand): Value {
  if (!isFalcoField(field))
    throw new ConditionError(at, `tool calls have no field ${JSON.stringify(field)}`, 'field');
  return transformers.reduce<Value>(
    (inner, name) => {
      const change = TRANSFORMERS.get(name);
      if (change === undefined)
        throw new ConditionError(at, `the transformer ${name}() is not supported`);
      return (told) => change(inner(told));
    },
    (told) => told[field],
  );
}

const HOW: Readonly<Record<string, Anchor['how']>> = {
  ...{ '=': 'equals', '==': 'equals', in: 'equals', intersects: 'equals' },
  ...{ contains: 'contains', icontains: 'contains' },
  ...{ startswith: 'startswith', endswith: 'endswith' },
};

/** Only fields that are taken over as they are can be looked up: the command, most tools' names. */
function anchorsOf({ left, operator }: Check, texts: readonly string[]): Compiled['anchors'] {
  const how = HOW[operator];
  if (how === undefined || left.transformers.length > 0 || texts.includes('')) return undefined;
  const isCommand = left.field === 'tool.input_command';
  const isTool = left.field === 'tool.name' && how === 'equals';
  if (!isCommand && !(isTool && texts.every((text) => !/^Bash$|^mcp__/.test(text))))
    return undefined;
  const field = isCommand ? 'command' : 'tool';
  return texts.map((text) => ({ field, how, text: fold(text) }));
}

function checkTest(node: Check, scope: Scope): Compiled {
  const left = readerOf(node.left);
  const { operator, right, at } = node;
  if (operator === 'exists') return { test: () => true, checks: 1 };
  const compare = COMPARE.get(operator);
  if (compare === undefined)
    throw new ConditionError(at, `the operator ${operator} is not supported for texts`);
  if ('field' in right) {
    const value = readerOf(right);
    return { test: (told) => compare(left(told), value(told)), checks: 1 };
  }
  const named = operator === 'in' || operator === 'intersects' || operator === 'pmatch';
  const texts = right.flatMap(({ text, bare }) => (named && bare && scope.list(text)) || [text]);
  if (operator === 'pmatch' && texts.some((text) => /[*?[]/.test(text)))
    throw new ConditionError(at, 'wildcards in paths of pmatch are not supported');
  const anchors = anchorsOf(node, texts);
  const test: Test = (told) => {
    const value = left(told);
    return texts.some((text) => compare(value, text));
  };
  return { test, checks: Math.max(texts.length, 1), ...(anchors === undefined ? {} : { anchors }) };
}

/** How well events are told apart by these: the weakest counts, and a tool's name says little. */
const strength = (anchors: readonly Anchor[]): number =>
  Math.min(...anchors.map(({ field, text }) => (field === 'tool' ? 0 : text.length)));

function anchorsTogether(node: 'and' | 'or', terms: readonly Compiled[]): Compiled['anchors'] {
  const found = terms.flatMap(({ anchors }) => (anchors === undefined ? [] : [anchors]));
  const all = found.flat();
  if (node === 'or') {
    return found.length < terms.length || all.length > ANCHORS_MAX ? undefined : all;
  }
  // All terms have to hold, so those of one are enough.
  return found.toSorted((a, b) => strength(b) - strength(a))[0];
}

function together(node: 'and' | 'or', terms: readonly Compiled[]): Compiled {
  const tests = terms.map(({ test }) => test);
  const anchors = anchorsTogether(node, terms);
  return {
    test:
      node === 'and'
        ? (told) => tests.every((test) => test(told))
        : (told) => tests.some((test) => test(told)),
    checks: terms.reduce((sum, { checks }) => sum + checks, 0),
    ...(anchors === undefined ? {} : { anchors }),
  };
}

function compile(node: Expression, scope: Scope): Compiled {
  switch (node.node) {
    case 'check':
      return checkTest(node, scope);
    case 'macro':
      return scope.macro(node.name, node.at);
    case 'not': {
      const { test, checks } = compile(node.term, scope);
      return { test: (told) => !test(told), checks };
    }
    default:
      return together(
        node.node,
        node.terms.map((term) => compile(term, scope)),
      );
  }
}

/** Compiles a condition. Throws nothing but a `ConditionError`. */
export function compileCondition(expression: Expression, scope: Scope): Compiled {
  const compiled = compile(expression, scope);
  if (compiled.checks > CHECKS_MAX) {
    const message = `makes more than ${CHECKS_MAX} comparisons, those of its macros included`;
    throw new ConditionError(0, message, 'limit');
  }
  return compiled;
}
