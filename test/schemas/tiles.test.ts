import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  consistencyProof,
  createTreeEdge,
  decodeEntries,
  decodeHashes,
  ENTRY_BYTES_MAX,
  edgeTiles,
  encodeEntries,
  encodeHashes,
  hashesAt,
  inclusionProof,
  leafHash,
  parseTilePath,
  readEntries,
  rootOf,
  rootOfLeaves,
  TILE_LEVEL_MAX,
  TileError,
  tileOf,
  tilePath,
  tileReader,
  verifyConsistency,
  verifyInclusion,
} from '#schemas';

describe('tilePath', () => {
  it('is the path of the specification', () => {
    expect(tilePath({ level: 0, index: 1234067, width: 256 })).toBe('tile/0/x001/x234/067');
    expect(tilePath({ level: 'entries', index: 0, width: 5 })).toBe('tile/entries/000.p/5');
    expect(tilePath({ level: 2, index: 1000, width: 1 })).toBe('tile/2/x001/000.p/1');
  });

  it('is read back, and nothing else is', () => {
    const level = fc.oneof(fc.integer({ min: 0, max: 63 }), fc.constant('entries' as const));
    const index = fc.integer({ min: 0, max: 2 ** 45 });
    fc.assert(
      fc.property(level, index, fc.integer({ min: 1, max: 256 }), (l, n, w) => {
        const tile = { level: l, index: n, width: w };
        expect(parseTilePath(tilePath(tile))).toEqual(tile);
      }),
    );
    for (const path of [
      ...['tile/0/00', 'tile/0/0', 'tile/00/000', 'tile/64/000', 'tile/-1/000', 'tile/0/x000/001'],
      ...['tile/0/000.p/0', 'tile/0/000.p/256', 'tile/0/000.p/01', 'tile/0/000.p/', 'tile/0/000/'],
      ...['tile/0/001/067', 'tile/0/../key', '/tile/0/000', 'tile/0/000\n', 'tile/entries/x000'],
      ...['tile/0/x999/x999/x999/x999/x999/999', 'checkpoint', '', 'tile/data/000'],
    ])
      expect(parseTilePath(path), path).toBeUndefined();
  });

  it('never throws on any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const tile = parseTilePath(text);
        if (tile !== undefined) expect(tilePath(tile)).toBe(text);
      }),
    );
  });
});

describe('the tiles of a tree', () => {
  it('are those of the specification’s example of 70,000 leaves', () => {
    expect(edgeTiles(70_000)).toEqual([
      { level: 0, index: 273, width: 112 },
      { level: 1, index: 1, width: 17 },
      { level: 2, index: 0, width: 1 },
    ]);
    expect(tileOf(0, 272, 70_000)?.width).toBe(256);
    expect(tileOf(1, 0, 70_000)?.width).toBe(256);
    expect(tileOf(0, 274, 70_000)).toBeUndefined();
    expect(edgeTiles(256)).toEqual([{ level: 1, index: 0, width: 1 }]);
    expect(edgeTiles(0)).toEqual([]);
    expect(hashesAt(TILE_LEVEL_MAX + 1, Number.MAX_SAFE_INTEGER)).toBe(0);
  });
});

/** A log in memory: what a writer of tiles would have put on a disk. */
function logOf(sizes: readonly number[]) {
  const files = new Map<string, Buffer>();
  const edge = createTreeEdge();
  const leaves: Buffer[] = [];
  for (const size of sizes) {
    while (edge.size < size) {
      const data = Buffer.from(`leaf ${edge.size}`);
      leaves.push(leafHash(data));
      for (const { tile, hashes } of edge.push(leafHash(data)))
        files.set(tilePath(tile), encodeHashes(hashes));
    }
    for (const { tile, hashes } of edge.partial()) files.set(tilePath(tile), encodeHashes(hashes));
  }
  return { files, edge, leaves, fetch: async (path: string) => files.get(path) };
}

describe('a tree that grows by its edge', () => {
  it('has at each size the root of its leaves', () => {
    const edge = createTreeEdge();
    const leaves: Buffer[] = [];
    for (let n = 0; n <= 600; n++) {
      expect(edge.root().equals(rootOfLeaves(leaves))).toBe(true);
      leaves.push(leafHash(Buffer.from(`leaf ${n}`)));
      edge.push(leaves[n] as Buffer);
    }
  });

  it('gives each root and proof from its tiles, through two levels', async () => {
    const sizes = [1, 255, 256, 257, 1000, 65_535, 65_536, 65_537, 70_000];
    const { fetch, leaves, edge } = logOf(sizes);
    const roots = sizes.map((n) => rootOfLeaves(leaves.slice(0, n)));
    expect(edge.root().equals(roots.at(-1) as Buffer)).toBe(true);
    for (const [i, n] of sizes.entries()) {
      const read = tileReader(n, fetch);
      expect((await rootOf(n, read)).equals(roots[i] as Buffer)).toBe(true);
      for (const at of [0, n >> 1, n - 1]) {
        const proof = await inclusionProof(at, n, read);
        expect(verifyInclusion(leaves[at] as Buffer, at, n, proof, roots[i] as Buffer)).toBe(true);
      }
      for (const [j, from] of sizes.slice(0, i + 1).entries()) {
        const proof = await consistencyProof(from, n, read);
        expect(verifyConsistency(from, n, proof, roots[j] as Buffer, roots[i] as Buffer)).toBe(
          true,
        );
      }
    }
  });

  it('is taken up from its partial tiles', () => {
    const { edge, leaves } = logOf([70_000]);
    const again = createTreeEdge(70_000, edge.partial());
    for (let n = 70_000; n < 70_300; n++) {
      const leaf = leafHash(Buffer.from(`leaf ${n}`));
      leaves.push(leaf);
      edge.push(leaf);
      again.push(leaf);
    }
    expect(again.partial()).toEqual(edge.partial());
    expect(again.root().equals(rootOfLeaves(leaves))).toBe(true);
  });

  it('reads a partial tile from the full one that took its place, and misses none silently', async () => {
    const { files, fetch, leaves } = logOf([200, 256]);
    files.delete('tile/0/000.p/200');
    const root = await rootOf(200, tileReader(200, fetch));
    expect(root.equals(rootOfLeaves(leaves.slice(0, 200)))).toBe(true);
    files.set('tile/0/000', (files.get('tile/0/000') as Buffer).subarray(1));
    await expect(rootOf(200, tileReader(200, fetch))).rejects.toThrow(TileError);
    files.delete('tile/0/000');
    await expect(rootOf(200, tileReader(200, fetch))).rejects.toThrow(TileError);
    await expect(inclusionProof(250, 300, tileReader(260, fetch))).rejects.toThrow(RangeError);
  });
});

describe('entry bundles', () => {
  const entries = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 40 });

  it('are read back', () => {
    fc.assert(
      fc.property(entries, (list) => {
        const bytes = encodeEntries(list);
        expect(decodeEntries(bytes, list.length)?.map((one) => [...one])).toEqual(
          list.map((one) => [...one]),
        );
        expect(decodeEntries(bytes, list.length + 1)).toBeUndefined();
        expect(decodeEntries(bytes, list.length - 1)).toBeUndefined();
        expect(decodeEntries(bytes.subarray(0, -1), list.length)).toBeUndefined();
      }),
    );
  });

  it('have the lengths in two bytes, big end first', () => {
    expect(encodeEntries([Buffer.from('ab'), Buffer.alloc(0)]).toString('hex')).toBe(
      '000261620000',
    );
    expect(
      encodeEntries([Buffer.alloc(ENTRY_BYTES_MAX)])
        .subarray(0, 2)
        .toString('hex'),
    ).toBe('ffff');
    expect(() => encodeEntries([Buffer.alloc(ENTRY_BYTES_MAX + 1)])).toThrow(RangeError);
  });

  it('never throw on any bytes', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 400 }),
        fc.integer({ min: 1, max: 256 }),
        (bytes, w) => {
          const found = decodeEntries(bytes, w);
          if (found !== undefined) expect(encodeEntries(found)).toEqual(Buffer.from(bytes));
          decodeHashes(bytes, w);
        },
      ),
    );
  });

  it('stop with an error that names the file', async () => {
    const fetch = async () => Buffer.from('00', 'hex');
    await expect(readEntries(7, 3, fetch)).rejects.toThrow('tile/entries/007.p/3');
  });
});
