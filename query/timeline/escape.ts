/**
 * Telemetry on a terminal. Everything that an agent, a model or a file name may have written is
 * hostile: control characters move the cursor and change titles, bidi overrides turn text around,
 * invisible characters hide it. All of them are shown as what they are, `\u{1b}`; never raw.
 */

/** Control, format (bidi, zero width, tags), surrogate, separators, characters that nobody has
 * assigned, all that by Unicode's own list draws nothing, and every blank but the plain one. */
const UNSAFE =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}/gu;
/** So many marks may stand on one letter; more of them climb over the lines around it. */
const STACKED = /(\p{M}{3})(\p{M}+)/gu;
const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

const codeOf = (char: string): string =>
  SHORT[char] ?? `\\u{${(char.codePointAt(0) as number).toString(16)}}`;

/** `text` safe for a terminal, on one line. */
export function escapeText(text: string): string {
  return text
    .replace(UNSAFE, codeOf)
    .replace(STACKED, (_all, kept: string, more: string) => kept + [...more].map(codeOf).join(''));
}

/**
 * JSON whose strings can't move a cursor: what `JSON.stringify` leaves of unsafe characters is
 * written as `\uXXXX`, so that it reads back as the same value.
 */
export function safeJson(value: unknown): string {
  return JSON.stringify(value, undefined, 2).replace(UNSAFE, (char) =>
    char === '\n'
      ? char
      : Array.from(
          { length: char.length },
          (_, at) => `\\u${char.charCodeAt(at).toString(16).padStart(4, '0')}`,
        ).join(''),
  );
}

const ZERO_WIDTH = /^[\p{Mn}\p{Me}]$/u;
const WIDE =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}$/u;

/** How many columns one character takes. */
function charWidth(char: string): number {
  if (char <= '~') return 1;
  return ZERO_WIDTH.test(char) ? 0 : WIDE.test(char) ? 2 : 1;
}

/** How many columns a text takes on a terminal, as far as that can be known. */
export function widthOf(text: string): number {
  let width = 0;
  for (const char of text) width += charWidth(char);
  return width;
}

/**
 * `text` escaped and cut to `columns`, the cut shown as `…`. At most a bounded part of the input
 * is looked at, so that a prompt of megabytes costs nothing.
 */
export function fitText(text: string, columns: number): string {
  const part = text.slice(0, columns * 4 + 16);
  const safe = escapeText(part.isWellFormed() ? part : part.toWellFormed());
  if (part.length === text.length && widthOf(safe) <= columns) return safe;
  let out = '';
  let width = 0;
  for (const char of safe) {
    width += charWidth(char);
    if (width > columns - 1) break;
    out += char;
  }
  return `${out}…`;
}

/** The middle cut out of a path, whose ends say most. */
export function fitPath(path: string, columns: number): string {
  const safe = escapeText(path.slice(0, 32_768).toWellFormed());
  if (widthOf(safe) <= columns) return safe;
  const chars = [...safe];
  const tail = takeWidth(chars.toReversed(), Math.ceil((columns - 1) * 0.65)).reverse();
  const head = takeWidth(chars, columns - 1 - widthOf(tail.join('')));
  return `${head.join('')}…${tail.join('')}`;
}

/** So many of the first characters as take at most `columns`. */
function takeWidth(chars: readonly string[], columns: number): string[] {
  let width = 0;
  let taken = 0;
  for (const char of chars) {
    width += charWidth(char);
    if (width > columns) break;
    taken++;
  }
  return chars.slice(0, taken);
}

/** Words of a shell command line, quoted only where a shell would need it. */
export function shellWords(argv: readonly string[]): string {
  return argv
    .map((arg) => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`))
    .join(' ');
}
