/** What the tables hold, as counts and digests that do not depend on the order of rows or merges. */
import { DATABASE, MIGRATIONS_TABLE, type QueryLimits, type Store } from '#schemas';
import type { Layout } from '../clickhouse/layout.ts';
import type { TableState } from './manifest.ts';

const LIMITS: QueryLimits = {
  timeMs: 3_600_000,
  memoryBytesMax: 3 * 1024 ** 3,
  rowsMax: 100_000,
};
/** Tables whose rows of one key are merged at some time: they are read as if that were done. */
const MERGING = /^(?:Replicated|Shared)?(?:Aggregating|Summing|Replacing)MergeTree$/;
const MERGE_TREE = /MergeTree$/;

/**
 * What there is to count: tables with the engine that holds their rows. On a cluster a sharded one is read
 * through its Distributed, and called by that name.
 */
async function readable(store: Store, { cluster }: Pick<Layout, 'cluster'>) {
  const text =
    'SELECT name, engine FROM system.tables WHERE database = {database:String} ORDER BY name';
  const params = { database: DATABASE };
  const rows = await store.query<{ name: string; engine: string }>({ text, params }, LIMITS);
  const engines = new Map(rows.map(({ name, engine }) => [name, engine]));
  return [...engines].flatMap(([name, own]) => {
    const below = cluster === undefined ? undefined : engines.get(`${name}_local`);
    const isBelow = cluster !== undefined && engines.has(name.replace(/_local$/, ''));
    const engine = below ?? own;
    if (!MERGE_TREE.test(engine) || !/^\w+$/.test(name)) return [];
    return name.endsWith('_local') && isBelow ? [] : [{ name, engine }];
  });
}

/** Rows and digest of each table; the record of migrations too. */
export async function tableStates(
  store: Store,
  at: Pick<Layout, 'cluster'>,
  signal?: AbortSignal,
): Promise<Record<string, TableState>> {
  const states: Record<string, TableState> = {};
  for (const { name, engine } of await readable(store, at)) {
    const final = MERGING.test(engine) ? ' FINAL' : '';
    const hash = "sumWithOverflow(sipHash64(formatRowNoNewline('RowBinary', *)))";
    const [row] = await store.query<{ rows: string; digest: string }>(
      {
        text: `SELECT count() AS rows, toString(${hash}) AS digest FROM ${DATABASE}.${name}${final}`,
        params: {},
      },
      LIMITS,
      signal,
    );
    states[name] = { rows: Number(row?.rows), digest: row?.digest ?? '0' };
  }
  return states;
}

/** One state out of those before and after: exact where nothing was written meanwhile. */
export function between(
  before: Readonly<Record<string, TableState>>,
  after: Readonly<Record<string, TableState>>,
): Record<string, TableState> {
  const states = Object.entries(after).map(([name, now]): [string, TableState] => {
    const then = before[name];
    if (then?.digest === now.digest && then?.rows === now.rows) return [name, now];
    return [name, { rows: Math.min(then?.rows ?? 0, now.rows), rows_max: now.rows }];
  });
  return Object.fromEntries(states);
}

/** Where tables are not what a manifest says, in words. */
export function tableFaults(
  must: Readonly<Record<string, TableState>>,
  are: Readonly<Record<string, TableState>>,
): string[] {
  return Object.entries(must).flatMap(([name, { rows, digest, rows_max: most = rows }]) => {
    const is = are[name];
    if (is === undefined) return [`${name}: there is no such table`];
    if (is.rows < rows || is.rows > most)
      return [`${name}: ${is.rows} rows, and not ${most === rows ? rows : `${rows} to ${most}`}`];
    if (digest !== undefined && is.digest !== digest)
      return [`${name}: ${rows} rows as there must be, with other content`];
    return [];
  });
}

/** The newest applied step of a migration, by its name. */
export async function schemaOf(store: Store): Promise<string> {
  const text = `SELECT concat(migration, '#', toString(statement)) AS step FROM ${MIGRATIONS_TABLE} ORDER BY migration DESC, statement DESC LIMIT 1`;
  const [row] = await store.query<{ step: string }>({ text, params: {} }, LIMITS);
  return row?.step ?? '';
}

export async function engineVersion(store: Store): Promise<string> {
  const text = 'SELECT version() AS version';
  const [row] = await store.query<{ version: string }>({ text, params: {} }, LIMITS);
  return row?.version ?? '';
}
