/**
 * The per-stream protocol: the hash chain, its checkpoints, and the account of what is there.
 *
 *     head(0)   = SHA-256("telltale-chain/1" LF tenant LF session LF stream LF)
 *     head(n+1) = SHA-256(head(n) || SHA-256(canonical bytes of event n))
 *
 * session.heartbeat and session.close are *checkpoints*: `chain_count` and `chain_head` cover all
 * events before them, and the signature (Ed25519, key in session.open) covers both. Rows store no
 * hash: a verifier recomputes everything from the rows.
 */
import {
  createHash,
  createPublicKey,
  type KeyObject,
  verify as verifySignature,
} from 'node:crypto';
import { encode } from './codec.ts';
import {
  addRange,
  countRanges,
  hasNumber,
  missingRanges,
  type Range,
  type Ranges,
  toRanges,
} from './ranges.ts';
import type { TelltaleEvent } from './registry.ts';

const CHAIN_DOMAIN = 'telltale-chain/1';
const CHECKPOINT_DOMAIN = 'telltale-checkpoint/1';

export interface StreamId {
  readonly tenant: string;
  readonly session_id: string;
  readonly stream_id: string;
}

/** The chain head before the first event. */
export function chainStart(id: StreamId): Buffer {
  return createHash('sha256')
    .update(`${CHAIN_DOMAIN}\n${id.tenant}\n${id.session_id}\n${id.stream_id}\n`)
    .digest();
}

/** The head after one more event, given its canonical bytes. */
export function chainNext(head: Uint8Array, bytes: Uint8Array): Buffer {
  const digest = createHash('sha256').update(bytes).digest();
  return createHash('sha256').update(head).update(digest).digest();
}

/** The bytes that a checkpoint signs. `head` is lower-case hex. */
export function checkpointStatement(id: StreamId, count: number, head: string): Buffer {
  return Buffer.from(
    `${CHECKPOINT_DOMAIN}\n${id.tenant}\n${id.session_id}\n${id.stream_id}\n${count}\n${head}\n`,
  );
}

/** DER prefix of an Ed25519 SubjectPublicKeyInfo (RFC 8410); the raw 32 bytes follow. */
const ED25519_SPKI = Buffer.from('302a300506032b6570032100', 'hex');

/** A public key from its raw 32 bytes in base64; undefined where it is none. */
export function publicKeyOf(base64: string): KeyObject | undefined {
  const raw = Buffer.from(base64, 'base64');
  if (raw.length !== 32) return undefined;
  const der = Buffer.concat([ED25519_SPKI, raw]);
  return createPublicKey({ key: der, format: 'der', type: 'spki' });
}

/** The raw public key in base64, as session.open carries it. */
export function publicKeyText(key: KeyObject): string {
  return key
    .export({ format: 'der', type: 'spki' })
    .subarray(ED25519_SPKI.length)
    .toString('base64');
}

/** What is needed of a stream to account for it; the query service reads it with SQL. */
export interface StreamFacts {
  readonly stored: Ranges;
  /** Numbers that arrived but were parked as dead letters. */
  readonly parked: Ranges;
  readonly gaps: readonly {
    readonly gap_first_seq?: number;
    readonly gap_last_seq?: number;
    readonly gap_count?: number;
  }[];
  /** `chain_count` of session.close, where it is stored. */
  readonly closeCount?: number;
}

export interface Completeness {
  /** `complete`: closed, and every number is stored. `declared`: what is missing is declared. */
  readonly verdict: 'complete' | 'declared' | 'open' | 'incomplete';
  /** How many numbers are known to have been given out. */
  readonly produced: number;
  readonly stored: number;
  readonly parked: number;
  /** Numbers that gap events declare lost. */
  readonly declaredMissing: number;
  /** Events lost before they were numbered: at least so many. */
  readonly unnumberedLost: number;
  /** A gap whose size nobody knows. */
  readonly unknownLoss: boolean;
  /** Neither stored, nor parked, nor declared. */
  readonly unaccounted: Ranges;
  readonly closed: boolean;
}

function declaredRange(gap: StreamFacts['gaps'][number]): Range | undefined {
  const { gap_first_seq: first, gap_last_seq: last } = gap;
  return first === undefined || last === undefined || last < first ? undefined : [first, last];
}

/** The account of one stream: produced = stored + parked + declared + unaccounted, always. */
export function accountFor(facts: StreamFacts): Completeness {
  const declared = facts.gaps.map(declaredRange).filter((range) => range !== undefined);
  const highest = (ranges: Ranges) => ranges.reduce((max, range) => Math.max(max, range[1]), -1);
  const last = Math.max(
    highest(facts.stored),
    highest(facts.parked),
    highest(declared),
    facts.closeCount ?? -1,
  );
  let known: Ranges = facts.stored;
  const parkedOnly = subtract(facts.parked, known);
  for (const [from, to] of facts.parked) known = addRange(known, from, to);
  const before = countRanges(known);
  for (const [from, to] of declared) known = addRange(known, from, to);
  const declaredMissing = countRanges(known) - before;
  const unaccounted = missingRanges(known, last);
  const unnumbered = facts.gaps.filter((gap) => declaredRange(gap) === undefined);
  const unknownLoss = unnumbered.some((gap) => gap.gap_count === undefined);
  const unnumberedLost = unnumbered.reduce((sum, gap) => sum + (gap.gap_count ?? 0), 0);
  const closed = facts.closeCount !== undefined;
  const whole = declaredMissing + parkedOnly + unnumberedLost === 0 && !unknownLoss;
  return {
    verdict:
      unaccounted.length > 0 ? 'incomplete' : !closed ? 'open' : whole ? 'complete' : 'declared',
    produced: last + 1,
    stored: countRanges(facts.stored),
    parked: parkedOnly,
    declaredMissing,
    unnumberedLost,
    unknownLoss,
    unaccounted,
    closed,
  };
}

/** How many numbers of `a` are not in `b`. */
function subtract(a: Ranges, b: Ranges): number {
  let count = 0;
  for (const [from, to] of a) for (let n = from; n <= to; n++) if (!hasNumber(b, n)) count++;
  return count;
}

export interface IntegrityFault {
  readonly seq: number;
  readonly what: string;
}

export interface Integrity {
  /** `intact`: each checkpoint matches and is signed. `unverifiable`: none could be checked. */
  readonly verdict: 'intact' | 'broken' | 'unverifiable';
  readonly checkpoints: number;
  /** Events from 0 that a matching checkpoint covers. */
  readonly covered: number;
  readonly faults: readonly IntegrityFault[];
}

interface Checkpoint {
  readonly chain_count: number;
  readonly chain_head: string;
  readonly signature?: string;
}

const checkpointOf = (event: TelltaleEvent): Checkpoint | undefined =>
  'chain_head' in event && typeof event.chain_head === 'string'
    ? (event as unknown as Checkpoint)
    : undefined;

function signatureFault(id: StreamId, point: Checkpoint, key: KeyObject | undefined) {
  if (key === undefined) return undefined;
  if (point.signature === undefined) return 'the checkpoint is not signed';
  const statement = checkpointStatement(id, point.chain_count, point.chain_head);
  const good = verifySignature(null, statement, key, Buffer.from(point.signature, 'base64'));
  return good ? undefined : 'the checkpoint’s signature is wrong';
}

/** Recomputes a chain event by event, in memory that does not grow with the stream. */
export interface ChainVerifier {
  /** Takes the next event; numbers must not go down. */
  add(event: TelltaleEvent): void;
  result(): Integrity;
}

/**
 * The verifier of one stream. After missing numbers the chain is taken up again from the next
 * checkpoint; that stretch counts as uncovered.
 */
export function createChainVerifier(id: StreamId): ChainVerifier {
  const faults: IntegrityFault[] = [];
  let key: KeyObject | undefined;
  let head: Buffer | undefined = chainStart(id);
  let begun = false;
  /** No number was missing so far: only then does a checkpoint speak for all before it. */
  let whole = true;
  let next = 0;
  let covered = 0;
  let checkpoints = 0;

  function check(event: TelltaleEvent, point: Checkpoint): void {
    checkpoints++;
    const wrong =
      signatureFault(id, point, key) ??
      (point.chain_count === event.seq ? undefined : 'the checkpoint counts other than its place');
    if (wrong !== undefined) faults.push({ seq: event.seq, what: wrong });
    else if (head !== undefined && head.toString('hex') !== point.chain_head)
      faults.push({
        seq: event.seq,
        what: `an event from ${covered} to ${event.seq - 1} is not what was recorded`,
      });
    else if (head !== undefined && whole) covered = event.seq;
    head = Buffer.from(point.chain_head, 'hex');
  }

  function add(event: TelltaleEvent): void {
    if (!begun && 'public_key' in event && typeof event.public_key === 'string')
      key = publicKeyOf(event.public_key);
    begun = true;
    if (event.seq < next) {
      faults.push({ seq: event.seq, what: 'the number stands twice' });
      return;
    }
    if (event.seq > next) {
      head = undefined;
      whole = false;
    }
    const point = checkpointOf(event);
    if (point !== undefined) check(event, point);
    if (head !== undefined) head = chainNext(head, encode(event));
    next = event.seq + 1;
  }

  const result = (): Integrity => {
    const verdict = faults.length > 0 ? 'broken' : covered > 0 ? 'intact' : 'unverifiable';
    return { verdict, checkpoints, covered, faults };
  };
  return { add, result };
}

/** The same for events at hand, in any order. */
export function verifyChain(id: StreamId, events: readonly TelltaleEvent[]): Integrity {
  const verifier = createChainVerifier(id);
  for (const event of [...events].sort((a, b) => a.seq - b.seq)) verifier.add(event);
  return verifier.result();
}

/** The facts of a stream from all its events at hand; for bundles and tests. */
export function factsOf(events: readonly TelltaleEvent[]): StreamFacts {
  const gaps = events.filter((event) => event.kind === 'gap');
  const close = events.find((event) => event.kind === 'session.close');
  return {
    stored: toRanges(events.map((event) => event.seq)),
    parked: [],
    gaps,
    ...(close === undefined ? {} : { closeCount: close.chain_count }),
  };
}
