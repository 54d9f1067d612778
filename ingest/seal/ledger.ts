/**
 * What the log holds of each stream, as far as the sealer needs it: the open's digest, and the
 * newest head's place and digest. It is made from the log alone, and bounded: beyond `streamsMax`
 * the streams that were sealed longest ago are forgotten (their heads stay in the log).
 */
import { createHash } from 'node:crypto';
import type { Head, StreamId } from '#schemas';

/** About 300 bytes each; the audit looks at all streams, however many. */
export const STREAMS_MAX = 500_000;
/** Heads at a place that has another head already, of one stream; further ones are only reported. */
export const CONTRADICTIONS_MAX = 16;
/** Digests are kept in half their length: enough to tell any two apart. */
const DIGEST_CHARACTERS = 32;

export interface StreamRecord {
  openDigest: string;
  lastSeq: number;
  lastDigest: string;
  final: boolean;
  /** When its newest head was sealed, in milliseconds; heads are thinned by it. */
  sealedMs: number;
  /** Digests of heads that contradict one that was sealed before. */
  contradictions?: string[];
  /** Its newest head was not in the table when it was looked for; reported once. */
  missing?: boolean;
}

/** `new`: to be sealed. `known`: sealed already. `contradiction`: its place has another digest. */
export type Verdict = 'new' | 'known' | 'contradiction';

export interface Ledger {
  readonly streams: number;
  get(id: StreamId): StreamRecord | undefined;
  /** What a head is to the log; heads before the newest one are covered by it, so they are known. */
  judge(head: Head): Verdict;
  /** A head is in the log now. */
  add(head: Head, nowMs: number): void;
}

/** A copy that keeps nothing else alive: a slice would hold the line that it was cut from. */
const compact = (digest: string): string =>
  Buffer.from(digest.slice(0, DIGEST_CHARACTERS), 'latin1').toString('latin1');

const keyOf = (id: StreamId): string =>
  createHash('sha256')
    .update(`${id.tenant}\n${id.session_id}\n${id.stream_id}`)
    .digest('base64')
    .slice(0, 24);

export function createLedger(streamsMax = STREAMS_MAX): Ledger {
  /** In the order of the last sealing. */
  const streams = new Map<string, StreamRecord>();

  const sealedDigest = (record: StreamRecord, seq: number): string | undefined => {
    if (seq === record.lastSeq) return record.lastDigest;
    return seq === 0 && record.openDigest !== '' ? record.openDigest : undefined;
  };

  function judge(head: Head): Verdict {
    const record = streams.get(keyOf(head));
    if (record === undefined || head.seq > record.lastSeq) return 'new';
    const sealed = sealedDigest(record, head.seq);
    const digest = compact(head.event_digest);
    // An open that arrives after its stream's heartbeat is still the open.
    if (sealed === undefined) return head.seq === 0 ? 'new' : 'known';
    if (sealed === digest || record.contradictions?.includes(digest) === true) return 'known';
    return 'contradiction';
  }

  function add(head: Head, nowMs: number): void {
    const key = keyOf(head);
    const digest = compact(head.event_digest);
    const verdict = judge(head);
    const record = streams.get(key);
    if (record === undefined) {
      const openDigest = head.seq === 0 ? digest : '';
      const { seq: lastSeq, final } = head;
      streams.set(key, { openDigest, lastSeq, lastDigest: digest, final, sealedMs: nowMs });
      if (streams.size > streamsMax) streams.delete(streams.keys().next().value as string);
      return;
    }
    streams.delete(key);
    streams.set(key, record);
    record.sealedMs = nowMs;
    record.final ||= head.final;
    if (verdict === 'contradiction') {
      record.contradictions ??= [];
      record.contradictions.push(digest);
    } else if (head.seq > record.lastSeq) {
      record.lastSeq = head.seq;
      record.lastDigest = digest;
    } else if (head.seq === 0) record.openDigest = digest;
  }

  return {
    judge,
    add,
    get: (id) => streams.get(keyOf(id)),
    get streams() {
      return streams.size;
    },
  };
}
