/**
 * Writing: lines -> one insert, repeated with the same token for as long as it takes. When the
 * engine says that the data is at fault, the rows are halved until the bad ones stand alone.
 */
import { type Clock, type Log, type Meter, type Random, type Store, StoreError } from '#schemas';
import { judge, needsOperator } from './judge.ts';
import { tokenOf } from './outcome.ts';

/** A row that the engine will never take. */
export interface Refused {
  readonly index: number;
  readonly message: string;
}

/**
 * Lines of one partition of the table with their newlines, each in its place. `undefined` is a line that the table has
 * already: it keeps its place, so that whoever does the same batch again halves it where it was
 * halved before, and an insert that is still under way meets its own token.
 */
export type Slots = readonly (Uint8Array | undefined)[];

export interface Writer {
  /**
   * Stores the lines of `slots` in `table`, all but those given back as refused. Rejects with the
   * last `StoreError` when `signal` is aborted or the store is closed; lines may then be stored.
   */
  insert(
    table: string,
    slots: Slots,
    name: string,
    signal: AbortSignal,
  ): Promise<readonly Refused[]>;
  /** Runs a read of the store until it works, by the same rules. */
  persist<T>(work: () => Promise<T>, what: string, signal: AbortSignal): Promise<T>;
}

export interface WriteDeps {
  readonly store: Store;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly random: Random;
}

/** One insert of one block. */
const INSERT_MS = 60_000;
const MESSAGE_MAX = 500;

/** JSON texts as the lines that `insert` takes. */
export const slotsOf = (texts: readonly string[]): Slots =>
  texts.map((text) => Buffer.from(`${text}\n`));

export function createWriter({ store, log, meter, clock, random }: WriteDeps): Writer {
  const dice = () => (random.bytes(1)[0] as number) / 255;

  function report(error: StoreError, what: string, attempt: number): void {
    const { code, engineCode, message } = error.fault;
    meter.count('telltale.ingest.retries', 1, { code });
    const fields = { what, code, engineCode, attempt, error: message.slice(0, 300) };
    if (needsOperator(error.fault)) log.error('ingest.store_not_ready', fields);
    // The first failure and then every tenth: a store that is away for hours is one story.
    else if (attempt % 10 === 0) log.warn('ingest.retry', fields);
  }

  /** Works until it is done; undefined means that the data is at fault. */
  async function persevere<T>(
    work: () => Promise<T>,
    what: string,
    signal: AbortSignal,
  ): Promise<{ done: T } | { guilty: StoreError }> {
    for (let attempt = 0; ; attempt++) {
      try {
        const done = await work();
        if (attempt > 0) log.info('ingest.resumed', { what, attempt });
        return { done };
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        const verdict = judge(error.fault, attempt, dice());
        if (verdict.act === 'split') return { guilty: error };
        if (verdict.act === 'stop' || signal.aborted) throw error;
        report(error, what, attempt);
        await clock.sleep(verdict.delayMs, signal).catch(() => {});
        if (signal.aborted) throw error;
      }
    }
  }

  /** Tries the lines as they are; gives back what the engine says of data that it refuses. */
  async function put(
    table: string,
    lines: readonly Uint8Array[],
    name: string,
    signal: AbortSignal,
  ) {
    const bytes = Buffer.concat(lines);
    const dedupToken = tokenOf(name, bytes);
    const one = { table, lines: bytes, rows: lines.length, dedupToken, timeMs: INSERT_MS };
    const result = await persevere(() => store.insert(one), table, signal);
    return 'done' in result ? undefined : result.guilty.fault.message;
  }

  async function insert(
    table: string,
    slots: Slots,
    name: string,
    signal: AbortSignal,
    refused?: { rows: number; message: string },
  ): Promise<readonly Refused[]> {
    const lines = slots.filter((line) => line !== undefined);
    if (lines.length === 0) return [];
    // A half that holds all lines of a whole that was refused needs no second answer.
    const known = refused?.rows === lines.length ? refused.message : undefined;
    const message = (known ?? (await put(table, lines, name, signal)))?.slice(0, MESSAGE_MAX);
    if (message === undefined) return [];
    if (slots.length === 1) return [{ index: 0, message }];
    if (known === undefined && lines.length > 1)
      log.warn('ingest.split', { table, rows: lines.length, error: message.slice(0, 300) });
    const half = slots.length >> 1;
    const told = { rows: lines.length, message };
    const left = await insert(table, slots.slice(0, half), name, signal, told);
    const right = await insert(table, slots.slice(half), name, signal, told);
    return [...left, ...right.map((one) => ({ ...one, index: one.index + half }))];
  }

  async function persist<T>(work: () => Promise<T>, what: string, signal: AbortSignal) {
    const result = await persevere(work, what, signal);
    if ('guilty' in result) throw result.guilty;
    return result.done;
  }

  return { insert, persist };
}
