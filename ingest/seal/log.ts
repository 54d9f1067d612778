/**
 * The log on disk, and appending to it. Two files say where it is:
 *
 *     committed    the newest tree head that this log has signed. COMMIT POINT: what it covers is
 *                  never changed again, and only it is ever shown to a witness.
 *     checkpoint   the newest tree head that is published, with its cosignatures.
 *
 * An append writes entries and tiles that the committed head does not cover, syncs them and their
 * folders, and then replaces `committed`. A crash before that leaves files that nothing refers to;
 * the next append overwrites them. So a tree of one size has one content, for ever, and a witness
 * can never have seen another.
 */
import {
  CHECKPOINT_PATH,
  type Checkpoint,
  checkpointText,
  createTreeEdge,
  edgeTiles,
  encodeEntries,
  encodeHashes,
  formatNote,
  leafHash,
  openCheckpoint,
  readEntries,
  readHashes,
  type SignerKey,
  signNote,
  TILE_WIDTH,
  type Tile,
  type TreeEdge,
  tilePath,
} from '#schemas';
import { dirOf, type LogFiles, replaceFile } from './files.ts';

export const COMMITTED_PATH = 'committed';
/** Files that are written at the same time. */
const WRITES_MAX = 8;

/** The directory does not hold a log that may be appended to; a person is needed. */
export class LogError extends Error {
  override readonly name = 'LogError';
}

/** A log that this process may append to. */
export interface LogWriter {
  readonly origin: string;
  /** The tree head that is committed. */
  readonly head: Checkpoint;
  /** Its note, signed by the log alone. */
  readonly note: string;
  /** Appends entries in their order, durably. Rejects with `LogError` when someone else appended. */
  append(entries: readonly Uint8Array[]): Promise<Checkpoint>;
  /** Publishes the committed head with these cosignature lines. */
  publish(cosignatures: readonly string[]): Promise<void>;
}

interface Row {
  readonly path: string;
  readonly bytes: Uint8Array;
}

async function loadEdge(size: number, files: LogFiles): Promise<TreeEdge> {
  const read = async (tile: Tile) => ({ tile, hashes: await readHashes(tile, files.read) });
  return createTreeEdge(size, await Promise.all(edgeTiles(size).map(read)));
}

/** The entries that do not fill a bundle yet; they must be what the tree says. */
async function loadOpenEntries(size: number, files: LogFiles): Promise<Buffer[]> {
  const width = size % TILE_WIDTH;
  if (width === 0) return [];
  const index = Math.floor(size / TILE_WIDTH);
  const entries = await readEntries(index, width, files.read);
  const hashes = await readHashes({ level: 0, index, width }, files.read);
  for (const [i, entry] of entries.entries())
    if (!leafHash(entry).equals(hashes[i] as Buffer))
      throw new LogError(`entry ${index * TILE_WIDTH + i} is not the leaf of its tile`);
  return entries;
}

/** Writes rows with their folders; all of it is on the disk when it returns. */
async function writeAll(rows: readonly Row[], files: LogFiles): Promise<void> {
  const folders = new Set<string>();
  for (const { path } of rows)
    for (let dir = dirOf(path); !folders.has(dir); dir = dirOf(dir)) folders.add(dir);
  for (const dir of new Set(rows.map(({ path }) => dirOf(path)))) await files.makeDir(dir);
  const queue = [...rows];
  const work = async () => {
    for (let row = queue.shift(); row !== undefined; row = queue.shift())
      await files.write(row.path, row.bytes);
  };
  await Promise.all(Array.from({ length: WRITES_MAX }, work));
  for (const dir of folders) await files.syncDir(dir);
}

/** Whether a tree of `size` has this very tile: then it is covered and may not be written. */
function covers(size: number, tile: Tile): boolean {
  const level = tile.level === 'entries' ? 0 : tile.level;
  const end = (tile.index * TILE_WIDTH + tile.width) * TILE_WIDTH ** level;
  return end <= size;
}

/** A head that one of the keys signed. */
function openSigned(bytes: Buffer, keys: readonly SignerKey[]) {
  const [first, ...others] = keys.map(({ verifier }) => openCheckpoint(bytes, verifier));
  return others.find(({ ok }) => first?.ok === false && ok) ?? (first as NonNullable<typeof first>);
}

/**
 * Opens the log in `files`, or begins one. The committed head must be signed by `key` or one of
 * `previous`, which sign beside it; and the
 * tree's right edge must have its root. Rejects with `LogError` where the files are no such log.
 */
export async function openLog(
  files: LogFiles,
  key: SignerKey,
  previous: readonly SignerKey[] = [],
): Promise<LogWriter> {
  const origin = key.verifier.name;
  let bytes = await files.read(COMMITTED_PATH);
  let edge = createTreeEdge();
  let open: Buffer[] = [];
  let head: Checkpoint;
  let note: string;

  const signed = (checkpoint: Checkpoint) => {
    const text = checkpointText(checkpoint);
    return formatNote(
      text,
      [key, ...previous].map((one) => signNote(text, one)),
    );
  };

  async function commit(checkpoint: Checkpoint): Promise<void> {
    const next = Buffer.from(signed(checkpoint));
    const found = await files.read(COMMITTED_PATH);
    if (bytes === undefined ? found !== undefined : found === undefined || !found.equals(bytes))
      throw new LogError('someone else appended to the log: two processes have it open');
    await replaceFile(files, COMMITTED_PATH, next);
    [bytes, head, note] = [next, checkpoint, next.toString()];
  }

  if (bytes === undefined) {
    if ((await files.read(CHECKPOINT_PATH)) !== undefined)
      throw new LogError(`there is a ${CHECKPOINT_PATH} without ${COMMITTED_PATH}: files are lost`);
    await commit({ origin, size: 0, root: edge.root() });
  } else {
    const opened = openSigned(bytes, [key, ...previous]);
    if (!opened.ok) throw new LogError(`${COMMITTED_PATH}: ${opened.what}`);
    head = { origin, size: opened.value.size, root: opened.value.root };
    note = bytes.toString();
    edge = await loadEdge(head.size, files);
    open = await loadOpenEntries(head.size, files);
    if (!edge.root().equals(head.root))
      throw new LogError(`the tiles do not have the root of ${COMMITTED_PATH}: files were changed`);
    // Keys were changed since: the same head, signed by those of now.
    if (signed(head) !== note) await commit(head);
  }

  function rowsOf(entries: readonly Uint8Array[], next: TreeEdge): Row[] {
    const rows: Row[] = [];
    const add = (tile: Tile, content: Uint8Array) => {
      if (!covers(head.size, tile)) rows.push({ path: tilePath(tile), bytes: content });
    };
    const addEntries = (index: number, list: readonly Uint8Array[]) =>
      add({ level: 'entries', index, width: list.length }, encodeEntries(list));
    let bundle: Uint8Array[] = [...open];
    for (const entry of entries) {
      for (const { tile, hashes } of next.push(leafHash(entry))) add(tile, encodeHashes(hashes));
      bundle.push(entry);
      if (bundle.length < TILE_WIDTH) continue;
      addEntries(next.size / TILE_WIDTH - 1, bundle);
      bundle = [];
    }
    if (bundle.length > 0) addEntries(Math.floor(next.size / TILE_WIDTH), bundle);
    for (const { tile, hashes } of next.partial()) add(tile, encodeHashes(hashes));
    open = bundle.map((entry) => Buffer.from(entry));
    return rows;
  }

  /** Partial tiles whose full tile is committed are of no use: readers fall back to the full one. */
  async function removePartials(from: number, to: number): Promise<void> {
    for (let level = 0; ; level++) {
      const span = TILE_WIDTH ** (level + 1);
      const [first, last] = [Math.floor(from / span), Math.floor(to / span)];
      if (last === 0) return;
      for (let index = first; index < last; index++)
        for (const row of level === 0 ? ([0, 'entries'] as const) : [level])
          await files.remove(dirOf(tilePath({ level: row, index, width: 1 })));
    }
  }

  async function append(entries: readonly Uint8Array[]): Promise<Checkpoint> {
    if (entries.length === 0) return head;
    const from = head.size;
    const keptOpen = open;
    const next = createTreeEdge(from, edge.partial());
    try {
      await writeAll(rowsOf(entries, next), files);
      await commit({ origin, size: next.size, root: next.root() });
    } catch (error) {
      // Nothing was committed: what was written lies beyond the head, and is written again.
      open = keptOpen;
      throw error;
    }
    edge = next;
    await removePartials(from, next.size);
    return head;
  }

  async function publish(cosignatures: readonly string[]): Promise<void> {
    const lines = note.slice(note.lastIndexOf('\n\n') + 2, -1).split('\n');
    const text = checkpointText(head);
    await replaceFile(
      files,
      CHECKPOINT_PATH,
      Buffer.from(formatNote(text, [...lines, ...cosignatures])),
    );
  }

  return {
    origin,
    append,
    publish,
    get head() {
      return head;
    },
    get note() {
      return note;
    },
  };
}
