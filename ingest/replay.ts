/**
 * Dead letters, tried again: after an upgrade that knows a new kind, or a mended store. What is good
 * now goes the way of every event (decode, sequence, write), and the letter is marked as replayed;
 * nothing is ever deleted.
 *
 * Exactly once, whatever is killed on the way: a letter is marked only when the table was seen to
 * hold its event, and an event that the table holds is not written again. A run that died in
 * between finds the event, writes nothing, and marks.
 */
import { createHash } from 'node:crypto';
import {
  DEAD_TABLE,
  type DeadReason,
  digestOf,
  EVENTS_TABLE,
  frameLines,
  fromRow,
  LETTER_ID,
  type Log,
  type Meter,
  type QueryLimits,
  REPLAYS_TABLE,
  type Row,
  type Sql,
  type Store,
  selectEvent,
  type TelltaleEvent,
  unframe,
} from '#schemas';
import type { Ingest } from './loop.ts';

/** Which letters are tried; all that were not replayed yet where nothing is said. */
export interface ReplayFilter {
  readonly reason?: DeadReason;
  readonly session?: string;
}

export interface ReplayOptions {
  /** Writes nothing. */
  readonly dryRun: boolean;
  /**
   * Whether a letter is final, by its origin. One of the redo zone is not: a worker may yet have
   * its batch again, and would race with this run for its number.
   */
  readonly isSettled?: (origin: string) => boolean;
}

/** What became of the letters of one reason. */
export interface ReplayCount {
  readonly reason: string;
  letters: number;
  /** In `events` now: written by this run, or found there. */
  stored: number;
  /** The store refused the event again: a new letter says why, and the old one is done with. */
  parkedAgain: number;
  /** Another event has the number. The letter stays. */
  conflict: number;
  /** Still no event. The letter stays. */
  bad: number;
  /** In the redo zone of a worker: not tried. */
  unsettled: number;
}

export interface Replay {
  /**
   * Tries letters again and resolves with counts by reason. With `dryRun` nothing is written, and
   * the counts say what would be. Rejects with `StoreError`; another run goes on from there.
   */
  run(
    filter: ReplayFilter,
    options: ReplayOptions,
    signal: AbortSignal,
  ): Promise<readonly ReplayCount[]>;
}

export interface ReplayDeps {
  readonly store: Store;
  readonly ingest: Ingest;
  readonly log: Log;
  readonly meter: Meter;
}

/** Letters of one run; their ids are held. Where there are more, run it again. */
const LETTERS_MAX = 100_000;
/** What is read, written and marked at once; bytes are of base64, and a larger letter goes alone. */
const BATCH_BYTES_MAX = 8 * 1024 * 1024;
const BATCH_LETTERS_MAX = 500;
const LIMITS: QueryLimits = { timeMs: 60_000, memoryBytesMax: 1024 ** 3, rowsMax: 100_000 };
const MARK_MS = 60_000;
/** Letters that are a whole frame, whose header could not be read. */
const OF_FRAMES: ReadonlySet<string> = new Set(['not_a_frame', 'frame_version']);

interface Letter extends Row {
  readonly id: string;
  readonly tenant: string;
  readonly session_id: string;
  readonly stream_id: string;
  readonly seq: number | null;
  readonly reason: string;
  readonly bytes_base64: string;
  readonly origin: string;
}

/** A letter that can be an event, or several, by now. */
interface Candidate {
  readonly letter: Letter;
  readonly frame: Buffer;
  readonly events: readonly TelltaleEvent[];
}

const sql = (text: string, params: Sql['params']): Sql => ({ text, params });

/** The letter as a frame: a line gets the header back under which it came. */
function frameOf(letter: Letter): Buffer | undefined {
  const bytes = Buffer.from(letter.bytes_base64, 'base64');
  if (OF_FRAMES.has(letter.reason)) return bytes;
  if (letter.seq === null || bytes.length === 0) return undefined;
  const { tenant, session_id, stream_id } = letter;
  return frameLines({ tenant, session_id, stream_id, first_seq: letter.seq }, [bytes]);
}

function candidateOf(letter: Letter): Candidate | undefined {
  const frame = frameOf(letter);
  if (frame === undefined) return undefined;
  const events = unframe(frame).good.map(({ event }) => event);
  return events.length === 0 ? undefined : { letter, frame, events };
}

const placeOf = ({ tenant, session_id, stream_id, seq }: TelltaleEvent): string =>
  `${stream_id}/${session_id}/${seq}/${tenant}`;

/** Cuts letters so that no piece is too large. */
function cutPieces(heads: readonly { id: string; size: number }[]): string[][] {
  const pieces: string[][] = [];
  let bytes = 0;
  for (const { id, size } of heads) {
    const full = pieces.at(-1)?.length === BATCH_LETTERS_MAX || bytes + size > BATCH_BYTES_MAX;
    if (pieces.length === 0 || full) {
      pieces.push([]);
      bytes = 0;
    }
    bytes += size;
    (pieces.at(-1) as string[]).push(id);
  }
  return pieces;
}

/** Parts letters that claim one number, so that each meets what was stored of those before it. */
function roundsOf(candidates: readonly Candidate[]): Candidate[][] {
  const rounds: { taken: Set<string>; list: Candidate[] }[] = [];
  for (const candidate of candidates) {
    const places = candidate.events.map(placeOf);
    let round = rounds.find(({ taken }) => !places.some((place) => taken.has(place)));
    if (round === undefined) {
      round = { taken: new Set(), list: [] };
      rounds.push(round);
    }
    for (const place of places) round.taken.add(place);
    round.list.push(candidate);
  }
  return rounds.map(({ list }) => list);
}

type Outcome = 'stored' | 'parkedAgain' | 'conflict';
/** The words that a mark may have; a conflict is not marked, so that the letter still stands. */
const MARKS: Readonly<Partial<Record<Outcome, string>>> = {
  stored: 'stored',
  parkedAgain: 'parked_again',
};

export function createReplay({ store, ingest, log, meter }: ReplayDeps): Replay {
  /** The letters that stand when a run begins; those that it parks itself are for the next one. */
  async function standing(filter: ReplayFilter) {
    const conditions = [
      `id NOT IN (SELECT letter_id FROM ${REPLAYS_TABLE})`,
      ...(filter.reason === undefined ? [] : ['reason = {reason:String}']),
      ...(filter.session === undefined ? [] : ['session_id = {session:String}']),
    ];
    const text = `SELECT ${LETTER_ID} AS id, any(length(bytes_base64)) AS size FROM ${DEAD_TABLE}
      WHERE ${conditions.join(' AND ')} GROUP BY id ORDER BY id LIMIT ${LETTERS_MAX}`;
    const params = { reason: filter.reason ?? '', session: filter.session ?? '' };
    const rows = await store.query(sql(text, params), LIMITS);
    return rows.map((row) => ({ id: String(row.id), size: Number(row.size) }));
  }

  async function read(ids: readonly string[]): Promise<readonly Letter[]> {
    const text = `SELECT ${LETTER_ID} AS id, tenant, session_id, stream_id, seq, reason,
      bytes_base64, origin FROM ${DEAD_TABLE} WHERE has({ids:Array(String)}, id) ORDER BY id LIMIT 1 BY id`;
    return store.query<Letter>(sql(text, { ids }), LIMITS);
  }

  /** The digests of those of the events' numbers that the table holds. */
  async function storedDigests(events: readonly TelltaleEvent[]): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    const streams = new Map(events.map((event) => [event.stream_id, event]));
    for (const { tenant, session_id, stream_id } of streams.values()) {
      const seqs = events.filter((e) => e.stream_id === stream_id).map(({ seq }) => seq);
      const text = `SELECT ${selectEvent()} FROM ${EVENTS_TABLE}
        WHERE tenant = {tenant:String} AND session_id = {session:UUID}
        AND stream_id = {stream:UUID} AND has({seqs:Array(UInt32)}, seq)`;
      const params = { tenant, session: session_id, stream: stream_id, seqs };
      for await (const rows of store.stream(sql(text, params), LIMITS))
        for (const row of rows) {
          const event = fromRow(row);
          found.set(placeOf(event), digestOf(event));
        }
    }
    return found;
  }

  /** What the table shows of each candidate. A whole frame is stored when it was taken apart. */
  async function outcomesOf(candidates: readonly Candidate[]): Promise<Outcome[]> {
    const stored = await storedDigests(candidates.flatMap(({ events }) => events));
    return candidates.map(({ letter, events }) => {
      const there = events.map((event) => stored.get(placeOf(event)));
      if (OF_FRAMES.has(letter.reason)) return 'stored';
      if (there[0] === undefined) return 'parkedAgain';
      return there[0] === digestOf(events[0] as TelltaleEvent) ? 'stored' : 'conflict';
    });
  }

  async function mark(name: string, letters: readonly Letter[], outcomes: readonly Outcome[]) {
    const lines = letters.flatMap(({ id, tenant, session_id, stream_id }, i) => {
      const outcome = MARKS[outcomes[i] as Outcome];
      if (outcome === undefined) return [];
      return `${JSON.stringify({ tenant, session_id, stream_id, letter_id: id, outcome })}\n`;
    });
    if (lines.length === 0) return;
    const bytes = Buffer.from(lines.join(''));
    const dedupToken = `${name}/${hashOf(lines)}`;
    const rows = lines.length;
    await store.insert({
      table: REPLAYS_TABLE,
      lines: bytes,
      rows,
      dedupToken,
      timeMs: MARK_MS,
    });
  }

  /** Numbers in the table are other than they would be: what a dry run can't see is not counted. */
  async function look(candidates: readonly Candidate[]): Promise<Outcome[]> {
    const outcomes = await outcomesOf(candidates);
    return outcomes.map((outcome) => (outcome === 'parkedAgain' ? 'stored' : outcome));
  }

  async function replay(candidates: readonly Candidate[], signal: AbortSignal) {
    const name = `replay/${hashOf(candidates.map(({ letter }) => letter.id))}`;
    const frames = candidates.map(({ letter, frame }) => ({
      bytes: frame,
      origin: `replay/${letter.id}`,
    }));
    const summary = await ingest.take({ name, frames }, signal);
    const outcomes = await outcomesOf(candidates);
    await mark(
      name,
      candidates.map(({ letter }) => letter),
      outcomes,
    );
    log.info('ingest.replayed', { name, letters: candidates.length, ...summary });
    return outcomes;
  }

  async function run(
    filter: ReplayFilter,
    { dryRun, isSettled = () => true }: ReplayOptions,
    signal: AbortSignal,
  ): Promise<readonly ReplayCount[]> {
    const counts = new Map<string, ReplayCount>();
    const count = (reason: string, what: 'letters' | 'bad' | 'unsettled' | Outcome) => {
      const none = { letters: 0, stored: 0, parkedAgain: 0, conflict: 0, bad: 0, unsettled: 0 };
      const mine = counts.get(reason) ?? { reason, ...none };
      counts.set(reason, mine);
      mine[what]++;
    };
    for (const ids of cutPieces(await standing(filter))) {
      const candidates: Candidate[] = [];
      for (const letter of await read(ids)) {
        count(letter.reason, 'letters');
        const candidate = candidateOf(letter);
        if (!isSettled(letter.origin)) count(letter.reason, 'unsettled');
        else if (candidate === undefined) count(letter.reason, 'bad');
        else candidates.push(candidate);
      }
      for (const round of roundsOf(candidates)) {
        const outcomes = await (dryRun ? look(round) : replay(round, signal));
        for (const [i, { letter }] of round.entries()) {
          const outcome = outcomes[i] as Outcome;
          count(letter.reason, outcome);
          if (!dryRun) meter.count('telltale.ingest.replayed', 1, { outcome });
        }
      }
    }
    return [...counts.values()].sort((a, b) => (a.reason < b.reason ? -1 : 1));
  }

  return { run };
}

const hashOf = (texts: readonly string[]): string =>
  createHash('sha256').update(texts.join('\n')).digest('hex').slice(0, 32);
