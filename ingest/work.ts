/**
 * What a worker does with what it fetched, whatever client fetched it: cut, write down the cut,
 * store, commit. The commit point: an offset is committed when the whole batch before it is stored
 * or parked, and never before; everything behind it is the redo zone. See README.md.
 */
import { type Clock, type Log, type Meter, StoreError } from '#schemas';
import {
  type BatchLimits,
  createTailWatch,
  cutFrom,
  type Message,
  offsetAfter,
  type TailWatch,
} from './cut.ts';
import type { Ingest } from './loop.ts';
import type { Batch } from './outcome.ts';

/** One fetch of one partition; it starts at the committed offset or at the last resolved one. */
export interface Fetched {
  readonly partition: number;
  readonly messages: readonly Message[];
  /** The offset behind the last message that the broker shows. */
  readonly highWatermark: string;
}

/** A committed offset, and the note beside it. */
export interface Committed {
  readonly offset: string;
  readonly note: string;
}

/** This member of the group, as its client lets a worker use it while a fetch is worked on. */
export interface Membership {
  /** Rejects when the group has gone on without this member. */
  heartbeat(): Promise<void>;
  /** Commits `offset` and keeps `note` beside it. Rejects as `heartbeat` does. */
  commit(offset: string, note: string): Promise<void>;
  /** The next fetch starts at `offset`. */
  resolve(offset: string): void;
  /** False when what was fetched is not this member's business any more. */
  isCurrent(): boolean;
}

export interface WorkDeps {
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly ingest: Ingest;
  readonly topic: string;
  readonly limits: BatchLimits;
  /** What stands committed for a partition, by whichever worker; read after the last group join. */
  readonly committedOf: (partition: number) => Promise<Committed>;
  /** Told of an error after which the worker can't go on. */
  readonly fail: (error: unknown) => void;
}

export interface Worker {
  /** A group was joined: another worker may have written since, and what was known is void. */
  joined(): void;
  /** Stores and commits the whole batches of a fetch. Rejects when the member is out. */
  work(fetched: Fetched, member: Membership): Promise<void>;
  /** Begins no further batch, and gives the one at hand up after a while, until told not to. */
  stop(): () => void;
  readonly stopping: AbortSignal;
}

export const HEARTBEAT_MS = 3_000;
/** Between two looks at a tail that is still open. */
const TAIL_POLL_MS = 125;
/** How long stopping waits for the batch at hand. */
const STOP_GRACE_MS = 8_000;

/** Beside the offset at which a batch starts stands the one at which it ends. */
const noteFor = (end: string | undefined) => (end === undefined ? '' : `cut=${end}`);
const endIn = (note: string) => /^cut=(\d{1,19})$/.exec(note)?.[1];

/** The header as text; a sender may have put anything there, and whoever reads it checks. */
function traceparentIn({ headers }: Message): string | undefined {
  const value = headers?.traceparent;
  return Buffer.isBuffer(value) ? value.toString('latin1') : undefined;
}

function batchOf(topic: string, partition: number, messages: readonly Message[]): Batch {
  const first = messages[0]?.offset;
  const last = messages.at(-1)?.offset;
  const frames = messages.map((message) => ({
    traceparent: traceparentIn(message),
    bytes: message.value ?? new Uint8Array(),
    origin: `${topic}/${partition}/${message.offset}`,
    atMs: message.timestamp === undefined ? undefined : Number(message.timestamp),
  }));
  return { name: `${topic}/${partition}/${first}-${last}`, frames, via: 'kafka' };
}

export function createWorker(deps: WorkDeps): Worker {
  const { log, meter, clock, ingest, topic, limits } = deps;
  const stopping = new AbortController();
  const abandon = new AbortController();
  /** Counts group joins: what was fetched before the last one is not committed any more. */
  let generation = 0;
  const tails = new Map<number, TailWatch>();
  /** Where the batch ends that starts at a partition's committed offset, and whether we said so. */
  const ends = new Map<number, { readonly end: string | undefined; readonly isOurs: boolean }>();

  /** Stores one batch, with heartbeats; false when the worker is stopping before it is done. */
  async function store(batch: Batch, member: Membership): Promise<boolean> {
    const ousted = new AbortController();
    let lost: unknown;
    const endBeats = clock.every(HEARTBEAT_MS, () => {
      member.heartbeat().catch((error) => {
        lost = error;
        ousted.abort();
      });
    });
    try {
      const summary = await ingest.take(batch, AbortSignal.any([ousted.signal, abandon.signal]));
      log.debug('ingest.batch', { name: batch.name, ...summary });
      return true;
    } catch (error) {
      if (abandon.signal.aborted) return false;
      if (lost !== undefined) throw lost;
      if (!(error instanceof StoreError) || error.fault.code !== 'closed')
        log.error('ingest.batch_failed', { name: batch.name, error: String(error) });
      deps.fail(error);
      throw error;
    } finally {
      endBeats();
    }
  }

  function tailOf(partition: number): TailWatch {
    const watch = tails.get(partition) ?? createTailWatch(clock.monotonicNs, limits.windowMs);
    tails.set(partition, watch);
    return watch;
  }

  /** The batches of a fetch that are whole: all closed ones, and the tail when its time has come. */
  async function wholeBatches(fetched: Fetched, mine: number, member: Membership) {
    const { partition, messages, highWatermark } = fetched;
    if (!ends.has(partition)) {
      const { offset, note } = await deps.committedOf(partition);
      if (mine !== generation) return [];
      // Somebody has gone further than this fetch: a former member, who does not know yet, or one
      // whose client went on from an old place. Going on from what is committed is right for both.
      if (BigInt(messages[0]?.offset ?? offset) < BigInt(offset)) {
        member.resolve(offset);
        return [];
      }
      ends.set(partition, { end: endIn(note), isOurs: false });
    }
    const { closed, tail } = cutFrom(messages, limits, ends.get(partition)?.end);
    const watch = tailOf(partition);
    if (closed.length > 0) watch.cut();
    if (tail.length === 0) return closed;
    // More is there than the fetch could hold. Where the tail is all of the fetch, waiting would not
    // make it fuller; behind whole batches it is what is left over, and the next fetch fills it.
    const cutOff = closed.length === 0 && BigInt(offsetAfter(tail)) < BigInt(highWatermark);
    if (!cutOff && watch.remainingMs() > 0) return closed;
    watch.cut();
    return [...closed, tail];
  }

  /**
   * Writes down where a batch ends, unless our commit before it has said so: what a predecessor
   * has said is said again, and refused when this member is out. From then on every
   * worker cuts it there: an insert that a worker left under way when it was taken for dead has
   * the rows and the token that its successor's has, and is stored once.
   */
  async function announce(partition: number, batch: readonly Message[], member: Membership) {
    const end = offsetAfter(batch);
    const said = ends.get(partition);
    if (said?.isOurs && said.end === end) return;
    await member.commit(batch[0]?.offset ?? end, noteFor(end));
  }

  async function work(fetched: Fetched, member: Membership): Promise<void> {
    const { partition } = fetched;
    const mine = generation;
    const isMine = () => mine === generation && member.isCurrent();
    const batches = await wholeBatches(fetched, mine, member);
    for (const [i, messages] of batches.entries()) {
      if (stopping.signal.aborted || !isMine()) return;
      await announce(partition, messages, member);
      if (!isMine()) return;
      const end = offsetAfter(messages);
      ends.set(partition, { end, isOurs: true });
      if (!(await store(batchOf(topic, partition, messages), member)) || !isMine()) return;
      const following = batches[i + 1];
      const next = following === undefined ? undefined : offsetAfter(following);
      await member.commit(end, noteFor(next));
      if (!isMine()) return;
      ends.set(partition, { end: next, isOurs: true });
      member.resolve(end);
      meter.count('telltale.ingest.batches', 1);
      await member.heartbeat();
    }
    if (batches.length > 0) return;
    const remainingMs = tails.get(partition)?.remainingMs() ?? 0;
    const waitMs = remainingMs === 0 ? TAIL_POLL_MS : Math.min(remainingMs, TAIL_POLL_MS);
    await clock.sleep(waitMs, stopping.signal).catch(() => {});
  }

  return {
    joined() {
      generation++;
      ingest.forget();
      tails.clear();
      ends.clear();
    },
    work,
    stop() {
      stopping.abort();
      return clock.every(STOP_GRACE_MS, () => abandon.abort());
    },
    stopping: stopping.signal,
  };
}
