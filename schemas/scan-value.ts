/**
 * Values of canonical JSON (RFC 8785) as bytes: where each ends, and whether it is in the one form
 * that it may have. The parts of `scan.ts`.
 *
 * Each `…End` looks at the value that begins at `start` and gives the place behind its last byte
 * (of a string: its closing quote), or -1. All of them stop at a newline at the latest, because no
 * canonical value holds one: a newline behind the line is all that keeps them inside of it.
 */

export const [QUOTE, COMMA, COLON, NEWLINE] = [0x22, 0x2c, 0x3a, 0x0a];
export const [OPEN_MAP, CLOSE_MAP] = [0x7b, 0x7d];
const [OPEN_LIST, CLOSE_LIST] = [0x5b, 0x5d];
const [BACKSLASH, SMALL_U] = [0x5c, 0x75];
const [ZERO, NINE, MINUS] = [0x30, 0x39, 0x2d];

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** Words that a value or a key may be, found by a hash and then compared byte by byte. */
export interface Words {
  readonly slots: Int16Array;
  readonly bytes: readonly Uint8Array[];
}

const SLOTS = 1024;
const hashStep = (hash: number, byte: number): number => Math.imul(hash, 31) + byte;

export function wordsOf(texts: readonly string[]): Words {
  const bytes = texts.map(ascii);
  const slots = new Int16Array(SLOTS).fill(-1);
  for (const [index, word] of bytes.entries()) {
    let slot = word.reduce(hashStep, 0) & (SLOTS - 1);
    while ((slots[slot] as number) >= 0) slot = (slot + 1) & (SLOTS - 1);
    slots[slot] = index;
  }
  return { slots, bytes };
}

/** Whether `word` stands at `at`. */
export function sameBytes(bytes: Uint8Array, at: number, word: Uint8Array): boolean {
  for (let i = 0; i < word.length; i++) if (bytes[at + i] !== word[i]) return false;
  return true;
}

/** The index of the word at start..end, whose hash is `hash`; -1 for none. */
function findWord(words: Words, bytes: Uint8Array, start: number, end: number, hash: number) {
  for (let slot = hash & (SLOTS - 1); ; slot = (slot + 1) & (SLOTS - 1)) {
    const index = words.slots[slot] as number;
    if (index < 0) return -1;
    const word = words.bytes[index] as Uint8Array;
    if (word.length === end - start && sameBytes(bytes, start, word)) return index;
  }
}

/** UTF-8 bytes of the text of the last string or strings that were scanned. */
export let textBytes = 0;

/** What each letter behind a backslash stands for, by RFC 8785's short escapes; 0 for none. */
const UNESCAPED = new Uint8Array(256);
for (const [letter, byte] of Object.entries({
  '"': 0x22,
  '\\': 0x5c,
  b: 8,
  f: 12,
  n: 10,
  r: 13,
  t: 9,
}))
  UNESCAPED[letter.charCodeAt(0)] = byte;
/** Control characters that have a short escape, and so no long one. */
const HAS_SHORT = new Set([0x08, 0x09, 0x0a, 0x0c, 0x0d]);

/** The value of a lower-case hexadecimal digit; 16 for any other byte. */
export const HEX_VALUE = new Uint8Array(256).fill(16);
for (const [value, digit] of [...'0123456789abcdef'].entries())
  HEX_VALUE[digit.charCodeAt(0)] = value;
const hexValue = (bytes: Uint8Array, at: number): number =>
  HEX_VALUE[bytes[at] as number] as number;

/** Whether `\u` at `at` is the one way to write a control character. */
function isLongEscape(bytes: Uint8Array, at: number): boolean {
  if (bytes[at + 2] !== ZERO || bytes[at + 3] !== ZERO) return false;
  const high = hexValue(bytes, at + 4);
  if (high > 1) return false;
  const low = hexValue(bytes, at + 5);
  return low < 16 && !HAS_SHORT.has(high * 16 + low);
}

/** Size in UTF-8 bytes of the text that `stringEnd` or a list or map of them saw last. */
export const lastTextBytes = (): number => textBytes;

/**
 * Writes the text at start..end of a scanned line into `target` from `at` on, escapes undone;
 * gives the place behind it.
 */
export function unescapeText(
  bytes: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  at: number,
): number {
  let to = at;
  let from = start;
  while (from < end) {
    const byte = bytes[from] as number;
    if (byte !== BACKSLASH) {
      target[to++] = byte;
      from++;
    } else {
      target[to++] = unescapedAt(bytes, from);
      from += escapeWidth(bytes, from);
    }
  }
  return to;
}

/** The closing quote of the string whose text begins at `at`; -1 where it is not canonical. */
export function stringEnd(bytes: Uint8Array, start: number): number {
  let at = start;
  let escapes = 0;
  for (;;) {
    const byte = bytes[at] as number;
    if (byte === QUOTE) break;
    // The newline behind the line ends up here too, so no string runs out of it.
    if (byte < 0x20) return -1;
    if (byte !== BACKSLASH) at++;
    else if ((UNESCAPED[bytes[at + 1] as number] as number) > 0) {
      escapes++;
      at += 2;
    } else if (bytes[at + 1] === SMALL_U && isLongEscape(bytes, at)) {
      escapes += 5;
      at += 6;
    } else return -1;
  }
  textBytes = at - start - escapes;
  return at;
}

/**
 * The end of a string that must be one of `words`; `word` says which. The `guess` is tried first.
 */
export function wordEnd(bytes: Uint8Array, start: number, words: Words, guess: number): number {
  const guessed = words.bytes[guess] as Uint8Array;
  if (bytes[start + guessed.length] === QUOTE && sameBytes(bytes, start, guessed)) {
    word = guess;
    textBytes = guessed.length;
    return start + guessed.length;
  }
  let at = start;
  let hash = 0;
  for (let byte = bytes[at] as number; byte !== QUOTE; byte = bytes[++at] as number) {
    if (byte < 0x20) return -1;
    hash = hashStep(hash, byte);
  }
  word = findWord(words, bytes, start, at, hash);
  textBytes = at - start;
  return word < 0 ? -1 : at;
}

/** The word that `wordEnd` found. */
export let word = -1;

export function hexEnd(bytes: Uint8Array, start: number, digits: number): number {
  for (let at = start; at < start + digits; at++) if (hexValue(bytes, at) > 15) return -1;
  textBytes = digits;
  return bytes[start + digits] === QUOTE ? start + digits : -1;
}

const UUID_BYTES = 36;
const isDash = (offset: number) => offset === 8 || offset === 13 || offset === 18 || offset === 23;

export function uuidEnd(bytes: Uint8Array, start: number): number {
  for (let offset = 0; offset < UUID_BYTES; offset++) {
    const byte = bytes[start + offset] as number;
    if (isDash(offset) ? byte !== MINUS : hexValue(bytes, start + offset) > 15) return -1;
  }
  textBytes = UUID_BYTES;
  return bytes[start + UUID_BYTES] === QUOTE ? start + UUID_BYTES : -1;
}

const TIME_DIGITS = 19;
const isDigit = (byte: number) => byte >= ZERO && byte <= NINE;

export function timeEnd(bytes: Uint8Array, start: number): number {
  const first = bytes[start] as number;
  if (first < 0x31 || first > 0x38) return -1;
  for (let at = start + 1; at < start + TIME_DIGITS; at++)
    if (!isDigit(bytes[at] as number)) return -1;
  textBytes = TIME_DIGITS;
  return bytes[start + TIME_DIGITS] === QUOTE ? start + TIME_DIGITS : -1;
}

/** The integer at start..end, which must be one of a scanned line. */
export function integerAt(bytes: Uint8Array, start: number, end: number): number {
  const negative = bytes[start] === MINUS;
  let value = 0;
  for (let at = negative ? start + 1 : start; at < end; at++)
    value = value * 10 + ((bytes[at] as number) - ZERO);
  return negative ? -value : value;
}

/** 2^53 has 16 digits; with so many a double is still exact up to it and larger beyond. */
const DIGITS_MAX = 16;

export function integerEnd(bytes: Uint8Array, start: number, min: number, max: number): number {
  const digits = bytes[start] === MINUS ? start + 1 : start;
  let at = digits;
  while (isDigit(bytes[at] as number)) at++;
  if (at === digits || at - digits > DIGITS_MAX) return -1;
  // Neither a leading zero nor minus zero.
  if (bytes[digits] === ZERO && (at > digits + 1 || digits > start)) return -1;
  const value = integerAt(bytes, start, at);
  return value >= min && value <= max ? at : -1;
}

const [TRUE, FALSE] = [ascii('true'), ascii('false')];

export function flagEnd(bytes: Uint8Array, start: number): number {
  if (sameBytes(bytes, start, TRUE)) return start + TRUE.length;
  return sameBytes(bytes, start, FALSE) ? start + FALSE.length : -1;
}

export function listEnd(bytes: Uint8Array, start: number, entriesMax: number): number {
  if (bytes[start] !== OPEN_LIST) return -1;
  let at = start + 1;
  let sum = 0;
  if (bytes[at] !== CLOSE_LIST)
    for (let entries = 1; ; entries++) {
      if (bytes[at] !== QUOTE || entries > entriesMax) return -1;
      at = stringEnd(bytes, at + 1) + 1;
      if (at === 0) return -1;
      sum += textBytes;
      if (bytes[at] === CLOSE_LIST) break;
      if (bytes[at++] !== COMMA) return -1;
    }
  textBytes = sum;
  return at + 1;
}

/** The byte that the text has at `at`, where an escape counts as the character it stands for. */
export function unescapedAt(bytes: Uint8Array, at: number): number {
  const byte = bytes[at] as number;
  if (byte !== BACKSLASH) return byte;
  const letter = bytes[at + 1] as number;
  return letter === SMALL_U
    ? hexValue(bytes, at + 4) * 16 + hexValue(bytes, at + 5)
    : (UNESCAPED[letter] as number);
}

export const escapeWidth = (bytes: Uint8Array, at: number): number => {
  if (bytes[at] !== BACKSLASH) return 1;
  return bytes[at + 1] === SMALL_U ? 6 : 2;
};

/**
 * Whether key b sorts behind key a by UTF-16 code units. The order of UTF-8 bytes is the same but
 * for one thing: what is beyond the basic plane (first byte F0 and more) comes before U+E000 and
 * above (first byte EE or EF), because its code units are surrogates.
 */
function isAscending(
  bytes: Uint8Array,
  aStart: number,
  aEnd: number,
  bStart: number,
  bEnd: number,
) {
  let a = aStart;
  let b = bStart;
  for (;;) {
    if (b === bEnd) return false;
    if (a === aEnd) return true;
    const left = unescapedAt(bytes, a);
    const right = unescapedAt(bytes, b);
    if (left !== right)
      return left >= 0xee && right >= 0xee && left >= 0xf0 !== right >= 0xf0
        ? left > right
        : left < right;
    a += escapeWidth(bytes, a);
    b += escapeWidth(bytes, b);
  }
}

export function mapEnd(bytes: Uint8Array, start: number): number {
  if (bytes[start] !== OPEN_MAP) return -1;
  let at = start + 1;
  let sum = 0;
  let last = -1;
  let lastEnd = -1;
  if (bytes[at] !== CLOSE_MAP)
    for (;;) {
      const key = at + 1;
      const keyEnd = bytes[at] === QUOTE ? stringEnd(bytes, key) : -1;
      if (keyEnd < 0) return -1;
      sum += textBytes;
      if (bytes[keyEnd + 1] !== COLON || bytes[keyEnd + 2] !== QUOTE) return -1;
      if (last >= 0 && !isAscending(bytes, last, lastEnd, key, keyEnd)) return -1;
      last = key;
      lastEnd = keyEnd;
      at = stringEnd(bytes, keyEnd + 3) + 1;
      if (at === 0) return -1;
      sum += textBytes;
      if (bytes[at] === CLOSE_MAP) break;
      if (bytes[at++] !== COMMA) return -1;
    }
  textBytes = sum;
  return at + 1;
}
