/**
 * The fast way to know that bytes are one valid event in canonical form: a single pass over the
 * bytes that makes no string and no object, and leaves behind where each field's value stands.
 *
 *     event  = "{" field *("," field) "}" LF          keys in strictly ascending order
 *     field  = string ":" value
 *     value  = string | integer | "true" | "false" | list | map
 *     list   = "[" [string *("," string)] "]"
 *     map    = "{" [string ":" string *("," string ":" string)] "}"
 *     string = the shortest escapes only (RFC 8785)
 *
 * `decode` (codec.ts) is the reference: it has the last word on all that is not accepted here, and
 * finds the words for what is wrong. So a rule that is missing here would be a hole, and one too
 * many only costs time; property tests show that the two accept the very same bytes.
 */
import type { Field } from './define.ts';
import { ALL_FIELDS, REGISTRY } from './registry.ts';
import {
  CLOSE_MAP,
  COLON,
  COMMA,
  flagEnd,
  hexEnd,
  integerEnd,
  listEnd,
  mapEnd,
  NEWLINE,
  OPEN_MAP,
  QUOTE,
  sameBytes,
  stringEnd,
  textBytes,
  timeEnd,
  uuidEnd,
  type Words,
  word,
  wordEnd,
  wordsOf,
} from './scan-value.ts';

/** All field names in the order of canonical JSON; a field's *index* is its place in this list. */
export const SCANNED_FIELDS: readonly string[] = Object.keys(ALL_FIELDS).sort();

const INDEX = new Map(SCANNED_FIELDS.map((name, index) => [name, index]));

/** The index of a field that is known to exist. */
export function fieldIndex(name: string): number {
  const index = INDEX.get(name);
  if (index === undefined) throw new Error(`no such field: ${name}`);
  return index;
}

/** Where the values of one line stand; made once, filled anew by each `scanLine`. */
export interface Scan {
  /** How many fields the line has. */
  count: number;
  /** Their indexes, ascending. */
  readonly fields: Uint16Array;
  /** First byte of each value; of a string, the byte behind its quote. */
  readonly starts: Uint32Array;
  /** One behind the last byte of each value; of a string, its closing quote. */
  readonly ends: Uint32Array;
  /** Of a string, its text's size in UTF-8 bytes: less than it has here when it holds escapes. */
  readonly sizes: Uint32Array;
}

export const createScan = (): Scan => ({
  count: 0,
  fields: new Uint16Array(SCANNED_FIELDS.length),
  starts: new Uint32Array(SCANNED_FIELDS.length),
  ends: new Uint32Array(SCANNED_FIELDS.length),
  sizes: new Uint32Array(SCANNED_FIELDS.length),
});

/** What the scanner must know of a field. */
interface Facts {
  readonly shape: Field['shape'];
  readonly words: Words | undefined;
  readonly bytesMax: number;
  readonly min: number;
  readonly max: number;
  readonly entriesMax: number;
  /** The word that it had last: most often it has it again. */
  last: number;
}

const KINDS = [...REGISTRY.keys()];
const KIND = fieldIndex('kind');

const FACTS: readonly Facts[] = SCANNED_FIELDS.map((name): Facts => {
  const field = ALL_FIELDS[name] as Field;
  const schema = field.schema as { minimum?: number; maximum?: number; maxItems?: number };
  const values = name === 'kind' ? KINDS : field.values;
  return {
    shape: field.shape,
    words: values === undefined ? undefined : wordsOf(values),
    bytesMax: field.bytesMax ?? Number.POSITIVE_INFINITY,
    min: schema.minimum ?? Number.MIN_SAFE_INTEGER,
    max: schema.maximum ?? Number.MAX_SAFE_INTEGER,
    entriesMax: schema.maxItems ?? Number.POSITIVE_INFINITY,
    last: 0,
  };
});

const KEYS = wordsOf(SCANNED_FIELDS);

/** Which key came last behind each key (and first of all): most often it comes again. */
const next = new Uint16Array(SCANNED_FIELDS.length + 1);

/** Sets of fields as bits. */
const SET_WORDS = Math.ceil(SCANNED_FIELDS.length / 32);
const setOf = (names: Iterable<string>): Int32Array => {
  const set = new Int32Array(SET_WORDS);
  for (const name of names) add(set, fieldIndex(name));
  return set;
};
function add(set: Int32Array, index: number): void {
  set[index >> 5] = (set[index >> 5] as number) | (1 << (index & 31));
}

const KIND_SETS = [...REGISTRY.values()].map((spec) => ({
  allowed: setOf(spec.sorted),
  required: setOf(spec.required),
}));

/** What may hold a person's words or data, and the salt of the commitments to it. */
const CONTENT = setOf(SCANNED_FIELDS.filter((name) => ALL_FIELDS[name]?.content === true));
const SALT = setOf(['content_salt']);
/** Content is erased from the store; nothing comes erased from a collector. */
const ERASED = setOf(['erased']);

const present = new Int32Array(SET_WORDS);
const empty = new Int32Array(SET_WORDS);

/** Behind the last byte of a value's text; -1 where it is not a valid canonical value. */
function valueEnd(bytes: Uint8Array, start: number, facts: Facts): number {
  if (facts.words !== undefined) {
    const end = wordEnd(bytes, start, facts.words, facts.last);
    if (end >= 0) facts.last = word;
    return end;
  }
  switch (facts.shape) {
    case 'uint':
    case 'int':
      return integerEnd(bytes, start, facts.min, facts.max);
    case 'uuid':
      return uuidEnd(bytes, start);
    case 'time':
      return timeEnd(bytes, start);
    case 'hex':
      return hexEnd(bytes, start, facts.bytesMax);
    case 'flag':
      return flagEnd(bytes, start);
    case 'list':
      return bounded(listEnd(bytes, start, facts.entriesMax), facts);
    case 'map':
      return bounded(mapEnd(bytes, start), facts);
    default:
      return bounded(stringEnd(bytes, start), facts);
  }
}

const bounded = (end: number, facts: Facts): number => (textBytes > facts.bytesMax ? -1 : end);

/** Fields whose value stands in quotes, and those whose empty form is a pair of brackets. */
const QUOTED = FACTS.map(({ shape }) => !['uint', 'int', 'flag', 'list', 'map'].includes(shape));
const BRACKETED = FACTS.map(({ shape }) => shape === 'list' || shape === 'map');

/** Whether every field of `set` lies in `within`. */
function isWithin(set: Int32Array, within: Int32Array): boolean {
  for (let i = 0; i < SET_WORDS; i++)
    if (((set[i] as number) & ~(within[i] as number)) !== 0) return false;
  return true;
}

function meets(a: Int32Array, b: Int32Array): boolean {
  for (let i = 0; i < SET_WORDS; i++) if (((a[i] as number) & (b[i] as number)) !== 0) return true;
  return false;
}

/**
 * Scans the line at start..newline of `bytes`, which must be UTF-8 and have a newline at `newline`.
 * True: it is one valid event in canonical form, and `scan` says where its values are. False: it
 * is not; `scan` is void then.
 */
export function scanLine(bytes: Uint8Array, start: number, newline: number, scan: Scan): boolean {
  if (bytes[newline] !== NEWLINE || bytes[start] !== OPEN_MAP) return false;
  present.fill(0);
  empty.fill(0);
  let at = start;
  let last = -1;
  let kind = -1;
  scan.count = 0;
  do {
    if (bytes[at + 1] !== QUOTE) return false;
    const keyEnd = wordEnd(bytes, at + 2, KEYS, next[last + 1] as number);
    const index = word;
    if (keyEnd < 0 || index <= last || bytes[keyEnd + 1] !== COLON) return false;
    next[last + 1] = index;
    last = index;
    const quoted = QUOTED[index] === true;
    if (quoted && bytes[keyEnd + 2] !== QUOTE) return false;
    const from = quoted ? keyEnd + 3 : keyEnd + 2;
    const to = valueEnd(bytes, from, FACTS[index] as Facts);
    if (to < 0) return false;
    if (index === KIND) kind = word;
    scan.fields[scan.count] = index;
    scan.starts[scan.count] = from;
    scan.ends[scan.count] = to;
    scan.sizes[scan.count++] = textBytes;
    add(present, index);
    if (quoted ? from === to : BRACKETED[index] && to - from === 2) add(empty, index);
    at = quoted ? to + 1 : to;
  } while (bytes[at] === COMMA);
  if (bytes[at] !== CLOSE_MAP || at + 1 !== newline || kind < 0) return false;
  const { allowed, required } = KIND_SETS[kind] as (typeof KIND_SETS)[number];
  return (
    isWithin(present, allowed) &&
    isWithin(required, present) &&
    isWithin(empty, required) &&
    meets(present, CONTENT) === meets(present, SALT) &&
    !meets(present, ERASED)
  );
}

/** Which of the scanned values is that of field `index`; -1 where the line does not have it. */
export function slotOf(scan: Scan, index: number): number {
  for (let slot = 0; slot < scan.count; slot++) if (scan.fields[slot] === index) return slot;
  return -1;
}

/** Whether the value of field `index`, a string, stands there as just these bytes. */
export function isValue(bytes: Uint8Array, scan: Scan, index: number, value: Uint8Array): boolean {
  const slot = slotOf(scan, index);
  const start = scan.starts[slot] ?? 0;
  return scan.ends[slot] === start + value.length && sameBytes(bytes, start, value);
}
