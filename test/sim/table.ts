/**
 * A simulated ClickHouse, as far as ingest leans on it. What it promises, it keeps:
 *   - an insert is one block; the rows of one partition (a day) become visible together, the
 *     partitions of one block one after the other;
 *   - a token that one of the last `window` parts had, in the same partition, stores nothing;
 *   - a refused row refuses the whole insert.
 * What it does not promise: that an answer comes, or when an insert lands that was sent.
 */
import {
  DEAD_TABLE,
  EVENTS_TABLE,
  type Insert,
  type Row,
  type Sql,
  type Store,
  StoreError,
  type StoreFaultCode,
} from '#schemas';
import type { Proc, World } from './world.ts';

/** What becomes of one insert. */
export type Fate =
  | 'ok'
  /** Stored, and the answer is lost. */
  | 'lost_answer'
  /** Given up by the sender, and stored much later. */
  | 'late'
  /** The connection broke before it arrived. */
  | 'lost'
  /** The engine stops in the middle: some partitions of the block are stored. */
  | 'partial'
  | 'busy'
  | 'unreachable';

export interface StoredRow {
  readonly stream: string;
  readonly seq: number;
  readonly line: string;
  /** Which insert brought it. */
  readonly insert: number;
}

export interface TableSettings {
  /** Tokens that are remembered (`non_replicated_deduplication_window`). */
  readonly window: number;
  /** Every insert has a token of its own: a control. */
  readonly noTokens: boolean;
  /** Stored numbers are never found: a control. */
  readonly blind: boolean;
  /** An insert without an answer counts as done: a control. */
  readonly trusting: boolean;
  readonly refuse: (line: string) => boolean;
}

export interface Table {
  /** A connection of one process. */
  connect(proc: Proc, ms: () => number): Store;
  fate: () => Fate;
  /** The whole table is away: nothing connects. */
  away: boolean;
  /** The table is not there yet, or a grant is missing: a person is needed. */
  unready: boolean;
  readonly events: readonly StoredRow[];
  readonly dead: readonly Row[];
  /** Inserts that were sent and have not landed. */
  readonly flying: number;
}

const DAY_NS = 86_400_000_000_000n;
const LATE_MS_MAX = 40_000;

function linesOf(insert: Insert): string[] {
  const lines = Buffer.from(insert.lines).toString('utf8').split('\n');
  if (lines.pop() !== '' || lines.length !== insert.rows) throw new Error('malformed insert');
  return lines;
}

export function createTable(world: World, settings: TableSettings): Table {
  const dice = world.dice.fork('table');
  const events: StoredRow[] = [];
  const byStream = new Map<string, number[]>();
  const dead: Row[] = [];
  const tokens = new Map<string, Set<string>>();
  let flying = 0;
  let serial = 0;
  let inserts = 0;

  const fault = (code: StoreFaultCode, engineCode?: number) =>
    new StoreError({
      code,
      message: `simulated ${code}`,
      ...(engineCode === undefined ? {} : { engineCode }),
    });

  function isRepeated(table: string, key: string): boolean {
    const known = tokens.get(table) ?? new Set<string>();
    tokens.set(table, known);
    if (known.has(key)) return true;
    known.add(key);
    if (known.size > settings.window) known.delete(known.values().next().value as string);
    return false;
  }

  /** Rows of a block by partition, in the order in which the engine writes the parts. */
  function partsOf(table: string, lines: readonly string[]): Map<string, string[]> {
    const parts = new Map<string, string[]>();
    for (const line of lines) {
      const day =
        table === EVENTS_TABLE
          ? String(BigInt(/"ts":"(\d+)"/.exec(line)?.[1] ?? 0) / DAY_NS)
          : 'now';
      const list = parts.get(day);
      if (list === undefined) parts.set(day, [line]);
      else list.push(line);
    }
    return parts;
  }

  function land(table: string, lines: readonly string[], insert: number): void {
    for (const line of lines) {
      const row = JSON.parse(line) as Row;
      if (table === DEAD_TABLE) dead.push(row);
      else {
        const stream = String(row.stream_id);
        events.push({ stream, seq: Number(row.seq), line, insert });
        const key = keyOf(String(row.tenant), String(row.session_id), stream);
        byStream.set(key, [...(byStream.get(key) ?? []), Number(row.seq)]);
      }
    }
  }

  /** Writes the parts one after the other; `parts` of them, when it is stopped on the way. */
  function apply(insert: Insert, limit: number, done: () => void): void {
    flying++;
    const mine = ++inserts;
    const parts = [...partsOf(insert.table, linesOf(insert))].slice(0, limit);
    const token = settings.noTokens ? `${insert.dedupToken}/${serial++}` : insert.dedupToken;
    const next = () => {
      const part = parts.shift();
      if (part === undefined) {
        flying--;
        return done();
      }
      const repeated = isRepeated(insert.table, `${part[0]}/${token}`);
      if (!repeated) land(insert.table, part[1], mine);
      const what = `${part[1].length} rows ${insert.table.split('.')[1]} ${insert.dedupToken}`;
      world.trace(`table: ${repeated ? 'has already' : 'stores'} ${what}`);
      if (parts.length === 0) next();
      else world.after(dice.int(1, 4), next);
    };
    next();
  }

  function receive(insert: Insert, fate: Fate): Promise<void> {
    return new Promise((resolve, reject) => {
      if (table.away || fate === 'unreachable') return reject(fault('unreachable'));
      if (table.unready) return reject(fault('refused', 60));
      if (fate === 'busy') return reject(fault('busy', 252));
      if (fate === 'lost') return void world.after(20, () => reject(fault('unknown')));
      if (linesOf(insert).some(settings.refuse)) return reject(fault('refused', 27));
      if (fate === 'late') {
        flying++;
        world.trace(`table: ${insert.dedupToken} hangs`);
        world.after(dice.int(500, LATE_MS_MAX), () => {
          flying--;
          apply(insert, Infinity, () => {});
        });
        return void world.after(dice.int(20, 3_000), () => reject(fault('unknown')));
      }
      const limit = fate === 'partial' ? 1 : Infinity;
      apply(insert, limit, () =>
        fate === 'ok' ? resolve() : world.after(dice.int(1, 50), () => reject(fault('unknown'))),
      );
    });
  }

  function answer(sql: Sql): Row[] {
    const { tenant, session, stream } = sql.params;
    const seqs = byStream.get(keyOf(String(tenant), String(session), String(stream))) ?? [];
    if (settings.blind) return [];
    if (!sql.text.includes('row_number')) {
      if (seqs.length === 0) return [{ first: 0, last: 0, rows: 0 }];
      return [{ first: Math.min(...seqs), last: Math.max(...seqs), rows: seqs.length }];
    }
    const islands: { first: number; last: number }[] = [];
    for (const seq of [...new Set(seqs)].sort((a, b) => a - b)) {
      const tail = islands.at(-1);
      if (tail !== undefined && seq === tail.last + 1) tail.last = seq;
      else islands.push({ first: seq, last: seq });
    }
    return islands;
  }

  function connect(proc: Proc, ms: () => number): Store {
    let closed = false;
    /** There and back; the work itself happens whatever becomes of the process meanwhile. */
    const call = <T>(work: () => Promise<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        if (closed) return reject(fault('closed'));
        world.after(ms(), () =>
          work().then(
            (value) => world.after(ms(), () => resolve(value), proc),
            (error) => world.after(ms(), () => reject(error), proc),
          ),
        );
      });
    return {
      insert: (insert) => {
        const sent = call(() => receive(insert, table.fate()));
        if (!settings.trusting) return sent;
        return sent.catch((error) => {
          if (error.fault.code !== 'unknown') throw error;
        });
      },
      query: (sql) =>
        call(async () => {
          if (table.away) throw fault('unreachable');
          if (dice.chance(0.02)) throw fault('busy');
          return answer(sql) as never;
        }),
      columns: async () => ({}),
      async *stream() {},
      command: async () => {},
      ping: async () => {},
      close: async () => {
        closed = true;
      },
    };
  }

  const table: Table = {
    connect,
    fate: () => 'ok',
    away: false,
    unready: false,
    events,
    dead,
    get flying() {
      return flying;
    },
  };
  return table;
}

const keyOf = (tenant: string, session: string, stream: string) => `${tenant}/${session}/${stream}`;
