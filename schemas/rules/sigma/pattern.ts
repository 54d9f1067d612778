/**
 * Sigma's strings: `*` is any text, `?` is one character, and a backslash takes the meaning from
 * `*`, `?` and another backslash; before anything else it is a backslash.
 *
 *     \*  ->  *        \\*  ->  \ and any text        \\\*  ->  \*        \x  ->  \x
 *
 * A pattern is a list of tokens. It is matched in one pass per piece between two `*`, the first
 * place of each piece being good enough, so nothing is ever tried twice.
 */
import type { Anchor } from '../rule.ts';
import { fold } from '../values.ts';

export type Token =
  | { readonly type: 'text'; readonly text: string; readonly bytes?: Buffer }
  | { readonly type: 'any' }
  | { readonly type: 'one' }
  /** One of the signs that may stand before a flag of a Windows command. */
  | { readonly type: 'dash' };

export const DASHES = ['-', '/', '\u2013', '\u2014', '\u2015'] as const;

const ANY: Token = { type: 'any' };
const ONE: Token = { type: 'one' };

/** Text tokens beside one another become one, so that a literal is as long as it can be. */
export function joined(tokens: readonly Token[]): readonly Token[] {
  const out: Token[] = [];
  for (const token of tokens) {
    const last = out.at(-1);
    const both = last?.type === 'text' && token.type === 'text';
    if (both && last.bytes === undefined && token.bytes === undefined)
      out[out.length - 1] = { type: 'text', text: last.text + token.text };
    else if (token.type !== 'any' || last?.type !== 'any') out.push(token);
  }
  return out;
}

/** The tokens of a string as it stands in a rule. */
export function parsePattern(source: string): readonly Token[] {
  const tokens: Token[] = [];
  let text = '';
  const flush = () => {
    if (text !== '') tokens.push({ type: 'text', text });
    text = '';
  };
  for (let i = 0; i < source.length; i++) {
    const char = source[i] as string;
    const next = source[i + 1];
    if (char === '\\' && (next === '\\' || next === '*' || next === '?')) {
      text += next;
      i++;
    } else if (char === '*' || char === '?') {
      flush();
      tokens.push(char === '*' ? ANY : ONE);
    } else text += char;
  }
  flush();
  return joined(tokens);
}

/** A string without any sign of meaning. */
export const literal = (text: string): readonly Token[] =>
  text === '' ? [] : [{ type: 'text', text }];

export const startsOpen = (tokens: readonly Token[]): readonly Token[] =>
  tokens[0]?.type === 'any' ? tokens : [ANY, ...tokens];
export const endsOpen = (tokens: readonly Token[]): readonly Token[] =>
  tokens.at(-1)?.type === 'any' ? tokens : [...tokens, ANY];

type Piece = readonly Exclude<Token, { type: 'any' }>[];

/** Length in UTF-16 units of the character that begins at, or ends before, a place in the text. */
const unitsAt = (text: string, at: number): number =>
  (text.codePointAt(at) as number) > 0xffff ? 2 : 1;
const unitsBefore = (text: string, end: number): number =>
  end >= 2 && unitsAt(text, end - 2) === 2 ? 2 : 1;

/** Where `piece` ends if it stands at `at`; -1 if it does not. */
function endOf(piece: Piece, text: string, at: number): number {
  let place = at;
  for (const token of piece) {
    if (token.type === 'text') {
      if (!text.startsWith(token.text, place)) return -1;
      place += token.text.length;
    } else {
      if (place >= text.length) return -1;
      if (token.type === 'dash' && !DASHES.includes(text[place] as '-')) return -1;
      place += unitsAt(text, place);
    }
  }
  return place;
}

/** Where `piece` begins if it ends before `end`; -1 if it does not. */
function startOf(piece: Piece, text: string, end: number): number {
  let place = end;
  for (const token of piece.toReversed()) {
    if (token.type === 'text') {
      if (!text.endsWith(token.text, place)) return -1;
      place -= token.text.length;
    } else {
      if (place <= 0) return -1;
      place -= unitsBefore(text, place);
      if (token.type === 'dash' && !DASHES.includes(text[place] as '-')) return -1;
    }
  }
  return place;
}

/** Where the first `piece` from `from` on ends; -1 if there is none. */
function findEnd(piece: Piece, text: string, from: number): number {
  const [first] = piece;
  if (first === undefined) return from;
  for (let at = from; at <= text.length; at++) {
    if (first.type === 'text') {
      at = text.indexOf(first.text, at);
      if (at < 0) return -1;
    }
    const end = endOf(piece, text, at);
    if (end >= 0) return end;
  }
  return -1;
}

function piecesOf(tokens: readonly Token[]): readonly Piece[] {
  const pieces: Exclude<Token, { type: 'any' }>[][] = [[]];
  for (const token of tokens)
    if (token.type === 'any') pieces.push([]);
    else pieces.at(-1)?.push(token);
  return pieces;
}

function compilePieces(tokens: readonly Token[]): (text: string) => boolean {
  const pieces = piecesOf(tokens);
  const first = pieces[0] as Piece;
  if (pieces.length === 1) return (text) => endOf(first, text, 0) === text.length;
  const last = pieces.at(-1) as Piece;
  const middle = pieces.slice(1, -1);
  return (text) => {
    let from = endOf(first, text, 0);
    if (from < 0) return false;
    for (const piece of middle) {
      from = findEnd(piece, text, from);
      if (from < 0) return false;
    }
    return startOf(last, text, text.length) >= from;
  };
}

/** The test of a whole text; both are folded already where case does not count. */
export function compilePattern(tokens: readonly Token[]): (text: string) => boolean {
  const kinds = tokens.map(({ type }) => type).join(' ');
  const text = tokens.map((token) => (token.type === 'text' ? token.text : '')).join('');
  switch (kinds) {
    case '':
      return (value) => value === '';
    case 'any':
      return () => true;
    case 'text':
      return (value) => value === text;
    case 'text any':
      return (value) => value.startsWith(text);
    case 'any text':
      return (value) => value.endsWith(text);
    case 'any text any':
      return (value) => value.includes(text);
    default:
      return compilePieces(tokens);
  }
}

/** The tokens with their text folded. */
export const foldTokens = (tokens: readonly Token[]): readonly Token[] =>
  tokens.map((token) => (token.type === 'text' ? { ...token, text: fold(token.text) } : token));

/** A literal that any matching value of `field` has in it, folded; undefined if there is none. */
export function anchorOf(field: string, tokens: readonly Token[]): Anchor | undefined {
  const texts = foldTokens(tokens).map((token) => (token.type === 'text' ? token.text : undefined));
  const [first] = texts;
  const last = texts.at(-1);
  if (texts.length === 0) return { field, how: 'equals', text: '' };
  if (texts.length === 1 && first !== undefined) return { field, how: 'equals', text: first };
  const longest = texts.reduce<string>((best, text) => {
    return text !== undefined && text.length > best.length ? text : best;
  }, '');
  if (longest === '') return undefined;
  if (last === longest) return { field, how: 'endswith', text: longest };
  return { field, how: first === longest ? 'startswith' : 'contains', text: longest };
}
