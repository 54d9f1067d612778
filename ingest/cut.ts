/**
 * Cuts a partition's messages into batches, as a pure function of the log: whoever reads it from
 * the same committed offset cuts the same batches. A worker that was taken for dead and the one
 * that took its place then insert the same rows with the same token, and the engine keeps one.
 */

/** What the cut looks at. */
export interface Message {
  readonly offset: string;
  /** Milliseconds since 1970, by the broker (LogAppendTime). */
  readonly timestamp: string;
  readonly value: Uint8Array | null;
}

export interface BatchLimits {
  /** A batch spans less than so much of the log's time. */
  readonly windowMs: number;
  /** A batch has at most so many bytes, or one message. */
  readonly bytesMax: number;
  readonly messagesMax: number;
}

export const BATCH_LIMITS: BatchLimits = {
  windowMs: 250,
  bytesMax: 8 * 1024 * 1024,
  messagesMax: 2_000,
};

export interface Cut<M extends Message> {
  /** Batches that a later message has ended: nothing can be added to them. */
  readonly closed: readonly (readonly M[])[];
  /** What the next message may still belong to. */
  readonly tail: readonly M[];
}

const sizeOf = (message: Message): number => message.value?.length ?? 0;

/** Cuts messages that start at the committed offset. */
export function cutBatches<M extends Message>(messages: readonly M[], limits: BatchLimits): Cut<M> {
  const closed: (readonly M[])[] = [];
  let tail: M[] = [];
  let bytes = 0;
  for (const message of messages) {
    const first = tail[0];
    const ended =
      first !== undefined &&
      (Number(message.timestamp) - Number(first.timestamp) >= limits.windowMs ||
        bytes + sizeOf(message) > limits.bytesMax ||
        tail.length >= limits.messagesMax);
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

/** When the tail of a quiet partition may be closed. */
export interface TailWatch {
  /**
   * Whether the tail that starts at `first` is a batch now. `atEnd`: the fetch that brought it
   * reached the end of the log. Call it once for each fetch.
   */
  isClosed(first: string, atEnd: boolean): boolean;
}

/**
 * A tail is closed when the window has passed since it was first seen and a fetch made *after*
 * that still ends with it: what the broker appends from then on lies outside the window. The
 * slack covers the broker's clock and the delay between append and visibility.
 */
export function createTailWatch(monotonicNs: () => bigint, waitMs: number): TailWatch {
  let watched: { first: string; sinceNs: bigint; due: boolean } | undefined;
  return {
    isClosed(first, atEnd) {
      const now = monotonicNs();
      if (watched?.first !== first) watched = { first, sinceNs: now, due: false };
      // This fetch may be older than the end of the window; the next one is not.
      const closed = watched.due && atEnd;
      watched.due = now - watched.sinceNs >= BigInt(waitMs) * 1_000_000n;
      return closed;
    },
  };
}
