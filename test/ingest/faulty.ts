/** A store in memory that keeps the engine's promises and fails on a script of typed faults. */
import { type Insert, type Row, type Store, StoreError, type StoreFaultCode } from '#schemas';

/** What happens to one insert. `lost`: it is stored, and the answer never comes. */
export type Fate = 'ok' | 'lost' | 'late' | Exclude<StoreFaultCode, 'refused' | 'closed'>;

export interface FaultyStore extends Store {
  /** Fates of the next inserts; then all is well. */
  script: Fate[];
  /** Rows that the engine refuses, by their text. */
  refuse: (line: string) => boolean;
  /** Every row of a table, in the order of arrival, doubles included. */
  rows(table: string): Row[];
  /** Lets inserts land that were on their way when their sender gave up. */
  land(): void;
  readonly inserts: Insert[];
}

export function faultyStore(): FaultyStore {
  const tables = new Map<string, Row[]>();
  const tokens = new Set<string>();
  const flying: Insert[] = [];

  function put(insert: Insert): void {
    const token = `${insert.table} ${insert.dedupToken}`;
    if (tokens.has(token)) return;
    tokens.add(token);
    const rows = tables.get(insert.table) ?? [];
    tables.set(insert.table, rows);
    for (const line of linesOf(insert)) rows.push(JSON.parse(line));
  }

  const store: FaultyStore = {
    script: [],
    refuse: () => false,
    inserts: [],
    rows: (table) => tables.get(table) ?? [],
    land: () => flying.splice(0).forEach(put),
    async insert(insert) {
      store.inserts.push(insert);
      const fate = store.script.shift() ?? 'ok';
      if (fate === 'busy' || fate === 'unreachable' || fate === 'limit' || fate === 'unknown')
        throw new StoreError({ code: fate, message: 'scripted' });
      if (linesOf(insert).some(store.refuse))
        throw new StoreError({ code: 'refused', engineCode: 27, message: 'a row is bad' });
      if (fate === 'late') flying.push(insert);
      else put(insert);
      if (fate !== 'ok') throw new StoreError({ code: 'unknown', message: 'no answer' });
    },
    async query<T extends Row>(sql: { text: string; params: Readonly<Record<string, unknown>> }) {
      const { tenant, session, stream } = sql.params;
      const numbers = (tables.get('telltale.events') ?? [])
        .filter((r) => r.tenant === tenant && r.session_id === session && r.stream_id === stream)
        .map((row) => Number(row.seq));
      if (!sql.text.includes('row_number'))
        return [
          { first: Math.min(...numbers), last: Math.max(...numbers), rows: numbers.length },
        ] as unknown as T[];
      return [...new Set(numbers)].map((n) => ({ first: n, last: n })) as unknown as T[];
    },
    columns: async () => ({}),
    async *stream() {},
    command: async () => {},
    ping: async () => {},
    close: async () => {},
  };
  return store;
}

function linesOf(insert: Insert): string[] {
  const lines = Buffer.from(insert.lines).toString('utf8').split('\n');
  if (lines.pop() !== '') throw new Error('the last line does not end in a newline');
  if (lines.length !== insert.rows) throw new Error(`${lines.length} lines, ${insert.rows} rows`);
  return lines;
}
