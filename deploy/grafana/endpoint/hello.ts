/**
 * What clients ask before and between their queries; none of it reads a table.
 *
 * clickhouse-go, which is in Grafana's plugin, decodes the answer to its first question as revision
 * 54460 has it, and all others as the revision that it is told there. It is told 0: then blocks are
 * plain, as `native.ts` writes them.
 */
import type { Row } from '#schemas';
import { FORMATS } from './format.ts';
import { type Columns, nativeBlock, textBytes, varint } from './native.ts';

const HANDSHAKE = 'SELECT displayName(), version(), revision(), timezone()';
const PLAIN_REVISION = 0;
const TIME_ZONE = 'UTC';

/** Block info: not overflowed, no bucket (-1), the end. */
const BLOCK_INFO = Buffer.from([1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0]);
/** Behind each type: no serialization of its own. */
const PLAIN_SERIALIZATION = Buffer.from([0]);

interface Greeting {
  readonly columns: Columns;
  readonly row: Row;
}

const greetings = (version: string): Readonly<Record<string, Greeting>> => ({
  [HANDSHAKE]: {
    columns: {
      'displayName()': 'String',
      'version()': 'String',
      'revision()': 'UInt32',
      'timezone()': 'String',
    },
    row: {
      'displayName()': 'telltale',
      'version()': version,
      'revision()': PLAIN_REVISION,
      'timezone()': TIME_ZONE,
    },
  },
  'SELECT 1': { columns: { '1': 'UInt8' }, row: { '1': 1 } },
  "SELECT 'ping'": { columns: { "'ping'": 'String' }, row: { "'ping'": 'ping' } },
  'SELECT version()': { columns: { 'version()': 'String' }, row: { 'version()': version } },
});

/** The block of the handshake: one row, with block info and a byte behind each type. */
function handshakeBlock({ columns, row }: Greeting): Buffer {
  const all = Object.entries(columns).flatMap(([name, type]) => {
    const plain = nativeBlock({ [name]: type }, [row]);
    // Behind the two numbers, the name and the type stands the value.
    const head = 2 + textBytes(name).length + textBytes(type).length;
    return [textBytes(name), textBytes(type), PLAIN_SERIALIZATION, plain.subarray(head)];
  });
  return Buffer.concat([BLOCK_INFO, varint(Object.keys(columns).length), varint(1), ...all]);
}

/** What is answered to such a question in a format; undefined for any other text. */
export function createGreeter(version: string) {
  const known = greetings(version);
  return (text: string, format: string): Buffer | undefined => {
    const greeting = Object.hasOwn(known, text) ? known[text] : undefined;
    if (greeting === undefined) return undefined;
    if (text === HANDSHAKE && format === 'Native') return handshakeBlock(greeting);
    return FORMATS[format]?.write(greeting.columns, [greeting.row]);
  };
}
