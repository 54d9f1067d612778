/**
 * The statements of a migration, as a cluster of shards and replicas has them. They are made from the
 * same files as a single server's, so that the two can't drift; see README.md for why each is so.
 *
 *   sharded      CREATE TABLE t          -> t_local, ReplicatedMergeTree, and t, Distributed over it
 *   everywhere   CREATE TABLE t          -> t, one replication group over all servers
 *   any          CREATE … VIEW v TO t    -> v from and into the local tables, on each server
 *                ALTER TABLE t           -> t_local, and t is made anew after it
 */
import { UsageError } from '../process/lifecycle.ts';

/** Large, and asked by session: a session's rows are on one shard. */
const SHARDED = ['events', 'dead_letters', 'streams', 'entities', 'alerts'] as const;
/** Small, and looked up from queries on every shard. */
const EVERYWHERE = [
  'migrations',
  'erasures',
  'dead_replays',
  'alert_states',
  'baseline',
  'holds',
  'removals',
] as const;

/** Whether a table, named without its database, has each row on one shard alone. */
export const isSharded = (table: string): boolean => (SHARDED as readonly string[]).includes(table);
const isKnown = (table: string) =>
  isSharded(table) || (EVERYWHERE as readonly string[]).includes(table);

/** Repeats are known for as long as Kafka may keep what is repeated. */
const WINDOW_SECONDS = 7 * 24 * 3600;
const WINDOW_TOKENS = 10_000;
const SHARD_KEY = 'sipHash64(session_id)';

const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;
const DATABASE = /^CREATE DATABASE IF NOT EXISTS telltale\b/;
const TABLE = /^CREATE TABLE IF NOT EXISTS telltale\.(\w+)/;
const VIEW = /^CREATE MATERIALIZED VIEW IF NOT EXISTS telltale\.\w+/;
const ALTER = /^ALTER TABLE telltale\.(\w+)/;
const DROP_VIEW = /^DROP VIEW IF EXISTS telltale\.\w+/;
const FILL = /^INSERT INTO telltale\.(\w+)/;
const ENGINE = /\) ENGINE = (\w*)MergeTree(?:\((\w+)\))?/;
const OWN_WINDOW = /non_replicated_deduplication_window = \d+/;

/** A statement that this file has no form for; a new sort of migration needs one here. */
export class ClusterError extends Error {
  override readonly name = 'ClusterError';
}

const localOf = (text: string): string =>
  text.replace(/\btelltale\.(\w+)/g, (whole, table: string) =>
    isSharded(table) ? `${whole}_local` : whole,
  );

function onCluster(text: string, head: RegExp, cluster: string): string {
  return text.replace(head, (found) => `${found} ON CLUSTER '${cluster}'`);
}

/** The table that services name: made anew where the one below it was changed. */
function distributed(table: string, cluster: string): string {
  return `CREATE OR REPLACE TABLE telltale.${table} ON CLUSTER '${cluster}' AS telltale.${table}_local
ENGINE = Distributed('${cluster}', 'telltale', '${table}_local', ${SHARD_KEY})`;
}

/** Engine and window of a table that is replicated: for itself by shard, or as one group. */
function replicated(text: string, table: string): string {
  const place = isSharded(table)
    ? `'/clickhouse/tables/{shard}/telltale/${table}', '{replica}'`
    : `'/clickhouse/tables/all/telltale/${table}', '{shard}-{replica}'`;
  const engine = (_: string, kind: string, column?: string) =>
    `) ENGINE = Replicated${kind}MergeTree(${[place, ...(column === undefined ? [] : [column])].join(', ')})`;
  const window = `replicated_deduplication_window = ${WINDOW_TOKENS}, replicated_deduplication_window_seconds = ${WINDOW_SECONDS}`;
  return text.replace(ENGINE, engine).replace(OWN_WINDOW, window);
}

function createTable(text: string, table: string, cluster: string): readonly string[] {
  if (!isKnown(table))
    throw new ClusterError(
      `telltale.${table}: say in deploy/clickhouse/cluster.ts whether it is sharded or everywhere`,
    );
  const own = onCluster(localOf(replicated(text, table)), /telltale\.\w+/, cluster);
  return isSharded(table) ? [own, distributed(table, cluster)] : [own];
}

/**
 * One statement of a migration as those that bring a cluster to the same state; each may be repeated.
 * Throws a `ClusterError` for a statement that has no form here.
 */
export function clusterStatements(text: string, cluster: string): readonly string[] {
  if (!NAME.test(cluster))
    throw new UsageError(`--cluster ${JSON.stringify(cluster)}: give a name of remote_servers`);
  const [, created] = TABLE.exec(text) ?? [];
  if (created !== undefined) return createTable(text, created, cluster);
  const [, altered] = ALTER.exec(text) ?? [];
  if (altered !== undefined) {
    const own = onCluster(localOf(text), /^ALTER TABLE telltale\.\w+/, cluster);
    return isSharded(altered) ? [own, distributed(altered, cluster)] : [own];
  }
  if (VIEW.test(text)) return [onCluster(localOf(text), VIEW, cluster)];
  if (DATABASE.test(text)) return [onCluster(text, DATABASE, cluster)];
  if (DROP_VIEW.test(text)) return [onCluster(text, DROP_VIEW, cluster)];
  // What fills a table reads and writes through the Distributed ones, so each row goes to its shard.
  if (FILL.test(text)) return [text];
  throw new ClusterError(`no form for a cluster: ${text.slice(0, 80)}`);
}

/** Tables that hold rows of a tenant, by the names that a row policy of a cluster must name. */
export const TENANT_TABLES: readonly string[] = [
  ...SHARDED.flatMap((table) => [table, `${table}_local`]),
  ...EVERYWHERE.filter((table) => table !== 'migrations'),
];
