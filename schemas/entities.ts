/**
 * Entities: what sessions have in common with one another, and so what an investigator pivots on.
 * `entities` holds a row for each value in each session, filled by a view as events are stored; its
 * aggregates (first, last) may be applied twice, so a repeated insert can't make it lie.
 *
 * Which entities a row holds is said once, as stages of SQL: the views and the queries over one
 * session run the same. What is read out of command lines is in `entity-words.ts`.
 */
import { type Stage, WORD_STAGES } from './entity-words.ts';
import { DATABASE, EVENTS_TABLE } from './table.ts';

export const ENTITIES_TABLE = `${DATABASE}.entities`;

/** One sort of entity that is stored. */
interface EntityType {
  readonly doc: string;
  /** Taken from a person's words or data, so it is erased with them and needs the same leave. */
  readonly content?: true;
}

/** The stored sorts. */
export const ENTITY_TYPES = {
  host: { doc: 'Name of a host that was looked up or connected to.' },
  domain: {
    doc: 'Registrable domain of such a host, as the engine’s list of public suffixes has it; of an address or a single label none.',
  },
  ip: { doc: 'Address that was connected to.' },
  path: { doc: 'Path of a file.' },
  sha256: { doc: 'SHA-256 of a file’s content.' },
  exe: { doc: 'Path of a program that ran.' },
  tool: { doc: 'Name of a tool that was called.' },
  mcp_server: { doc: 'MCP server that served a tool.' },
  package: {
    doc: 'Package that was installed, by its package URL without the version: pkg:npm/left-pad.',
    content: true,
  },
  git_remote: {
    doc: 'Git remote on a command line, without scheme, account and ".git": github.com/org/repo.',
    content: true,
  },
} as const satisfies Readonly<Record<string, EntityType>>;
export type StoredEntityType = keyof typeof ENTITY_TYPES;

/** Sorts that are made of content. */
export const CONTENT_ENTITY_TYPES: readonly string[] = Object.entries(ENTITY_TYPES)
  .filter(([, type]) => 'content' in type)
  .map(([name]) => name);

/**
 * The registrable domain of a host, in SQL; empty where it has none. The list of public suffixes is
 * the engine's own: suffixes of one and two labels, private ones (github.io) among them. Longer ones
 * (s3.amazonaws.com), wildcards (*.ck) and suffixes in Punycode it lacks, and gives what stands above.
 */
export const domainSql = (host: string): string =>
  `if(isIPv4String(${host}), '', cutToFirstSignificantSubdomain(lower(trimRight(${host}, '.'))))`;

/** Each sort that is read from a column of its own, or from two. */
const COLUMNS: readonly (readonly [StoredEntityType, string])[] = [
  ['host', 'net_host'],
  ['domain', domainSql('net_host')],
  ['ip', 'net_ip'],
  ['path', 'file_path'],
  ['path', 'file_target_path'],
  ['sha256', 'file_sha256'],
  ['exe', 'exe'],
  ['tool', 'tool'],
  ['mcp_server', 'mcp_server'],
];

const VALUE_TYPES = COLUMNS.map(([type]) => `'${type}'`).join(', ');
const VALUES = COLUMNS.map(([, column]) => `toString(${column})`).join(', ');

/** One row for each value of a column, from `events`. */
export const COLUMN_STAGE: Stage = {
  columns: `tenant, session_id, ts, arrayJoin(arrayZip([${VALUE_TYPES}], [${VALUES}])) AS entity, entity.1 AS type, entity.2 AS value`,
  where: "value != ''",
};

/** What the views write, from rows (tenant, session_id, ts, type, value). */
const OF_SESSION = 'tenant, type, value, session_id, min(ts) AS first_ts, max(ts) AS last_ts';

/** CREATE TABLE of the entities. */
export function entitiesTable(): string {
  return `CREATE TABLE ${ENTITIES_TABLE} (
  tenant LowCardinality(String),
  type LowCardinality(String) COMMENT 'Which sort: ${Object.keys(ENTITY_TYPES).join(', ')}.',
  value String CODEC(ZSTD(1)),
  session_id UUID CODEC(ZSTD(1)),
  first_ts SimpleAggregateFunction(min, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(1)),
  last_ts SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(1))
) ENGINE = AggregatingMergeTree
ORDER BY (tenant, type, value, session_id)
SETTINGS index_granularity = 1024`;
}

const nested = (stages: readonly Stage[], source: string): string =>
  stages.reduce(
    (from, { columns, where }) => `(SELECT ${columns}\nFROM ${from}\nWHERE ${where})`,
    source,
  );

/** The selects that fill `entities` from `events`, or from some of its rows. */
export const entitySelects = (events: string = EVENTS_TABLE): readonly [string, string] => {
  const grouped = (stages: readonly Stage[]) =>
    `SELECT ${OF_SESSION}\nFROM ${nested(stages, events)}\nGROUP BY tenant, type, value, session_id`;
  return [grouped([COLUMN_STAGE]), grouped(WORD_STAGES)];
};

/** The views that fill `entities`: of columns, and of command lines. */
export const entityViews = (): readonly [string, string] => {
  const [columns, words] = entitySelects();
  const view = (name: string, select: string) =>
    `CREATE MATERIALIZED VIEW ${ENTITIES_TABLE}_${name}_mv TO ${ENTITIES_TABLE} AS\n${select}`;
  return [view('columns', columns), view('words', words)];
};
