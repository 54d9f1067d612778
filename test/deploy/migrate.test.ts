import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Store, StoreError } from '#schemas';
import { MigrationError, migrate, readMigrations, statementsOf } from '../../deploy/migrate.ts';
import { openStore } from '../../deploy/stores/open.ts';
import { fakeLog } from '../fakes/ports.ts';

const LIMITS = { timeMs: 20_000, memoryBytesMax: 1e9, rowsMax: 100_000 };
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-migrate-'));
let store: Store;
let count = 0;
beforeAll(async () => {
  store = await openStore(`chdb:${root}/data`, { log: fakeLog() });
});
beforeEach(async () => {
  await store.command('DROP DATABASE IF EXISTS telltale SYNC');
});
afterAll(async () => {
  await store.close();
  fs.rmSync(root, { recursive: true, force: true });
});

/** A folder of migrations with these files. */
function folder(files: Record<string, string>): string {
  const dir = path.join(root, `m${count++}`);
  fs.mkdirSync(dir);
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(dir, name), text);
  return dir;
}

const table = (name: string) =>
  `CREATE TABLE IF NOT EXISTS telltale.${name} (n UInt32) ENGINE = MergeTree ORDER BY n`;
const TWO = { '0001_a.sql': `${table('a')}\n-- ;;\n${table('b')}\n`, '0002_c.sql': table('c') };

async function tables(): Promise<string[]> {
  const text = "SELECT name FROM system.tables WHERE database = 'telltale' ORDER BY name";
  return (await store.query<{ name: string }>({ text, params: {} }, LIMITS)).map((row) => row.name);
}

async function records(): Promise<string[]> {
  const text = 'SELECT migration, statement FROM telltale.migrations ORDER BY ALL';
  const rows = await store.query({ text, params: {} }, LIMITS);
  return rows.map((row) => `${row.migration}#${row.statement}`);
}

const ALL = ['0001_a.sql#0', '0001_a.sql#1', '0002_c.sql#0'];
const away = new StoreError({ code: 'unreachable', message: 'gone' });

/** The store, whose n-th `command` or `insert` fails: before it ran, or after. */
function failing(call: 'command' | 'insert', nth: number, when: 'before' | 'after'): Store {
  let calls = 0;
  const wrapped = async (argument: never) => {
    if (++calls !== nth) return (store[call] as (a: never) => Promise<void>)(argument);
    if (when === 'after') await (store[call] as (a: never) => Promise<void>)(argument);
    throw away;
  };
  return { ...store, [call]: wrapped };
}

describe('migrate', () => {
  it('applies each statement once, in order, and nothing the second time', async () => {
    const dir = folder(TWO);
    const first = await migrate(store, { log: fakeLog(), dir });
    expect(first.applied.map((step) => `${step.migration}#${step.statement}`)).toEqual(ALL);
    expect(await tables()).toEqual(['a', 'b', 'c', 'migrations']);
    const second = await migrate(store, { log: fakeLog(), dir });
    expect(second).toEqual({ applied: [], known: 3 });
    expect(await records()).toEqual(ALL);
  });

  it('goes on where it died, wherever that was', async () => {
    const dir = folder(TWO);
    for (const call of ['command', 'insert'] as const)
      for (const when of ['before', 'after'] as const)
        for (let nth = 1; nth <= (call === 'command' ? 5 : 3); nth++) {
          await store.command('DROP DATABASE IF EXISTS telltale SYNC');
          const dying = migrate(failing(call, nth, when), { log: fakeLog(), dir });
          await expect(dying, `${call} ${nth} ${when}`).rejects.toBe(away);
          await migrate(store, { log: fakeLog(), dir });
          expect(await records()).toEqual(ALL);
          expect(await tables()).toEqual(['a', 'b', 'c', 'migrations']);
        }
  });

  it('applies only what is new when a file is added', async () => {
    await migrate(store, { log: fakeLog(), dir: folder(TWO) });
    const dir = folder({
      ...TWO,
      '0003_more.sql': 'ALTER TABLE telltale.c ADD COLUMN IF NOT EXISTS m UInt8',
    });
    const { applied, known } = await migrate(store, { log: fakeLog(), dir });
    expect(applied.map((step) => step.migration)).toEqual(['0003_more.sql']);
    expect(known).toBe(3);
  });

  it('writes nothing in a dry run, and lists what it would do', async () => {
    const log = fakeLog();
    const { applied } = await migrate(store, { log, dir: folder(TWO), dryRun: true });
    expect(applied).toHaveLength(3);
    expect(log.lines.map((line) => line.event)).toEqual(Array(3).fill('migrate.pending'));
    expect(await tables()).toEqual([]);
  });

  it('refuses a file that was changed after it was applied, and changes nothing', async () => {
    await migrate(store, { log: fakeLog(), dir: folder(TWO) });
    const dir = folder({ ...TWO, '0002_c.sql': table('d'), '0003_e.sql': table('e') });
    await expect(migrate(store, { log: fakeLog(), dir })).rejects.toThrow(
      '0002_c.sql: statement 0 was changed after it was applied',
    );
    expect(await tables()).not.toContain('e');
  });

  it('says so when the store is newer than this program, and goes on', async () => {
    await migrate(store, { log: fakeLog(), dir: folder(TWO) });
    const log = fakeLog();
    await migrate(store, { log, dir: folder({ '0001_a.sql': TWO['0001_a.sql'] }) });
    expect(log.lines).toMatchObject([
      { level: 'warn', event: 'migrate.unknown_step', fields: { step: '0002_c.sql#0' } },
    ]);
  });

  it('names the step that the engine refuses', async () => {
    const log = fakeLog();
    const dir = folder({ '0001_x.sql': 'CREATE TABLE IF NOT EXISTS telltale.x (n Nonsense)' });
    await expect(migrate(store, { log, dir })).rejects.toMatchObject({
      fault: { code: 'refused' },
    });
    expect(log.lines).toMatchObject([
      { event: 'migrate.failed', fields: { migration: '0001_x.sql', statement: 0 } },
    ]);
    expect(await records()).toEqual([]);
  });
});

describe('readMigrations', () => {
  it('reads those of the project', () => {
    expect(readMigrations()[0]).toMatchObject({ migration: '0001_events.sql', statement: 0 });
  });

  it.each([
    ['a hole in the numbers', { '0001_a.sql': table('a'), '0003_b.sql': table('b') }, '0003_b.sql'],
    ['a wrong name', { '0001_a.sql': table('a'), 'notes.txt': '' }, 'notes.txt'],
    ['two of one number', { '0001_a.sql': table('a'), '0001_b.sql': table('b') }, '0001_b.sql'],
    ['an empty file', { '0001_a.sql': '-- nothing\n' }, 'holds no statement'],
    [
      'a statement that can’t be repeated',
      { '0001_a.sql': 'CREATE TABLE t (n UInt8) ENGINE = Memory' },
      'statement 0 can’t be run twice'.replace('’', "'"),
    ],
    ['no files', {}, 'no migrations'],
  ])('refuses %s', (_what, files, words) => {
    const dir = folder(files as Record<string, string>);
    expect(() => readMigrations(dir)).toThrow(MigrationError);
    expect(() => readMigrations(dir)).toThrow(words);
  });

  it('parts statements only at the mark', () => {
    expect(statementsOf("-- head\nA 'x;y'\n-- ;;\n\n-- why\nB\n-- ;; \nC -- ;; no\n")).toEqual([
      "A 'x;y'",
      'B',
      'C -- ;; no',
    ]);
  });
});
