import { createHash } from 'node:crypto';
import fs from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  consistencyProof,
  EMPTY_ROOT,
  type Hash,
  inclusionProof,
  leafHash,
  nodeHash,
  PROOF_HASHES_MAX,
  readerOf,
  rootOf,
  rootOfLeaves,
  subtreesOf,
  verifyConsistency,
  verifyInclusion,
} from '#schemas';

interface Vectors {
  readonly trees: readonly { size: number; root: string; proofs_sha256: string }[];
  readonly proofs: readonly { kind: string; first: number; size: number; proof: string[] }[];
}
const VECTORS = JSON.parse(
  fs.readFileSync(new URL('../fixtures/tlog/merkle.json', import.meta.url), 'utf8'),
) as Vectors;

const hex = (text: string) => Buffer.from(text, 'hex');
const leavesOf = (size: number) =>
  Array.from({ length: size }, (_, i) => leafHash(Buffer.from(`leaf ${i}`)));
const LEAVES = leavesOf(300);

/** All perfect subtrees once, so that thousands of proofs are cheap. */
function fastReader(leaves: readonly Hash[]) {
  const levels: Hash[][] = [[...leaves]];
  for (let row = levels[0] as Hash[]; row.length > 1; row = levels.at(-1) as Hash[]) {
    const next: Hash[] = [];
    for (let i = 0; i + 1 < row.length; i += 2)
      next.push(nodeHash(row[i] as Hash, row[i + 1] as Hash));
    levels.push(next);
  }
  return ({ height, index }: { height: number; index: number }) => {
    const hash = levels[height]?.[index];
    if (hash === undefined) throw new RangeError('no such subtree');
    return hash;
  };
}

describe('known answers', () => {
  /** The eight leaves of the certificate-transparency tests, and their trees. */
  const INPUTS = [
    ...['', '00', '10', '2021', '3031', '40414243', '5051525354555657'],
    '606162636465666768696a6b6c6d6e6f',
  ];
  const ROOTS = [
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
    '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
    'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
  ];
  const leaves = INPUTS.map((input) => leafHash(hex(input)));

  it('has the roots of the certificate-transparency tests', async () => {
    expect(EMPTY_ROOT.toString('hex')).toBe(ROOTS[0]);
    for (let size = 0; size <= leaves.length; size++) {
      expect(rootOfLeaves(leaves.slice(0, size)).toString('hex')).toBe(ROOTS[size]);
      expect((await rootOf(size, readerOf(leaves))).toString('hex')).toBe(ROOTS[size]);
    }
  });

  it('has their proofs', async () => {
    const path = await inclusionProof(0, 8, readerOf(leaves));
    expect(path.map((one) => one.toString('hex'))).toEqual([
      '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
      '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
      '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
    ]);
    const proof = await consistencyProof(6, 8, readerOf(leaves));
    expect(proof.map((one) => one.toString('hex'))).toEqual([
      '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
      'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    ]);
  });

  it('agrees with Go’s sumdb/tlog on each proof of each tree up to 300 leaves', async () => {
    const read = fastReader(LEAVES);
    const trees = VECTORS.trees.filter(({ proofs_sha256 }) => proofs_sha256 !== '');
    expect(trees).toHaveLength(300);
    for (const { size, root, proofs_sha256 } of trees) {
      expect((await rootOf(size, read)).toString('hex')).toBe(root);
      const all = createHash('sha256');
      for (let i = 0; i < size; i++) {
        all.update(`inclusion ${i} ${size}\n`);
        for (const hash of await inclusionProof(i, size, read)) all.update(hash);
      }
      for (let i = 1; i <= size; i++) {
        all.update(`consistency ${i} ${size}\n`);
        for (const hash of await consistencyProof(i, size, read)) all.update(hash);
      }
      expect(all.digest('hex'), `size ${size}`).toBe(proofs_sha256);
    }
  });

  it('agrees with it on trees that cross two levels of tiles', async () => {
    const leaves = leavesOf(70_000);
    const read = fastReader(leaves);
    for (const { size, root } of VECTORS.trees.filter((one) => one.proofs_sha256 === ''))
      expect((await rootOf(size, read)).toString('hex')).toBe(root);
    for (const { kind, first, size, proof } of VECTORS.proofs) {
      const made =
        kind === 'inclusion'
          ? await inclusionProof(first, size, read)
          : await consistencyProof(first, size, read);
      expect(made.map((one) => one.toString('hex'))).toEqual(proof);
    }
  });
});

const flipped = (hash: Hash, bit: number): Hash => {
  const copy = Buffer.from(hash);
  copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
  return copy;
};
const size = fc.integer({ min: 1, max: 300 });
const bit = fc.integer({ min: 0, max: 255 });
const rootAt = (n: number) => rootOfLeaves(LEAVES.slice(0, n));

describe('proofs', () => {
  it('verify for each leaf and each earlier tree, for all sizes from 0 to 300', async () => {
    const read = fastReader(LEAVES);
    const roots = Array.from({ length: 301 }, (_, n) => rootAt(n));
    for (let n = 0; n <= 300; n++) {
      const root = roots[n] as Hash;
      for (let i = 0; i < n; i += n > 64 ? 7 : 1) {
        const proof = await inclusionProof(i, n, read);
        expect(verifyInclusion(LEAVES[i] as Hash, i, n, proof, root)).toBe(true);
      }
      for (let i = 0; i <= n; i += n > 64 ? 7 : 1) {
        const proof = await consistencyProof(i, n, read);
        expect(verifyConsistency(i, n, proof, roots[i] as Hash, root), `${i} ${n}`).toBe(true);
      }
    }
  });

  it('of inclusion fail for any changed bit, index or size, a hash more and one less', async () => {
    await fc.assert(
      fc.asyncProperty(size, fc.nat(), bit, fc.nat(), async (n, pick, b, other) => {
        const index = pick % n;
        const [leaf, root] = [LEAVES[index] as Hash, rootAt(n)];
        const proof = await inclusionProof(index, n, fastReader(LEAVES));
        expect(verifyInclusion(flipped(leaf, b), index, n, proof, root)).toBe(false);
        expect(verifyInclusion(leaf, index, n, proof, flipped(root, b))).toBe(false);
        expect(verifyInclusion(leaf, index, n, [...proof, leaf], root)).toBe(false);
        if (other % n !== index)
          expect(verifyInclusion(leaf, other % n, n, proof, root)).toBe(false);
        if (proof.length > 0) {
          const at = other % proof.length;
          const bent = proof.with(at, flipped(proof[at] as Hash, b));
          expect(verifyInclusion(leaf, index, n, bent, root)).toBe(false);
          expect(verifyInclusion(leaf, index, n, proof.toSpliced(at, 1), root)).toBe(false);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('of inclusion mean another tree for each other size', async () => {
    const read = fastReader(LEAVES);
    for (const n of [1, 2, 3, 7, 8, 9, 100])
      for (let other = 1; other <= 130; other++) {
        if (other === n) continue;
        const proof = await inclusionProof(n - 1, n, read);
        const root = rootAt(other);
        expect(verifyInclusion(LEAVES[n - 1] as Hash, n - 1, other, proof, root)).toBe(false);
      }
  });

  it('of consistency fail for any changed bit or size, a hash more and one less', async () => {
    await fc.assert(
      fc.asyncProperty(size, fc.nat(), bit, fc.nat(), async (n, pick, b, other) => {
        const first = 1 + (pick % n);
        const [from, to] = [rootAt(first), rootAt(n)];
        const proof = await consistencyProof(first, n, fastReader(LEAVES));
        expect(verifyConsistency(first, n, proof, flipped(from, b), to)).toBe(false);
        expect(verifyConsistency(first, n, proof, from, flipped(to, b))).toBe(false);
        expect(verifyConsistency(first, n, [...proof, to], from, to)).toBe(false);
        expect(verifyConsistency(n + 1, n, proof, to, to)).toBe(false);
        if (proof.length > 0) {
          const at = other % proof.length;
          const bent = proof.with(at, flipped(proof[at] as Hash, b));
          expect(verifyConsistency(first, n, bent, from, to)).toBe(false);
          expect(verifyConsistency(first, n, proof.toSpliced(at, 1), from, to)).toBe(false);
          const wrong = 1 + (other % n);
          if (wrong !== first)
            expect(verifyConsistency(wrong, n, proof, rootAt(wrong), to)).toBe(
              // Neighbouring trees may share a proof only where it really proves both.
              JSON.stringify(proof) ===
                JSON.stringify(await consistencyProof(wrong, n, fastReader(LEAVES))),
            );
        }
      }),
      { numRuns: 300 },
    );
  });

  it('of consistency between two forks are refused', async () => {
    const fork = LEAVES.with(3, leafHash(Buffer.from('another')));
    for (const [first, second] of [
      [4, 5],
      [7, 20],
      [8, 300],
    ] as const) {
      const to = rootOfLeaves(fork.slice(0, second));
      for (const source of [LEAVES, fork]) {
        const proof = await consistencyProof(first, second, readerOf(source));
        expect(verifyConsistency(first, second, proof, rootAt(first), to)).toBe(false);
      }
    }
  });

  it('are refused, never thrown at, for nonsense', () => {
    const any = fc.oneof(fc.double(), fc.integer(), fc.constant(Number.NaN), fc.constant(2 ** 53));
    const hash = fc.uint8Array({ minLength: 0, maxLength: 40 });
    fc.assert(
      fc.property(any, any, fc.array(hash, { maxLength: 70 }), hash, hash, (a, b, proof, x, y) => {
        if (x.length !== 32 || y.length !== 32 || proof.length > PROOF_HASHES_MAX) {
          expect(verifyInclusion(x, a, b, proof, y)).toBe(false);
          expect(verifyConsistency(a, b, proof, x, y)).toBe(false);
        } else expect(verifyInclusion(x, a, b, proof, y)).toBe(a === 0 && b === 1 && x === y);
      }),
    );
  });

  it('refuse what no tree has when they are made', async () => {
    const read = readerOf(LEAVES);
    await expect(inclusionProof(3, 3, read)).rejects.toThrow(RangeError);
    await expect(inclusionProof(-1, 3, read)).rejects.toThrow(RangeError);
    await expect(consistencyProof(4, 3, read)).rejects.toThrow(RangeError);
    await expect(inclusionProof(0, 301, read)).rejects.toThrow(RangeError);
  });
});

describe('subtreesOf', () => {
  it('covers the range, largest first, at any size', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 52 }), (n) => {
        let at = 0;
        let last = Number.POSITIVE_INFINITY;
        for (const { height, index } of subtreesOf(0, n)) {
          expect(height).toBeLessThan(last);
          expect(index * 2 ** height).toBe(at);
          at += 2 ** height;
          last = height;
        }
        expect(at).toBe(n);
      }),
    );
  });
});
