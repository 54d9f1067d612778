/**
 * Lines that could not be stored, at their place. A line has a number and no time that could be
 * trusted, so its place is beside a stored event of its stream: the last one up to its number, or
 * the first one where nothing stands before it.
 */
import { eventId, type Range, type Ranges } from '#schemas';

/** Bytes that could not be stored as an event; field and detail may hold telemetry. */
export interface DeadLetter {
  readonly id: string;
  readonly streamId: string;
  readonly seq?: number;
  readonly reason: string;
  /** Which field or place is at fault. */
  readonly field: string;
  readonly detail: string;
  /** When it was tried again and stored: then its event stands on the timeline, and it does not. */
  readonly replayedNs?: string;
}

/** Consecutive lines of one stream with one fault. */
export interface ParkedRun {
  readonly streamId: string;
  readonly first: number;
  readonly last: number;
  readonly reason: string;
  readonly field: string;
  /** Of the first of them. */
  readonly detail: string;
}

/** Letters whose events are not in the table. */
export const standing = <T extends DeadLetter>(letters: readonly T[]): T[] =>
  letters.filter(({ replayedNs }) => replayedNs === undefined);

/** The number beside which `seq` stands; `stored` is sorted and not empty. */
function anchorOf(stored: Ranges, seq: number): number {
  let low = 0;
  let high = stored.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((stored[middle] as Range)[0] <= seq) low = middle + 1;
    else high = middle;
  }
  const [first, last] = stored[Math.max(low - 1, 0)] as Range;
  return low === 0 ? first : Math.min(last, seq);
}

/** Letters by the id of the event that they stand beside, in order; and those without a place. */
export interface Placed<T> {
  readonly beside: ReadonlyMap<string, readonly T[]>;
  readonly nowhere: readonly T[];
}

/** Places letters; `stored` has the numbers of each stream that are in the table. */
export function placeLetters<T extends DeadLetter>(
  letters: readonly T[],
  stored: ReadonlyMap<string, Ranges>,
): Placed<T> {
  const beside = new Map<string, T[]>();
  const nowhere: T[] = [];
  for (const letter of letters) {
    const ranges = stored.get(letter.streamId) ?? [];
    if (letter.seq === undefined || ranges.length === 0) {
      nowhere.push(letter);
      continue;
    }
    const id = eventId({ stream_id: letter.streamId, seq: anchorOf(ranges, letter.seq) });
    const list = beside.get(id);
    if (list === undefined) beside.set(id, [letter]);
    else list.push(letter);
  }
  for (const list of beside.values()) list.sort((a, b) => (a.seq ?? 0) - (b.seq ?? 0));
  return { beside, nowhere };
}

/** Letters of one place, in order, as runs. */
export function runsOf(letters: readonly DeadLetter[]): ParkedRun[] {
  const runs: { -readonly [K in keyof ParkedRun]: ParkedRun[K] }[] = [];
  for (const { streamId, seq, reason, field, detail } of letters) {
    if (seq === undefined) continue;
    const run = runs.at(-1);
    const same = run !== undefined && run.reason === reason && run.field === field;
    if (same && seq <= run.last + 1) run.last = seq;
    else runs.push({ streamId, first: seq, last: seq, reason, field, detail });
  }
  return runs;
}
