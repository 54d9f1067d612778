/**
 * Regular expressions of rules, by RE2: time grows with the length of the text and with nothing
 * else, whatever pattern and text an attacker or an author writes. What RE2 can't do is refused.
 */
import { RE2JS, RE2JSException } from 're2js';

export interface RegexFlags {
  readonly ignoreCase?: boolean;
  /** `^` and `$` match at line ends. */
  readonly multiline?: boolean;
  /** `.` matches a newline too. */
  readonly dotAll?: boolean;
}

/** A compiled expression. */
export interface Pattern {
  /** Whether it is found anywhere in `text`. */
  test(text: string): boolean;
}

export type Regex =
  | { readonly ok: true; readonly pattern: Pattern }
  | { readonly ok: false; readonly reason: string };

/** The longest pattern, and the largest program that may come out of it (RE2 instructions). */
export const PATTERN_CHARS_MAX = 8192;
const PROGRAM_MAX = 20_000;

/** Forms of Perl's expressions that no linear-time engine has, and what a reason calls them. */
const BEYOND_RE2: readonly (readonly [RegExp, string])[] = [
  [/\(\?<?[=!]/, 'look-around'],
  [/\(\?>/, 'an atomic group'],
  [/\\[1-9]|\\k[<{']|\(\?P=/, 'a back-reference'],
  [/[+*?}]\+/, 'a possessive quantifier'],
  [/\(\?(?:R|\d|&|\()/, 'recursion or a conditional'],
];

function explain(pattern: string, message: string): string {
  const found = BEYOND_RE2.find(([form]) => form.test(pattern));
  const why = found === undefined ? '' : `: it uses ${found[1]}, which can take exponential time`;
  return `RE2 can't compile this expression (${message})${why}`;
}

/** Compiles `source` (RE2 syntax: Perl's without look-around and back-references). Never throws. */
export function compileRegex(source: string, flags: RegexFlags = {}): Regex {
  if (source.length > PATTERN_CHARS_MAX)
    return { ok: false, reason: `the expression has more than ${PATTERN_CHARS_MAX} characters` };
  const bits =
    (flags.ignoreCase ? RE2JS.CASE_INSENSITIVE : 0) |
    (flags.multiline ? RE2JS.MULTILINE : 0) |
    (flags.dotAll ? RE2JS.DOTALL : 0);
  try {
    const compiled = RE2JS.compile(source, bits);
    const size = compiled.programSize();
    if (size > PROGRAM_MAX)
      return { ok: false, reason: `the expression compiles to more than ${PROGRAM_MAX} steps` };
    return { ok: true, pattern: { test: (text) => compiled.test(text) } };
  } catch (error) {
    if (error instanceof RE2JSException)
      return { ok: false, reason: explain(source, error.message) };
    throw error;
  }
}
