/** A finding of drift, and what its finders share. */
import { CALL_SLACK_NS } from '../running.ts';
import { type FlatEvent, shiftNs } from '../view.ts';
import type { Review } from './review.ts';

export const DRIFT_KINDS = [
  'other_command',
  'changed_script',
  'scope_creep',
  'stale_policy',
  'wrong_policy',
  'ran_undecided',
  'denied_but_ran',
  'not_approved',
] as const;
export type DriftKind = (typeof DRIFT_KINDS)[number];

export interface Drift {
  readonly kind: DriftKind;
  readonly severity: 'high' | 'medium';
  /** In words; holds telemetry. */
  readonly text: string;
  readonly ns: string;
  readonly callId: string;
  readonly eventIds: readonly string[];
  /** argv, hash, file, order, policy, scope: what was compared. */
  readonly method: string;
  readonly confidencePct: number;
}

const BRIEF_CHARS = 80;
/** A text as it stands in a finding: its beginning. */
export const brief = (text: string): string =>
  text.length <= BRIEF_CHARS ? text : `${[...text.slice(0, BRIEF_CHARS - 1)].join('')}…`;

/** A moment before `ns`: kernel and channels stamp one moment at two. */
export const before = (ns: string): string => shiftNs(ns, -CALL_SLACK_NS);

/** Whether a decision is a no. */
export const isDenial = (event: FlatEvent): boolean =>
  event.decision === 'denied' || event.decision === 'cancelled' || event.decision === 'deny';

/** The last yes by `ns`. */
export const approvedBy = (review: Review, ns: string): FlatEvent | undefined =>
  review.decisions.findLast((one) => !isDenial(one) && before(one.ts) <= ns);
