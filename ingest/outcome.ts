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
  readonly atMs?: number | undefined;
}

/** Bytes that can't be stored as an event, with why; a row of the dead letters. */
export interface Parked extends StreamKey {
  readonly seq?: number;
  readonly reason: DeadReason;
  readonly field: string;
  readonly detail: string;
  readonly bytes: Uint8Array;
  readonly origin: string;
  /** When its frame was logged; undefined where no log says so. */
  readonly atMs?: number | undefined;
}

/** A frame as it arrived. */
export interface Incoming {
  readonly bytes: Uint8Array;
  /** Where it came from, for dead letters: `topic/partition/offset`, or `http/<hash>`. */
  readonly origin: string;
  /** When the log had it, by the log's own word, which is the same whoever reads it again. */
  readonly atMs?: number | undefined;
  /** The W3C `traceparent` that its sender put on it; anything, as a sender likes. */
  readonly traceparent?: string | undefined;
}

/** Frames that are written together, or not at all. */
export interface Batch {
  readonly frames: readonly Incoming[];
  /** Names the batch in deduplication tokens; the same frames have the same name, always. */
  readonly name: string;
  /** How it came. */
  readonly via?: 'kafka' | 'http';
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

/** How far from now a log's times are believed: they may be its senders'. */
const LOGGED_BEFORE_MS = 31 * 86_400_000;
const LOGGED_AFTER_MS = 86_400_000;

/**
 * The time that a letter is parked at, as the engine reads it: when its frame was logged. Its month
 * is the letter's partition, and the engine drops a repeated insert within a partition only, so it
 * must be the same when a batch is done again in the next month. Undefined (now, by the column's
 * default) where there is no such time, or one that would make partitions at will.
 */
function parkedAt(atMs: number | undefined, nowMs: number): string | undefined {
  if (atMs === undefined || !Number.isSafeInteger(atMs)) return undefined;
  if (atMs < nowMs - LOGGED_BEFORE_MS || atMs > nowMs + LOGGED_AFTER_MS) return undefined;
  return new Date(atMs).toISOString().replace('T', ' ').slice(0, -1);
}

/** The JSONEachRow line of a dead letter. Every string is made well-formed: it may be anything. */
export function deadLine(parked: Parked, nowMs: number): string {
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
    parked_at: parkedAt(parked.atMs, nowMs),
  });
}
