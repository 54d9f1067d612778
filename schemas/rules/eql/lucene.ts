/**
 * Lucene's regular expressions (those of `regex` and `regex~`) as expressions of RE2, which the
 * rules run. Lucene's language is another than Perl's: it matches the whole text, `^` and `$` are
 * plain characters, "…" is literal, `@` is any string, a quantifier behind a quantifier repeats it.
 * Complement `~`, intersection `&`, number ranges `<1-9>` and the empty language `#` have no
 * counterpart in RE2 and are refused. Source: Lucene `RegExp`, Elasticsearch's regexp syntax page.
 */
import { compileRegex, type Pattern } from '../regex.ts';

export type LuceneRegex =
  | { readonly ok: true; readonly pattern: Pattern }
  | { readonly ok: false; readonly reason: string };

class Unsupported extends Error {}

const CLASSES = new Set(['d', 'D', 's', 'S', 'w', 'W']);
const WITHOUT_COUNTERPART: Readonly<Record<string, string>> = {
  '~': 'complement',
  '&': 'intersection',
  '<': 'a number range',
  '#': 'the empty language',
};
const QUANTIFIER = /[?*+]|\{\d+(?:,\d*)?\}/y;

const literal = (char: string): string =>
  /[A-Za-z0-9_]/.test(char) || char > '\u007f' ? char : `\\${char}`;

/** An expression on its way: what is written so far, and where the last atom and groups began. */
interface Writer {
  out: string;
  atom: number | undefined;
  readonly groups: number[];
}

function writeAtom(writer: Writer, text: string): void {
  writer.atom = writer.out.length;
  writer.out += text;
}

/** A class such as `[^a-z\d]` that begins at `at`; returns where it ends. */
function writeClass(writer: Writer, source: string, at: number): number {
  let index = at + 1;
  let out = '[';
  if (source[index] === '^') {
    out += '^';
    index += 1;
  }
  const start = index;
  for (; index < source.length && (source[index] !== ']' || index === start); index += 1) {
    const char = String.fromCodePoint(source.codePointAt(index) ?? 0);
    if (char === '\\') {
      index += 1;
      const next = source[index] ?? '';
      if (next === '') throw new Unsupported('ends with a backslash');
      out += CLASSES.has(next) ? `\\${next}` : literal(next);
    } else {
      const range = char === '-' && index > start && source[index + 1] !== ']';
      out += range ? '-' : literal(char);
      index += char.length - 1;
    }
  }
  if (index >= source.length) throw new Unsupported('has a [ that is not closed');
  writeAtom(writer, `${out}]`);
  return index + 1;
}

function writeQuantifier(writer: Writer, quantifier: string): void {
  if (writer.atom === undefined) throw new Unsupported(`has nothing to repeat by ${quantifier}`);
  const atom = writer.out.slice(writer.atom);
  // Grouped, because a second quantifier means "lazy" or "possessive" in RE2, "again" in Lucene.
  writer.out = `${writer.out.slice(0, writer.atom)}(?:${atom}${quantifier})`;
}

/** Writes what begins at `at`; returns where it ends. */
function writeNext(writer: Writer, source: string, at: number): number {
  const char = String.fromCodePoint(source.codePointAt(at) ?? 0);
  QUANTIFIER.lastIndex = at;
  const quantifier = QUANTIFIER.exec(source)?.[0];
  if (quantifier !== undefined) {
    writeQuantifier(writer, quantifier);
    return at + quantifier.length;
  }
  const beyond = WITHOUT_COUNTERPART[char];
  if (beyond !== undefined) {
    throw new Unsupported(
      `uses ${beyond} (${char}), which RE2 has not; \\${char} is the character`,
    );
  }
  if (char === '(') {
    writer.groups.push(writer.out.length);
    writer.out += '(?:';
    writer.atom = undefined;
  } else if (char === ')') {
    const start = writer.groups.pop();
    if (start === undefined) throw new Unsupported('has a ) that opens nowhere');
    writer.out += ')';
    writer.atom = start;
  } else if (char === '|') {
    writer.out += '|';
    writer.atom = undefined;
  } else if (char === '[') {
    return writeClass(writer, source, at);
  } else if (char === '"') {
    const end = source.indexOf('"', at + 1);
    if (end < 0) throw new Unsupported('has a " that is not closed');
    writeAtom(writer, `(?:${[...source.slice(at + 1, end)].map(literal).join('')})`);
    return end + 1;
  } else if (char === '\\') {
    const next = source.slice(
      at + 1,
      at + 1 + ((source.codePointAt(at + 1) ?? 0) > 0xffff ? 2 : 1),
    );
    if (next === '') throw new Unsupported('ends with a backslash');
    writeAtom(writer, CLASSES.has(next) ? `\\${next}` : literal(next));
    return at + 1 + next.length;
  } else {
    writeAtom(writer, char === '.' ? '.' : char === '@' ? '(?:.*)' : literal(char));
  }
  return at + char.length;
}

/** The expression of RE2 that matches where Lucene's `source` does; throws `Unsupported`. */
function translate(source: string): string {
  const writer: Writer = { out: '', atom: undefined, groups: [] };
  for (let at = 0; at < source.length; ) at = writeNext(writer, source, at);
  if (writer.groups.length > 0) throw new Unsupported('has a ( that is not closed');
  return `\\A(?:${writer.out})\\z`;
}

/**
 * Compiles a Lucene expression; it has to match the whole text.
 *
 * @returns the pattern, or the reason why it is refused; never throws
 */
export function compileLucene(source: string, insensitive: boolean): LuceneRegex {
  try {
    return compileRegex(translate(source), { ignoreCase: insensitive, dotAll: true });
  } catch (error) {
    if (error instanceof Unsupported) {
      return { ok: false, reason: `the expression ${error.message}` };
    }
    throw error;
  }
}
