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
import { literal } from '../stores/literal.ts';
import { CONTENT_FIELDS, type ErasureRequest } from './request.ts';

export const WORK_TABLE = `${DATABASE}.erasing`;
/** What a dead letter says instead of its words once it is erased. */
export const ERASED_DETAIL = 'erased';
/** No event is so old (times begin in 2001), so dropping this day's partition drops nothing. */
const EMPTY_PARTITION = '19700101';

const text = (value: string): string => literal('String', value);
const list = (values: readonly string[]): string => `[${values.map(text).join(', ')}]`;
const look = (column: string): string =>
  `joinGet('${WORK_TABLE}', '${column}', toString(stream_id), seq)`;

export const createWork = `CREATE TABLE ${WORK_TABLE} (
  stream_id String, seq UInt32, names Array(String), erased Map(String, String), salt String
) ENGINE = Join(ANY, LEFT, stream_id, seq)`;

export const dropWork = `DROP TABLE IF EXISTS ${WORK_TABLE} SYNC`;

const ofSession = ({ tenant, session }: ErasureRequest): string =>
  `tenant = ${text(tenant)} AND session_id = ${literal('UUID', session)}`;
const ofSessionText = ({ tenant, session }: ErasureRequest): string =>
  `tenant = ${text(tenant)} AND session_id = ${text(session)}`;

const emptied = (name: string): string =>
  `${name} = if(has(${look('names')}, '${name}'), defaultValueOfTypeName('${ALL_FIELDS[name]?.column.type}'), ${name})`;

/** Erases in `events`; `argv_line` and the indexes follow, as they are made of what changes. */
export function eraseEvents(request: ErasureRequest): string {
  const changes = [
    ...CONTENT_FIELDS.map(emptied),
    `erased = CAST(${look('erased')} AS Map(LowCardinality(String), String))`,
    `content_salt = ${look('salt')}`,
  ];
  return `ALTER TABLE ${EVENTS_TABLE} UPDATE ${changes.join(', ')}
WHERE ${ofSession(request)} AND notEmpty(${look('names')}) SETTINGS mutations_sync = 1`;
}

/** How many rows still hold a value that they were to lose. */
export function leftOver(request: ErasureRequest): string {
  const held = CONTENT_FIELDS.map(
    (name) => `has(${look('names')}, '${name}') AND notEmpty(${name})`,
  );
  return `SELECT count() AS rows FROM ${EVENTS_TABLE} WHERE ${ofSession(request)} AND (${held.join(' OR ')})`;
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

export const eraseDead = (request: ErasureRequest): string =>
  `ALTER TABLE ${DEAD_TABLE} UPDATE bytes_base64 = '', field = '', detail = ${text(ERASED_DETAIL)}
WHERE ${deadInScope(request)} SETTINGS mutations_sync = 1`;

/** What an alert repeats of the events that it is about. */
export function eraseAlerts(request: ErasureRequest): string {
  const { events } = request;
  const chosen = events === undefined ? '' : ` AND hasAny(event_ids, ${list(events)})`;
  return `ALTER TABLE ${ALERTS_TABLE} UPDATE key = defaultValueOfTypeName('Map(LowCardinality(String), String)'), reason = ''
WHERE ${ofSession(request)}${chosen} SETTINGS mutations_sync = 1`;
}

/** Entities of a session that were read out of content. */
export const dropEntities = (request: ErasureRequest): string =>
  `ALTER TABLE ${ENTITIES_TABLE} DELETE WHERE ${ofSession(request)} AND type IN (${CONTENT_ENTITY_TYPES.map(text).join(', ')}) SETTINGS mutations_sync = 1`;

/** Those that what is left of the session still names. */
export const refillEntities = (request: ErasureRequest): string =>
  `INSERT INTO ${ENTITIES_TABLE} ${entitySelects(`(SELECT * FROM ${EVENTS_TABLE} WHERE ${ofSession(request)})`)[1]}`;

export const TABLES = [EVENTS_TABLE, DEAD_TABLE, ALERTS_TABLE, ENTITIES_TABLE] as const;

/** From here on parts that were replaced may be removed at once. */
export const keepNoOldParts = (table: string): string =>
  `ALTER TABLE ${table} MODIFY SETTING old_parts_lifetime = 0`;
export const keepOldParts = (table: string): string =>
  `ALTER TABLE ${table} RESET SETTING old_parts_lifetime`;
/** Dropping any partition, even an empty one, first clears what may be removed from the disk. */
export const clearOldParts = (table: string): string =>
  `ALTER TABLE ${table} DROP PARTITION ID '${EMPTY_PARTITION}'`;
export const oldParts = (table: string): string => {
  const [database, name] = table.split('.') as [string, string];
  return `SELECT count() AS rows FROM system.parts WHERE database = '${database}' AND table = '${name}' AND NOT active`;
};
