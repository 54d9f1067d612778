/**
 * Runs plans of one access: nothing is read without an open one. The viewer's tenant, what the
 * viewer may see of a row, limits on each statement and the caller's abort signal are put on here,
 * and nowhere else; no resolver ever sees the store.
 */
import {
  type Columns,
  type Log,
  type Meter,
  type QueryLimits,
  type Row,
  type Store,
  StoreError,
} from '#schemas';
import { Access } from './access/access.ts';
import { hasRole, hasScope, needContent, type Viewer } from './access/viewer.ts';
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

/** Reads for one access. All reject with `QueryError` where a caller may know why. */
export interface Runner {
  readonly tenant: string;
  readonly viewer: Viewer;
  rows<T extends Row>(sql: ScopedSql, limits?: QueryLimits): Promise<readonly T[]>;
  /** The same rows by column, and how many there are. */
  columns(sql: ScopedSql, limits?: QueryLimits): Promise<{ columns: Columns; rows: number }>;
  stream<T extends Row>(sql: ScopedSql, limits?: QueryLimits): AsyncIterable<readonly T[]>;
  /**
   * The same with content, whoever asks: to recompute hashes. Only digests and verdicts may leave;
   * `stream` gives rows to show.
   */
  evidence<T extends Row>(sql: ScopedSql, limits?: QueryLimits): AsyncIterable<readonly T[]>;
}

export interface RunnerDeps {
  readonly store: Store;
  readonly log: Log;
  readonly meter: Meter;
}

/**
 * The runner of one access; `signal` aborts all its reads in the store. Throws for what is no
 * access, and its reads reject once the access has ended.
 */
export function createRunner(
  deps: RunnerDeps,
  access: Access,
  signal: AbortSignal | undefined,
): Runner {
  const { store, log, meter } = deps;
  if (!Access.is(access)) throw new Error('a read without an access');
  const { viewer } = access;
  const journal = hasRole(viewer, 'admin') ? 1 : 0;

  function failed(error: unknown): unknown {
    if (signal?.aborted) {
      meter.count('telltale.query.abandoned', 1);
      return shownFault(error);
    }
    if (error instanceof StoreError) {
      const { code, engineCode, message } = error.fault;
      meter.count('telltale.query.store_faults', 1, { code });
      log.warn('query.store_fault', {
        code,
        message,
        ...(engineCode === undefined ? {} : { engineCode }),
      });
    }
    return shownFault(error);
  }

  /** The statement as this viewer may run it. */
  function allowed(sql: ScopedSql, whole: boolean) {
    if (!access.isOpen) throw new Error('a read without an open access');
    if (sql.params.tenant !== viewer.tenant) throw new Error('a read of another tenant');
    access.reads(sql);
    const full = whole || hasScope(viewer, 'content');
    if (!full && sql.tests !== undefined) needContent(viewer, `a search in ${sql.tests}`);
    return {
      text: full ? sql.text : sql.bare,
      params: { ...sql.params, journal, content: full ? 1 : 0 },
    };
  }

  async function* stream<T extends Row>(sql: ScopedSql, limits: QueryLimits, whole: boolean) {
    try {
      for await (const rows of store.stream<T>(allowed(sql, whole), limits, signal)) {
        access.got(rows.length);
        yield rows;
      }
    } catch (error) {
      throw failed(error);
    }
  }

  return {
    tenant: viewer.tenant,
    viewer,
    async rows<T extends Row>(sql: ScopedSql, limits: QueryLimits = PAGE_LIMITS) {
      try {
        const rows = await store.query<T>(allowed(sql, false), limits, signal);
        access.got(rows.length);
        return rows;
      } catch (error) {
        throw failed(error);
      }
    },
    async columns(sql: ScopedSql, limits: QueryLimits = PAGE_LIMITS) {
      try {
        const columns = await store.columns(allowed(sql, false), limits, signal);
        const [first] = Object.values(columns);
        access.got(first?.length ?? 0);
        return { columns, rows: first?.length ?? 0 };
      } catch (error) {
        throw failed(error);
      }
    },
    stream: (sql, limits = SESSION_LIMITS) => stream(sql, limits, false),
    evidence: (sql, limits = SESSION_LIMITS) => stream(sql, limits, true),
  };
}
