/**
 * The hash chain of a stream and its checkpoints.
 *
 *     head(0)   = SHA-256("telltale-chain/2" LF tenant LF session LF stream LF)
 *     head(n+1) = SHA-256(head(n) || digest(event n))
 *
 * Events that carry `chain_head` (session.heartbeat, session.close) are *checkpoints*:
 * `chain_count` is their own number, `chain_head` is the head over all before them, and the
 * signature (Ed25519, RFC 8032) is over
 *
 *     "telltale-checkpoint/2" LF tenant LF session LF stream LF chain_count LF chain_head LF
 *     digest of the checkpoint itself without `signature`, as hex LF
 *
 * so that each of its own fields is covered too, at the very end of a stream as well. The key of
 * the first checkpoint is in session.open; each checkpoint names the key of the next one, and the
 * private key that signed it is destroyed. Rows store no hash: a verifier computes all of it.
 */
import { createPublicKey, hash, type KeyObject, verify } from 'node:crypto';
import { digestOf } from './commit.ts';
import type { KindSpec, TelltaleEvent } from './registry.ts';

const CHAIN_DOMAIN = 'telltale-chain/2';
const CHECKPOINT_DOMAIN = 'telltale-checkpoint/2';
const HASH_BYTES = 32;
const SIGNATURE_BYTES = 64;

export interface StreamId {
  readonly tenant: string;
  readonly session_id: string;
  readonly stream_id: string;
}

/** The head of a stream, event by event. All hashes are lower-case hex. */
export interface Chain {
  readonly head: string;
  /** Takes the next event's digest in. */
  push(digest: string): void;
  /** Goes on from a head that is known otherwise. */
  set(head: string): void;
}

/** The chain of a stream before its first event. */
export function createChain(id: StreamId): Chain {
  // The head stands in the first half, as bytes; the next digest goes into the second.
  const both = Buffer.alloc(2 * HASH_BYTES);
  const { tenant, session_id, stream_id } = id;
  const start = `${CHAIN_DOMAIN}\n${tenant}\n${session_id}\n${stream_id}\n`;
  both.write(hash('sha256', start, 'binary'), 0, 'latin1');
  return {
    get head() {
      return both.toString('hex', 0, HASH_BYTES);
    },
    push(digest) {
      both.write(digest, HASH_BYTES, HASH_BYTES, 'hex');
      both.write(hash('sha256', both, 'binary'), 0, 'latin1');
    },
    set(head) {
      both.write(head, 0, HASH_BYTES, 'hex');
    },
  };
}

/** Whether events of a kind are checkpoints. */
export const isCheckpoint = (spec: KindSpec): boolean => 'chain_head' in spec.fields;
/** Whether a checkpoint of this kind ends its stream: no key follows it. */
export const isFinal = (spec: KindSpec): boolean =>
  isCheckpoint(spec) && !('next_public_key' in spec.fields);

/** What a checkpoint says, beside its own digest. */
export interface CheckpointFields {
  readonly chain_count: number;
  readonly chain_head: string;
  readonly signature?: string;
}

/** The bytes that a checkpoint signs; `event` with or without its signature. */
export function checkpointStatement(id: StreamId, event: TelltaleEvent): Buffer {
  const { chain_count, chain_head } = event as unknown as CheckpointFields;
  const { signature: _signature, ...unsigned } = event as { signature?: string };
  const digest = digestOf(unsigned as TelltaleEvent);
  return Buffer.from(
    `${CHECKPOINT_DOMAIN}\n${id.tenant}\n${id.session_id}\n${id.stream_id}\n${chain_count}\n${chain_head}\n${digest}\n`,
  );
}

/** DER prefix of an Ed25519 SubjectPublicKeyInfo (RFC 8410); the raw 32 bytes follow. */
const ED25519_SPKI = Buffer.from('302a300506032b6570032100', 'hex');

/** Bytes from base64 in its one canonical form; undefined where it is not, or not so many. */
export function bytesOf(base64: unknown, length: number): Buffer | undefined {
  if (typeof base64 !== 'string' || base64.length > 2 * length) return undefined;
  const bytes = Buffer.from(base64, 'base64');
  return bytes.length === length && bytes.toString('base64') === base64 ? bytes : undefined;
}

/** A public key from its raw 32 bytes in canonical base64; undefined where it is none. */
export function publicKeyOf(base64: unknown): KeyObject | undefined {
  const raw = bytesOf(base64, HASH_BYTES);
  if (raw === undefined) return undefined;
  const der = Buffer.concat([ED25519_SPKI, raw]);
  return createPublicKey({ key: der, format: 'der', type: 'spki' });
}

/** The raw public key in base64, as events carry it. */
export function publicKeyText(key: KeyObject): string {
  return key
    .export({ format: 'der', type: 'spki' })
    .subarray(ED25519_SPKI.length)
    .toString('base64');
}

/** Whether a checkpoint is signed by `key`. A signature in another than canonical base64 is not. */
export function isSignedBy(id: StreamId, event: TelltaleEvent, key: KeyObject): boolean {
  const signature = bytesOf((event as { signature?: unknown }).signature, SIGNATURE_BYTES);
  return signature !== undefined && verify(null, checkpointStatement(id, event), key, signature);
}
