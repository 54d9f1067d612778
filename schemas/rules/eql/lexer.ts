/**
 * EQL text into tokens, in the Elasticsearch dialect (EQL syntax reference, 9.x):
 *
 *     name     [A-Za-z_@][A-Za-z0-9_]*  and, directly after it, `~` for "ignore case"
 *     `name`   any name; a backtick inside is written twice
 *     string   "…" with \b \t \n \f \r \" \\ and \u{XX…XXXXXXXX}; """…""" takes all as it stands
 *     number   12, 1.5, .5, 2e3
 *     comments run from two slashes to the end of the line, or between slash-star and star-slash
 */
import type { EqlFault, Parsed, Position } from './ast.ts';

/** A longer query is refused; hand-written ones stay below a tenth of it. */
export const QUERY_CHARS_MAX = 65_536;
/** No query of that length needs more; it bounds what a parse may cost. */
export const TOKENS_MAX = 16_384;

export type TokenType =
  | 'name'
  | 'escaped'
  | 'string'
  | 'integer'
  | 'decimal'
  | 'punctuation'
  | 'end';

export interface Token {
  readonly type: TokenType;
  /** The name without its tilde, the string's value, the digits, the sign. */
  readonly text: string;
  /** A name with `~` behind it. */
  readonly tilde: boolean;
  readonly at: Position;
}

/** Longest first: `![` before `!=`, `<=` before `<`. */
const PUNCTUATION = ['![', '==', '!=', '<=', '>=', ...'<>=:+-*/%.,[]()|?'];
const ESCAPES: Readonly<Record<string, string>> = {
  b: '\b',
  t: '\t',
  n: '\n',
  f: '\f',
  r: '\r',
  '"': '"',
  '\\': '\\',
};
const NAME = /[A-Za-z_@][A-Za-z0-9_]*/y;
const NUMBER = /(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y;
const BLANKS = /[ \t\r\n]+/y;
const UNICODE = /u\{([0-9A-Fa-f]{2,8})\}/y;
const ESCAPED_NAME = /`((?:[^`\r\n]|``)+)`/y;
const RAW_STRING = /"""([^\r\n]*?)"""(?!")/y;
const LINE_COMMENT = /\/\/[^\n]*/y;
const CODE_POINT_MAX = 0x10ffff;

class LexError extends Error {
  readonly offset: number;
  constructor(offset: number, message: string) {
    super(message);
    this.offset = offset;
  }
}

/** The match of a sticky expression at `offset`; undefined where it does not match. */
function matchAt(expression: RegExp, text: string, offset: number): RegExpExecArray | undefined {
  expression.lastIndex = offset;
  return expression.exec(text) ?? undefined;
}

/** Where the blanks and comments that begin at `offset` end. */
function skipBlanks(text: string, offset: number): number {
  let at = offset;
  for (;;) {
    const blanks = matchAt(BLANKS, text, at) ?? matchAt(LINE_COMMENT, text, at);
    if (blanks !== undefined) {
      at += blanks[0].length;
    } else if (text.startsWith('/*', at)) {
      const end = text.indexOf('*/', at + 2);
      if (end < 0) throw new LexError(at, 'the comment is not closed: expected */');
      at = end + 2;
    } else {
      return at;
    }
  }
}

/** One escape sequence: its value and where it ends. */
function escapeAt(text: string, offset: number): { value: string; end: number } {
  const letter = text[offset + 1] ?? '';
  const simple = ESCAPES[letter];
  if (simple !== undefined) return { value: simple, end: offset + 2 };
  const unicode = matchAt(UNICODE, text, offset + 1);
  if (unicode === undefined) {
    const known = '\\b \\t \\n \\f \\r \\" \\\\ \\u{XX}';
    throw new LexError(offset, `unknown escape \\${letter} in a string: expected ${known}`);
  }
  const point = Number.parseInt(unicode[1] ?? '', 16);
  const surrogate = point >= 0xd800 && point <= 0xdfff;
  if (point > CODE_POINT_MAX || surrogate) {
    throw new LexError(offset, `\\${unicode[0]} is not a Unicode character`);
  }
  return { value: String.fromCodePoint(point), end: offset + 1 + unicode[0].length };
}

function stringAt(text: string, offset: number): { value: string; end: number } {
  if (text.startsWith('"""', offset)) {
    const raw = matchAt(RAW_STRING, text, offset);
    if (raw === undefined) throw new LexError(offset, 'the raw string is not closed: expected """');
    return { value: raw[1] ?? '', end: offset + raw[0].length };
  }
  let value = '';
  let at = offset + 1;
  for (;;) {
    const char = text[at];
    if (char === undefined || char === '\n' || char === '\r') {
      throw new LexError(offset, 'the string is not closed: expected "');
    }
    if (char === '"') return { value, end: at + 1 };
    if (char === '\\') {
      const escaped = escapeAt(text, at);
      value += escaped.value;
      at = escaped.end;
    } else {
      value += char;
      at += 1;
    }
  }
}

type Raw = Omit<Token, 'at'> & { readonly end: number };

/** The token at `offset`, which is no blank and not the end. */
function tokenAt(text: string, offset: number): Raw {
  const name = matchAt(NAME, text, offset);
  if (name !== undefined) {
    const end = offset + name[0].length;
    const tilde = text[end] === '~';
    return { type: 'name', text: name[0], tilde, end: tilde ? end + 1 : end };
  }
  const number = matchAt(NUMBER, text, offset);
  if (number !== undefined) {
    const type = /^\d+$/.test(number[0]) ? 'integer' : 'decimal';
    return { type, text: number[0], tilde: false, end: offset + number[0].length };
  }
  if (text[offset] === '"') {
    const { value, end } = stringAt(text, offset);
    return { type: 'string', text: value, tilde: false, end };
  }
  if (text[offset] === '`') {
    const escaped = matchAt(ESCAPED_NAME, text, offset);
    if (escaped === undefined) throw new LexError(offset, 'expected a name in backticks');
    const value = (escaped[1] ?? '').replaceAll('``', '`');
    return { type: 'escaped', text: value, tilde: false, end: offset + escaped[0].length };
  }
  const sign = PUNCTUATION.find((one) => text.startsWith(one, offset));
  if (sign === undefined) throw new LexError(offset, unknownCharacter(text, offset));
  if (sign === '?' && (text[offset + 1] === '"' || text[offset + 1] === "'")) {
    throw new LexError(offset, 'raw strings are written in three double quotes: """…"""');
  }
  return { type: 'punctuation', text: sign, tilde: false, end: offset + sign.length };
}

function unknownCharacter(text: string, offset: number): string {
  if (text[offset] === "'") return 'strings are written in double quotes, not in single quotes';
  if (text[offset] === '$') return 'aliases ($name) are not part of the Elasticsearch dialect';
  const char = String.fromCodePoint(text.codePointAt(offset) ?? 0);
  return `unexpected character ${JSON.stringify(char)}`;
}

/** Turns offsets into lines and columns; asked for rising offsets, it walks the text once. */
function createPositions(text: string): (offset: number) => Position {
  let line = 1;
  let lineStart = 0;
  let seen = 0;
  return (offset) => {
    for (; seen < offset; seen += 1) {
      if (text[seen] === '\n') {
        line += 1;
        lineStart = seen + 1;
      }
    }
    return { line, column: offset - lineStart + 1 };
  };
}

/**
 * Cuts a query into tokens; the last one is of type `end`.
 *
 * @param text any text, at most `QUERY_CHARS_MAX` UTF-16 units
 * @returns the tokens, or the first fault; never throws
 */
export function tokenize(text: string): Parsed<readonly Token[]> {
  const start = { line: 1, column: 1 };
  if (text.length > QUERY_CHARS_MAX) {
    const message = `the query has ${text.length} characters, at most ${QUERY_CHARS_MAX} are read`;
    return { ok: false, fault: { ...start, message } };
  }
  const positionOf = createPositions(text);
  const tokens: Token[] = [];
  try {
    let offset = skipBlanks(text, 0);
    while (offset < text.length) {
      const { end, ...token } = tokenAt(text, offset);
      const at = positionOf(offset);
      if (tokens.length === TOKENS_MAX) {
        const message = `the query has more than ${TOKENS_MAX} words and signs`;
        return { ok: false, fault: { ...at, message } };
      }
      tokens.push({ ...token, at });
      offset = skipBlanks(text, end);
    }
    tokens.push({ type: 'end', text: '', tilde: false, at: positionOf(offset) });
    return { ok: true, value: tokens };
  } catch (error) {
    if (!(error instanceof LexError)) throw error;
    const fault: EqlFault = { ...positionOf(error.offset), message: error.message };
    return { ok: false, fault };
  }
}
