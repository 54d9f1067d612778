/**
 * What the transparency log holds of a stream: one line of canonical JSON (RFC 8785) a *head*. It
 * vouches for the event itself (by its digest) and for all before it (by the chain's head).
 */
import { createChain, isCheckpoint, isFinal, type StreamId } from './chain.ts';
import { digestOf } from './commit.ts';
import type { Parsed } from './note.ts';
import { type KindSpec, REGISTRY, type TelltaleEvent } from './registry.ts';

const FORMAT = 'head/1';

export interface Head extends StreamId {
  readonly seq: number;
  /** How many events the chain's head covers; by the protocol the event's own number. */
  readonly chain_count: number;
  /** Lower-case hex. */
  readonly chain_head: string;
  /** `digestOf` the event, lower-case hex. */
  readonly event_digest: string;
  /** It is the close of its stream. */
  readonly final: boolean;
}

const isOpening = (spec: KindSpec): boolean => 'public_key' in spec.fields;
const namesOf = (test: (spec: KindSpec) => boolean): readonly string[] =>
  [...REGISTRY].filter(([, spec]) => test(spec)).map(([kind]) => kind);

/** The kinds whose events the log holds: the open, and each checkpoint. */
export const HEAD_KINDS = namesOf((spec) => isOpening(spec) || isCheckpoint(spec));
/** Those that end a stream. */
export const FINAL_KINDS = namesOf(isFinal);

/** The head that an event is; undefined for an event that the log does not hold. */
export function headOf(event: TelltaleEvent): Head | undefined {
  if (!HEAD_KINDS.includes(event.kind)) return undefined;
  const { tenant, session_id, stream_id, seq } = event;
  const point = event as { chain_count?: number; chain_head?: string };
  return {
    tenant,
    session_id,
    stream_id,
    seq,
    chain_count: point.chain_count ?? 0,
    chain_head: point.chain_head ?? createChain(event).head,
    event_digest: digestOf(event),
    final: FINAL_KINDS.includes(event.kind),
  };
}

/** The leaf's bytes. Keys stand in the order of RFC 8785. */
export function encodeHead(head: Head): Buffer {
  const { chain_count, chain_head, event_digest, final, seq, session_id, stream_id, tenant } = head;
  return Buffer.from(
    JSON.stringify({
      ...{ chain_count, chain_head, event_digest, final, seq },
      ...{ session_id, stream_id, telltale: FORMAT, tenant },
    }),
  );
}

const HEX = /^[0-9a-f]{64}$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** What is wrong with a head that was made of a row or a leaf; undefined where nothing is. */
export function headFault(head: Readonly<Record<keyof Head, unknown>>): string | undefined {
  const { seq, chain_count, session_id, stream_id, chain_head, event_digest } = head;
  for (const [name, value] of Object.entries({ seq, chain_count }))
    if (!Number.isSafeInteger(value) || (value as number) < 0) return `${name} is no number`;
  for (const [name, value] of Object.entries({ session_id, stream_id }))
    if (typeof value !== 'string' || !UUID.test(value)) return `${name} is no UUID`;
  for (const [name, value] of Object.entries({ chain_head, event_digest }))
    if (typeof value !== 'string' || !HEX.test(value)) return `${name} is not 64 hex digits`;
  if (typeof head.tenant !== 'string' || head.tenant === '') return 'tenant is no text';
  return typeof head.final === 'boolean' ? undefined : 'final is neither true nor false';
}

/** Reads a leaf. Anything but the very bytes that `encodeHead` makes is refused. */
export function parseHead(bytes: Uint8Array): Parsed<Head> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return { ok: false, what: 'the leaf is not JSON' };
  }
  if (typeof value !== 'object' || value === null)
    return { ok: false, what: 'the leaf is not an object' };
  const head = value as Head;
  const what = headFault(head);
  if (what !== undefined) return { ok: false, what };
  if (!encodeHead(head).equals(bytes))
    return { ok: false, what: `the leaf is not canonical JSON of ${FORMAT}` };
  const { tenant, session_id, stream_id, seq, chain_count, chain_head, event_digest, final } = head;
  const id = { tenant, session_id, stream_id };
  return { ok: true, value: { ...id, seq, chain_count, chain_head, event_digest, final } };
}
