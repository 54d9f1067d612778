/**
 * Which numbers of each stream the table holds. It is read from the table when a stream is first
 * seen, kept up by what is written, and forgotten when anyone else may have written: after a
 * rebalance, or when an insert's outcome is unknown. The table alone is the truth; this is a cache.
 */
import {
  EVENTS_TABLE,
  hasNumber,
  type QueryLimits,
  type Range,
  type Ranges,
  type Row,
  type Store,
  toRanges,
} from '#schemas';
import type { Arrival, StreamKey } from './outcome.ts';

/** What the cache may hold, over all streams; the least recently used streams go first. */
export const RANGES_MAX = 200_000;
/** Streams that are looked up at the same time. */
const LOOKUPS_MAX = 4;
const LIMITS: QueryLimits = { timeMs: 30_000, memoryBytesMax: 1024 ** 3, rowsMax: 5_000_000 };

/** The first event of a batch that has its number, and whether the table has the number already. */
export interface Placed {
  readonly arrival: Arrival;
  readonly stored: boolean;
}

export interface Sorted {
  /** One for each number, in order. What is stored keeps its place: a redo finds the same list. */
  readonly placed: readonly Placed[];
  /** Events that are there already, in the table or in the batch. */
  readonly duplicates: number;
  /** Same number, other bytes, within one batch: only the first can be stored. */
  readonly conflicts: readonly Arrival[];
}

export interface Sequence {
  /** Reads what the table holds of the streams not known yet. Rejects with `StoreError`. */
  recover(arrivals: readonly Arrival[]): Promise<void>;
  /** Parts what is new from what is stored already. All streams must be recovered. */
  sort(arrivals: readonly Arrival[]): Sorted;
  /** These are in the table now; of streams that were forgotten since, nothing is kept. */
  stored(arrivals: readonly Arrival[]): void;
  /** Forgets everything: somebody else may have written. */
  forget(): void;
  /** Drops the least recently used streams above the limit. */
  trim(): void;
}

const WHERE = `FROM ${EVENTS_TABLE} WHERE tenant = {tenant:String}
  AND session_id = {session:UUID} AND stream_id = {stream:UUID}`;

/** What the table holds of one stream, as ranges. One short query, unless there are holes. */
export async function storedRanges(store: Store, id: StreamKey): Promise<Ranges> {
  const params = { tenant: id.tenant, session: id.session_id, stream: id.stream_id };
  const totals = `SELECT min(seq) AS first, max(seq) AS last, uniqExact(seq) AS rows ${WHERE}`;
  const [row] = await store.query({ text: totals, params }, LIMITS);
  const rows = Number(row?.rows ?? 0);
  if (rows === 0) return [];
  const [first, last] = [Number(row?.first), Number(row?.last)];
  if (rows === last - first + 1) return [[first, last]];
  const islands = `SELECT min(seq) AS first, max(seq) AS last FROM (
    SELECT seq, toInt64(seq) - row_number() OVER (ORDER BY seq) AS island
    FROM (SELECT DISTINCT seq ${WHERE})) GROUP BY island ORDER BY first`;
  const found = await store.query<Row>({ text: islands, params }, LIMITS);
  return found.map((range): Range => [Number(range.first), Number(range.last)]);
}

/** Both sets as one, in one pass. */
export function unite(a: Ranges, b: Ranges): Ranges {
  const out: [number, number][] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    const [left, right] = [a[i], b[j]];
    const next = right === undefined || (left !== undefined && left[0] <= right[0]) ? left : right;
    if (next === left) i++;
    else j++;
    const [first, last] = next as Range;
    const tail = out.at(-1);
    if (tail !== undefined && first <= tail[1] + 1) tail[1] = Math.max(tail[1], last);
    else out.push([first, last]);
  }
  return out;
}

/** What a batch has given of one stream so far. */
interface Given {
  /** The arrival that came before with the same number; undefined when this is the first. */
  add(arrival: Arrival): Arrival | undefined;
}

/** Numbers come in order but for duplicates, so they are looked up only when one does not go on. */
function createGiven(): Given {
  const arrivals: Arrival[] = [];
  let bySeq: Map<number, Arrival> | undefined;
  return {
    add(arrival) {
      const { seq } = arrival;
      if (seq <= (arrivals.at(-1)?.seq ?? -1))
        bySeq ??= new Map(arrivals.map((one) => [one.seq, one]));
      const earlier = bySeq?.get(seq);
      if (earlier !== undefined) return earlier;
      bySeq?.set(seq, arrival);
      arrivals.push(arrival);
      return undefined;
    },
  };
}

export function createSequence(store: Store, rangesMax = RANGES_MAX): Sequence {
  /** In the order of last use. */
  const known = new Map<string, Ranges>();

  async function recover(arrivals: readonly Arrival[]): Promise<void> {
    const wanted = new Map<string, StreamKey>();
    let last: string | undefined;
    for (const arrival of arrivals) {
      const { key } = arrival;
      if (key === last) continue;
      last = key;
      const ranges = known.get(key);
      if (ranges === undefined) wanted.set(key, arrival);
      else {
        known.delete(key);
        known.set(key, ranges);
      }
    }
    const queue = [...wanted];
    const work = async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift())
        known.set(next[0], await storedRanges(store, next[1]));
    };
    await Promise.all(Array.from({ length: LOOKUPS_MAX }, work));
  }

  function sort(arrivals: readonly Arrival[]): Sorted {
    const given = new Map<string, Given>();
    const placed: Placed[] = [];
    const conflicts: Arrival[] = [];
    let duplicates = 0;
    for (const arrival of arrivals) {
      const { key } = arrival;
      const ranges = known.get(key);
      if (ranges === undefined) throw new Error(`stream ${key} was not recovered`);
      const stream = given.get(key) ?? createGiven();
      given.set(key, stream);
      const earlier = stream.add(arrival);
      if (earlier === undefined) {
        const stored = hasNumber(ranges, arrival.seq);
        if (stored) duplicates++;
        placed.push({ arrival, stored });
      } else if (Buffer.compare(earlier.line, arrival.line) === 0) duplicates++;
      else conflicts.push(arrival);
    }
    return { placed, duplicates, conflicts };
  }

  function stored(arrivals: readonly Arrival[]): void {
    const numbers = new Map<string, number[]>();
    for (const { key, seq } of arrivals) {
      const list = numbers.get(key);
      if (list === undefined) numbers.set(key, [seq]);
      else list.push(seq);
    }
    for (const [key, list] of numbers) {
      const ranges = known.get(key);
      // What was forgotten meanwhile is read again whole: a part of it would pass for all.
      if (ranges !== undefined) known.set(key, unite(ranges, toRanges(list)));
    }
  }

  function trim(): void {
    let total = 0;
    for (const ranges of known.values()) total += ranges.length + 1;
    for (const [key, ranges] of known) {
      if (total <= rangesMax) return;
      known.delete(key);
      total -= ranges.length + 1;
    }
  }

  return { recover, sort, stored, forget: () => known.clear(), trim };
}
