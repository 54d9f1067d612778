/**
 * A store that notes the statements which it is asked, and what each of them reads: run again with the
 * engine's own count of rows and bytes.
 */
import { Session } from 'chdb';
import type { QueryLimits, Row, Sql, Store } from '#schemas';
import { bindLiterals } from '../../deploy/stores/statement.ts';

export interface Measured {
  readonly text: string;
  readonly params: Sql['params'];
  readonly rowsRead: number;
  readonly bytesRead: number;
}

export interface Recording {
  readonly store: Store;
  /** The statements since it was last asked, in the order in which they were sent. */
  take(): Sql[];
}

/** Notes statements on their way to `store`. */
export function recording(store: Store): Recording {
  const statements: Sql[] = [];
  return {
    take: () => statements.splice(0),
    store: {
      ...store,
      query: <T extends Row>(sql: Sql, limits: QueryLimits, signal?: AbortSignal) => {
        statements.push(sql);
        return store.query<T>(sql, limits, signal);
      },
      columns: (sql: Sql, limits: QueryLimits, signal?: AbortSignal) => {
        statements.push(sql);
        return store.columns(sql, limits, signal);
      },
      stream: <T extends Row>(sql: Sql, limits: QueryLimits, signal?: AbortSignal) => {
        statements.push(sql);
        return store.stream<T>(sql, limits, signal);
      },
    },
  };
}

const TABLES = ['events', 'streams', 'dead_letters', 'alerts', 'alert_states'];

/** A meter of what statements read in the store that lies in `dir`. */
export async function createReadMeter(dir: string) {
  const session = new Session(dir);
  // One part each, so that what is read does not hang on which merges have run.
  for (const table of TABLES) await session.queryAsync(`OPTIMIZE TABLE telltale.${table} FINAL`);
  return {
    async measure(sql: Sql): Promise<Measured> {
      const settings = 'use_query_condition_cache = 0';
      const result = await session.queryAsync(`${bindLiterals(sql)}\nSETTINGS ${settings}`, {
        format: 'JSON',
      });
      // The binding's own counts are of the result; these are of what was read for it.
      const { statistics } = JSON.parse(result.text()) as {
        statistics: { rows_read: number; bytes_read: number };
      };
      const { text, params } = sql;
      return { text, params, rowsRead: statistics.rows_read, bytesRead: statistics.bytes_read };
    },
    close: () => session.close(),
  };
}
