/**
 * What to do after a failed insert, decided on the fault's typed facts and never on its words.
 * Pure: the same fault, attempt and dice give the same verdict.
 */
import type { StoreFault } from '#schemas';

export type Verdict =
  /** The same bytes with the same token, after a while. */
  | { readonly act: 'retry'; readonly delayMs: number }
  /** The data is at fault: look for the row by halves. */
  | { readonly act: 'split' }
  /** The store was closed: the service is stopping. */
  | { readonly act: 'stop' };

const DELAY_MS_MIN = 100;
export const DELAY_MS_MAX = 10_000;
/**
 * Refusals that are about the database and not about the rows: a migration or a grant is missing.
 * Splitting would park good events one by one, so they wait for a person.
 */
const OPERATOR_CODES: ReadonlyMap<number, string> = new Map([
  [16, 'NO_SUCH_COLUMN_IN_TABLE'],
  [60, 'UNKNOWN_TABLE'],
  [81, 'UNKNOWN_DATABASE'],
  [115, 'UNKNOWN_SETTING'],
  [164, 'READONLY'],
  [192, 'UNKNOWN_USER'],
  [193, 'WRONG_PASSWORD'],
  [497, 'ACCESS_DENIED'],
]);
/** A refusal without the engine's number is tried so often before the rows are suspected. */
const UNNUMBERED_TRIES = 5;

/** Whether a person has to do something before the same insert can work. */
export function needsOperator(fault: StoreFault): boolean {
  return fault.code === 'refused' && OPERATOR_CODES.has(fault.engineCode ?? -1);
}

/** `attempt` counts from 0; `dice` is in 0..1 and spreads the retries of many workers. */
export function judge(fault: StoreFault, attempt: number, dice: number): Verdict {
  const full = Math.min(DELAY_MS_MIN * 2 ** Math.min(attempt, 20), DELAY_MS_MAX);
  const retry: Verdict = { act: 'retry', delayMs: Math.round(full * (0.5 + dice / 2)) };
  switch (fault.code) {
    case 'unreachable':
    case 'busy':
    case 'unknown':
    case 'limit':
      return retry;
    case 'closed':
      return { act: 'stop' };
    case 'refused':
      if (needsOperator(fault)) return retry;
      if (fault.engineCode === undefined && attempt < UNNUMBERED_TRIES) return retry;
      return { act: 'split' };
  }
}
