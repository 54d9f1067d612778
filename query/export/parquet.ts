/**
 * Events as Apache Parquet, a column each field, written group by group as they come: lists and maps
 * as such, times as nanoseconds. Only the footer, a few hundred bytes a column and group, grows
 * with the session. A file without its footer can't be read, so a broken export shows.
 */
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { ALL_FIELDS, type Field, SCHEMA_VERSION } from '#schemas';
import type { FlatEvent } from '../timeline/view.ts';

type Element = ConstructorParameters<typeof ParquetWriter>[0]['schema'][number];

/** A group is written when it has so many rows, or so many characters of text. */
const GROUP_ROWS = 8192;
const GROUP_CHARACTERS = 8 * 1024 ** 2;

const utf8 = (name: string, repetition_type: 'OPTIONAL' | 'REQUIRED' = 'OPTIONAL'): Element => ({
  name,
  type: 'BYTE_ARRAY',
  converted_type: 'UTF8',
  repetition_type,
});
const int64 = (name: string, more: Partial<Element> = {}): Element => ({
  name,
  type: 'INT64',
  repetition_type: 'OPTIONAL',
  ...more,
});

/** The schema elements of a field, as Parquet's LogicalTypes.md lays lists and maps out. */
function elementsOf(name: string, shape: Field['shape']): Element[] {
  switch (shape) {
    case 'uint':
    case 'int':
      return [int64(name)];
    case 'time':
      return [
        int64(name, {
          logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'NANOS' },
        }),
      ];
    case 'flag':
      return [{ name, type: 'BOOLEAN', repetition_type: 'OPTIONAL' }];
    case 'list':
      return [
        { name, repetition_type: 'OPTIONAL', num_children: 1, converted_type: 'LIST' },
        { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
        utf8('element', 'REQUIRED'),
      ];
    case 'map':
      return [
        { name, repetition_type: 'OPTIONAL', num_children: 1, converted_type: 'MAP' },
        { name: 'key_value', repetition_type: 'REPEATED', num_children: 2 },
        utf8('key', 'REQUIRED'),
        utf8('value'),
      ];
    default:
      return [utf8(name)];
  }
}

const COLUMNS = Object.entries(ALL_FIELDS).map(([name, { shape }]) => ({ name, shape }));

function cellOf(shape: Field['shape'], value: unknown): unknown {
  if (value === undefined || value === null) return null;
  switch (shape) {
    case 'uint':
    case 'int':
    case 'time':
      return BigInt(value as string | number);
    case 'map':
      return Object.entries(value as Record<string, string>).map(([key, text]) => ({
        key,
        value: text,
      }));
    default:
      return value;
  }
}

function charactersOf(event: FlatEvent): number {
  let sum = 0;
  for (const value of Object.values(event)) if (typeof value === 'string') sum += value.length;
  return sum;
}

/** The bytes of a file with these events. */
export async function* parquetOf(
  pages: AsyncIterable<readonly FlatEvent[]>,
): AsyncGenerator<Uint8Array> {
  const bytes = new ByteWriter();
  const file = new ParquetWriter({
    writer: bytes,
    schema: [
      { name: 'events', num_children: COLUMNS.length },
      ...COLUMNS.flatMap(({ name, shape }) => elementsOf(name, shape)),
    ],
    // What it would keep of each column chunk until the end.
    statistics: false,
    createdBy: `Telltale, event registry ${SCHEMA_VERSION}`,
  });
  let group: FlatEvent[] = [];
  let characters = 0;

  /** What was written since, out of the buffer, which is used again. */
  function take(): Uint8Array {
    const piece = bytes.getBytes().slice();
    bytes.index = 0;
    return piece;
  }
  async function writeGroup(): Promise<Uint8Array> {
    const rows = group as unknown as readonly Readonly<Record<string, unknown>>[];
    const columnData = COLUMNS.map(({ name, shape }) => ({
      name,
      data: rows.map((row) => cellOf(shape, row[name])),
      offsetIndex: false,
    }));
    await file.write({ columnData, rowGroupSize: rows.length });
    group = [];
    characters = 0;
    return take();
  }

  for await (const events of pages)
    for (const event of events) {
      group.push(event);
      characters += charactersOf(event);
      if (group.length >= GROUP_ROWS || characters >= GROUP_CHARACTERS) yield await writeGroup();
    }
  if (group.length > 0) yield await writeGroup();
  await file.finish();
  yield take();
}
