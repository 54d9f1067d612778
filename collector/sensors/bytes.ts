/**
 * The tracee's bytes as text. Linux names are bytes; events are UTF-8 text. What is UTF-8 is
 * taken as it is. What is not is written in a reversible form: each byte that is no part of a
 * valid sequence becomes `\xNN` (two lower-case hex digits) and each backslash becomes `\\`. The
 * names of the fields that are in this form are listed in the event's `attrs.escaped`.
 */
import { isUtf8 } from 'node:buffer';

/** How many bytes the valid UTF-8 sequence at `at` has (RFC 3629, table 3-7 of Unicode); else 0. */
function sequenceBytes(bytes: Uint8Array, at: number): number {
  const first = bytes[at] ?? 0;
  if (first < 0x80) return 1;
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  return isUtf8(bytes.subarray(at, at + length)) && at + length <= bytes.length ? length : 0;
}

/** `bytes` in the escaped form, whether it needs it or not. */
export function escapeBytes(bytes: Buffer): string {
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceBytes(bytes, at);
    if (length === 0) {
      text += `\\x${(bytes[at] ?? 0).toString(16).padStart(2, '0')}`;
      at += 1;
      continue;
    }
    const piece = bytes.toString('utf8', at, at + length);
    text += piece === '\\' ? '\\\\' : piece;
    at += length;
  }
  return text;
}

/** The bytes that `escapeBytes` was given. Throws `Error` where `text` is not in its form. */
export function unescapeBytes(text: string): Buffer {
  const pieces: Buffer[] = [];
  const form = /\\x([0-9a-f]{2})|\\\\|[^\\]+|\\/gu;
  for (const match of text.matchAll(form)) {
    if (match[0] === '\\') throw new Error(`not in the escaped form at character ${match.index}`);
    if (match[1] !== undefined) pieces.push(Buffer.from([Number.parseInt(match[1], 16)]));
    else pieces.push(Buffer.from(match[0] === '\\\\' ? '\\' : match[0]));
  }
  return Buffer.concat(pieces);
}

/** Text of one or more byte strings that make one field; `escaped` if any of them is not UTF-8. */
export interface Texts {
  readonly texts: readonly string[];
  readonly escaped: boolean;
}

/** Decodes the strings of one field: all plain, or all escaped. */
export function textsOf(strings: readonly Buffer[]): Texts {
  if (strings.every((bytes) => isUtf8(bytes)))
    return { texts: strings.map((bytes) => bytes.toString('utf8')), escaped: false };
  return { texts: strings.map(escapeBytes), escaped: true };
}

/** Cuts a list of NUL-ended strings, as /proc/PID/cmdline has it; the last NUL may be missing. */
export function splitStrings(list: Buffer): Buffer[] {
  const strings: Buffer[] = [];
  let at = 0;
  while (at < list.length) {
    const end = list.indexOf(0, at);
    strings.push(list.subarray(at, end < 0 ? list.length : end));
    at = end < 0 ? list.length : end + 1;
  }
  return strings;
}

const SLASH = 0x2f;

/**
 * Makes `path` absolute against `dir` and takes out `.`, `..` and double slashes, by text only:
 * symbolic links are not followed, so the result is the name that was used, not the file's one
 * true name. A path whose directory is not known stays relative.
 */
export function absolutePath(dir: Buffer, path: Buffer): Buffer {
  const whole =
    path[0] === SLASH || dir.length === 0 ? path : Buffer.concat([dir, Buffer.from('/'), path]);
  if (whole[0] !== SLASH || isNormal(whole)) return whole;
  const kept: string[] = [];
  for (const part of whole.toString('latin1').split('/')) {
    if (part === '..') kept.pop();
    else if (part !== '' && part !== '.') kept.push(part);
  }
  return Buffer.from(`/${kept.join('/')}`, 'latin1');
}

/** Whether nothing is to be taken out: no empty part, no part that starts with a dot. */
function isNormal(path: Buffer): boolean {
  if (path.length > 1 && path[path.length - 1] === SLASH) return false;
  return !path.includes('//') && !path.includes('/.');
}
