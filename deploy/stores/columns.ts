/**
 * Columns of ClickHouse's Native format, filled straight from the bytes of scanned lines.
 *
 *     String            varint(size) bytes
 *     UUID              two UInt64, first half first, each little-endian
 *     DateTime64(9)     Int64, nanoseconds          UInt32, UInt64, Int64: little-endian
 *     Nullable(T)       one byte a row (1: null), then T of all rows
 *     Array(T)          UInt64 a row: entries up to and with it; then T of all entries
 *     Map(K, V)         as Array: ends, then K of all entries, then V of all
 *
 * (ClickHouse's `src/DataTypes/Serializations`.) A row without a value has the type's default, as
 * with JSONEachRow.
 */
import { HEX_VALUE, integerAt, lastTextBytes, stringEnd, unescapeText } from '#schemas';

/** What a column of which something is used begins with. */
const START_BYTES = 4096;
const NOTHING = Buffer.alloc(0);
/** Shorter copies are quicker byte by byte than by a call. */
const CALL_BYTES_MIN = 40;
const TWO_32 = 2 ** 32;

/** Bytes that grow. */
class Bytes {
  #buffer = NOTHING;
  #length = 0;

  /** Room for `count` more bytes, which the caller writes from the place given back on. */
  grow(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(
        Math.max(this.#length, 2 * this.#buffer.length, START_BYTES),
      );
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    return at;
  }

  get buffer(): Buffer {
    return this.#buffer;
  }

  written(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  zeros(count: number): void {
    const at = this.grow(count);
    this.#buffer.fill(0, at, at + count);
  }

  byte(value: number): void {
    const at = this.grow(1);
    this.#buffer[at] = value;
  }

  /** An unsigned number in groups of seven bits, the lowest first. */
  varint(value: number): void {
    let rest = value;
    for (; rest > 0x7f; rest >>>= 7) this.byte((rest & 0x7f) | 0x80);
    this.byte(rest);
  }

  uint32(value: number): void {
    const at = this.grow(4);
    const buffer = this.#buffer;
    buffer[at] = value;
    buffer[at + 1] = value >>> 8;
    buffer[at + 2] = value >>> 16;
    buffer[at + 3] = value >>> 24;
  }

  /** A whole number within 2^53, as two's complement. */
  int64(value: number): void {
    const high = Math.floor(value / TWO_32);
    this.halves(value - high * TWO_32, high >>> 0);
  }

  halves(low: number, high: number): void {
    this.uint32(low);
    this.uint32(high);
  }

  /** A text of `size` bytes that stands, perhaps with escapes, at start..end of `source`. */
  text(source: Uint8Array, start: number, end: number, size: number): void {
    this.varint(size);
    let at = this.grow(size);
    if (size !== end - start) unescapeText(source, start, end, this.#buffer, at);
    else if (size >= CALL_BYTES_MIN) this.#buffer.set(source.subarray(start, end), at);
    else for (let from = start; from < end; from++) this.#buffer[at++] = source[from] as number;
  }
}

/** One column of a block. Rows are added in order; those left out are filled in as blanks. */
export abstract class Column {
  rows = 0;
  /** Adds the value at start..end of a line; `size`: a text's bytes without escapes. */
  abstract add(source: Uint8Array, start: number, end: number, size: number): void;
  abstract blanks(count: number): void;
  abstract parts(): readonly Buffer[];

  fillTo(rows: number): void {
    if (rows > this.rows) this.blanks(rows - this.rows);
    this.rows = rows;
  }
}

class TextColumn extends Column {
  readonly #bytes = new Bytes();
  add(source: Uint8Array, start: number, end: number, size: number): void {
    this.#bytes.text(source, start, end, size);
  }
  blanks(count: number): void {
    this.#bytes.zeros(count);
  }
  parts(): readonly Buffer[] {
    return [this.#bytes.written()];
  }
}

const UUID_BYTES = 16;
/** Where the two digits of each byte stand in a UUID's text, in the order of the format. */
const UUID_DIGITS = [16, 14, 11, 9, 6, 4, 2, 0, 34, 32, 30, 28, 26, 24, 21, 19];

class UuidColumn extends Column {
  readonly #bytes = new Bytes();
  add(source: Uint8Array, start: number): void {
    const at = this.#bytes.grow(UUID_BYTES);
    const { buffer } = this.#bytes;
    for (let i = 0; i < UUID_BYTES; i++) {
      const digit = start + (UUID_DIGITS[i] as number);
      const high = HEX_VALUE[source[digit] as number] as number;
      buffer[at + i] = high * 16 + (HEX_VALUE[source[digit + 1] as number] as number);
    }
  }
  blanks(count: number): void {
    this.#bytes.zeros(UUID_BYTES * count);
  }
  parts(): readonly Buffer[] {
    return [this.#bytes.written()];
  }
}

const SECONDS_DIGITS = 10;
const NS_PER_SECOND = 1e9;
const TWO_16 = 2 ** 16;

class TimeColumn extends Column {
  readonly #bytes = new Bytes();
  /** seconds * 10^9 + ns in two halves of 32 bits; no step leaves what a double holds exactly. */
  add(source: Uint8Array, start: number, end: number): void {
    const seconds = integerAt(source, start, start + SECONDS_DIGITS);
    const ns = integerAt(source, start + SECONDS_DIGITS, end);
    const upper = Math.floor(seconds / TWO_16) * NS_PER_SECOND;
    const lower = (upper % TWO_16) * TWO_16 + (seconds % TWO_16) * NS_PER_SECOND + ns;
    const high = Math.floor(upper / TWO_16) + Math.floor(lower / TWO_32);
    this.#bytes.halves(lower % TWO_32, high);
  }
  blanks(count: number): void {
    this.#bytes.zeros(8 * count);
  }
  parts(): readonly Buffer[] {
    return [this.#bytes.written()];
  }
}

class Uint32Column extends Column {
  readonly #bytes = new Bytes();
  add(source: Uint8Array, start: number, end: number): void {
    this.#bytes.uint32(integerAt(source, start, end));
  }
  blanks(count: number): void {
    this.#bytes.zeros(4 * count);
  }
  parts(): readonly Buffer[] {
    return [this.#bytes.written()];
  }
}

/** Nullable numbers of 64 bits, and flags, whose letters tell them apart. */
class NullableColumn extends Column {
  readonly #nulls = new Bytes();
  readonly #bytes = new Bytes();
  readonly #isFlag: boolean;
  constructor(isFlag: boolean) {
    super();
    this.#isFlag = isFlag;
  }
  add(source: Uint8Array, start: number, end: number): void {
    this.#nulls.byte(0);
    if (this.#isFlag) this.#bytes.byte(source[start] === LETTER_T ? 1 : 0);
    else this.#bytes.int64(integerAt(source, start, end));
  }
  blanks(count: number): void {
    const at = this.#nulls.grow(count);
    this.#nulls.buffer.fill(1, at, at + count);
    this.#bytes.zeros(this.#isFlag ? count : 8 * count);
  }
  parts(): readonly Buffer[] {
    return [this.#nulls.written(), this.#bytes.written()];
  }
}

const LETTER_T = 0x74;
const QUOTE = 0x22;

/** Lists and maps of texts: the texts of a map are its keys and values in turn. */
class TextsColumn extends Column {
  readonly #ends = new Bytes();
  readonly #texts: readonly Bytes[];
  #entries = 0;
  constructor(textsOfEntry: 1 | 2) {
    super();
    this.#texts = Array.from({ length: textsOfEntry }, () => new Bytes());
  }
  add(source: Uint8Array, start: number, end: number): void {
    let turn = 0;
    for (let at = start; at < end; at++) {
      // Between the texts stand brackets, commas and colons only.
      if (source[at] !== QUOTE) continue;
      const close = stringEnd(source, at + 1);
      this.#texts[turn]?.text(source, at + 1, close, lastTextBytes());
      turn = (turn + 1) % this.#texts.length;
      if (turn === 0) this.#entries++;
      at = close;
    }
    this.#ends.int64(this.#entries);
  }
  blanks(count: number): void {
    for (let i = 0; i < count; i++) this.#ends.int64(this.#entries);
  }
  parts(): readonly Buffer[] {
    return [this.#ends.written(), ...this.#texts.map((bytes) => bytes.written())];
  }
}

/** What is sent for a column's type: the engine makes dictionaries of LowCardinality by itself. */
export const sentType = (type: string): string =>
  type.replaceAll('LowCardinality(String)', 'String');

const MAKERS: Readonly<Record<string, () => Column>> = {
  String: () => new TextColumn(),
  UUID: () => new UuidColumn(),
  "DateTime64(9, 'UTC')": () => new TimeColumn(),
  UInt32: () => new Uint32Column(),
  'Nullable(UInt64)': () => new NullableColumn(false),
  'Nullable(Int64)': () => new NullableColumn(false),
  'Nullable(Bool)': () => new NullableColumn(true),
  'Array(String)': () => new TextsColumn(1),
  'Map(String, String)': () => new TextsColumn(2),
};

/** An empty column of a type that `sentType` gave. Throws for one that is not known here. */
export function columnOf(type: string): Column {
  const make = MAKERS[type];
  if (make === undefined) throw new Error(`no Native column for ${type}`);
  return make();
}
