/** Where a parser stands in its tokens, and the errors that it leaves with. */
import type { Position } from './ast.ts';
import type { Token } from './lexer.ts';

/** How deep expressions may nest: brackets, `not`, signs, calls and arithmetic together. */
export const DEPTH_MAX = 64;

/** Leaves the parser or the compiler at a place; caught at its entrance, never seen outside. */
export class EqlError extends Error {
  readonly at: Position;
  constructor(at: Position, message: string) {
    super(message);
    this.at = at;
  }
}

/** Names that the grammar uses; a field that is called so is written in backticks. */
const KEYWORDS = new Set([
  ...['and', 'any', 'by', 'false', 'in', 'join', 'like', 'maxspan', 'not', 'null', 'of', 'or'],
  ...['regex', 'sample', 'sequence', 'true', 'until', 'where', 'with'],
]);

/** How a token reads in an error message. */
function shown(token: Token): string {
  if (token.type === 'end') return 'the end of the query';
  const text = token.text.length > 40 ? `${token.text.slice(0, 40)}…` : token.text;
  return token.type === 'string' ? JSON.stringify(text) : `"${text}${token.tilde ? '~' : ''}"`;
}

export class Cursor {
  readonly #tokens: readonly Token[];
  #index = 0;
  #depth = 0;

  /** @param tokens of `tokenize`: at least one, the last of type `end` */
  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  /** The token `ahead` places further; past the end it is the end. */
  peek(ahead = 0): Token {
    const last = this.#tokens.length - 1;
    return this.#tokens[Math.min(this.#index + ahead, last)] as Token;
  }

  next(): Token {
    const token = this.peek();
    this.#index += 1;
    return token;
  }

  /** Whether the sign stands `ahead` places further. */
  isSign(sign: string, ahead = 0): boolean {
    const token = this.peek(ahead);
    return token.type === 'punctuation' && token.text === sign;
  }

  /** Whether the keyword stands `ahead` places further; `like~` is not `like`. */
  isWord(word: string, ahead = 0): boolean {
    const token = this.peek(ahead);
    return token.type === 'name' && !token.tilde && token.text === word;
  }

  takeSign(sign: string): boolean {
    const found = this.isSign(sign);
    if (found) this.#index += 1;
    return found;
  }

  takeWord(word: string): boolean {
    const found = this.isWord(word);
    if (found) this.#index += 1;
    return found;
  }

  expectSign(sign: string, where: string): Token {
    if (!this.isSign(sign)) this.fail(`expected "${sign}" ${where}`);
    return this.next();
  }

  expectWord(word: string, where: string): Token {
    if (!this.isWord(word)) this.fail(`expected "${word}" ${where}`);
    return this.next();
  }

  /** Whether a name that is no keyword stands here. */
  isName(): boolean {
    const token = this.peek();
    return token.type === 'escaped' || (token.type === 'name' && !KEYWORDS.has(token.text));
  }

  /** Leaves with what was expected and what stands here instead. */
  fail(expected: string): never {
    const token = this.peek();
    throw new EqlError(token.at, `${expected}, found ${shown(token)}`);
  }

  /** Runs `step` one level deeper; a tree that is too deep to walk is refused. */
  nested<T>(step: () => T): T {
    this.#depth += 1;
    if (this.#depth > DEPTH_MAX) {
      throw new EqlError(this.peek().at, `the expression nests deeper than ${DEPTH_MAX} levels`);
    }
    const value = step();
    this.#depth -= 1;
    return value;
  }
}
