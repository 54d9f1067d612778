/**
 * The statements of an erasure. Which rows change, and to what, stands in a table of its own that
 * the mutation looks into: field names and commitments only, never content. So one mutation does
 * for a whole session, and no value stands in the text of a statement or in the engine's log of it.
 */
import {
  ALERTS_TABLE,
  ALL_FIELDS,
  CONTENT_ENTITY_TYPES,
  DATABASE,
  DEAD_TABLE,
  ENTITIES_TABLE,
  EVENTS_TABLE,
  entitySelects,
} from '#schemas';
import type { Layout } from '../clickhouse/layout.ts';
import { literal } from '../stores/literal.ts';
import { CONTENT_FIELDS, type ErasureRequest } from './request.ts';

const WORK_TABLE = `${DATABASE}.erasing`;
/** On a cluster: where the work is put down, for each server to take it from. */
const SHARED_TABLE = `${DATABASE}.erasing_rows`;
/** What a dead letter says instead of its words once it is erased. */
export const ERASED_DETAIL = 'erased';
/** No event is so old (times begin in 2001), so dropping this day's partition drops nothing. */
const EMPTY_PARTITION = '19700101';

const text = (value: string): string => literal('String', value);
const list = (values: readonly string[]): string => `[${values.map(text).join(', ')}]`;
const look = (column: string): string =>
  `joinGet('${WORK_TABLE}', '${column}', toString(stream_id), seq)`;

const WORK_COLUMNS =
  '(stream_id String, seq UInt32, names Array(String), erased Map(String, String), salt String)';
const WORK_ENGINE = 'ENGINE = Join(ANY, LEFT, stream_id, seq)';

/** How the work table comes to be on each server that changes rows. */
export interface Work {
  readonly before: readonly string[];
  /** Where the rows of the work are inserted, between the two. */
  readonly table: string;
  readonly after: readonly string[];
  readonly drop: readonly string[];
}

/**
 * A mutation looks into a table of its own server, and an insert reaches one server. So on a cluster the
 * work is put into a replicated table first, and each server fills its own from that.
 */
export function workOf({ cluster, everywhere }: Layout): Work {
  const dropOf = (table: string) => `DROP TABLE IF EXISTS ${table}${everywhere} SYNC`;
  const create = `CREATE TABLE ${WORK_TABLE}${everywhere} ${WORK_COLUMNS} ${WORK_ENGINE}`;
  if (cluster === undefined)
    return { before: [create], table: WORK_TABLE, after: [], drop: [dropOf(WORK_TABLE)] };
  const place = "'/clickhouse/tables/all/telltale/erasing_rows/{uuid}', '{shard}-{replica}'";
  return {
    before: [
      `CREATE TABLE ${SHARED_TABLE}${everywhere} ${WORK_COLUMNS} ENGINE = ReplicatedMergeTree(${place}) ORDER BY (stream_id, seq)`,
    ],
    table: SHARED_TABLE,
    after: [
      `SYSTEM SYNC REPLICA${everywhere} ${SHARED_TABLE}`,
      `${create} AS SELECT * FROM ${SHARED_TABLE}`,
    ],
    drop: [dropOf(WORK_TABLE), dropOf(SHARED_TABLE)],
  };
}

/** Each replica looks into the same work, so what the engine can't know to be the same is. */
const SYNCED = 'SETTINGS mutations_sync = 2, allow_nondeterministic_mutations = 1';

const ofSession = ({ tenant, session }: ErasureRequest): string =>
  `tenant = ${text(tenant)} AND session_id = ${literal('UUID', session)}`;
const ofSessionText = ({ tenant, session }: ErasureRequest): string =>
  `tenant = ${text(tenant)} AND session_id = ${text(session)}`;

const emptied = (name: string): string =>
  `${name} = if(has(${look('names')}, '${name}'), defaultValueOfTypeName('${ALL_FIELDS[name]?.column.type}'), ${name})`;

/** Erases in `events`; `argv_line` and the indexes follow, as they are made of what changes. */
export function eraseEvents(at: Layout, request: ErasureRequest): string {
  const changes = [
    ...CONTENT_FIELDS.map(emptied),
    `erased = CAST(${look('erased')} AS Map(LowCardinality(String), String))`,
    `content_salt = ${look('salt')}`,
  ];
  return `ALTER TABLE ${at.rowsOf(EVENTS_TABLE)} UPDATE ${changes.join(', ')}
WHERE ${ofSession(request)} AND notEmpty(${look('names')}) ${SYNCED}`;
}

/** Dead letters in the scope of a request that are not erased yet. */
export function deadInScope(request: ErasureRequest): string {
  const { events } = request;
  const chosen =
    events === undefined
      ? ''
      : ` AND has(${list(events)}, concat(stream_id, '-', toString(assumeNotNull(seq))))`;
  return `${ofSessionText(request)} AND detail != ${text(ERASED_DETAIL)}${chosen}`;
}

export const eraseDead = (at: Layout, request: ErasureRequest): string =>
  `ALTER TABLE ${at.rowsOf(DEAD_TABLE)} UPDATE bytes_base64 = '', field = '', detail = ${text(ERASED_DETAIL)}
WHERE ${deadInScope(request)} SETTINGS mutations_sync = 2`;

/** What an alert repeats of the events that it is about. */
export function eraseAlerts(at: Layout, request: ErasureRequest): string {
  const { events } = request;
  const chosen = events === undefined ? '' : ` AND hasAny(event_ids, ${list(events)})`;
  return `ALTER TABLE ${at.rowsOf(ALERTS_TABLE)} UPDATE key = defaultValueOfTypeName('Map(LowCardinality(String), String)'), reason = ''
WHERE ${ofSession(request)}${chosen} SETTINGS mutations_sync = 2`;
}

/** Entities of a session that were read out of content. */
export const dropEntities = (at: Layout, request: ErasureRequest): string =>
  `ALTER TABLE ${at.rowsOf(ENTITIES_TABLE)} DELETE WHERE ${ofSession(request)} AND type IN (${CONTENT_ENTITY_TYPES.map(text).join(', ')}) SETTINGS mutations_sync = 2`;

/** Those that what is left of the session still names. */
export const refillEntities = (request: ErasureRequest): string =>
  `INSERT INTO ${ENTITIES_TABLE} ${entitySelects(`(SELECT * FROM ${EVENTS_TABLE} WHERE ${ofSession(request)})`)[1]}`;

export const TABLES = [EVENTS_TABLE, DEAD_TABLE, ALERTS_TABLE, ENTITIES_TABLE] as const;

/**
 * From here on parts that were replaced may be removed at once. A replicated table is cleared by a thread
 * of its own, which sleeps up to five minutes before it hears of this.
 */
export const keepNoOldParts = (at: Layout, table: string): string =>
  `ALTER TABLE ${at.settingsOf(table)} MODIFY SETTING old_parts_lifetime = 0${
    at.cluster === undefined ? '' : ', cleanup_delay_period = 1, max_cleanup_delay_period = 1'
  }`;
export const keepOldParts = (at: Layout, table: string): string =>
  `ALTER TABLE ${at.settingsOf(table)} RESET SETTING old_parts_lifetime${
    at.cluster === undefined ? '' : ', cleanup_delay_period, max_cleanup_delay_period'
  }`;
/** Dropping any partition, even an empty one, first clears what may be removed from the disk. */
export const clearOldParts = (at: Layout, table: string): string =>
  `ALTER TABLE ${at.rowsOf(table)} DROP PARTITION ID '${EMPTY_PARTITION}'`;
export const oldParts = (at: Layout, table: string): string => {
  const [database, name] = table.split('.') as [string, string];
  return `SELECT count() AS rows FROM ${at.system('parts')} WHERE database = ${text(database)} AND table IN (${text(name)}, ${text(`${name}_local`)}) AND NOT active`;
};
