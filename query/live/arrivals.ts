/**
 * What of a table was passed on already, and the cursor that says so. Pure.
 *
 * Rows become visible out of order: a row is stamped (`ingested_at`) when its insert begins and can be
 * read when the insert has ended, so a later row may be there first. A watermark alone would miss
 * the earlier one. The rule:
 *
 *   - An insert ends within `SETTLE_MS` of its stamp or fails; the stamps of all servers of a store lie
 *     close enough together that this holds between them as well.
 *   - `settled` is the newest stamp that was seen, less `SETTLE_MS`: nothing new can come at or below it.
 *   - Of what is stamped after `settled`, the numbers that were passed on are kept, as ranges by stream.
 *     A row is new exactly when it is stamped after `settled` and its number is not among them.
 *
 * So each row is passed on once, however late it comes, and the cursor holds all that is needed to
 * go on after any break:
 *
 *     cursor = base64url("l1|" settled "|" newest "|" stream ":" first "-" last "," … ";" …)
 */
import { badInput, QueryError } from '../errors.ts';

/** Longer than an insert of the ingest service may take (60 s). */
export const SETTLE_MS = 90_000;
/** Ranges that a cursor holds: streams that are being written, and the holes in them. */
export const CURSOR_RANGES_MAX = 1000;
const CURSOR_CHARACTERS_MAX = 128 * 1024;

/** Numbers of one stream that were passed on, and the newest stamp among them. */
export interface Passed {
  readonly first: number;
  readonly last: number;
  readonly stampMs: number;
}

export interface Arrivals {
  /** Stamps up to here: nothing new can come. Milliseconds since 1970. */
  readonly settledMs: number;
  /** The newest stamp that was seen. */
  readonly newestMs: number;
  /** What was passed on of what is stamped after `settledMs`, by stream, sorted, without overlap. */
  readonly passed: ReadonlyMap<string, readonly Passed[]>;
}

/** One row as it came in. */
export interface Arrival {
  readonly stream: string;
  readonly seq: number;
  readonly stampMs: number;
}

/** Before anything. */
export const NOTHING_YET: Arrivals = { settledMs: 0, newestMs: 0, passed: new Map() };

/** Adjacent and overlapping ranges put together; the newer stamp holds for both. */
function joined(ranges: readonly Passed[]): Passed[] {
  const out: Passed[] = [];
  for (const range of ranges.toSorted((a, b) => a.first - b.first)) {
    const before = out.at(-1);
    if (before === undefined || range.first > before.last + 1) out.push(range);
    else
      out[out.length - 1] = {
        first: before.first,
        last: Math.max(before.last, range.last),
        stampMs: Math.max(before.stampMs, range.stampMs),
      };
  }
  return out;
}

/** The state, or `QueryError` where a cursor could not hold it. */
function bounded(state: Arrivals): Arrivals {
  const ranges = [...state.passed.values()].reduce((sum, list) => sum + list.length, 0);
  if (ranges <= CURSOR_RANGES_MAX) return state;
  throw new QueryError(
    'QUERY_LIMIT_REACHED',
    `more than ${CURSOR_RANGES_MAX} pieces came in within ${SETTLE_MS / 1000} s: they can’t be followed`,
  );
}

/** The state after `rows` were passed on. Throws `QueryError` where it would grow too large. */
export function pass(state: Arrivals, rows: readonly Arrival[]): Arrivals {
  if (rows.length === 0) return bounded(state);
  const newestMs = rows.reduce((most, { stampMs }) => Math.max(most, stampMs), state.newestMs);
  const settledMs = Math.max(state.settledMs, newestMs - SETTLE_MS);
  const added = new Map<string, Passed[]>();
  for (const { stream, seq, stampMs } of rows) {
    const list = added.get(stream) ?? [];
    const last = list.at(-1);
    if (last?.last === seq - 1)
      list[list.length - 1] = { ...last, last: seq, stampMs: Math.max(last.stampMs, stampMs) };
    else list.push({ first: seq, last: seq, stampMs });
    added.set(stream, list);
  }
  const passed = new Map<string, readonly Passed[]>();
  for (const stream of new Set([...state.passed.keys(), ...added.keys()])) {
    const all = [...(state.passed.get(stream) ?? []), ...(added.get(stream) ?? [])];
    const left = joined(all).filter(({ stampMs }) => stampMs > settledMs);
    if (left.length > 0) passed.set(stream, left);
  }
  return bounded({ settledMs, newestMs, passed });
}

/** The state as opaque text. */
export function arrivalsCursor({ settledMs, newestMs, passed }: Arrivals): string {
  const streams = [...passed].map(
    ([stream, ranges]) =>
      `${stream}:${ranges.map(({ first, last }) => `${first}-${last}`).join(',')}`,
  );
  const text = ['l1', settledMs, newestMs, streams.join(';')].join('|');
  return Buffer.from(text).toString('base64url');
}

const TEXT = /^l1\|(\d{1,15})\|(\d{1,15})\|(.*)$/;
const STREAM = /^([0-9a-z-]{1,64}):((?:\d{1,10}-\d{1,10})(?:,\d{1,10}-\d{1,10})*)$/;
const NUMBER_MAX = 4_294_967_295;

/** The state in a cursor. Throws `QueryError` for anything else. */
export function readArrivals(cursor: string): Arrivals {
  const wrong = () => badInput('after: not a cursor of a live view');
  if (cursor.length > CURSOR_CHARACTERS_MAX) throw wrong();
  const match = TEXT.exec(Buffer.from(cursor, 'base64url').toString('utf8'));
  if (match === null) throw wrong();
  const [settledMs, newestMs] = [Number(match[1]), Number(match[2])];
  const passed = new Map<string, readonly Passed[]>();
  for (const part of (match[3] as string).split(';').filter((text) => text !== '')) {
    const [, stream, list] = STREAM.exec(part) ?? [];
    if (stream === undefined || list === undefined || passed.has(stream)) throw wrong();
    const ranges = list.split(',').map((range) => {
      const [first = 0, last = 0] = range.split('-').map(Number);
      if (first > last || last > NUMBER_MAX) throw wrong();
      // Which of them is the newest is not told: kept as long as any, which loses nothing.
      return { first, last, stampMs: newestMs };
    });
    passed.set(stream, joined(ranges));
  }
  return { settledMs, newestMs, passed };
}
