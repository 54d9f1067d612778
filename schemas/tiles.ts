/**
 * The layout of a log in files, as C2SP tlog-tiles has it (heights of 8, so 256 hashes a tile):
 *
 *     checkpoint                      the signed tree head (note.ts)
 *     tile/<L>/<N>[.p/<W>]            hashes: entry i of tile N at level L is the perfect subtree of
 *                                     height 8L and index 256N + i
 *     tile/entries/<N>[.p/<W>]        the leaves' data: for each, its length in 2 bytes, its bytes
 *
 * N is written in groups of three digits: 1234067 is x001/x234/067. A tile that is not full yet is
 * *partial*, has its width W as a name of its own, and is never changed.
 */
import {
  foldRoots,
  HASH_BYTES,
  type Hash,
  type HashReader,
  rootOfLeaves,
  type Subtree,
  subtreesOf,
} from './merkle.ts';

export const TILE_HEIGHT = 8;
export const TILE_WIDTH = 256;
/** One leaf's length stands in two bytes. */
export const ENTRY_BYTES_MAX = 65_535;
/** The highest level of a tree within 2^53 leaves. */
export const TILE_LEVEL_MAX = 6;
/** The path of the checkpoint. */
export const CHECKPOINT_PATH = 'checkpoint';

/** One file of a log: hashes of a level, or the entries of a row of leaves. */
export interface Tile {
  readonly level: number | 'entries';
  readonly index: number;
  /** How many hashes or entries it holds, 1 to 256; 256 is a full tile. */
  readonly width: number;
}

/** The path of a tile below the log's prefix. */
export function tilePath({ level, index, width }: Tile): string {
  const digits = String(index);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, '0').match(/\d{3}/g) ?? [];
  const number = groups.map((group, i) => (i < groups.length - 1 ? `x${group}` : group)).join('/');
  return `tile/${level}/${number}${width < TILE_WIDTH ? `.p/${width}` : ''}`;
}

const TILE_PATH =
  /^tile\/(entries|[0-9]|[1-5][0-9]|6[0-3])\/((?:x\d{3}\/){0,5}\d{3})(?:\.p\/([1-9]\d{0,2}))?$/;

/** The tile that a path names; undefined where it is none or not written as `tilePath` does. */
export function parseTilePath(path: string): Tile | undefined {
  const match = TILE_PATH.exec(path);
  if (match === null) return undefined;
  const [, level = '', number = '', partial] = match;
  const tile: Tile = {
    level: level === 'entries' ? level : Number(level),
    index: Number(number.replace(/[x/]/g, '')),
    width: partial === undefined ? TILE_WIDTH : Number(partial),
  };
  return tilePath(tile) === path ? tile : undefined;
}

/** How many hashes a level has in a tree of `size`. */
export const hashesAt = (level: number, size: number): number =>
  Math.floor(size / TILE_WIDTH ** level);

/** The tile as a tree of `size` has it: undefined where the tree does not reach it. */
export function tileOf(level: number | 'entries', index: number, size: number): Tile | undefined {
  const width = Math.min(
    TILE_WIDTH,
    hashesAt(level === 'entries' ? 0 : level, size) - index * TILE_WIDTH,
  );
  return width > 0 ? { level, index, width } : undefined;
}

/** The tiles of the right edge of a tree, partial ones only, from level 0 up. */
export function edgeTiles(size: number): Tile[] {
  const tiles: Tile[] = [];
  for (let level = 0; hashesAt(level, size) > 0; level++) {
    const count = hashesAt(level, size);
    const width = count % TILE_WIDTH;
    if (width > 0) tiles.push({ level, index: Math.floor(count / TILE_WIDTH), width });
  }
  return tiles;
}

/** Hashes one after the other, as a tile holds them. */
export const encodeHashes = (hashes: readonly Hash[]): Buffer => Buffer.concat(hashes);

/** The hashes of a tile; undefined where the bytes are not just `width` of them. */
export function decodeHashes(bytes: Uint8Array, width: number): Hash[] | undefined {
  if (bytes.length !== width * HASH_BYTES) return undefined;
  const buffer = Buffer.from(bytes);
  return Array.from({ length: width }, (_, i) =>
    buffer.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES),
  );
}

/** Entries as a bundle holds them. Throws a RangeError for one that is too long. */
export function encodeEntries(entries: readonly Uint8Array[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const entry of entries) {
    if (entry.length > ENTRY_BYTES_MAX)
      throw new RangeError(`an entry has ${entry.length} bytes; at most ${ENTRY_BYTES_MAX} fit`);
    parts.push(Buffer.of(entry.length >> 8, entry.length & 0xff), entry);
  }
  return Buffer.concat(parts);
}

/** The entries of a bundle; undefined where the bytes are not just `width` of them. */
export function decodeEntries(bytes: Uint8Array, width: number): Buffer[] | undefined {
  const buffer = Buffer.from(bytes);
  const entries: Buffer[] = [];
  let at = 0;
  while (at + 2 <= buffer.length && entries.length < width) {
    const end = at + 2 + buffer.readUInt16BE(at);
    if (end > buffer.length) return undefined;
    entries.push(buffer.subarray(at + 2, end));
    at = end;
  }
  return at === buffer.length && entries.length === width ? entries : undefined;
}

/** Reads a file of a log; undefined where there is none. */
export type TileFetch = (path: string) => Promise<Uint8Array | undefined>;

/** A log's file is missing or is not what its name says. */
export class TileError extends Error {
  override readonly name = 'TileError';
  /** The file, as `tilePath` names it. */
  readonly path: string;
  constructor(path: string, what: string) {
    super(`${path} ${what}`);
    this.path = path;
  }
}

/** Tiles that a reader keeps; a proof needs at most two a level. */
const TILES_KEPT_MAX = 64;

/** A tile's file, or the full tile's that took its place: a log may drop partial ones. */
async function fetchTile(
  tile: Tile,
  fetch: TileFetch,
): Promise<[bytes: Uint8Array, width: number]> {
  const own = await fetch(tilePath(tile));
  if (own !== undefined) return [own, tile.width];
  const full = await fetch(tilePath({ ...tile, width: TILE_WIDTH }));
  if (full === undefined) throw new TileError(tilePath(tile), 'is missing');
  return [full, TILE_WIDTH];
}

/** The first `tile.width` hashes of a tile. Rejects with `TileError` for wrong bytes. */
export async function readHashes(tile: Tile, fetch: TileFetch): Promise<Hash[]> {
  const [bytes, width] = await fetchTile(tile, fetch);
  const hashes = decodeHashes(bytes, width);
  if (hashes === undefined)
    throw new TileError(tilePath(tile), `has ${bytes.length} bytes, not ${width} hashes`);
  return hashes.slice(0, tile.width);
}

/** The first `width` entries of a bundle, in the same way. */
export async function readEntries(
  index: number,
  width: number,
  fetch: TileFetch,
): Promise<Buffer[]> {
  const tile: Tile = { level: 'entries', index, width };
  const [bytes, found] = await fetchTile(tile, fetch);
  const entries = decodeEntries(bytes, found);
  if (entries === undefined) throw new TileError(tilePath(tile), `is not ${found} entries`);
  return entries.slice(0, width);
}

/**
 * A reader of the perfect subtrees of a log's tree of `size`, for `inclusionProof` and the like.
 * What it gives is what the files say: a proof made of it has to be verified against a root.
 */
export function tileReader(size: number, fetch: TileFetch): HashReader {
  const kept = new Map<string, Promise<Hash[]>>();
  return async ({ height, index }: Subtree) => {
    const level = Math.floor(height / TILE_HEIGHT);
    const count = 2 ** (height - level * TILE_HEIGHT);
    const first = index * count;
    const tile = tileOf(level, Math.floor(first / TILE_WIDTH), size);
    if (tile === undefined || (first % TILE_WIDTH) + count > tile.width)
      throw new RangeError(`no subtree of height ${height} at ${index} in a tree of ${size}`);
    const path = tilePath(tile);
    let hashes = kept.get(path);
    if (hashes === undefined) {
      if (kept.size >= TILES_KEPT_MAX) kept.delete(kept.keys().next().value as string);
      hashes = readHashes(tile, fetch);
      kept.set(path, hashes);
    }
    const from = first % TILE_WIDTH;
    return rootOfLeaves((await hashes).slice(from, from + count));
  };
}

/**
 * The right edge of a growing tree: the hashes of each level that do not fill a tile yet. It is all
 * that appending needs, at most 255 hashes a level.
 */
export interface TreeEdge {
  readonly size: number;
  /** Adds a leaf; gives the tiles that became full by it, from level 0 up. */
  push(leaf: Hash): readonly TileHashes[];
  /** The partial tiles as they stand. */
  partial(): readonly TileHashes[];
  root(): Hash;
}

/** A tile with what it holds. */
export interface TileHashes {
  readonly tile: Tile;
  readonly hashes: readonly Hash[];
}

/** The edge of a tree of `startSize`, from its partial tiles (`edgeTiles`). */
export function createTreeEdge(startSize = 0, tiles: readonly TileHashes[] = []): TreeEdge {
  const levels: Hash[][] = [];
  const rowAt = (level: number): Hash[] => {
    while (levels.length <= level) levels.push([]);
    return levels[level] as Hash[];
  };
  for (const { tile, hashes } of tiles) rowAt(tile.level as number).push(...hashes);
  let size = startSize;

  function push(leaf: Hash) {
    const full: TileHashes[] = [];
    let hash = leaf;
    size++;
    for (let level = 0; ; level++) {
      const row = rowAt(level);
      row.push(hash);
      if (row.length < TILE_WIDTH) return full;
      const index = hashesAt(level, size) / TILE_WIDTH - 1;
      full.push({ tile: { level, index, width: TILE_WIDTH }, hashes: row });
      levels[level] = [];
      hash = rootOfLeaves(row);
    }
  }

  const partial = () =>
    edgeTiles(size).map((tile) => ({ tile, hashes: [...rowAt(tile.level as number)] }));

  function root(): Hash {
    const roots: Hash[] = [];
    for (let level = levels.length - 1; level >= 0; level--) {
      const row = levels[level] as Hash[];
      for (const { height, index } of subtreesOf(0, row.length))
        roots.push(rootOfLeaves(row.slice(index * 2 ** height, (index + 1) * 2 ** height)));
    }
    return foldRoots(roots);
  }

  return {
    push,
    partial,
    root,
    get size() {
      return size;
    },
  };
}
