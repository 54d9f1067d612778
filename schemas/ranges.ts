/** Sets of sequence numbers as sorted, disjoint, inclusive ranges. Plain values; never mutated. */

export type Range = readonly [first: number, last: number];
export type Ranges = readonly Range[];

/** Whether `n` is in the set; binary search. */
export function hasNumber(ranges: Ranges, n: number): boolean {
  let low = 0;
  let high = ranges.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const [first, last] = ranges[middle] as Range;
    if (n < first) high = middle - 1;
    else if (n > last) low = middle + 1;
    else return true;
  }
  return false;
}

/** The set with first..last added. */
export function addRange(ranges: Ranges, first: number, last: number): Ranges {
  const tail = ranges.at(-1);
  if (tail === undefined || first > tail[1] + 1) return [...ranges, [first, last]];
  if (first >= tail[0]) return [...ranges.slice(0, -1), [tail[0], Math.max(tail[1], last)]];
  const before = ranges.filter((range) => range[1] < first - 1);
  const after = ranges.filter((range) => range[0] > last + 1);
  const touching = ranges.slice(before.length, ranges.length - after.length);
  const start = Math.min(first, touching[0]?.[0] ?? first);
  const end = Math.max(last, touching.at(-1)?.[1] ?? last);
  return [...before, [start, end], ...after];
}

/** A set from numbers in any order, doubles allowed. */
export function toRanges(numbers: Iterable<number>): Ranges {
  const out: [number, number][] = [];
  for (const n of [...numbers].sort((a, b) => a - b)) {
    const tail = out.at(-1);
    if (tail !== undefined && n <= tail[1] + 1) tail[1] = Math.max(tail[1], n);
    else out.push([n, n]);
  }
  return out;
}

/** How many numbers are in the set. */
export function countRanges(ranges: Ranges): number {
  return ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0);
}

/** What of 0..last is not in the set. */
export function missingRanges(ranges: Ranges, last: number): Ranges {
  const out: Range[] = [];
  let next = 0;
  for (const [from, to] of ranges) {
    if (from > last) break;
    if (from > next) out.push([next, from - 1]);
    next = Math.max(next, to + 1);
  }
  if (next <= last) out.push([next, last]);
  return out;
}

/** A set from ranges in any order that may overlap; those that end before they begin are none. */
export function normalRanges(ranges: readonly Range[]): Ranges {
  const out: [number, number][] = [];
  for (const [first, last] of [...ranges].sort((a, b) => a[0] - b[0])) {
    if (!(first <= last)) continue;
    const tail = out.at(-1);
    if (tail !== undefined && first <= tail[1] + 1) tail[1] = Math.max(tail[1], last);
    else out.push([first, last]);
  }
  return out;
}

/** What is in `a` and not in `b`; both are sets. Its cost is that of the pieces, not the numbers. */
export function withoutRanges(a: Ranges, b: Ranges): Ranges {
  const out: Range[] = [];
  let at = 0;
  for (const [first, last] of a) {
    let next = first;
    while (at < b.length && (b[at] as Range)[1] < first) at++;
    for (let i = at; i < b.length && (b[i] as Range)[0] <= last; i++) {
      const [from, to] = b[i] as Range;
      if (from > next) out.push([next, from - 1]);
      next = Math.max(next, to + 1);
      if (to > last) break;
      at = i;
    }
    if (next <= last) out.push([next, last]);
  }
  return out;
}

/** What of a set is at most `last`. */
export function upTo(ranges: Ranges, last: number): Ranges {
  return ranges
    .filter(([first]) => first <= last)
    .map(([first, end]): Range => [first, Math.min(end, last)]);
}
