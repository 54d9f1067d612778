/**
 * The sealer: heads of streams, out of the table and into the log.
 *
 *     look (heads.ts) -> judge (ledger.ts) -> append (log.ts) -> cosign (witnesses.ts) -> publish
 *
 * It looks at what was written lately, every second a little back and every minute far back, so
 * that rows which became visible late are found too. Where it stands it knows from the log.
 */
import {
  type Clock,
  encodeHead,
  type Head,
  headFault,
  type Log,
  type Meter,
  type Part,
  type Store,
  TileError,
} from '#schemas';
import type { LogFiles } from './files.ts';
import {
  headsAt,
  PLACES_PER_READ,
  type Place,
  type Sighting,
  sightings,
  writtenMs,
} from './heads.ts';
import { CONTRADICTIONS_MAX, createLedger, type Ledger, type StreamRecord } from './ledger.ts';
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

/** Places of rows that are no heads, so that each is reported once. */
const INVALID_MAX = 1_000;

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

export interface Sealer extends Part {
  /** One round, as `start` has them done by the clock. */
  round(): Promise<Round>;
  /** Rejects when the log can't be appended to any more: a person is needed. */
  readonly failed: Promise<never>;
}

const keyOf = (place: Place) => `${place.tenant}\n${place.session_id}\n${place.stream_id}`;

/** By stream, then by number: the open of a stream comes before its heartbeats. */
function order(a: Place, b: Place): number {
  const [left, right] = [keyOf(a), keyOf(b)];
  if (left !== right) return left < right ? -1 : 1;
  return a.seq - b.seq;
}

/** The places of a stream whose events have to be read: to be sealed, or to be looked at again. */
export function placesOf(
  seen: Sighting,
  record: StreamRecord | undefined,
  nowMs: number,
  heartbeatMs: number,
): number[] {
  const lastSealed = record?.lastSeq ?? -1;
  const wanted = new Set<number>();
  if (seen.hasOpen && (record === undefined || record.openDigest === '')) wanted.add(0);
  if (seen.finalSeq !== undefined && seen.finalSeq > lastSealed) wanted.add(seen.finalSeq);
  // A heartbeat waits for its turn; the first one of a stream whose open is not here does not.
  const turn = record === undefined ? !seen.hasOpen : nowMs - record.sealedMs >= heartbeatMs;
  if (turn && seen.lastSeq > lastSealed) wanted.add(seen.lastSeq);
  if (record === undefined) return [...wanted];
  // What is in the log is held against the table again when its stream goes on, and when a row was
  // written at a place that is sealed already.
  const again = seen.doubled || seen.endsMs > record.sealedMs;
  if (wanted.size === 0 && !again) return [];
  wanted.add(record.lastSeq);
  if (record.openDigest !== '') wanted.add(0);
  return [...wanted];
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
  const invalid = new Set<string>();
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

  function contradiction(known: Ledger, head: Head): boolean {
    const { tenant, session_id, stream_id, seq } = head;
    const before = known.get(head)?.contradictions?.length ?? 0;
    meter.count('telltale.seal.contradictions', 1);
    log.error('seal.contradiction', { tenant, session_id, stream_id, seq, before });
    return before < CONTRADICTIONS_MAX;
  }

  /** What is sealed of a stream and is not in the table any more. */
  function reportMissing(known: Ledger, places: readonly Place[], heads: readonly Head[]): void {
    const found = new Set(heads.map(({ stream_id, seq }) => `${stream_id}-${seq}`));
    for (const place of places) {
      const record = known.get(place);
      if (record?.lastSeq !== place.seq || record.missing) continue;
      if (found.has(`${place.stream_id}-${place.seq}`)) continue;
      record.missing = true;
      meter.count('telltale.seal.missing', 1);
      log.error('seal.head_missing', { ...place });
    }
  }

  /** A row that no collector made: its bytes would be no leaf. It is seen again, and said once. */
  function reportInvalid(head: Head, fault: string): void {
    const { tenant, session_id, stream_id, seq } = head;
    const place = `${stream_id}-${seq}`;
    if (invalid.has(place)) return;
    if (invalid.size < INVALID_MAX) invalid.add(place);
    meter.count('telltale.seal.invalid', 1);
    log.error('seal.head_invalid', { tenant, session_id, stream_id, seq, fault });
  }

  async function seal(known: Ledger, places: readonly Place[]): Promise<[number, number]> {
    const heads = (await headsAt(store, places)).sort(order);
    reportMissing(known, places, heads);
    const leaves: Buffer[] = [];
    let contradictions = 0;
    for (const head of heads) {
      const fault = headFault(head);
      if (fault !== undefined) {
        reportInvalid(head, fault);
        continue;
      }
      const verdict = known.judge(head);
      if (verdict === 'known') continue;
      if (verdict === 'contradiction') {
        contradictions++;
        if (!contradiction(known, head)) continue;
      }
      known.add(head, nowMs());
      leaves.push(encodeHead(head));
    }
    await writer.append(leaves);
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
    meter.gauge('telltale.seal.size', head.size);
    meter.gauge('telltale.seal.cosignatures', cosignatures.length);
  }

  async function round(): Promise<Round> {
    let [sealed, contradictions] = [0, 0];
    const known = ledger ?? (await recover());
    const atMs = nowMs();
    const far =
      sweptFromMs === undefined ||
      nearFromMs === undefined ||
      atMs - sweptFromMs >= settings.sweepEveryMs;
    const sinceMs = far
      ? (sweptFromMs ?? 0) - settings.sweepMs
      : (nearFromMs as number) - settings.nearMs;
    // Until all of it is in the log, what the ledger says may be ahead of the log.
    ledger = undefined;
    const { places, more } = await look(known, sinceMs, atMs);
    for (let at = 0; at < places.length; at += PLACES_PER_READ) {
      const done = await seal(known, places.slice(at, at + PLACES_PER_READ));
      sealed += done[0];
      contradictions += done[1];
    }
    ledger = known;
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
      try {
        ({ more } = await round());
        if (away !== '') log.info('seal.resumed', {});
        away = '';
      } catch (error) {
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
