/**
 * The store's own ceiling: rows that are encoded already, in the fastest format, straight into the
 * embedded engine, one block of a worker's size after the other. It has what the pipeline has: the
 * tables, the engine's settings, tokens, rows of ever new sessions, and merges, which are waited for
 * at the end, because rows that are still to be merged are work that is still to be done.
 */
import fs from 'node:fs';
import path from 'node:path';
import { Session } from 'chdb';
import { migrate } from '../../../deploy/migrate.ts';
import { EMBEDDED_DEFAULTS, engineArgs } from '../../../deploy/stores/embedded.ts';
import { nativeBlock } from '../../../deploy/stores/native.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { fakeLog } from '../../fakes/ports.ts';
import { framesOf, type Recorded } from '../workload.ts';

const NEWLINE = 0x0a;
/** Frames of one insert: about the 15 MB at which a worker closes its batch. */
const FRAMES_AT_ONCE = 240;

/** Columns that are there for the sake of integrity alone. */
export const INTEGRITY_COLUMNS = [
  ...['content_salt', 'erased', 'chain_count', 'chain_head', 'signature'],
  ...['public_key', 'next_public_key'],
];

/** A fresh store with the project's tables. */
export async function freshStore(dir: string): Promise<void> {
  const store = await openStore(`chdb:${dir}`, { log: fakeLog() });
  await migrate(store, { log: fakeLog() });
  await store.close();
}

export interface Encoded {
  readonly rows: number;
  readonly columns: readonly string[];
  readonly bytes: Buffer;
  /** Where the two bytes of its ids stand that tell one round from the next. */
  readonly places: readonly number[];
}

/** Bytes of a UUID that a round numbers: the fifth and sixth, where the format has its first half. */
const ROUND_AT = 2;
const HALF_BYTES = 8;

/** A UUID in the Native format: two halves, each with its last byte first. */
function uuidBytes(text: string): Buffer {
  const bytes = Buffer.from(text.replaceAll('-', ''), 'hex');
  return Buffer.concat([
    bytes.subarray(0, HALF_BYTES).reverse(),
    bytes.subarray(HALF_BYTES).reverse(),
  ]);
}

function placesOf(bytes: Buffer, ids: readonly Buffer[]): number[] {
  const places: number[] = [];
  for (const id of ids)
    for (let at = bytes.indexOf(id); at >= 0; at = bytes.indexOf(id, at + id.length))
      places.push(at + ROUND_AT);
  return places;
}

/** The sessions' events as blocks. */
export function encoded(sessions: readonly Recorded[]): readonly Encoded[] {
  const ids = sessions.flatMap(({ identity }) =>
    [identity.session_id, identity.stream_id].map(uuidBytes),
  );
  const frames = framesOf(sessions);
  const blocks: Encoded[] = [];
  for (let at = 0; at < frames.length; at += FRAMES_AT_ONCE) {
    const some = frames.slice(at, at + FRAMES_AT_ONCE);
    const bodies = some.map((frame) => frame.subarray(frame.indexOf(NEWLINE) + 1));
    const lines = Buffer.concat(bodies);
    const block = nativeBlock(lines);
    if (block === undefined) throw new Error('the workload is not canonical');
    const rows = lines.reduce((n, byte) => n + (byte === NEWLINE ? 1 : 0), 0);
    const bytes = Buffer.concat(block.parts);
    const places = placesOf(bytes, ids);
    if (places.length !== 2 * rows) throw new Error(`${places.length} ids in ${rows} rows`);
    blocks.push({ columns: block.columns, bytes, rows, places });
  }
  return blocks;
}

export interface Ceiling {
  readonly rows: number;
  /** Until the last merge was done. */
  readonly seconds: number;
  readonly cpuMicrosPerRow: number;
  readonly rowsPerSecond: number;
}

/** Looks at the engine's merges until there were none for so many looks. */
const QUIET_LOOKS = 4;
const LOOK_MS = 250;

async function mergesDone(session: Session): Promise<void> {
  for (let quiet = 0; quiet < QUIET_LOOKS; ) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    const answer = await session.queryAsync('SELECT count() FROM system.merges', { format: 'TSV' });
    quiet = answer.text().trim() === '0' ? quiet + 1 : 0;
  }
}

/**
 * Inserts the blocks, round after round as those of other sessions, into a fresh store; the columns
 * `without` are read and left out.
 */
export async function ceilingOf(
  dir: string,
  blocks: readonly Encoded[],
  seconds: number,
  without: readonly string[] = [],
): Promise<Ceiling> {
  await freshStore(dir);
  const session = new Session(dir, { connectionArgs: engineArgs(EMBEDDED_DEFAULTS) });
  const file = path.join(dir, 'block.native');
  const cpu = process.cpuUsage();
  const began = performance.now();
  let rows = 0;
  for (let i = 0; performance.now() - began < seconds * 1000; i++) {
    const { columns, bytes, rows: some, places } = blocks[i % blocks.length] as Encoded;
    const round = Math.floor(i / blocks.length) + 1;
    for (const place of places) bytes.writeUInt16LE(round, place);
    fs.writeFileSync(file, bytes);
    const names = columns.filter((name) => !without.includes(name));
    await session.queryAsync(
      `INSERT INTO telltale.events (${names.join(', ')})
FROM INFILE '${file}' SETTINGS insert_deduplication_token = '${i}', async_insert = 0,
input_format_skip_unknown_fields = 1 FORMAT Native`,
    );
    rows += some;
  }
  await mergesDone(session);
  const took = (performance.now() - began - QUIET_LOOKS * LOOK_MS) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const text = 'SELECT uniqExact(session_id, seq) FROM telltale.events';
  const distinct = (await session.queryAsync(text, { format: 'TSV' })).text().trim();
  if (Number(distinct) !== rows) throw new Error(`${rows} rows were sent, ${distinct} are there`);
  session.close();
  return {
    rows,
    seconds: took,
    cpuMicrosPerRow: (user + system) / rows,
    rowsPerSecond: rows / took,
  };
}
