/**
 * Reading a log from its entries on: each head in its order, and the check that entries, tiles and
 * checkpoint are one tree. Memory does not grow with the log. The files may be a directory, an HTTP
 * server or a bundle: they come through `fetch`, and nothing that they say is trusted.
 */
import {
  type Checkpoint,
  createTreeEdge,
  encodeHashes,
  type Hash,
  type Head,
  leafHash,
  parseHead,
  readEntries,
  readHashes,
  TILE_WIDTH,
  TileError,
  type TileFetch,
  type TileHashes,
  tilePath,
} from '#schemas';

const bundlePath = (first: number): string =>
  tilePath({ level: 'entries', index: first / TILE_WIDTH, width: TILE_WIDTH });

/** A bundle of entries of the tree of `size`, with the number of its first leaf. */
async function* walkBundles(
  size: number,
  fetch: TileFetch,
): AsyncGenerator<{ readonly first: number; readonly entries: readonly Buffer[] }> {
  for (let first = 0; first < size; first += TILE_WIDTH) {
    const width = Math.min(TILE_WIDTH, size - first);
    yield { first, entries: await readEntries(first / TILE_WIDTH, width, fetch) };
  }
}

export interface Leaf {
  readonly index: number;
  readonly head: Head;
  readonly hash: Hash;
}

/** All heads of the log's first `size` leaves. Rejects with `TileError` for a leaf that is none. */
export async function* walkHeads(size: number, fetch: TileFetch): AsyncGenerator<Leaf> {
  for await (const { first, entries } of walkBundles(size, fetch))
    for (const [i, entry] of entries.entries()) {
      const head = parseHead(entry);
      if (!head.ok) throw new TileError(bundlePath(first), `has at ${i} no head: ${head.what}`);
      yield { index: first + i, head: head.value, hash: leafHash(entry) };
    }
}

/** Where a log contradicts itself. */
export interface LogFault {
  /** The file at fault, or `checkpoint`. */
  readonly where: string;
  readonly what: string;
}

/**
 * Whether the tree made anew from the entries has the checkpoint's root, and all its tiles are what
 * the files say. The first fault ends it: what comes after would be at fault as well.
 */
export async function checkTree(
  checkpoint: Checkpoint,
  fetch: TileFetch,
): Promise<LogFault | undefined> {
  const edge = createTreeEdge();
  const compare = async ({ tile, hashes }: TileHashes): Promise<LogFault | undefined> => {
    const stored = encodeHashes(await readHashes(tile, fetch));
    if (stored.equals(encodeHashes(hashes))) return undefined;
    return { where: tilePath(tile), what: 'holds other hashes than its entries give' };
  };
  try {
    for await (const { entries } of walkBundles(checkpoint.size, fetch))
      for (const entry of entries)
        for (const full of edge.push(leafHash(entry))) {
          const fault = await compare(full);
          if (fault !== undefined) return fault;
        }
    for (const partial of edge.partial()) {
      const fault = await compare(partial);
      if (fault !== undefined) return fault;
    }
  } catch (error) {
    if (!(error instanceof TileError)) throw error;
    return { where: error.path, what: error.message };
  }
  return edge.root().equals(checkpoint.root)
    ? undefined
    : { where: 'checkpoint', what: 'its root is not the root over the entries' };
}
