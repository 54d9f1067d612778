/**
 * What must stand in a text for it to be found: words that are whole there, so that the index over
 * words can be asked first. The index parts a text at everything but ASCII letters and digits and
 * characters beyond ASCII, and has its words in lower case.
 *
 * A pattern is brought to a skeleton: what it must match literally, OPEN where anything may stand.
 * A word of the skeleton counts where both of its neighbours are characters that part words.
 */

/** Words below this length are in too many texts to be worth asking for. */
export const WORD_CHARACTERS_MIN = 3;
/** Stands for what is not known; a character beyond ASCII, so it never parts words. */
const OPEN = '\uffff';
/** Stands where a word must end: begin or end of a text or line, a blank. */
const EDGE = ' ';
const WORD = /[A-Za-z0-9\u0080-\uffff]+/g;
const ASCII_WORD = /^[A-Za-z0-9]+$/;

/** As the index does it: only ASCII letters have a lower case. */
const lower = (text: string): string => text.replace(/[A-Z]+/g, (part) => part.toLowerCase());

/** Words of a text as the index would have them: what a search for words means. */
export const wordsOf = (text: string): string[] => [...new Set(lower(text).match(WORD) ?? [])];

/** Words that are whole in every text that has `part` in it, in lower case. */
export function wholeWords(part: string): string[] {
  const words = `${OPEN}${part}${OPEN}`.match(WORD) ?? [];
  const whole = words.filter((word) => ASCII_WORD.test(word) && word.length >= WORD_CHARACTERS_MIN);
  return [...new Set(whole.map(lower))];
}

/** Escapes that stand for one character which parts words, or for a place where none goes on. */
const EDGES = /[sAztnrfva]/;
/** Escapes that stand for one of several characters. */
const CLASSES = /[dDSwWbBC]/;
const PUNCTUATION = /[^A-Za-z0-9]/;
/** How deep groups may lie in one another. */
const DEPTH_MAX = 50;

/** Where the reading of a pattern is. */
interface Reader {
  readonly pattern: string;
  at: number;
  depth: number;
}

/** The skeleton of an escape, read behind its backslash; undefined where it is not known. */
function escaped(reader: Reader): string | undefined {
  const { pattern } = reader;
  const letter = pattern[reader.at++] ?? '';
  if (letter === 'Q') {
    const end = pattern.indexOf('\\E', reader.at);
    const text = pattern.slice(reader.at, end < 0 ? undefined : end);
    reader.at = end < 0 ? pattern.length : end + 2;
    return text;
  }
  if (letter === 'x' || letter === 'p' || letter === 'P') {
    const rest = /^(?:\{[^}]*\}|[0-9A-Fa-f]{2}|[A-Z])/.exec(pattern.slice(reader.at));
    if (rest === null) return undefined;
    reader.at += rest[0].length;
    return OPEN;
  }
  if (EDGES.test(letter)) return EDGE;
  if (CLASSES.test(letter)) return OPEN;
  return PUNCTUATION.test(letter) ? letter : undefined;
}

/** Passes over a class, read behind its bracket; a class of one plain character is that one. */
function classOf(reader: Reader): string {
  const { pattern } = reader;
  const from = reader.at;
  if (pattern[reader.at] === '^') reader.at++;
  if (pattern[reader.at] === ']') reader.at++;
  while (reader.at < pattern.length && pattern[reader.at] !== ']') {
    if (pattern.startsWith('[:', reader.at)) reader.at = pattern.indexOf(':]', reader.at) + 1;
    reader.at += pattern[reader.at] === '\\' ? 2 : 1;
  }
  const inside = pattern.slice(from, reader.at++);
  return inside.length === 1 && !'^\\'.includes(inside) ? inside : OPEN;
}

/** The skeleton of a group, read behind its parenthesis; flags alone stand for nothing. */
function group(reader: Reader): string | undefined {
  const head = /^\?(?:P?<[^>]*>|[a-zA-Z-]*:|[a-zA-Z-]*\))/.exec(reader.pattern.slice(reader.at));
  if (head === null && reader.pattern[reader.at] === '?') return undefined;
  reader.at += head?.[0].length ?? 0;
  if (head?.[0].endsWith(')')) return '';
  if (++reader.depth > DEPTH_MAX) return undefined;
  const inside = sequence(reader);
  reader.depth--;
  if (reader.pattern[reader.at++] !== ')') return undefined;
  return inside;
}

function atom(reader: Reader): string | undefined {
  const character = reader.pattern[reader.at++] as string;
  if (character === '\\') return escaped(reader);
  if (character === '[') return classOf(reader);
  if (character === '(') return group(reader);
  if (character === '^' || character === '$') return EDGE;
  return character === '.' ? OPEN : character;
}

const QUANTIFIER = /^(?:[*+?]|\{(\d+)(?:,\d*)?\})\??/;

/** What an atom comes to with its quantifier. */
function repeated(reader: Reader, one: string): string {
  const found = QUANTIFIER.exec(reader.pattern.slice(reader.at));
  if (found === null) return one;
  reader.at += found[0].length;
  const least = found[1] === undefined ? (found[0].startsWith('+') ? 1 : 0) : Number(found[1]);
  if (least === 0) return OPEN;
  // Once more of what parts words parts them too; of anything else something unknown goes on.
  return one.length === 1 && one.match(WORD) === null ? one : `${OPEN}${one}${OPEN}`;
}

/** The skeleton of a pattern up to the end of its group; OPEN where there is a choice. */
function sequence(reader: Reader): string | undefined {
  let out = '';
  let choice = false;
  while (reader.at < reader.pattern.length && reader.pattern[reader.at] !== ')') {
    if (reader.pattern[reader.at] === '|') {
      reader.at++;
      choice = true;
      continue;
    }
    const one = atom(reader);
    if (one === undefined) return undefined;
    out += repeated(reader, one);
  }
  return choice ? OPEN : out;
}

/** Without regard to case k is also the Kelvin sign and s the long s, which the index keeps apart. */
const FOLDED = /\(\?[a-zA-Z]*i/;

/** Words that are whole in every text that an RE2 pattern matches, in lower case; may be none. */
export function wordsOfPattern(pattern: string): string[] {
  const reader: Reader = { pattern, at: 0, depth: 0 };
  const skeleton = sequence(reader);
  if (skeleton === undefined || reader.at < pattern.length) return [];
  const words = wholeWords(skeleton);
  return FOLDED.test(pattern) ? words.filter((word) => !/[ks]/.test(word)) : words;
}
