/** A real embedded engine with the project's tables, one for a test file. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import {
  type Draft,
  EVENTS_TABLE,
  fromRow,
  type QueryLimits,
  type Row,
  rowOf,
  type Store,
  selectEvent,
  type TelltaleEvent,
} from '#schemas';
import { migrate } from '../../deploy/migrate.ts';
import { openStore } from '../../deploy/stores/open.ts';
import { fakeLog } from '../fakes/ports.ts';

export const LIMITS: QueryLimits = { timeMs: 20_000, memoryBytesMax: 2e9, rowsMax: 1_000_000 };

/** The engine of this test file, opened and migrated before its tests. */
export function useEngine(): { readonly store: Store; readonly dir: string } {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-ingest-'));
  let store: Store;
  beforeAll(async () => {
    store = await openStore(`chdb:${dir}`, { log: fakeLog() });
    await migrate(store, { log: fakeLog() });
  });
  afterAll(async () => {
    await store.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });
  return {
    dir,
    get store() {
      return store;
    },
  };
}

/** All events of a stream as they come back from the table, doubles included. */
export async function eventsOf(store: Store, streamId: string): Promise<TelltaleEvent[]> {
  const text = `SELECT ${selectEvent()} FROM ${EVENTS_TABLE} WHERE stream_id = {id:UUID} ORDER BY seq`;
  const rows = await store.query({ text, params: { id: streamId } }, LIMITS);
  return rows.map((row) => fromRow(rowOf(row)));
}

/** The numbers that the table holds of a stream, doubles included. */
export async function seqsOf(store: Store, streamId: string): Promise<number[]> {
  const text = `SELECT seq FROM ${EVENTS_TABLE} WHERE stream_id = {id:UUID} ORDER BY seq`;
  const rows = await store.query({ text, params: { id: streamId } }, LIMITS);
  return rows.map((row) => Number(row.seq));
}

/** The dead letters of a session, oldest first. */
export async function deadOf(store: Store, sessionId: string): Promise<readonly Row[]> {
  const text = `SELECT * FROM telltale.dead_letters WHERE session_id = {id:String} ORDER BY seq, origin`;
  return store.query({ text, params: { id: sessionId } }, LIMITS);
}

let streams = 0;

export interface TestStream {
  readonly tenant: string;
  readonly session_id: string;
  readonly stream_id: string;
  /** Event number `seq`; `more` overrides fields. */
  event(seq: number, more?: Partial<Draft> & object): TelltaleEvent;
  events(first: number, last: number): TelltaleEvent[];
}

/** A stream that no other test has. */
export function newStream(tenant = 'default'): TestStream {
  const n = (++streams).toString(16).padStart(12, '0');
  const session_id = `0193a5e0-0000-7000-8000-${n}`;
  const stream_id = `0193a5e1-0000-7000-8000-${n}`;
  const event = (seq: number, more: object = {}): TelltaleEvent => ({
    tenant,
    session_id,
    stream_id,
    seq,
    kind: 'file',
    ts: `17640000000${String(seq).padStart(8, '0')}`,
    observed_ts: `17640000000${String(seq).padStart(8, '0')}`,
    source: 'seccomp',
    assurance: 'observed',
    pid: 42,
    file_op: 'create',
    file_path: `/work/f${seq}`,
    ...more,
  });
  const events = (first: number, last: number) =>
    Array.from({ length: last - first + 1 }, (_, i) => event(first + i));
  return { tenant, session_id, stream_id, event, events };
}
