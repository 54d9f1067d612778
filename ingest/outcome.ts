/**
 * What becomes of each line that arrives, as values: it is a *row* to store, a *duplicate* to drop,
 * or *parked* with its reason. Nothing that arrives has a fourth way to go.
 */
import { createHash } from 'node:crypto';
import type { DeadReason } from '#schemas';

/** One stream, as far as the sender's header or the event says. */
export interface StreamKey {
  readonly tenant: string;
  readonly session_id: string;
  readonly stream_id: string;
}

/** A good event on its way to the table. */
export interface Arrival extends StreamKey {
  /** `keyOf` of its stream, made once a frame. */
  readonly key: string;
  readonly seq: number;
  /** Days since 1970 of its `ts`: the table's partition. */
  readonly day: number;
  /** Canonical JSON and a newline, which is also the row's JSONEachRow; a view of the frame's bytes. */
  readonly line: Uint8Array;
  readonly origin: string;
}

/** Bytes that can't be stored as an event, with why; a row of the dead letters. */
export interface Parked extends StreamKey {
  readonly seq?: number;
  readonly reason: DeadReason;
  readonly field: string;
  readonly detail: string;
  readonly bytes: Uint8Array;
  readonly origin: string;
}

/** A frame as it arrived. */
export interface Incoming {
  readonly bytes: Uint8Array;
  /** Where it came from, for dead letters: `topic/partition/offset`, or `http/<hash>`. */
  readonly origin: string;
}

/** Frames that are written together, or not at all. */
export interface Batch {
  readonly frames: readonly Incoming[];
  /** Names the batch in deduplication tokens; the same frames have the same name, always. */
  readonly name: string;
}

/** What became of one batch. */
export interface Summary {
  readonly stored: number;
  readonly duplicates: number;
  readonly parked: number;
}

/** A key for maps; the ids come first because a tenant may hold any character. */
export const keyOf = (id: StreamKey): string => `${id.stream_id}/${id.session_id}/${id.tenant}`;

/**
 * The deduplication token of an insert. The hash of the content is part of it, so that the engine
 * can never take other rows for these.
 */
export function tokenOf(name: string, lines: Uint8Array): string {
  return `${name}/${createHash('sha256').update(lines).digest('hex').slice(0, 32)}`;
}

const SEQ_MAX = 4_294_967_295;

/** The JSONEachRow line of a dead letter. Every string is made well-formed: it may be anything. */
export function deadLine(parked: Parked): string {
  const seq = parked.seq !== undefined && parked.seq <= SEQ_MAX ? parked.seq : null;
  return JSON.stringify({
    tenant: parked.tenant.toWellFormed(),
    session_id: parked.session_id.toWellFormed(),
    stream_id: parked.stream_id.toWellFormed(),
    seq,
    reason: parked.reason,
    field: parked.field.toWellFormed(),
    detail: parked.detail.toWellFormed(),
    bytes_base64: Buffer.from(
      parked.bytes.buffer,
      parked.bytes.byteOffset,
      parked.bytes.byteLength,
    ).toString('base64'),
    origin: parked.origin,
  });
}
