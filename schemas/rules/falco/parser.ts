/**
 * Falco's conditions, as text in and tree out (the grammar of `libsinsp/filter/parser.h`, Falco 0.44):
 *
 *     or     = and { "or" and }
 *     and    = not { "and" not }
 *     not    = { "not" } ( "(" or ")" | check | macro )
 *     check  = left "exists" | left operator right
 *     left   = field | transformer "(" left ")"
 *     right  = text | "(" [ text { "," text } ] ")" | list | "val" "(" field ")" | transformer …
 *
 * A text may stand without quotes, so there are no tokens apart from the grammar: each place says
 * what may come. Depth and length are bounded while it is read.
 */
import type { FaultCode } from '../faults.ts';

export const CONDITION_CHARS_MAX = 65_536;
const DEPTH_MAX = 64;

/** A field, and what is done to its value, the first thing first. */
export interface Operand {
  readonly field: string;
  readonly transformers: readonly string[];
  readonly at: number;
}

export interface Check {
  readonly node: 'check';
  readonly left: Operand;
  readonly operator: string;
  /** What it is compared with; of texts one has to do. */
  readonly right: Operand | readonly Text[];
  readonly at: number;
}
/** A text of the condition; without quotes, in a list, it may name a list. */
export interface Text {
  readonly text: string;
  readonly bare: boolean;
}

export type Expression =
  | { readonly node: 'and' | 'or'; readonly terms: readonly Expression[] }
  | { readonly node: 'not'; readonly term: Expression }
  | { readonly node: 'macro'; readonly name: string; readonly at: number }
  | Check;

/** What is wrong with a condition, on its way out of the parser or the compiler. */
export class ConditionError extends Error {
  readonly at: number;
  readonly code: FaultCode;
  /** @param at how many characters stand before the place */
  constructor(at: number, message: string, code: FaultCode = 'condition') {
    super(message);
    this.at = at;
    this.code = code;
  }
}

const LISTED = new Set(['in', 'intersects', 'pmatch']);
const TRANSFORMERS = /(tolower|toupper|basename|b64|len|storage)\s*\(/y;
const OPERATOR =
  /[<>]=?|==?|!=|(?:in|intersects|pmatch)(?![\w.])|(?:[bi]?contains|b?startswith|endswith|i?glob|regex)(?=\s)/y;
const ESCAPES: Readonly<Record<string, string>> = {
  ...{ b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', '\\': '\\', '/': '/' },
};

class Parser {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  fail(expected: string, at = this.#at): never {
    const rest = this.#text.slice(at, at + 24).trim();
    const found = rest === '' ? 'the end of the condition' : JSON.stringify(rest);
    throw new ConditionError(at, `expected ${expected}, found ${found}`);
  }

  /** Takes what the sticky pattern finds here, behind blanks; its first group if it has one. */
  #take(pattern: RegExp): string | undefined {
    const blank = /\s*/y;
    blank.lastIndex = this.#at;
    blank.exec(this.#text);
    pattern.lastIndex = blank.lastIndex;
    const found = pattern.exec(this.#text);
    if (found === null) return undefined;
    this.#at = pattern.lastIndex;
    return found[1] ?? found[0];
  }

  #place(): number {
    this.#take(/(?:)/y);
    return this.#at;
  }

  #close(): void {
    if (this.#take(/\)/y) === undefined) this.fail('")"');
  }

  #nested<T>(step: () => T): T {
    if (++this.#depth > DEPTH_MAX)
      throw new ConditionError(this.#at, `nests deeper than ${DEPTH_MAX} levels`, 'limit');
    const value = step();
    this.#depth--;
    return value;
  }

  whole(): Expression {
    const expression = this.#or();
    if (this.#place() < this.#text.length) this.fail('"and" or "or"');
    return expression;
  }

  #terms(node: 'and' | 'or', word: RegExp, term: () => Expression): Expression {
    const terms = [term()];
    while (this.#take(word) !== undefined) terms.push(term());
    return terms.length === 1 ? (terms[0] as Expression) : { node, terms };
  }

  #or(): Expression {
    return this.#nested(() => this.#terms('or', /or(?=[\s(])/y, () => this.#and()));
  }

  #and(): Expression {
    return this.#terms('and', /and(?=[\s(])/y, () => this.#not());
  }

  #not(): Expression {
    let negated = false;
    while (this.#take(/not(?=[\s(])/y) !== undefined) negated = !negated;
    const term = this.#primary();
    return negated ? { node: 'not', term } : term;
  }

  #primary(): Expression {
    if (this.#take(/\(/y) !== undefined) {
      const inner = this.#or();
      this.#close();
      return inner;
    }
    const at = this.#place();
    const left = this.#operand();
    if (left !== undefined) return this.#check(left, at);
    const name = this.#take(/[A-Za-z]\w*/y);
    return name === undefined ? this.fail('a field, a macro or "("') : { node: 'macro', name, at };
  }

  #field(): string | undefined {
    const field = this.#take(/[A-Za-z]\w*(?:\.[A-Za-z]\w*)+/y);
    if (field === undefined) return undefined;
    const argument = this.#take(/\[(?:"[^"]*"|'[^']*'|[^\][\s"']+)\]/y);
    return argument === undefined ? field : `${field}${argument}`;
  }

  #operand(): Operand | undefined {
    const at = this.#place();
    const name = this.#take(TRANSFORMERS);
    if (name === undefined) {
      const field = this.#field();
      return field === undefined ? undefined : { field, transformers: [], at };
    }
    const inner = this.#nested(() => this.#operand());
    if (inner === undefined) return this.fail(`a field within ${name}()`);
    this.#close();
    return { ...inner, transformers: [...inner.transformers, name] };
  }

  #check(left: Operand, at: number): Check {
    if (this.#take(/exists(?!\w)/y) !== undefined)
      return { node: 'check', left, operator: 'exists', right: [], at };
    const operator = this.#take(OPERATOR);
    if (operator === undefined) return this.fail('an operator');
    return { node: 'check', left, operator, right: this.#right(LISTED.has(operator)), at };
  }

  #right(listed: boolean): Check['right'] {
    if (this.#take(/val\s*\(/y) !== undefined) {
      const at = this.#place();
      const field = this.#field();
      if (field === undefined) return this.fail('a field within val()');
      this.#close();
      return { field, transformers: [], at };
    }
    TRANSFORMERS.lastIndex = this.#place();
    if (TRANSFORMERS.test(this.#text)) return this.#operand() as Operand;
    if (!listed) return [this.#value()];
    if (this.#take(/\(/y) === undefined) {
      const text = this.#take(/[A-Za-z]\w*/y);
      return text === undefined ? this.fail('"(" or the name of a list') : [{ text, bare: true }];
    }
    if (this.#take(/\)/y) !== undefined) return [];
    const values = [this.#value()];
    while (this.#take(/,/y) !== undefined) values.push(this.#value());
    this.#close();
    return values;
  }

  #value(): Text {
    const at = this.#place();
    const found = this.#take(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/sy);
    if (found !== undefined) return { text: this.#unescape(found, at), bare: false };
    const text = this.#take(/[^()"'\s=,]+/y);
    return text === undefined ? this.fail('a text') : { text, bare: true };
  }

  #unescape(quoted: string, at: number): string {
    return quoted.slice(1, -1).replace(/\\(.)/gs, (found, char: string) => {
      if (char === quoted[0]) return char;
      if (Object.hasOwn(ESCAPES, char)) return ESCAPES[char] as string;
      throw new ConditionError(at, `there is no escape ${JSON.stringify(found)}`);
    });
  }
}

/** Parses a condition. Throws nothing but a `ConditionError`. */
export function parseCondition(text: string): Expression {
  if (text.length > CONDITION_CHARS_MAX)
    throw new ConditionError(0, `has more than ${CONDITION_CHARS_MAX} characters`, 'limit');
  return new Parser(text).whole();
}
