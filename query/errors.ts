/** Errors that a caller may read: a code out of a closed list, and words of ours. */
import { StoreError, type StoreFaultCode } from '#schemas';

/** - `bad_input`: the request is wrong. `too_large`: it asks for more than its limit.
 * - `store_limit`: the store gave up at the query's limit. `unavailable`: the store is away. */
export const QUERY_CODES = [
  'BAD_USER_INPUT',
  'REQUEST_TOO_LARGE',
  'SESSION_TOO_LARGE',
  'QUERY_LIMIT_REACHED',
  'STORE_UNAVAILABLE',
] as const;
export type QueryCode = (typeof QUERY_CODES)[number];

/** An error whose words are ours and may be shown; all others are masked. */
export class QueryError extends Error {
  override readonly name = 'QueryError';
  readonly code: QueryCode;
  constructor(code: QueryCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export const badInput = (message: string): QueryError => new QueryError('BAD_USER_INPUT', message);

const SHOWN: Partial<Record<StoreFaultCode, readonly [QueryCode, string]>> = {
  limit: [
    'QUERY_LIMIT_REACHED',
    'the query reached its limit of time or memory in the store: ask for less, or a shorter time',
  ],
  busy: ['STORE_UNAVAILABLE', 'the store is busy: try again'],
  unreachable: ['STORE_UNAVAILABLE', 'the store can’t be reached'],
  unknown: ['STORE_UNAVAILABLE', 'the store did not answer'],
  closed: ['STORE_UNAVAILABLE', 'the store is closed'],
};

/** What a caller may know of a store's fault; its own words may hold SQL, so they stay here. */
export function shownFault(error: unknown): unknown {
  if (!(error instanceof StoreError)) return error;
  const shown = SHOWN[error.fault.code];
  return shown === undefined ? error : new QueryError(shown[0], shown[1], { cause: error });
}
