/**
 * The Merkle tree of RFC 6962 (section 2) over SHA-256, and its proofs as RFC 9162 verifies them.
 *
 *     MTH({})   = SHA-256()                      leaf = SHA-256(0x00 || data)
 *     MTH(D[n]) = SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n]))   k = largest power of two below n
 *
 * A tree of any size is a row of *perfect subtrees*, one for each bit of its size, and each hash of
 * a proof is the root of such a row. So a proof needs only a reader of perfect subtrees; `tiles.ts`
 * gives one over a log's files. Sizes are safe integers: shifts of JavaScript would cut them to 32
 * bits, so halves are divided.
 */
import { createHash, hash as hashOnce } from 'node:crypto';

export const HASH_BYTES = 32;
/** No log of ours gets there; larger sizes are refused when they are read. */
export const TREE_SIZE_MAX = Number.MAX_SAFE_INTEGER;
/** The most hashes that a proof of a tree within `TREE_SIZE_MAX` has. */
export const PROOF_HASHES_MAX = 63;

/** 32 bytes. */
export type Hash = Buffer;

/** The perfect subtree with 2^height leaves whose first leaf is index * 2^height. */
export interface Subtree {
  readonly height: number;
  readonly index: number;
}

/** Gives the root of a perfect subtree; rejects when it has none. */
export type HashReader = (subtree: Subtree) => Hash | Promise<Hash>;

const LEAF = Buffer.of(0);
const NODE = Buffer.of(1);

/** The hash of a leaf's data. */
export function leafHash(data: Uint8Array): Hash {
  return createHash('sha256').update(LEAF).update(data).digest();
}

/** The hash of an inner node over its two children. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Hash {
  return hashOnce('sha256', Buffer.concat([NODE, left, right]), 'buffer');
}

/** The root of the tree without leaves. */
export const EMPTY_ROOT: Hash = createHash('sha256').digest();

const isSize = (value: number) => Number.isSafeInteger(value) && value >= 0;
const half = (value: number) => Math.floor(value / 2);
const isOdd = (value: number) => value % 2 === 1;

/** The largest power of two below `size`, which is at least 2. */
function split(size: number): number {
  let k = 1;
  while (k * 2 < size) k *= 2;
  return k;
}

/**
 * The perfect subtrees that D[start:end] is made of, from left to right. `start` must be a multiple
 * of the largest power of two within the length, as it is for every node of a tree.
 */
export function subtreesOf(start: number, end: number): Subtree[] {
  const out: Subtree[] = [];
  let [from, left] = [start, end - start];
  let [height, width] = [0, 1];
  while (width * 2 <= left) [height, width] = [height + 1, width * 2];
  for (; left > 0; height--, width /= 2)
    if (left >= width) {
      out.push({ height, index: from / width });
      from += width;
      left -= width;
    }
  return out;
}

/** The root over a row of perfect subtrees; of none, the empty tree's. */
export function foldRoots(roots: readonly Hash[]): Hash {
  if (roots.length === 0) return EMPTY_ROOT;
  return roots.reduceRight((right, left) => nodeHash(left, right));
}

async function rangeHash(start: number, end: number, read: HashReader): Promise<Hash> {
  return foldRoots(await Promise.all(subtreesOf(start, end).map(read)));
}

/** The root of the tree with `size` leaves. */
export const rootOf = (size: number, read: HashReader): Promise<Hash> => rangeHash(0, size, read);

/** The root over leaf hashes at hand. */
export function rootOfLeaves(leaves: readonly Hash[]): Hash {
  if (leaves.length === 0) return EMPTY_ROOT;
  let level = [...leaves];
  // A last node without a neighbour moves up as it is: the same tree as the recursive definition.
  while (level.length > 1) {
    const next: Hash[] = [];
    for (let i = 0; i < level.length; i += 2) {
      const [left, right] = [level[i] as Hash, level[i + 1]];
      next.push(right === undefined ? left : nodeHash(left, right));
    }
    level = next;
  }
  return level[0] as Hash;
}

/** A reader over leaf hashes at hand. */
export function readerOf(leaves: readonly Hash[]): HashReader {
  return ({ height, index }) => {
    const width = 2 ** height;
    if ((index + 1) * width > leaves.length) throw new RangeError('no such subtree');
    return rootOfLeaves(leaves.slice(index * width, (index + 1) * width));
  };
}

type Range = readonly [start: number, end: number];

/** PATH of RFC 6962 2.1.1: the leaf ranges whose roots prove leaf `index` of `size`. */
function inclusionRanges(index: number, size: number): Range[] {
  const down: Range[] = [];
  let [start, end] = [0, size];
  while (end - start > 1) {
    const middle = start + split(end - start);
    if (index < middle) {
      down.push([middle, end]);
      end = middle;
    } else {
      down.push([start, middle]);
      start = middle;
    }
  }
  return down.reverse();
}

/** PROOF of RFC 6962 2.1.2: the leaf ranges that prove `first` a prefix of `second`. */
function consistencyRanges(first: number, second: number): Range[] {
  const down: Range[] = [];
  let [start, end] = [0, second];
  while (first < end) {
    const middle = start + split(end - start);
    if (first <= middle) {
      down.push([middle, end]);
      end = middle;
    } else {
      down.push([start, middle]);
      start = middle;
    }
  }
  // The first tree's own root is known to whoever asks; any other node has to be given.
  return start === 0 ? down.reverse() : [[start, end], ...down.reverse()];
}

/** The audit path of leaf `index` in the tree of `size`. Throws a RangeError outside of it. */
export async function inclusionProof(
  index: number,
  size: number,
  read: HashReader,
): Promise<Hash[]> {
  if (!isSize(index) || !isSize(size) || index >= size)
    throw new RangeError(`there is no leaf ${index} in a tree of ${size}`);
  return Promise.all(inclusionRanges(index, size).map(([a, b]) => rangeHash(a, b, read)));
}

/** The proof that the tree of `first` leaves is a prefix of that of `second`. */
export async function consistencyProof(
  first: number,
  second: number,
  read: HashReader,
): Promise<Hash[]> {
  if (!isSize(first) || !isSize(second) || first > second)
    throw new RangeError(`a tree of ${first} is no prefix of one of ${second}`);
  if (first === 0) return [];
  return Promise.all(consistencyRanges(first, second).map(([a, b]) => rangeHash(a, b, read)));
}

const areHashes = (hashes: readonly Uint8Array[]) =>
  hashes.length <= PROOF_HASHES_MAX && hashes.every((one) => one.length === HASH_BYTES);

/** Whether a proof shows that `leaf` is number `index` of the tree (RFC 9162 2.1.3.2). */
export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  proof: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  if (!isSize(index) || !isSize(size) || index >= size) return false;
  if (!areHashes([leaf, root]) || !areHashes(proof)) return false;
  let [fn, sn] = [index, size - 1];
  let hash: Uint8Array = leaf;
  for (const sibling of proof) {
    if (sn === 0) return false;
    if (isOdd(fn) || fn === sn) {
      hash = nodeHash(sibling, hash);
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else hash = nodeHash(hash, sibling);
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && Buffer.compare(hash, root) === 0;
}

/**
 * Whether a proof shows that the tree of `first` leaves is a prefix of that of `second` (RFC 9162
 * 2.1.4.2). The empty tree is a prefix of every tree, with an empty proof.
 */
export function verifyConsistency(
  first: number,
  second: number,
  proof: readonly Uint8Array[],
  firstRoot: Uint8Array,
  secondRoot: Uint8Array,
): boolean {
  if (!isSize(first) || !isSize(second) || first > second) return false;
  if (!areHashes([firstRoot, secondRoot]) || !areHashes(proof)) return false;
  const same = Buffer.compare(firstRoot, secondRoot) === 0;
  if (first === 0) {
    const empty = Buffer.compare(firstRoot, EMPTY_ROOT) === 0;
    return proof.length === 0 && empty && (second > 0 || same);
  }
  if (first === second) return proof.length === 0 && same;
  const isPowerOfTwo = 2 ** Math.round(Math.log2(first)) === first;
  const path = isPowerOfTwo ? [firstRoot, ...proof] : proof;
  const [seed, ...rest] = path;
  if (seed === undefined || proof.length === 0) return false;
  let [fn, sn] = [first - 1, second - 1];
  while (isOdd(fn)) [fn, sn] = [half(fn), half(sn)];
  let [fr, sr] = [seed, seed];
  for (const hash of rest) {
    if (sn === 0) return false;
    if (isOdd(fn) || fn === sn) {
      [fr, sr] = [nodeHash(hash, fr), nodeHash(hash, sr)];
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else sr = nodeHash(sr, hash);
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && Buffer.compare(fr, firstRoot) === 0 && Buffer.compare(sr, secondRoot) === 0;
}
