/**
 * Stamping: a draft becomes an event. It gets its stream, its number, its time of observation and
 * its place in the hash chain. From here on it can't be lost without a trace.
 */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import {
  type Clock,
  chainNext,
  chainStart,
  checkpointStatement,
  type Draft,
  EVENT_BYTES_MAX,
  encode,
  type Fault,
  publicKeyText,
  type StreamId,
  type TelltaleEvent,
  validate,
} from '#schemas';
import { fitDraft, shrink } from './fit.ts';

/** What all events of a stream share. */
export interface StreamIdentity extends StreamId {
  readonly agent: string;
  readonly host: string;
  readonly user: string;
}

export interface StampedEvent {
  readonly event: TelltaleEvent;
  /** Canonical bytes, without a newline. */
  readonly bytes: Buffer;
}

export interface Stamper {
  /** The event of a draft. A draft that can't be one becomes a `gap` that names the fault. */
  stamp(draft: Draft): StampedEvent;
  /** Signed checkpoint fields over all events stamped so far. */
  checkpoint(): { chain_count: number; chain_head: string; signature: string };
  readonly publicKey: string;
  /** How many events were stamped: the next number. */
  readonly count: number;
}

/** Makes the stamper of a new stream, with a signing key of its own that never leaves memory. */
export function createStamper(identity: StreamIdentity, clock: Clock): Stamper {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  let head: Buffer = chainStart(identity);
  let seq = 0;

  function complete(draft: Draft): TelltaleEvent {
    const { agent, host, user, tenant, session_id, stream_id } = identity;
    const shared = Object.fromEntries(
      Object.entries({ agent, host, user }).filter(([, v]) => v !== ''),
    );
    const observed_ts = clock.wallNs().toString();
    return {
      ...draft,
      ...shared,
      tenant,
      session_id,
      stream_id,
      seq,
      observed_ts,
    } as TelltaleEvent;
  }

  function invalid(draft: Draft, faults: readonly Fault[]): TelltaleEvent {
    const reason = faults.map((fault) => `${fault.where}: ${fault.what}`).join('; ');
    const gap: Draft = {
      kind: 'gap',
      ts: clock.wallNs().toString(),
      source: 'collector',
      assurance: 'verified',
      gap_reason: 'invalid',
      gap_count: 1,
      sensor_name: draft.source,
      reason: `${draft.kind}: ${reason}`,
    };
    return complete(fitDraft(gap));
  }

  function stamp(draft: Draft): StampedEvent {
    let fitted = fitDraft(draft);
    let decoded = validate(complete(fitted));
    let event = decoded.ok ? decoded.event : invalid(draft, decoded.faults);
    let bytes = encode(event);
    while (decoded.ok && bytes.length > EVENT_BYTES_MAX) {
      fitted = shrink(fitted);
      decoded = validate(complete(fitted));
      event = decoded.ok ? decoded.event : invalid(draft, decoded.faults);
      bytes = encode(event);
    }
    head = chainNext(head, bytes);
    seq++;
    return { event, bytes };
  }

  return {
    stamp,
    checkpoint: () => signCheckpoint(identity, seq, head, privateKey),
    publicKey: publicKeyText(publicKey),
    get count() {
      return seq;
    },
  };
}

function signCheckpoint(id: StreamId, count: number, head: Buffer, key: KeyObject) {
  const chain_head = head.toString('hex');
  const signature = sign(null, checkpointStatement(id, count, chain_head), key).toString('base64');
  return { chain_count: count, chain_head, signature };
}
