/**
 * The whole flow of ingest on one screen: decode -> sequence -> write -> park. A batch is done when
 * everything in it is in one of the two tables; only then may its sender forget it.
 */
import {
  type Clock,
  DEAD_TABLE,
  EVENTS_TABLE,
  type Log,
  type Meter,
  type Random,
  type Store,
} from '#schemas';
import { decodeFrame } from './decode.ts';
import { type Arrival, type Batch, deadLine, type Parked, type Summary } from './outcome.ts';
import { createSequence, type Seen } from './sequence.ts';
import { createWriter } from './write.ts';

export interface IngestDeps {
  readonly store: Store;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly random: Random;
}

export interface Ingest {
  /**
   * Writes a batch; resolves when all of it is stored, known already or parked. Batches are worked
   * off one after the other. Retries until `signal` is aborted, then rejects with the last
   * `StoreError`: the outcome is unknown, and giving the same batch again is safe.
   */
  take(batch: Batch, signal: AbortSignal): Promise<Summary>;
  /** Somebody else may have written: what is known of the streams is read from the table again. */
  forget(): void;
}

/**
 * One insert stays within so many days: each day is a partition, and the engine refuses a block of
 * more than 100 (`max_partitions_per_insert_block`), with a number that also means "not now".
 */
export const DAYS_PER_INSERT_MAX = 64;
/** Dead letters of one insert, in bytes before base64; one larger than it goes alone. */
const DEAD_BYTES_MAX = 16 * 1024 * 1024;

/** Cuts arrivals into inserts. It does not look at what is stored: a redo cuts the same. */
export function cutByDays(arrivals: readonly Arrival[], daysMax: number): readonly Arrival[][] {
  const pieces: Arrival[][] = [];
  let days = new Set<number>();
  for (const arrival of arrivals) {
    if (pieces.length === 0 || (days.size >= daysMax && !days.has(arrival.day))) {
      pieces.push([]);
      days = new Set();
    }
    days.add(arrival.day);
    (pieces.at(-1) as Arrival[]).push(arrival);
  }
  return pieces;
}

function cutByBytes(parked: readonly Parked[]): readonly Parked[][] {
  const pieces: Parked[][] = [];
  let bytes = 0;
  for (const one of parked) {
    if (pieces.length === 0 || bytes + one.bytes.length > DEAD_BYTES_MAX) {
      pieces.push([]);
      bytes = 0;
    }
    bytes += one.bytes.length;
    (pieces.at(-1) as Parked[]).push(one);
  }
  return pieces;
}

const park = (arrival: Arrival, reason: 'conflict' | 'store_refused', detail: string): Parked => ({
  tenant: arrival.tenant,
  session_id: arrival.session_id,
  stream_id: arrival.stream_id,
  seq: arrival.seq,
  reason,
  field: '',
  detail,
  bytes: Buffer.from(arrival.line),
  origin: `${arrival.origin}/${arrival.seq}`,
});

export function createIngest(deps: IngestDeps): Ingest {
  const { store, log, meter } = deps;
  const writer = createWriter(deps);
  const sequence = createSequence(store);
  let turn: Promise<unknown> = Promise.resolve();
  let stale = false;

  async function writeEvents(arrivals: readonly Arrival[], name: string, signal: AbortSignal) {
    await writer.persist(() => sequence.recover(arrivals), 'recover', signal);
    const seen: Seen = new Map();
    const parked: Parked[] = [];
    let [stored, duplicates] = [0, 0];
    for (const piece of cutByDays(arrivals, DAYS_PER_INSERT_MAX)) {
      const sorted = sequence.sort(piece, seen);
      const lines = sorted.fresh.map(({ line }) => line);
      const refused = await writer.insert(EVENTS_TABLE, lines, name, signal);
      const bad = new Map(refused.map(({ index, message }) => [index, message]));
      const good = sorted.fresh.filter((_, index) => !bad.has(index));
      sequence.stored(good);
      stored += good.length;
      duplicates += sorted.duplicates;
      for (const [index, message] of bad)
        parked.push(park(sorted.fresh[index] as Arrival, 'store_refused', message));
      for (const one of sorted.conflicts)
        parked.push(park(one, 'conflict', 'an event with this number and other bytes came before'));
    }
    return { stored, duplicates, parked };
  }

  async function writeParked(parked: readonly Parked[], name: string, signal: AbortSignal) {
    for (const piece of cutByBytes(parked)) {
      const refused = await writer.insert(DEAD_TABLE, piece.map(deadLine), name, signal);
      if (refused.length > 0) {
        log.error('ingest.dead_letter_refused', { rows: refused.length, name });
        throw new Error(`the store refuses a dead letter of ${name}: ${refused[0]?.message}`);
      }
    }
    for (const { reason } of parked) meter.count('telltale.ingest.parked', 1, { reason });
    if (parked.length > 0)
      log.warn('ingest.parked', { name, lines: parked.length, reason: parked[0]?.reason });
  }

  async function run(batch: Batch, signal: AbortSignal): Promise<Summary> {
    if (stale) sequence.forget();
    stale = false;
    const frames = batch.frames.map(decodeFrame);
    const arrivals = frames.flatMap((frame) => frame.arrivals);
    const written = await writeEvents(arrivals, batch.name, signal);
    const parked = [...frames.flatMap((frame) => frame.parked), ...written.parked];
    await writeParked(parked, batch.name, signal);
    sequence.trim();
    meter.count('telltale.ingest.stored', written.stored);
    meter.count('telltale.ingest.duplicates', written.duplicates);
    return { stored: written.stored, duplicates: written.duplicates, parked: parked.length };
  }

  function take(batch: Batch, signal: AbortSignal): Promise<Summary> {
    const mine = turn.then(() => run(batch, signal));
    turn = mine.catch(() => {
      stale = true;
    });
    return mine;
  }

  return {
    take,
    forget: () => {
      stale = true;
    },
  };
}
