/**
 * Runs plans for one tenant: limits on every statement, the caller's abort signal on every read,
 * one log line and one count for each that failed.
 */
import {
  type Clock,
  type Log,
  type Meter,
  type QueryLimits,
  type Row,
  type Store,
  StoreError,
} from '#schemas';
import { shownFault } from './errors.ts';
import type { ScopedSql } from './sql.ts';

/** What one statement may cost. */
export const PAGE_LIMITS: QueryLimits = {
  timeMs: 5_000,
  memoryBytesMax: 512 * 1024 ** 2,
  rowsMax: 200_000,
};
/** The same for what reads a whole session. */
export const SESSION_LIMITS: QueryLimits = {
  timeMs: 30_000,
  memoryBytesMax: 1024 ** 3,
  rowsMax: 2_000_000,
};

export interface QueryDeps {
  readonly store: Store;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly tenant: string;
}

/** Reads for one request. Both reject with `QueryError` where a caller may know why. */
export interface Runner {
  readonly tenant: string;
  rows<T extends Row>(sql: ScopedSql, limits?: QueryLimits): Promise<readonly T[]>;
  stream<T extends Row>(sql: ScopedSql, limits?: QueryLimits): AsyncIterable<readonly T[]>;
}

/** The runner of one request; `signal` aborts all its reads in the store. */
export function createRunner(deps: QueryDeps, signal: AbortSignal | undefined): Runner {
  const { store, log, meter, tenant } = deps;

  function failed(error: unknown): unknown {
    if (signal?.aborted) {
      meter.count('query_abandoned_total', 1);
      return shownFault(error);
    }
    if (error instanceof StoreError) {
      const { code, engineCode, message } = error.fault;
      meter.count('query_store_faults_total', 1, { code });
      log.warn('query.store_fault', {
        code,
        message,
        ...(engineCode === undefined ? {} : { engineCode }),
      });
    }
    return shownFault(error);
  }

  return {
    tenant,
    async rows<T extends Row>(sql: ScopedSql, limits: QueryLimits = PAGE_LIMITS) {
      try {
        return await store.query<T>(sql, limits, signal);
      } catch (error) {
        throw failed(error);
      }
    },
    async *stream<T extends Row>(sql: ScopedSql, limits: QueryLimits = SESSION_LIMITS) {
      try {
        yield* store.stream<T>(sql, limits, signal);
      } catch (error) {
        throw failed(error);
      }
    },
  };
}
