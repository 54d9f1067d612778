/**
 * The sealer: heads of streams, out of the table and into the log.
 *
 *     look (heads.ts) -> choose (choose.ts) -> append (log.ts) -> cosign (witnesses.ts) -> publish
 *
 * It looks at what was written lately, every second a little back and every minute far back, so
 * that rows which became visible late are found too. Where it stands it knows from the log.
 */
import {
  type Clock,
  type Head,
  type Log,
  type Meter,
  type Part,
  type Store,
  TileError,
} from '#schemas';
import { createChooser, order, placesOf } from './choose.ts';
import type { LogFiles } from './files.ts';
import { headsAt, PLACES_PER_READ, type Place, sightings, writtenMs } from './heads.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { LogError, type LogWriter } from './log.ts';
import { walkHeads } from './walk.ts';
import type { WitnessClient } from './witnesses.ts';

export interface SealSettings {
  /** From the end of one round to the start of the next. */
  readonly everyMs: number;
  /** The newest heartbeat of a stream is sealed at most so often. */
  readonly heartbeatMs: number;
  /** How far back each round looks. */
  readonly nearMs: number;
  /** How often a round looks far back, and how far: later rows are left to the audit. */
  readonly sweepEveryMs: number;
  readonly sweepMs: number;
}

export const SEAL_SETTINGS: SealSettings = {
  everyMs: 1_000,
  heartbeatMs: 60_000,
  nearMs: 10_000,
  sweepEveryMs: 60_000,
  sweepMs: 300_000,
};

/** Places that one round takes up; what is beyond it is found again by the next. */
export const PLACES_MAX = 20_000;
/** Leaves at the log's end whose rows say when the table was read last. */
const TAIL_LEAVES = 256;

export interface SealDeps {
  readonly store: Store;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly files: LogFiles;
  readonly writer: LogWriter;
  readonly witnesses: readonly WitnessClient[];
  readonly settings?: Partial<SealSettings>;
}

export interface Round {
  readonly sealed: number;
  readonly contradictions: number;
  /** There was more than one round takes up. */
  readonly more: boolean;
}

/** How the rounds go; times are the clock's monotonic ones. */
export interface SealerState {
  /** When the last whole round ended; undefined before the first. */
  readonly doneNs: bigint | undefined;
  /** Whether the last round failed. */
  readonly failing: boolean;
  /** Since when a round is at work; undefined between two. */
  readonly busySinceNs: bigint | undefined;
}

export interface Sealer extends Part {
  readonly state: SealerState;
  /** One round, as `start` has them done by the clock. */
  round(): Promise<Round>;
  /** Rejects when the log can't be appended to any more: a person is needed. */
  readonly failed: Promise<never>;
}

export function createSealer(deps: SealDeps): Sealer {
  const { store, log, meter, clock, files, writer, witnesses } = deps;
  const settings = { ...SEAL_SETTINGS, ...deps.settings };
  const abort = new AbortController();
  const nowMs = () => Number(clock.wallNs() / 1_000_000n);
  let ledger: Ledger | undefined;
  /** When the table was looked at last, near and far; undefined before the first time. */
  let nearFromMs: number | undefined;
  let sweptFromMs: number | undefined;
  let published = '';
  let state: SealerState = { doneNs: undefined, failing: false, busySinceNs: undefined };
  const chooser = createChooser({ log, meter });
  let running: Promise<void> = Promise.resolve();
  let fail: (error: Error) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {});

  /** Reads the log: what is sealed, and from when on the table has to be looked at. */
  async function recover(): Promise<Ledger> {
    const known = createLedger();
    const tail: Head[] = [];
    const atMs = nowMs();
    for await (const { head } of walkHeads(writer.head.size, files.read)) {
      known.add(head, atMs);
      tail.push(head);
      if (tail.length > TAIL_LEAVES) tail.shift();
    }
    if (sweptFromMs === undefined) {
      const written = await writtenMs(store, tail);
      sweptFromMs = written === undefined ? undefined : Math.min(written, atMs);
    }
    meter.gauge('telltale.seal.streams', known.streams);
    log.info('seal.recovered', { leaves: writer.head.size, streams: known.streams });
    return known;
  }

  async function look(known: Ledger, sinceMs: number, atMs: number) {
    const places: Place[] = [];
    for await (const seen of sightings(store, sinceMs)) {
      const { tenant, session_id, stream_id } = seen;
      for (const seq of placesOf(seen, known.get(seen), atMs, settings.heartbeatMs))
        places.push({ tenant, session_id, stream_id, seq });
      if (places.length >= PLACES_MAX) return { places: places.sort(order), more: true };
    }
    return { places: places.sort(order), more: false };
  }

  async function seal(known: Ledger, places: readonly Place[]): Promise<[number, number]> {
    const heads = await headsAt(store, places);
    const { leaves, contradictions } = chooser.choose(known, places, heads, nowMs());
    try {
      await writer.append(leaves);
    } catch (error) {
      // What the ledger says is ahead of the log now.
      ledger = undefined;
      throw error;
    }
    return [leaves.length, contradictions];
  }

  async function publish(): Promise<void> {
    const { head, note } = writer;
    const lines = await Promise.all(witnesses.map((one) => one.cosign(head, note)));
    const cosignatures = lines.filter((line) => line !== undefined);
    const content = [note, ...cosignatures].join('\n');
    if (content === published) return;
    await writer.publish(cosignatures);
    published = content;
    meter.gauge('telltale.seal.tree_size', head.size);
    meter.gauge('telltale.seal.cosignatures', cosignatures.length);
  }

  async function round(): Promise<Round> {
    let [sealed, contradictions] = [0, 0];
    ledger ??= await recover();
    const known = ledger;
    const atMs = nowMs();
    const far =
      sweptFromMs === undefined ||
      nearFromMs === undefined ||
      atMs - sweptFromMs >= settings.sweepEveryMs;
    const sinceMs = far
      ? (sweptFromMs ?? 0) - settings.sweepMs
      : (nearFromMs as number) - settings.nearMs;
    const { places, more } = await look(known, sinceMs, atMs);
    for (let at = 0; at < places.length; at += PLACES_PER_READ) {
      const done = await seal(known, places.slice(at, at + PLACES_PER_READ));
      sealed += done[0];
      contradictions += done[1];
    }
    if (!more) {
      nearFromMs = atMs;
      if (far) sweptFromMs = atMs;
    }
    meter.count('telltale.seal.leaves', sealed);
    await publish();
    return { sealed, contradictions, more };
  }

  async function loop(): Promise<void> {
    let away = '';
    while (!abort.signal.aborted) {
      let more = false;
      state = { ...state, busySinceNs: clock.monotonicNs() };
      try {
        ({ more } = await round());
        state = { doneNs: clock.monotonicNs(), failing: false, busySinceNs: undefined };
        meter.gauge('telltale.seal.round_time', nowMs() / 1000);
        if (away !== '') log.info('seal.resumed', {});
        away = '';
      } catch (error) {
        state = { ...state, failing: true, busySinceNs: undefined };
        const what = error instanceof Error ? error.message : String(error);
        if (error instanceof LogError || error instanceof TileError) {
          log.error('seal.log_unusable', { error: what });
          fail(error);
          return;
        }
        if (what !== away) log.warn('seal.round_failed', { error: what.slice(0, 300) });
        away = what;
        meter.count('telltale.seal.failures', 1);
      }
      if (!more) await clock.sleep(settings.everyMs, abort.signal).catch(() => {});
    }
  }

  return {
    failed,
    get state() {
      return state;
    },
    round,
    start: async () => {
      running = loop();
    },
    stop: async () => {
      abort.abort();
      await running;
    },
  };
}
