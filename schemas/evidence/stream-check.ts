/** One stream of a bundle: its chain, its leaves in the log, its account, its sensors. */
import { accountFor, type Completeness } from '../account.ts';
import { createChain, isCheckpoint } from '../chain.ts';
import { type Integrity, type IntegrityFault, provesChange } from '../integrity.ts';
import type { Range } from '../ranges.ts';
import { REGISTRY, type TelltaleEvent } from '../registry.ts';
import { createChainVerifier } from '../verifier.ts';
import { createAssurance, type StreamAssurance } from './assurance.ts';
import type { EventLine } from './event-line.ts';
import type { Findings } from './findings.ts';
import {
  EVENTS,
  isCount,
  isHash,
  isText,
  type Manifest,
  PROOFS,
  UnreadableError,
} from './format.ts';
import type { JsonObject } from './json.ts';
import type { ProvenLeaf } from './log.ts';

/** The most gap events of one stream, and pieces that its numbers lie in. */
const PIECES_MAX = 1_000_000;

/** What one stream's events said, once all of them were taken. */
export interface StreamResult {
  readonly stream: string;
  readonly integrity: Integrity;
  readonly assurance: StreamAssurance;
  readonly completeness: Completeness;
  /** The first gap event or parked number. */
  readonly lostAt: number | undefined;
  readonly first: JsonObject;
  readonly events: number;
  readonly from: string;
  readonly to: string;
  /** The highest number that a proven leaf vouches for, and whether one vouches for number 0. */
  readonly sealedThrough: number;
}

/** Lines by number: pieces in which both go up by one. */
function createPlaces() {
  const starts: { readonly seq: number; readonly line: number }[] = [];
  let next = { seq: -1, line: -1 };
  return {
    add(seq: number, line: number): void {
      if (seq !== next.seq || line !== next.line) starts.push({ seq, line });
      if (starts.length > PIECES_MAX)
        throw new UnreadableError(`${EVENTS} lies in too many pieces`);
      next = { seq: seq + 1, line: line + 1 };
    },
    lineOf(seq: number): number {
      let low = 0;
      let high = starts.length - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if ((starts[middle] as { seq: number }).seq <= seq) low = middle;
        else high = middle - 1;
      }
      const start = starts[low] as { seq: number; line: number };
      return start.line + Math.max(seq - start.seq, 0);
    },
  };
}

/** Stands for every kind but checkpoints: the digest is given, so the kind is not judged again. */
const STAND_IN = 'session.open';

/**
 * What the chain's verifier reads of an event: of a checkpoint all, with its content as commitments,
 * so that its statement can be made again; of any other its place and the key that it names.
 */
function chainEvent({ value, seq }: EventLine): TelltaleEvent {
  const spec = REGISTRY.get(String(value.kind));
  if (spec === undefined || !isCheckpoint(spec)) {
    const { tenant, session_id, stream_id, public_key } = value;
    const place = { kind: STAND_IN, tenant, session_id, stream_id, seq };
    return (seq === 0 ? { ...place, public_key } : place) as unknown as TelltaleEvent;
  }
  const event: Record<string, unknown> = { ...value };
  const erased: Record<string, unknown> = {};
  for (const name of spec.content) {
    if (!isHash(value[name])) continue;
    erased[name] = value[name];
    delete event[name];
  }
  const none = Object.keys(erased).length === 0;
  return (none ? event : { ...event, erased }) as unknown as TelltaleEvent;
}

/** The account with what the log vouches for: behind the last number known otherwise, all is lost. */
export function accountWith(
  facts: Parameters<typeof accountFor>[0],
  vouchedSeq: number,
): Completeness {
  const account = accountFor(facts);
  if (vouchedSeq < account.produced) return account;
  return {
    ...account,
    verdict: 'incomplete',
    produced: vouchedSeq + 1,
    unaccounted: [...account.unaccounted, [account.produced, vouchedSeq]],
  };
}

/** Takes the events of one stream in order. */
export function createStreamCheck(
  manifest: Manifest,
  stream: string,
  leaves: ReadonlyMap<number, readonly ProvenLeaf[]>,
  findings: Findings,
) {
  const id = { tenant: manifest.tenant, session_id: manifest.session_id, stream_id: stream };
  let authenticSeq = -1;
  const chain = createChainVerifier(id, {
    onCheckpoint: ({ event, authentic }) => {
      if (authentic && event.seq > 0) authenticSeq = event.seq;
    },
  });
  const assurance = createAssurance(stream);
  const places = createPlaces();
  const stored: [number, number][] = [];
  const gaps: JsonObject[] = [];
  const start = createChain(id).head;
  let gapAt: number | undefined;
  let closeCount: number | undefined;
  let first: JsonObject | undefined;
  let events = 0;
  let last = -1;
  let from = '';
  let to = '';

  const at = (firstSeq: number, lastSeq: number) => ({
    stream_id: stream,
    first_seq: firstSeq,
    last_seq: lastSeq,
  });

  function checkLeaf({ leaf, line }: ProvenLeaf, event: EventLine): void {
    const { seq, value } = event;
    const good =
      leaf.event_digest === event.digest &&
      leaf.final === (value.kind === 'session.close') &&
      leaf.chain_count === seq &&
      leaf.chain_head === (seq === 0 ? start : value.chain_head);
    if (good) return;
    const what = 'the log vouches for another event of this number';
    findings.fault({ code: 'leaf_mismatch', file: PROOFS, line, ...at(seq, seq), what });
  }

  function count(seq: number, value: JsonObject): void {
    const tail = stored.at(-1);
    if (tail !== undefined && seq === tail[1] + 1) tail[1] = seq;
    else stored.push([seq, seq]);
    if (value.kind === 'gap') {
      gaps.push(value);
      if (gaps.length > PIECES_MAX) throw new UnreadableError(`${EVENTS} has too many gap events`);
      gapAt ??= seq;
    }
    if (value.kind === 'session.close' && isCount(value.chain_count))
      closeCount = Math.max(closeCount ?? 0, value.chain_count);
    const time = isText(value.observed_ts) ? value.observed_ts : '';
    if (events === 1 || time < from) from = time;
    if (events === 1 || time > to) to = time;
  }

  function noteFault({ kind, seq, range, what }: IntegrityFault): void {
    const [low, high] = range ?? [seq, seq];
    const line = places.lineOf(kind === 'missing' ? high + 1 : seq);
    // Only checkpoints are handed over whole, so only they can hold what their kind does not have.
    const code = kind === 'malformed' ? 'checkpoint_changed' : kind;
    const place = { code, file: EVENTS, line, ...at(low, high), what };
    if (provesChange(kind)) findings.fault(place);
    else findings.stretch(place);
  }

  /** Ends the stream: `parked` are its numbers among the dead letters. */
  function finish(parked: readonly Range[], keyed: boolean): StreamResult {
    const integrity = chain.result();
    for (const fault of integrity.faults) noteFault(fault);
    if (authenticSeq < last) {
      const what = 'no signed checkpoint stands behind these events';
      const line = places.lineOf(last);
      findings.stretch({ code: 'tail', file: EVENTS, line, ...at(authenticSeq + 1, last), what });
    }
    let vouched = -1;
    for (const seq of leaves.keys()) vouched = Math.max(vouched, seq);
    if (keyed && !leaves.has(0)) {
      const what = 'the log does not vouch for the stream’s first event';
      const where = at(stored[0]?.[0] ?? 0, last);
      findings.stretch({ code: 'not_in_log', file: PROOFS, ...where, what });
    }
    const facts = { stored, parked, gaps, ...(closeCount === undefined ? {} : { closeCount }) };
    return {
      stream,
      integrity,
      assurance: assurance.result(),
      completeness: accountWith(facts, vouched),
      lostAt: lowest(gapAt, parked[0]?.[0]),
      first: first as JsonObject,
      events,
      from,
      to,
      sealedThrough: vouched,
    };
  }

  return {
    stream,
    add(event: EventLine): void {
      const { seq, value, line, digest } = event;
      events++;
      first ??= value;
      last = seq;
      places.add(seq, line);
      chain.add(chainEvent(event), digest);
      assurance.add(value, seq, line);
      count(seq, value);
      for (const leaf of leaves.get(seq) ?? []) checkLeaf(leaf, event);
    },
    finish,
  };
}

/** The lower of two numbers of which either may be absent. */
export function lowest(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.min(a, b);
}
