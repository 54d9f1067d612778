/**
 * Which events of the table become leaves: new heads, and heads that contradict one that is sealed.
 * What is wrong is said here, once each, with its metric.
 */
import { encodeHead, type Head, headFault, type Log, type Meter } from '#schemas';
import type { Place, Sighting } from './heads.ts';
import { CONTRADICTIONS_MAX, type Ledger, type StreamRecord } from './ledger.ts';

/** Places of rows that are no heads, so that each is reported once. */
const INVALID_MAX = 1_000;

const keyOf = (place: Place) => `${place.tenant}\n${place.session_id}\n${place.stream_id}`;

/** By stream, then by number: the open of a stream comes before its heartbeats. */
export function order(a: Place, b: Place): number {
  const [left, right] = [keyOf(a), keyOf(b)];
  if (left !== right) return left < right ? -1 : 1;
  return a.seq - b.seq;
}

/** The places of a stream whose events have to be read: to be sealed, or to be looked at again. */
export function placesOf(
  seen: Sighting,
  record: StreamRecord | undefined,
  nowMs: number,
  heartbeatMs: number,
): number[] {
  const lastSealed = record?.lastSeq ?? -1;
  const wanted = new Set<number>();
  if (seen.hasOpen && (record === undefined || record.openDigest === '')) wanted.add(0);
  if (seen.finalSeq !== undefined && seen.finalSeq > lastSealed) wanted.add(seen.finalSeq);
  // A heartbeat waits for its turn; the first one of a stream whose open is not here does not.
  const turn = record === undefined ? !seen.hasOpen : nowMs - record.sealedMs >= heartbeatMs;
  if (turn && seen.lastSeq > lastSealed) wanted.add(seen.lastSeq);
  if (record === undefined) return [...wanted];
  // What is in the log is held against the table again when its stream goes on, and when a row was
  // written at a place that is sealed already.
  const again = seen.doubled || seen.endsMs > record.sealedMs;
  if (wanted.size === 0 && !again) return [];
  wanted.add(record.lastSeq);
  if (record.openDigest !== '') wanted.add(0);
  return [...wanted];
}

export interface Chosen {
  readonly leaves: readonly Buffer[];
  readonly contradictions: number;
}

export interface Chooser {
  /**
   * The leaves that `heads`, which were found at `places`, give, in their order. They are in the
   * ledger then: where they can't be appended, it has to be made anew from the log.
   */
  choose(known: Ledger, places: readonly Place[], heads: readonly Head[], nowMs: number): Chosen;
}

export function createChooser({
  log,
  meter,
}: {
  readonly log: Log;
  readonly meter: Meter;
}): Chooser {
  const invalid = new Set<string>();

  /** Whether it is to be logged; beyond the bound it is only reported. */
  function contradiction(known: Ledger, head: Head): boolean {
    const { tenant, session_id, stream_id, seq } = head;
    const before = known.get(head)?.contradictions?.length ?? 0;
    meter.count('telltale.seal.contradictions', 1);
    log.error('seal.contradiction', { tenant, session_id, stream_id, seq, before });
    return before < CONTRADICTIONS_MAX;
  }

  /** What is sealed of a stream and is not in the table any more. */
  function reportMissing(known: Ledger, places: readonly Place[], heads: readonly Head[]): void {
    const found = new Set(heads.map((head) => `${keyOf(head)}\n${head.seq}`));
    for (const place of places) {
      const record = known.get(place);
      if (record?.lastSeq !== place.seq || record.missing) continue;
      if (found.has(`${keyOf(place)}\n${place.seq}`)) continue;
      record.missing = true;
      meter.count('telltale.seal.missing', 1);
      log.error('seal.head_missing', { ...place });
    }
  }

  /** A row that no collector made: its bytes would be no leaf. It is seen again, and said once. */
  function reportInvalid(head: Head, fault: string): void {
    const { tenant, session_id, stream_id, seq } = head;
    const place = `${stream_id}-${seq}`;
    if (invalid.has(place)) return;
    if (invalid.size < INVALID_MAX) invalid.add(place);
    meter.count('telltale.seal.invalid', 1);
    log.error('seal.head_invalid', { tenant, session_id, stream_id, seq, fault });
  }

  function choose(
    known: Ledger,
    places: readonly Place[],
    heads: readonly Head[],
    nowMs: number,
  ): Chosen {
    reportMissing(known, places, heads);
    const leaves: Buffer[] = [];
    let contradictions = 0;
    for (const head of [...heads].sort(order)) {
      const fault = headFault(head);
      if (fault !== undefined) {
        reportInvalid(head, fault);
        continue;
      }
      const verdict = known.judge(head);
      if (verdict === 'known') continue;
      if (verdict === 'contradiction') {
        contradictions++;
        if (!contradiction(known, head)) continue;
      }
      known.add(head, nowMs);
      leaves.push(encodeHead(head));
    }
    return { leaves, contradictions };
  }

  return { choose };
}
