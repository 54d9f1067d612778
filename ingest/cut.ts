/**
 * Cuts a partition's messages into batches. A worker writes down where a batch ends before it
 * inserts it (`work.ts`), so that whoever comes after it cuts the same batch; where nothing is
 * written down, the cut is a function of the log alone.
 */

/** What the cut looks at. */
export interface Message {
  readonly offset: string;
  readonly value: Uint8Array | null;
  /** Milliseconds since 1970, as the log has them beside it. */
  readonly timestamp?: string;
  /** What its sender put beside it. */
  readonly headers?: Readonly<Record<string, unknown>>;
}

export interface BatchLimits {
  /** From one batch of a partition to the next, where they are not full. */
  readonly windowMs: number;
  /** A batch has at most so many bytes, or one message. */
  readonly bytesMax: number;
  readonly messagesMax: number;
}

/**
 * What an insert costs the engine whatever it holds is shared by as many rows as memory allows. Two
 * batches are handed over at once and others wait: with 15 MB a worker took 678 MB of its 600.
 */
const BATCH_BYTES_MAX = 10 * 1024 * 1024;

export const BATCH_LIMITS: BatchLimits = {
  windowMs: 250,
  bytesMax: BATCH_BYTES_MAX,
  messagesMax: 2_000,
};

export interface Cut<M extends Message> {
  /** Batches that a later message, or what was written down, has ended. */
  readonly closed: readonly (readonly M[])[];
  /** What the next message may still belong to. */
  readonly tail: readonly M[];
}

const sizeOf = (message: Message): number => message.value?.length ?? 0;

/** The offset behind a batch: where the next one starts. */
export const offsetAfter = (messages: readonly Message[]): string =>
  (BigInt(messages.at(-1)?.offset ?? '-1') + 1n).toString();

/**
 * Cuts messages that start at the committed offset, by size alone: an insert costs the engine as
 * much as several thousand rows do, so what has piled up behind a slow one goes in one batch.
 */
export function cutBatches<M extends Message>(messages: readonly M[], limits: BatchLimits): Cut<M> {
  const closed: (readonly M[])[] = [];
  let tail: M[] = [];
  let bytes = 0;
  for (const message of messages) {
    const ended =
      tail.length > 0 &&
      (bytes + sizeOf(message) > limits.bytesMax || tail.length >= limits.messagesMax);
    if (ended) {
      closed.push(tail);
      tail = [];
      bytes = 0;
    }
    tail.push(message);
    bytes += sizeOf(message);
  }
  return { closed, tail };
}

/**
 * The same, where the first batch was begun before: it ends at the offset `end`. Nothing is cut
 * while the fetch does not reach that far.
 */
export function cutFrom<M extends Message>(
  messages: readonly M[],
  limits: BatchLimits,
  end: string | undefined,
): Cut<M> {
  const begun = messages.filter(({ offset }) => BigInt(offset) < BigInt(end ?? 0));
  if (begun.length === 0) return cutBatches(messages, limits);
  if (BigInt(offsetAfter(messages)) < BigInt(end ?? 0)) return { closed: [], tail: [] };
  const { closed, tail } = cutBatches(messages.slice(begun.length), limits);
  return { closed: [begun, ...closed], tail };
}

/**
 * When the tail of a partition is a batch: a window behind the last cut, and not a window behind
 * the tail's first message. So there are no more inserts a second than windows, what comes to a
 * quiet partition goes at once, and what came while a batch was stored has waited already.
 */
export interface TailWatch {
  /** Milliseconds until the tail is a batch; 0: it is one now. The first look counts as a cut. */
  remainingMs(): number;
  /** A batch was cut now. */
  cut(): void;
}

export function createTailWatch(monotonicNs: () => bigint, windowMs: number): TailWatch {
  let sinceNs: bigint | undefined;
  return {
    remainingMs() {
      const now = monotonicNs();
      sinceNs ??= now;
      return Math.max(0, windowMs - Number((now - sinceNs) / 1_000_000n));
    },
    cut() {
      sinceNs = monotonicNs();
    },
  };
}
