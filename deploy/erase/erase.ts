/**
 * Erases content of a session from the store, for good: values, what is derived from them, search
 * indexes, and the parts on disk that held them before. What the chain covers stays, so every
 * proof stays valid, and who had what erased is recorded first.
 */

import { createHash } from 'node:crypto';
import {
  type Clock,
  DEAD_TABLE,
  ERASURES_TABLE,
  EVENTS_TABLE,
  eventId,
  fromRow,
  type QueryLimits,
  REGISTRY,
  type Row,
  type Store,
  selectEvent,
} from '#schemas';
import { type Layout, layoutOf } from '../clickhouse/layout.ts';
import {
  checkRequest,
  type ErasedRow,
  ErasureError,
  type ErasureRequest,
  erasedRow,
} from './request.ts';
import * as sql from './statements.ts';

const LIMITS: QueryLimits = {
  timeMs: 600_000,
  memoryBytesMax: 2 * 1024 ** 3,
  rowsMax: 100_000_000,
};
const INSERT_MS = 120_000;
/** Rows in one insert of the work table and of the record. */
const ROWS_AT_ONCE = 10_000;
/** How long to wait for queries to let go of parts that are to be removed, and how often to try. */
const CLEAR_TRIES_MAX = 60;
/** Replicas clear themselves, and their cleaner may be asleep for five minutes. */
const CLUSTER_CLEAR_TRIES_MAX = 400;
const CLEAR_AGAIN_MS = 1_000;

export interface Erasure {
  /** Events that lost content. */
  readonly events: number;
  /** Values that were erased, by field. */
  readonly values: Readonly<Record<string, number>>;
  readonly deadLetters: number;
}

export interface ErasureDeps {
  readonly store: Store;
  readonly clock: Clock;
}

interface DeadRow extends Row {
  readonly stream_id: string;
  readonly seq: number | null;
  readonly origin: string;
}

interface Scope {
  readonly rows: readonly ErasedRow[];
  readonly dead: readonly DeadRow[];
}

async function scopeOf(store: Store, request: ErasureRequest): Promise<Scope> {
  checkRequest(request);
  const wanted = request.events === undefined ? undefined : new Set(request.events);
  const rows = await rowsOf(store, request, wanted);
  const dead = await deadOf(store, request);
  for (const { stream_id, seq } of dead)
    if (seq !== null) wanted?.delete(eventId({ stream_id, seq }));
  const [missing] = wanted ?? [];
  if (missing !== undefined)
    throw new ErasureError(`event ${missing} is not in session ${request.session}`);
  return { rows, dead };
}

/**
 * The rows to change; those found are taken out of `wanted`. Memory grows with how many there are,
 * not with what they hold.
 */
async function rowsOf(
  store: Store,
  request: ErasureRequest,
  wanted: Set<string> | undefined,
): Promise<ErasedRow[]> {
  const { tenant, session, fields } = request;
  const text = `SELECT ${selectEvent()} FROM ${EVENTS_TABLE}
WHERE tenant = {tenant:String} AND session_id = {session:UUID}`;
  const out: ErasedRow[] = [];
  let found = 0;
  for await (const rows of store.stream<Row>({ text, params: { tenant, session } }, LIMITS))
    for (const row of rows) {
      found++;
      if (!REGISTRY.has(String(row.kind))) continue;
      const event = fromRow(row);
      if (wanted !== undefined && !wanted.delete(eventId(event))) continue;
      const change = erasedRow(event, fields);
      if (change !== undefined) out.push(change);
    }
  if (found === 0) throw new ErasureError(`no event of session ${session} is stored for ${tenant}`);
  return out;
}

async function deadOf(store: Store, request: ErasureRequest): Promise<readonly DeadRow[]> {
  const text = `SELECT stream_id, seq, origin FROM ${DEAD_TABLE} WHERE ${sql.deadInScope(request)}`;
  return await store.query<DeadRow>({ text, params: {} }, LIMITS);
}

async function insertAll(store: Store, table: string, rows: readonly object[]): Promise<void> {
  for (let at = 0; at < rows.length; at += ROWS_AT_ONCE) {
    const part = rows.slice(at, at + ROWS_AT_ONCE);
    const lines = Buffer.from(part.map((row) => `${JSON.stringify(row)}\n`).join(''));
    // The same erasure, repeated after it was cut short, is recorded once.
    const dedupToken = createHash('sha256').update(lines).digest('hex');
    await store.insert({ table, lines, rows: part.length, dedupToken, timeMs: INSERT_MS });
  }
}

/** Who had what erased, written down before it goes. */
async function record(store: Store, request: ErasureRequest, { rows, dead }: Scope): Promise<void> {
  const { tenant, session: session_id, actor, reason } = request;
  const shared = { tenant, session_id, actor, reason };
  await insertAll(store, ERASURES_TABLE, [
    ...rows.map(({ stream_id, seq, names: fields }) => ({ ...shared, stream_id, seq, fields })),
    ...dead.map(({ stream_id, seq, origin }) => ({
      ...shared,
      stream_id,
      seq,
      origin,
      fields: ['bytes_base64', 'field', 'detail'],
    })),
  ]);
}

async function countOf(store: Store, text: string): Promise<number> {
  const [row] = await store.query({ text, params: {} }, LIMITS);
  return Number(row?.rows);
}

/** Removes the parts of a table that were replaced. Rejects where queries hold them too long. */
export async function clear(
  { store, clock }: ErasureDeps,
  at: Layout,
  table: string,
): Promise<void> {
  const most = at.cluster === undefined ? CLEAR_TRIES_MAX : CLUSTER_CLEAR_TRIES_MAX;
  await store.command(sql.keepNoOldParts(at, table));
  try {
    for (let tries = 1; ; tries++) {
      await store.command(sql.clearOldParts(at, table));
      const left = await countOf(store, sql.oldParts(at, table));
      if (left === 0) return;
      if (tries === most)
        throw new Error(
          `${table}: what was erased is still in ${left} replaced parts on disk, which running queries hold; erase again later`,
        );
      await clock.sleep(CLEAR_AGAIN_MS);
    }
  } finally {
    await store.command(sql.keepOldParts(at, table));
  }
}

/** Events that still hold what they were to lose, read as they were before. */
async function refuseLeft(store: Store, request: ErasureRequest): Promise<void> {
  const left = await rowsOf(store, request, request.events && new Set(request.events));
  if (left.length > 0)
    throw new Error(`${left.length} events still hold what was to be erased from them`);
}

async function mutate(
  store: Store,
  at: Layout,
  request: ErasureRequest,
  rows: readonly ErasedRow[],
): Promise<void> {
  const work = sql.workOf(at);
  const commands = async (texts: readonly string[]) => {
    for (const text of texts) await store.command(text);
  };
  await commands(work.drop);
  await commands(work.before);
  try {
    await insertAll(store, work.table, rows);
    await commands(work.after);
    if (rows.length > 0) {
      await store.command(sql.eraseEvents(at, request));
      await store.command(sql.dropEntities(at, request));
      await store.command(sql.refillEntities(request));
      await refuseLeft(store, request);
    }
    await store.command(sql.eraseDead(at, request));
    await store.command(sql.eraseAlerts(at, request));
  } finally {
    await commands(work.drop);
  }
}

/** What an erasure would do. Rejects with `ErasureError` or `StoreError`. */
export async function planErasure(store: Store, request: ErasureRequest): Promise<Erasure> {
  return summary(await scopeOf(store, request));
}

function summary({ rows, dead }: Scope): Erasure {
  const values: Record<string, number> = {};
  for (const { names } of rows) for (const name of names) values[name] = (values[name] ?? 0) + 1;
  return { events: rows.length, values, deadLetters: dead.length };
}

/**
 * Erases. It may be repeated, also after it was cut short: what is erased already stays so. What
 * arrives while it runs is not erased. Rejects with `ErasureError` or `StoreError`.
 */
export async function eraseContent(deps: ErasureDeps, request: ErasureRequest): Promise<Erasure> {
  const { store } = deps;
  const at = await layoutOf(store);
  const scope = await scopeOf(store, request);
  await record(store, request, scope);
  await mutate(store, at, request, scope.rows);
  for (const table of sql.TABLES) await clear(deps, at, table);
  return summary(scope);
}
