/**
 * Conditions, from least to most binding:
 *
 *     or   := and ("or" and)*
 *     and  := not ("and" not)*
 *     not  := "not" not | "(" or ")" | ("1" | "any" | "all") "of" ("them" | pattern) | identifier
 *
 * Read over any set of names: search identifiers here, rules in a correlation.
 */
import { type Place, quoted, refuse } from '../faults.ts';
import { compilePattern, joined, type Token } from './pattern.ts';

export type Condition =
  | { readonly op: 'and' | 'or'; readonly of: readonly Condition[] }
  | { readonly op: 'not'; readonly of: Condition }
  | { readonly op: 'name'; readonly name: string };

const DEPTH_MAX = 50;
const WORDS_MAX = 2000;
const OPERATORS = new Set(['and', 'or', 'not']);

interface Reader {
  readonly words: readonly string[];
  readonly names: readonly string[];
  readonly place: Place;
  at: number;
  depth: number;
}

const peek = (reader: Reader): string | undefined => reader.words[reader.at]?.toLowerCase();

const fail = (reader: Reader, reason: string): never =>
  refuse('condition', reader.place, `condition: ${reason}`);

function take(reader: Reader, word: string): boolean {
  if (peek(reader) !== word) return false;
  reader.at++;
  return true;
}

function chain(reader: Reader, op: 'and' | 'or', next: (reader: Reader) => Condition): Condition {
  const of = [next(reader)];
  while (take(reader, op)) of.push(next(reader));
  return of.length === 1 ? (of[0] as Condition) : { op, of };
}

const readOr = (reader: Reader): Condition => chain(reader, 'or', readAnd);
const readAnd = (reader: Reader): Condition => chain(reader, 'and', readNot);

function readNot(reader: Reader): Condition {
  if (++reader.depth > DEPTH_MAX) fail(reader, `is nested deeper than ${DEPTH_MAX}`);
  const read = (): Condition => {
    if (take(reader, 'not')) return { op: 'not', of: readNot(reader) };
    if (!take(reader, '(')) return readName(reader);
    const inner = readOr(reader);
    if (!take(reader, ')')) fail(reader, 'a parenthesis is not closed');
    return inner;
  };
  const condition = read();
  reader.depth--;
  return condition;
}

/** Identifiers that begin with an underscore are meant only where the pattern does so too. */
function select(reader: Reader, pattern: string): readonly string[] {
  const tokens = (pattern === 'them' ? '*' : pattern)
    .split(/(\*)/)
    .filter((part) => part !== '')
    .map((part): Token => (part === '*' ? { type: 'any' } : { type: 'text', text: part }));
  const fits = compilePattern(joined(tokens));
  const found = reader.names.filter(
    (name) => fits(name) && (pattern.startsWith('_') || !name.startsWith('_')),
  );
  return found.length > 0 ? found : fail(reader, `${quoted(pattern)} fits no search identifier`);
}

function readName(reader: Reader): Condition {
  const word = reader.words[reader.at];
  if (word === undefined || word === ')' || OPERATORS.has(word.toLowerCase()))
    return fail(
      reader,
      `a name is missing ${word === undefined ? 'at the end' : `before ${word}`}`,
    );
  reader.at++;
  if (take(reader, 'of')) {
    const quantifier = word.toLowerCase();
    if (quantifier !== '1' && quantifier !== 'any' && quantifier !== 'all')
      fail(reader, `${quoted(`${word} of`)}: only "1 of", "any of" and "all of" are defined`);
    const pattern = reader.words[reader.at++] ?? fail(reader, 'of: what is missing');
    const of = select(reader, pattern).map((name): Condition => ({ op: 'name', name }));
    return of.length === 1 ? (of[0] as Condition) : { op: quantifier === 'all' ? 'and' : 'or', of };
  }
  if (!reader.names.includes(word))
    fail(reader, `there is no ${quoted(word)}; defined are ${reader.names.join(', ') || 'none'}`);
  return { op: 'name', name: word };
}

/** Parses a condition over `names`. Aggregations of Sigma 1 are refused as the obsolete form. */
export function parseCondition(text: string, names: readonly string[], place: Place): Condition {
  if (text.includes('|'))
    refuse(
      'obsolete',
      place,
      'aggregations and "near" behind a pipe are obsolete since Sigma 2: write a correlation rule',
    );
  const words = text.match(/[()]|[^\s()]+/g) ?? [];
  const reader: Reader = { words, names, place, at: 0, depth: 0 };
  if (words.length === 0) fail(reader, 'is empty');
  if (words.length > WORDS_MAX) fail(reader, `has more than ${WORDS_MAX} words`);
  const condition = readOr(reader);
  if (reader.at < words.length)
    fail(reader, `${quoted(words[reader.at] as string)} is more than the condition can take`);
  return condition;
}
