/**
 * The store's own ceiling: rows that are encoded already, in the fastest format, straight into the
 * embedded engine, one block of a worker's size after the other.
 */
import fs from 'node:fs';
import path from 'node:path';
import { Session } from 'chdb';
import { migrate } from '../../../deploy/migrate.ts';
import { type NativeBlock, nativeBlock } from '../../../deploy/stores/native.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { fakeLog } from '../../fakes/ports.ts';

const NEWLINE = 0x0a;
/** Frames of one insert: about the 8 MB at which a worker closes its batch. */
const FRAMES_AT_ONCE = 128;

/** A fresh store with the project's tables. */
export async function freshStore(dir: string): Promise<void> {
  const store = await openStore(`chdb:${dir}`, { log: fakeLog() });
  await migrate(store, { log: fakeLog() });
  await store.close();
}

export interface Encoded {
  readonly rows: number;
  readonly block: NativeBlock;
}

/** The frames' events as blocks. */
export function encoded(frames: readonly Buffer[]): readonly Encoded[] {
  const blocks: Encoded[] = [];
  for (let at = 0; at < frames.length; at += FRAMES_AT_ONCE) {
    const some = frames.slice(at, at + FRAMES_AT_ONCE);
    const bodies = some.map((frame) => frame.subarray(frame.indexOf(NEWLINE) + 1));
    const lines = Buffer.concat(bodies);
    const block = nativeBlock(lines);
    if (block === undefined) throw new Error('the workload is not canonical');
    blocks.push({ block, rows: lines.reduce((n, byte) => n + (byte === NEWLINE ? 1 : 0), 0) });
  }
  return blocks;
}

export interface Ceiling {
  readonly rows: number;
  readonly seconds: number;
  readonly cpuMicrosPerRow: number;
  readonly rowsPerSecond: number;
}

/** Inserts the blocks over and over into a fresh store for `seconds`. */
export async function ceilingOf(
  dir: string,
  blocks: readonly Encoded[],
  seconds: number,
): Promise<Ceiling> {
  await freshStore(dir);
  const session = new Session(dir);
  const files = blocks.map(({ block }, i) => {
    const file = path.join(dir, `block-${i}`);
    fs.writeFileSync(file, block.bytes);
    return file;
  });
  const cpu = process.cpuUsage();
  const began = performance.now();
  let rows = 0;
  for (let i = 0; performance.now() - began < seconds * 1000; i++) {
    const { block, rows: some } = blocks[i % blocks.length] as Encoded;
    await session.queryAsync(
      `INSERT INTO telltale.events (${block.columns.join(', ')})
FROM INFILE '${files[i % files.length]}' SETTINGS insert_deduplication_token = '${i}',
async_insert = 0 FORMAT Native`,
    );
    rows += some;
  }
  const took = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  session.close();
  fs.rmSync(dir, { recursive: true, force: true });
  return {
    rows,
    seconds: took,
    cpuMicrosPerRow: (user + system) / rows,
    rowsPerSecond: rows / took,
  };
}
