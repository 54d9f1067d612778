/**
 * The whole flow of ingest on one screen: decode -> sequence -> write -> park -> detect. A batch is
 * done when everything in it is in one of the two tables and the rules have seen it; only then may
 * its sender forget it.
 */
import {
  type Clock,
  DEAD_TABLE,
  EVENTS_TABLE,
  type Log,
  type Meter,
  parseJson,
  type Random,
  type Store,
  type TelltaleEvent,
  type Tracer,
} from '#schemas';
import { type DecodedFrame, decodeFrame } from './decode.ts';
import type { Detect } from './detect/live.ts';
import { observeBatch } from './observe.ts';
import { type Arrival, type Batch, deadLine, type Parked, type Summary } from './outcome.ts';
import { createSequence, type Placed, type Sorted } from './sequence.ts';
import { createTurns } from './turns.ts';
import { createWriter, slotsOf } from './write.ts';

export interface IngestDeps {
  readonly store: Store;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly random: Random;
  /** Absent: nothing is traced. */
  readonly tracer?: Tracer;
  /** Rules, run over what is stored before the batch is done. */
  readonly detect?: Pick<Detect, 'see' | 'forget'>;
}

export interface Ingest {
  /**
   * Writes a batch; resolves when all of it is stored, known already or parked, and the rules have
   * seen it. Batches end one after the other; while one is written the next is made ready
   * (`turns.ts`). Retries until `signal` is aborted, then
   * rejects with the last `StoreError`: the outcome is unknown, and giving the same batch again is
   * safe.
   */
  take(batch: Batch, signal: AbortSignal): Promise<Summary>;
  /** Somebody else may have written: what is known of the streams is read from the table again. */
  forget(): void;
}

/** Dead letters of one insert, in bytes before base64; one larger than it goes alone. */
const DEAD_BYTES_MAX = 16 * 1024 * 1024;

/**
 * By day, because a day is a partition: the engine makes the rows of one partition visible
 * together, and those of several one after the other. An insert of one day is there or it is not,
 * so whoever does a batch again finds all of it or has the same bytes and the same token.
 */
export function groupByDay(placed: readonly Placed[]): readonly (readonly Placed[])[] {
  const days = new Map<number, Placed[]>();
  for (const one of placed) {
    const list = days.get(one.arrival.day);
    if (list === undefined) days.set(one.arrival.day, [one]);
    else list.push(one);
  }
  return [...days.values()];
}

/** Its bytes were found to be an event when the frame was taken apart. */
const eventOf = ({ line }: Arrival): TelltaleEvent =>
  parseJson(Buffer.from(line.buffer, line.byteOffset, line.byteLength).toString()) as TelltaleEvent;

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
  bytes: arrival.line.subarray(0, -1),
  origin: `${arrival.origin}/${arrival.seq}`,
  atMs: arrival.atMs,
});

export function createIngest(deps: IngestDeps): Ingest {
  const { store, log, meter, clock } = deps;
  const writer = createWriter(deps);
  const sequence = createSequence(store);
  const turns = createTurns();
  /** Batches are seen by the rules one after the other. */
  let seeing: Promise<unknown> = Promise.resolve();
  let stale = { table: false, rules: false };
  const forget = () => {
    stale = { table: true, rules: true };
  };

  /** What is new of a batch, by what the table holds of its streams. */
  async function place(arrivals: readonly Arrival[], signal: AbortSignal): Promise<Sorted> {
    if (stale.table) sequence.forget();
    stale.table = false;
    await writer.persist(() => sequence.recover(arrivals), 'recover', signal);
    const sorted = sequence.sort(arrivals);
    sequence.trim();
    return sorted;
  }

  async function writeEvents(sorted: Sorted, name: string, signal: AbortSignal) {
    const parked: Parked[] = [];
    let stored = 0;
    for (const group of groupByDay(sorted.placed)) {
      const slots = group.map((one) => (one.stored ? undefined : one.arrival.line));
      const refused = await writer.insert(EVENTS_TABLE, slots, name, signal);
      const bad = new Map(refused.map(({ index, message }) => [index, message]));
      const good = group.filter((one, index) => !one.stored && !bad.has(index));
      sequence.stored(good.map(({ arrival }) => arrival));
      stored += good.length;
      for (const [index, message] of bad)
        parked.push(park((group[index] as Placed).arrival, 'store_refused', message));
    }
    for (const one of sorted.conflicts)
      parked.push(park(one, 'conflict', 'an event with this number and other bytes came before'));
    return { stored, parked };
  }

  async function writeParked(parked: readonly Parked[], name: string, signal: AbortSignal) {
    const nowMs = Number(clock.wallNs() / 1_000_000n);
    for (const piece of cutByBytes(parked)) {
      const slots = slotsOf(piece.map((one) => deadLine(one, nowMs)));
      const refused = await writer.insert(DEAD_TABLE, slots, name, signal);
      if (refused.length > 0) {
        log.error('ingest.dead_letter_refused', { rows: refused.length, name });
        throw new Error(`the store refuses a dead letter of ${name}: ${refused[0]?.message}`);
      }
    }
    for (const { reason } of parked) meter.count('telltale.ingest.parked', 1, { reason });
    if (parked.length > 0)
      log.warn('ingest.parked', { name, lines: parked.length, reason: parked[0]?.reason });
  }

  /** Writes what is new, and what could not be an event. */
  async function write(
    sorted: Sorted,
    frames: readonly DecodedFrame[],
    name: string,
    signal: AbortSignal,
  ): Promise<Summary> {
    const written = await writeEvents(sorted, name, signal);
    const parked = [...frames.flatMap((frame) => frame.parked), ...written.parked];
    await writeParked(parked, name, signal);
    meter.count('telltale.ingest.stored', written.stored);
    meter.count('telltale.ingest.duplicates', sorted.duplicates);
    return { stored: written.stored, duplicates: sorted.duplicates, parked: parked.length };
  }

  function storeAll(name: string, frames: readonly DecodedFrame[], signal: AbortSignal) {
    const arrivals = frames.flatMap((frame) => frame.arrivals);
    // A batch that failed leaves its streams unknown before anyone who shares them has his turn.
    const orForget = (error: unknown): never => {
      forget();
      throw error;
    };
    return turns.take(
      // A frame is of one stream.
      new Set(frames.flatMap((frame) => frame.arrivals[0]?.key ?? [])),
      () => place(arrivals, signal).catch(orForget),
      (sorted) => write(sorted, frames, name, signal).catch(orForget),
    );
  }

  async function see(frames: readonly DecodedFrame[], signal: AbortSignal) {
    if (deps.detect === undefined) return;
    if (stale.rules) deps.detect.forget();
    stale.rules = false;
    await deps.detect.see(
      frames.flatMap(({ arrivals }) => arrivals.map(eventOf)),
      signal,
    );
  }

  async function takeFrames(batch: Batch, signal: AbortSignal): Promise<Summary> {
    // It needs nothing of the store, so it is done before its turn has come.
    const frames = batch.frames.map(decodeFrame);
    const stored = storeAll(batch.name, frames, signal);
    // It may fail while the rules are still at the batch before it.
    stored.catch(() => {});
    // The rules look at a batch while the next one is being stored.
    const seen = seeing.then(async () => {
      const summary = await stored;
      await see(frames, signal);
      return summary;
    });
    seeing = seen.catch(forget);
    return seen;
  }

  const take = (batch: Batch, signal: AbortSignal) =>
    observeBatch(batch, deps, () => takeFrames(batch, signal));

  return { take, forget };
}
