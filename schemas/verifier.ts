/**
 * Recomputes the chain of a stream from its rows and says what it proves. Everything in a row may
 * be forged: the verifier never throws, and its memory does not grow with the stream.
 *
 * A checkpoint proves the events since the one before it when its signature is by the key that the
 * checkpoint before it named, and its head is the one computed from the rows. Where numbers are
 * missing the head can't be computed: the next checkpoint that is signed by the expected key takes
 * the chain up again, and what stands between is unproved. If its signature does not fit, then a
 * checkpoint may be among what is missing, and nothing behind the hole is proved any more.
 */
import type { KeyObject } from 'node:crypto';
import { SEQ_MAX } from './account.ts';
import {
  type CheckpointFields,
  createChain,
  isCheckpoint,
  isFinal,
  isSignedBy,
  publicKeyOf,
  type StreamId,
} from './chain.ts';
import { contentFault, digestOf } from './commit.ts';
import { createFindings, type Integrity } from './integrity.ts';
import type { Range } from './ranges.ts';
import { type KindSpec, REGISTRY, SCHEMA_VERSION, type TelltaleEvent } from './registry.ts';

/** A checkpoint as the verifier found it; what a transparency log holds leaves of. */
export interface CheckedCheckpoint {
  readonly event: TelltaleEvent;
  /** Of the whole event, lower-case hex. */
  readonly digest: string;
  /** It is signed by the key that the chain of keys from session.open leads to. */
  readonly authentic: boolean;
}

export interface ChainVerifierOptions {
  /** Called for session.open and each checkpoint, in order. */
  readonly onCheckpoint?: (checkpoint: CheckedCheckpoint) => void;
}

/** Recomputes a chain event by event, in memory that does not grow with the stream. */
export interface ChainVerifier {
  /**
   * Takes the next event; numbers must not go down. Never throws, whatever stands in it. `digest`
   * is the event's own, where the caller has computed it already.
   */
  add(event: TelltaleEvent, digest?: string): void;
  result(): Integrity;
}

const STREAM_NAMES = ['tenant', 'session_id', 'stream_id'] as const;

type Judgement = 'good' | 'bad' | 'unknown';

function hasStranger(spec: KindSpec, event: Readonly<Record<string, unknown>>): boolean {
  for (const name in event)
    if (spec.fields[name] === undefined && event[name] !== undefined) return true;
  return false;
}

/** The verifier of one stream. */
export function createChainVerifier(
  id: StreamId,
  options: ChainVerifierOptions = {},
): ChainVerifier {
  return new StreamVerifier(id, options);
}

class StreamVerifier implements ChainVerifier {
  readonly #id: StreamId;
  readonly #options: ChainVerifierOptions;
  readonly #found = createFindings();
  readonly #chain;
  /** The head can be computed: nothing was missing or unreadable since the last checkpoint. */
  #headKnown = true;
  /** Numbers are missing since the last checkpoint, so a checkpoint may be. */
  #holed = false;
  /** The key of the next checkpoint, and whether the chain of keys leads to it without a break. */
  #key: KeyObject | undefined;
  #trusted = false;
  #earlierKeys: readonly KeyObject[] = [];
  /** The version of the registry that the stream was recorded with is this one. */
  #ownVersion = false;
  /** The first event that no checkpoint was found for yet. */
  #from = 0;
  #next = 0;
  #lastDigest = '';
  #whole = true;
  #covered = 0;
  #closed = false;
  #sealed = false;
  #events = 0;
  #checkpoints = 0;
  #erased = 0;

  constructor(id: StreamId, options: ChainVerifierOptions) {
    this.#id = id;
    this.#options = options;
    this.#chain = createChain(id);
  }

  add(event: TelltaleEvent, digest?: string): void {
    this.#events++;
    const before = this.#next;
    try {
      this.#take(event, digest);
    } catch {
      // Values of impossible types: whatever it was, it is not what was recorded.
      this.#found.fault(before, 'malformed', 'the event can’t be read');
      this.#headKnown = false;
    }
  }

  /** Whether an event has a number and is of this stream. */
  #isOurs(event: TelltaleEvent): boolean {
    const { seq } = event;
    const { fault } = this.#found;
    const numbered = Number.isInteger(seq) && seq >= 0 && seq <= SEQ_MAX;
    const ours = STREAM_NAMES.every((name) => event[name] === this.#id[name]);
    if (!numbered) fault(this.#next, 'malformed', 'an event has no number');
    else if (!ours) fault(seq, 'foreign', 'the event is of another stream');
    return numbered && ours;
  }

  #take(event: TelltaleEvent, given: string | undefined): void {
    if (!this.#isOurs(event)) return;
    const { seq } = event;
    const { fault } = this.#found;
    const spec = REGISTRY.get(event.kind);
    const digest = spec === undefined ? undefined : this.#digest(spec, event, given);
    if (seq < this.#next) {
      this.#repeated(seq, digest);
      return;
    }
    if (this.#closed) fault(seq, 'after_close', 'the event stands behind the close of its stream');
    if (seq > this.#next) this.#missing(seq);
    this.#next = seq + 1;
    this.#lastDigest = digest ?? '';
    if (event.erased !== undefined) this.#erased++;
    if (spec === undefined) this.#unknownKind(seq);
    if (spec === undefined || digest === undefined) {
      this.#headKnown = false;
      return;
    }
    if (seq === 0) this.#opening(event, digest);
    const pushed = isCheckpoint(spec) ? this.#checkpoint(spec, event, digest) : digest;
    if (this.#headKnown) this.#chain.push(pushed);
  }

  /** The digest of an event that the digest covers all of. */
  #digest(spec: KindSpec, event: TelltaleEvent, given?: string): string | undefined {
    const loose = event as unknown as Readonly<Record<string, unknown>>;
    const { fault } = this.#found;
    if (contentFault(spec, loose) !== undefined)
      fault(event.seq, 'malformed', 'its salt or its commitments are not in order');
    else if (hasStranger(spec, loose))
      fault(event.seq, 'malformed', 'it has a value in a field that its kind does not have');
    else return given ?? digestOf(event);
    return undefined;
  }

  #repeated(seq: number, digest: string | undefined): void {
    const { fault } = this.#found;
    if (seq !== this.#next - 1) fault(seq, 'order', 'the number stands behind a higher one');
    else if (digest === this.#lastDigest) fault(seq, 'twice', 'the event stands twice');
    else fault(seq, 'fork', 'two different events have the same number');
  }

  #missing(seq: number): void {
    const range: Range = [this.#next, seq - 1];
    const what =
      range[0] === range[1] ? 'the event is missing' : 'events are missing, up to the next';
    this.#found.fault(range[0], 'missing', what, range);
    this.#headKnown = false;
    this.#holed = true;
  }

  #unknownKind(seq: number): void {
    if (this.#ownVersion)
      this.#found.fault(seq, 'changed', 'its kind is none that the stream’s version has');
    else this.#found.fault(seq, 'unknown_kind', 'this version does not know its kind');
  }

  #opening(event: TelltaleEvent, digest: string): void {
    const open = event as { public_key?: unknown; schema_version?: unknown };
    this.#ownVersion = open.schema_version === SCHEMA_VERSION;
    this.#key = publicKeyOf(open.public_key);
    this.#trusted = this.#key !== undefined;
    if (!this.#trusted)
      this.#found.fault(0, 'no_key', 'the stream’s first event names no key for its checkpoints');
    this.#options.onCheckpoint?.({ event, digest, authentic: this.#trusted });
  }

  /** Judges a checkpoint; gives the digest under which the chain goes on behind it. */
  #checkpoint(spec: KindSpec, event: TelltaleEvent, digest: string): string {
    this.#checkpoints++;
    const { seq } = event;
    const point = event as unknown as CheckpointFields;
    const mended = this.#mended(event);
    const judged = mended === undefined ? this.#signature(event) : 'good';
    const authentic = judged === 'good' && this.#trusted;
    this.#options.onCheckpoint?.({ event, digest, authentic: authentic && mended === undefined });
    const fits = mended !== undefined || (this.#headKnown && point.chain_head === this.#chain.head);
    if (this.#headKnown && !fits && judged !== 'bad') this.#changed(seq);
    const counts = mended !== undefined || point.chain_count === seq;
    if (!counts && judged !== 'bad')
      this.#found.fault(seq, 'checkpoint_changed', 'the checkpoint counts other than its place');
    const proved = authentic && fits && counts;
    if (!proved) {
      this.#found.leave([this.#from, authentic ? seq - 1 : seq]);
      this.#whole = false;
    } else if (this.#whole) this.#covered = seq + 1;
    if (!fits && (judged === 'good' || !this.#headKnown)) this.#chain.set(point.chain_head);
    this.#headKnown = true;
    this.#holed = false;
    this.#from = authentic ? seq + 1 : seq;
    this.#turnKey(spec, event, authentic);
    return mended === undefined ? digest : digestOf(mended);
  }

  /** The checkpoint as it was signed, where only its count or head were changed since. */
  #mended(event: TelltaleEvent): TelltaleEvent | undefined {
    const point = event as unknown as CheckpointFields;
    const { head } = this.#chain;
    if (this.#key === undefined || !this.#headKnown) return undefined;
    if (point.chain_head === head && point.chain_count === event.seq) return undefined;
    const fields = { chain_head: head, chain_count: event.seq };
    const mended = { ...event, ...fields } as unknown as TelltaleEvent;
    if (!isSignedBy(this.#id, mended, this.#key)) return undefined;
    this.#found.fault(
      event.seq,
      'checkpoint_changed',
      'the checkpoint’s count or head is not what was signed; the events before it are',
    );
    return mended;
  }

  #signature(event: TelltaleEvent): Judgement {
    const { seq } = event;
    const key = this.#key;
    if (key === undefined) return 'unknown';
    if (isSignedBy(this.#id, event, key)) return 'good';
    const point = event as unknown as CheckpointFields;
    const { fault } = this.#found;
    if (point.signature === undefined) fault(seq, 'unsigned', 'the checkpoint is not signed');
    else if (this.#earlierKeys.some((earlier) => isSignedBy(this.#id, event, earlier)))
      fault(seq, 'wrong_key', 'the checkpoint is signed with the key of an earlier one');
    else if (this.#holed) {
      const what =
        'a checkpoint may be among what is missing: the keys from here on are not authenticated';
      fault(seq, 'key_lost', what);
      return 'unknown';
    } else if (this.#headKnown && point.chain_head === this.#chain.head)
      fault(
        seq,
        'checkpoint_changed',
        'the checkpoint fits the events before it, but its signature is not over its fields',
      );
    else
      fault(seq, 'forged', 'the checkpoint neither is signed with its key nor fits the events', [
        this.#from,
        seq,
      ]);
    return 'bad';
  }

  #changed(seq: number): void {
    const range: Range = [Math.min(this.#from, Math.max(seq - 1, 0)), Math.max(seq - 1, 0)];
    const [from, to] = range;
    const what =
      from === to
        ? `event ${from} is not what was recorded`
        : `an event from ${from} to ${to} is not what was recorded`;
    this.#found.fault(seq, 'changed', what, range);
  }

  #turnKey(spec: KindSpec, event: TelltaleEvent, authentic: boolean): void {
    const { seq } = event;
    if (isFinal(spec)) {
      this.#closed = true;
      this.#sealed = authentic && this.#whole;
      this.#key = undefined;
      return;
    }
    const next = publicKeyOf((event as { next_public_key?: unknown }).next_public_key);
    if (authentic && next === undefined)
      this.#found.fault(seq, 'key_lost', 'the checkpoint names no key for the next one');
    if (this.#key !== undefined) this.#earlierKeys = [this.#earlierKeys[0] ?? this.#key, this.#key];
    this.#key = next;
    this.#trusted = authentic && next !== undefined;
  }

  result(): Integrity {
    const { verdict, faultCount, faults, unproved } = this.#found;
    return {
      verdict: verdict === 'intact' && this.#covered === 0 ? 'unverifiable' : verdict,
      events: this.#events,
      checkpoints: this.#checkpoints,
      covered: this.#covered,
      sealed: this.#sealed && faultCount === 0,
      erased: this.#erased,
      unproved: [...unproved],
      faults: [...faults],
      faultCount,
    };
  }
}

/** The same for events at hand, in any order. */
export function verifyChain(id: StreamId, events: readonly TelltaleEvent[]): Integrity {
  const verifier = createChainVerifier(id);
  for (const event of [...events].sort((a, b) => a.seq - b.seq)) verifier.add(event);
  return verifier.result();
}
