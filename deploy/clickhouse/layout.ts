/**
 * Where the rows of a table are: in the table itself, or on a cluster behind Distributed ones, which can't
 * be changed. Who changes rows, settings or whole databases asks here for the name to do that by.
 */
import { DATABASE, EVENTS_TABLE, type QueryLimits, type Store } from '#schemas';
import { literal } from '../stores/literal.ts';
import { isSharded } from './cluster.ts';

const LIMITS: QueryLimits = { timeMs: 30_000, memoryBytesMax: 64 * 1024 ** 2, rowsMax: 10_000 };
/** What the engine says of a Distributed table begins with the name of its cluster. */
const DISTRIBUTED = /^Distributed\('?(\w+)'?,/;

export interface Layout {
  /** A name of `remote_servers`; undefined: one server, or an embedded engine. */
  readonly cluster: string | undefined;
  /** Behind ALTER TABLE, where rows are changed: once for each group of replicas. */
  rowsOf(table: string): string;
  /** Behind ALTER TABLE, where settings are changed: on each server. */
  settingsOf(table: string): string;
  /** A table `system.…` of all servers, to read from. */
  system(name: string): string;
  /** Behind the name in CREATE, DROP, BACKUP, …; begins with a space where it is anything. */
  readonly everywhere: string;
}

/** The layout of one server, or of a cluster by its name. */
export function layoutFor(cluster: string | undefined): Layout {
  if (cluster === undefined)
    return {
      cluster,
      rowsOf: (table) => table,
      settingsOf: (table) => table,
      system: (name) => `system.${name}`,
      everywhere: '',
    };
  const everywhere = ` ON CLUSTER ${literal('String', cluster)}`;
  const local = (table: string) =>
    isSharded(table.slice(`${DATABASE}.`.length)) ? `${table}_local` : table;
  return {
    cluster,
    // What is everywhere is one group of replicas: a change by one of them is a change by all.
    rowsOf: (table) => (local(table) === table ? table : `${local(table)}${everywhere}`),
    // Settings are each server's own, of replicated tables too.
    settingsOf: (table) => `${local(table)}${everywhere}`,
    system: (name) => `clusterAllReplicas(${literal('String', cluster)}, system.${name})`,
    everywhere,
  };
}

/** Asks a store that has been migrated. */
export async function layoutOf(store: Store): Promise<Layout> {
  const [database, name] = EVENTS_TABLE.split('.') as [string, string];
  const [row] = await store.query<{ engine: string }>(
    {
      text: 'SELECT engine_full AS engine FROM system.tables WHERE database = {d:String} AND name = {t:String}',
      params: { d: database, t: name },
    },
    LIMITS,
  );
  return layoutFor(DISTRIBUTED.exec(row?.engine ?? '')?.[1]);
}

/** How many shards a cluster has; 0 where the server does not know it. */
export async function shardsOf(store: Store, cluster: string): Promise<number> {
  const text =
    'SELECT uniqExact(shard_num) AS shards FROM system.clusters WHERE cluster = {c:String}';
  const [row] = await store.query({ text, params: { c: cluster } }, LIMITS);
  return Number(row?.shards);
}
