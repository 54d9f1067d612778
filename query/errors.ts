/** Errors that a caller may read: a code out of a closed list, and words of ours. */
import { StoreError, type StoreFaultCode } from '#schemas';

/** Each code with the HTTP status of a plain route; GraphQL answers 200 and has it in `errors`. */
export const STATUS = {
  BAD_USER_INPUT: 400,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  REQUEST_TOO_LARGE: 413,
  SESSION_TOO_LARGE: 413,
  WRONG_CONTENT_TYPE: 415,
  WRONG_HOST: 421,
  RATE_LIMITED: 429,
  QUERY_LIMIT_REACHED: 503,
  STORE_UNAVAILABLE: 503,
  JOURNAL_UNAVAILABLE: 503,
  IDENTITY_UNAVAILABLE: 503,
} as const;
export type QueryCode = keyof typeof STATUS;
export const QUERY_CODES = Object.keys(STATUS) as readonly QueryCode[];
/** What stands for every error that is none of these; its words stay in the log. */
export const MASKED_CODE = 'INTERNAL_SERVER_ERROR';

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
