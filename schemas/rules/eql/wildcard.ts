/**
 * Wildcards of `:`, `like` and `wildcard()`: `*` is any number of characters, `?` exactly one, and
 * nothing escapes them, as in Elasticsearch. Without an expression engine, so that no pattern costs
 * more than length of text times length of pattern.
 */
import { fold } from '../values.ts';

/** A piece between two stars. */
interface Piece {
  readonly text: string;
  /** It holds a `?`. */
  readonly open: boolean;
}

const isHigh = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;
const isLow = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff;

/** How many units the character at `at` takes. */
const widthAt = (text: string, at: number): number =>
  isHigh(text.charCodeAt(at)) && isLow(text.charCodeAt(at + 1)) ? 2 : 1;

/** Where `piece` ends when it stands at `at`; -1 where it does not. */
function endAt(text: string, at: number, piece: Piece): number {
  if (!piece.open) return text.startsWith(piece.text, at) ? at + piece.text.length : -1;
  let place = at;
  for (let index = 0; index < piece.text.length; index += 1) {
    if (place >= text.length) return -1;
    if (piece.text[index] === '?') place += widthAt(text, place);
    else if (piece.text[index] === text[place]) place += 1;
    else return -1;
  }
  return place;
}

/** Where `piece` ends at its first place at or after `from`; -1 where it has none. */
function endAfter(text: string, from: number, piece: Piece): number {
  if (!piece.open) {
    const found = text.indexOf(piece.text, from);
    return found < 0 ? -1 : found + piece.text.length;
  }
  for (let at = from; at <= text.length; at += 1) {
    if (at > 0 && isLow(text.charCodeAt(at)) && isHigh(text.charCodeAt(at - 1))) continue;
    const end = endAt(text, at, piece);
    if (end >= 0) return end;
  }
  return -1;
}

/** Whether `piece` stands at the very end of `text`, not before `from`. */
function endsWith(text: string, from: number, piece: Piece): boolean {
  if (!piece.open) {
    return text.length - piece.text.length >= from && text.endsWith(piece.text);
  }
  let at = text.length;
  for (let index = piece.text.length - 1; index >= 0 && at > 0; index -= 1) {
    const pair = piece.text[index] === '?' && at > 1 && isLow(text.charCodeAt(at - 1));
    at -= pair && isHigh(text.charCodeAt(at - 2)) ? 2 : 1;
  }
  return at >= from && endAt(text, at, piece) === text.length;
}

function compileCased(pattern: string): (text: string) => boolean {
  if (!/[*?]/.test(pattern)) return (text) => text === pattern;
  const pieces = pattern.split('*').map((text) => ({ text, open: text.includes('?') }));
  const first = pieces[0] as Piece;
  if (pieces.length === 1) return (text) => endAt(text, 0, first) === text.length;
  const last = pieces[pieces.length - 1] as Piece;
  const isPlain = !first.open && !last.open;
  if (pieces.length === 2 && isPlain) {
    if (first.text === '') return (text) => text.endsWith(last.text);
    if (last.text === '') return (text) => text.startsWith(first.text);
  }
  const middle = pieces.slice(1, -1).filter((piece) => piece.text !== '');
  const only = middle.length === 1 && !middle[0]?.open ? (middle[0]?.text ?? '') : undefined;
  if (only !== undefined && first.text === '' && last.text === '') {
    return (text) => text.includes(only);
  }
  return (text) => {
    let at = endAt(text, 0, first);
    for (let index = 0; at >= 0 && index < middle.length; index += 1) {
      at = endAfter(text, at, middle[index] as Piece);
    }
    return at >= 0 && endsWith(text, at, last);
  };
}

/** Compiles one pattern; the test takes a text and says whether the whole of it matches. */
export function compileWildcard(pattern: string, insensitive: boolean): (text: string) => boolean {
  if (!insensitive) return compileCased(pattern);
  const matches = compileFolded([pattern]);
  return (text) => matches(fold(text));
}

/** Compiles patterns of which one has to match, for texts that are folded already. */
export function compileFolded(patterns: readonly string[]): (folded: string) => boolean {
  const folded = patterns.map(fold);
  const plain = new Set(folded.filter((pattern) => !/[*?]/.test(pattern)));
  const open = folded.filter((pattern) => !plain.has(pattern)).map(compileCased);
  return (text) => {
    if (plain.has(text)) return true;
    for (const matches of open) if (matches(text)) return true;
    return false;
  };
}

/** The longest literal of a pattern and where it has to stand; undefined for `*` and `?` alone. */
export function literalOf(
  pattern: string,
): { how: 'equals' | 'startswith' | 'endswith' | 'contains'; text: string } | undefined {
  if (!/[*?]/.test(pattern)) return { how: 'equals', text: pattern };
  const pieces = pattern.split(/[*?]+/);
  const longest = pieces.reduce((best, text) => (text.length > best.length ? text : best), '');
  if (longest === '') return undefined;
  if (longest === pieces[0]) return { how: 'startswith', text: longest };
  if (longest === pieces[pieces.length - 1]) return { how: 'endswith', text: longest };
  return { how: 'contains', text: longest };
}
