/** What a verifier of a stream finds, and what it makes of it. */
import type { Range, Ranges } from './ranges.ts';

/**
 * What can be wrong. Only `missing`, `no_key`, `key_lost` and `unknown_kind` are no proof that
 * somebody changed something: they leave what they concern unverifiable.
 */
export type IntegrityFaultKind =
  | 'changed'
  | 'checkpoint_changed'
  | 'forged'
  | 'wrong_key'
  | 'unsigned'
  | 'twice'
  | 'fork'
  | 'order'
  | 'foreign'
  | 'malformed'
  | 'after_close'
  | 'missing'
  | 'no_key'
  | 'key_lost'
  | 'unknown_kind';

const UNVERIFIABLE: ReadonlySet<string> = new Set<IntegrityFaultKind>([
  'missing',
  'no_key',
  'key_lost',
  'unknown_kind',
]);

/** Whether a fault proves that something was changed, and not only that something can't be checked. */
export const provesChange = (kind: IntegrityFaultKind): boolean => !UNVERIFIABLE.has(kind);

export interface IntegrityFault {
  /** Where it shows. */
  readonly seq: number;
  readonly kind: IntegrityFaultKind;
  /** In words; never text from an event. */
  readonly what: string;
  /** The events it lies among, where it shows later than it is. */
  readonly range?: Range;
}

export interface Integrity {
  /**
   * `intact`: nothing is wrong, and checkpoints prove the first `covered` events. `broken`:
   * something was changed. `unverifiable`: nothing shows a change, but not all can be checked.
   */
  readonly verdict: 'intact' | 'broken' | 'unverifiable';
  /** Events taken. */
  readonly events: number;
  readonly checkpoints: number;
  /** So many events from 0 on are proved unchanged, the checkpoint that proves them included. */
  readonly covered: number;
  /** All of the stream is proved, up to its close. */
  readonly sealed: boolean;
  /** Events of which some content was erased, under a commitment that the chain covers. */
  readonly erased: number;
  /** What no checkpoint at hand proves though one stands behind it; the first of them. */
  readonly unproved: Ranges;
  /** The first of them, in order. */
  readonly faults: readonly IntegrityFault[];
  readonly faultCount: number;
}

/** The most faults and unproved ranges that are listed. */
export const FAULTS_MAX = 1000;

/** Collects faults and unproved ranges, within bounds. */
export function createFindings() {
  const faults: IntegrityFault[] = [];
  const unproved: Range[] = [];
  let faultCount = 0;
  let broken = false;
  return {
    fault(seq: number, kind: IntegrityFaultKind, what: string, range?: Range): void {
      faultCount++;
      if (provesChange(kind)) broken = true;
      if (faults.length < FAULTS_MAX)
        faults.push({ seq, kind, what, ...(range === undefined ? {} : { range }) });
    },
    leave(range: Range): void {
      if (range[0] <= range[1] && unproved.length < FAULTS_MAX) unproved.push(range);
    },
    get verdict() {
      return broken ? 'broken' : faultCount > 0 ? 'unverifiable' : 'intact';
    },
    get faultCount() {
      return faultCount;
    },
    faults,
    unproved,
  };
}
