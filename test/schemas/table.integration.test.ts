/** The migrations give exactly the schema that the registry wants, in the engine's own words. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ALL_FIELDS,
  alertStatesTable,
  alertsTable,
  baselineTable,
  deadTable,
  entitiesTable,
  entityViews,
  erasuresTable,
  eventsTable,
  holdsTable,
  removalsTable,
  replaysTable,
  rowOf,
  type Store,
  selectEvent,
  streamsTable,
  streamsView,
} from '#schemas';
import { migrate } from '../../deploy/migrate.ts';
import { openStore } from '../../deploy/stores/open.ts';
import { fakeLog } from '../fakes/ports.ts';
import { differences, shapeOf } from './wanted.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-table-'));
let store: Store;
beforeAll(async () => {
  store = await openStore(`chdb:${dir}`, { log: fakeLog() });
  await store.command('CREATE DATABASE wanted ENGINE = Atomic');
  for (const statement of [
    eventsTable(),
    alertsTable(),
    alertStatesTable(),
    baselineTable(),
    deadTable(),
    entitiesTable(),
    ...entityViews(),
    replaysTable(),
    erasuresTable(),
    holdsTable(),
    removalsTable(),
    streamsTable(),
    streamsView(),
  ])
    await store.command(statement.replaceAll('telltale.', 'wanted.'));
  await migrate(store, { log: fakeLog() });
});
afterAll(async () => {
  await store.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

/** The migrated database without the table that remembers the migrations. */
async function migrated(): Promise<Map<string, string>> {
  const shape = await shapeOf(store, 'telltale');
  return new Map([...shape].filter(([name]) => !/^\w+ migrations\b/.test(name)));
}

describe('the migrated schema', () => {
  it('is the registry’s wanted state, both ways', async () => {
    // What is listed here needs a new file schemas/migrations/NNNN_*.sql (ADD COLUMN IF NOT EXISTS).
    expect(differences(await migrated(), await shapeOf(store, 'wanted'))).toEqual([]);
  });

  it('has a column for each field of the dictionary, with its type and meaning', async () => {
    const shape = await migrated();
    for (const [name, field] of Object.entries(ALL_FIELDS)) {
      const words = shape.get(`column events.${name}`);
      expect(words, name).toContain(field.column.type);
      expect(words, name).toContain(field.doc.replaceAll("'", '’'));
    }
  });

  it('differs in words when the wanted state grows, changes or shrinks', async () => {
    const want = new Map(await shapeOf(store, 'wanted'));
    want.set('column events.new_field', 'String');
    want.set('column events.pid', 'UInt64');
    want.delete('column events.ppid');
    const found = differences(await migrated(), want);
    expect(found).toHaveLength(3);
    expect(found[0]).toContain('column events.pid: migrated to: UInt32');
    expect(found[1]).toContain('column events.new_field: no migration makes it');
    expect(found[2]).toContain('column events.ppid: made by a migration');
  });
});

describe('selectEvent', () => {
  it('refuses a name that is no column', () => {
    expect(() => selectEvent(['kind', 'kind; DROP TABLE x'])).toThrow('no such column');
    expect(() => selectEvent(['constructor'])).toThrow('no such column: constructor');
  });

  it('gives times as decimal nanoseconds, and rowOf names them back', () => {
    expect(selectEvent(['kind', 'ts'])).toBe('kind, toString(toUnixTimestamp64Nano(ts)) AS ts_ns');
    expect(rowOf({ kind: 'gap', ts_ns: '1', duration_ns: '5' })).toEqual({
      kind: 'gap',
      ts: '1',
      duration_ns: '5',
    });
  });
});
