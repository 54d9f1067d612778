import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Store, StoreError } from '#schemas';
import {
  MigrationError,
  migrate,
  readMigrations,
  requireSchema,
  statementsOf,
  touchedBy,
} from '../../deploy/migrate.ts';
import { LEASE_MS, LeaseError } from '../../deploy/migrate-lease.ts';
import { systemRandom } from '../../deploy/process/clock.ts';
import { openStore } from '../../deploy/stores/open.ts';
import { fakeClock, fakeLog } from '../fakes/ports.ts';

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

  it('refuses a store that is newer than this program, and changes nothing', async () => {
    await migrate(store, { log: fakeLog(), dir: folder(TWO) });
    const old = folder({ '0001_a.sql': TWO['0001_a.sql'] });
    const newer = 'the store is newer than this program: it has 0002_c.sql#0';
    await expect(migrate(store, { log: fakeLog(), dir: old })).rejects.toThrow(newer);
    await expect(requireSchema(store, old)).rejects.toThrow(newer);
    expect(await records()).toEqual(ALL);
  });

  it('tells a service when the store is older, or as it must be', async () => {
    const two = folder(TWO);
    await expect(requireSchema(store, two)).rejects.toThrow('run "telltale migrate" first');
    await migrate(store, { log: fakeLog(), dir: folder({ '0001_a.sql': TWO['0001_a.sql'] }) });
    await expect(requireSchema(store, two)).rejects.toThrow('1 statements from 0002_c.sql on');
    await migrate(store, { log: fakeLog(), dir: two });
    await requireSchema(store, two);
  });

  it('says what a step would touch', async () => {
    const dir = folder(TWO);
    const [first] = readMigrations(dir);
    if (first === undefined) throw new Error('no step');
    const absent = { table: 'telltale.a', rows: undefined, bytes: undefined };
    expect(await touchedBy(store, first)).toEqual(absent);
    await migrate(store, { log: fakeLog(), dir });
    await store.command('INSERT INTO telltale.a SELECT number FROM numbers(7)');
    expect(await touchedBy(store, first)).toMatchObject({ table: 'telltale.a', rows: 7 });
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

describe('the lease', () => {
  const deps = (holder: string) => ({ clock: fakeClock(), random: systemRandom, holder });

  it('lets one of two migrators on, and the other find all done', async () => {
    const dir = folder(TWO);
    const ran: string[] = [];
    const watched: Store = {
      ...store,
      command: async (text) => {
        if (/TABLE IF NOT EXISTS telltale\.[abc]/.test(text)) ran.push(text);
        await store.command(text);
      },
    };
    const both = await Promise.allSettled(
      ['one', 'two'].map((holder) =>
        migrate(watched, { log: fakeLog(), dir, lease: deps(holder) }),
      ),
    );
    const refused = both.filter((one) => one.status === 'rejected');
    for (const { reason } of refused) expect(reason).toBeInstanceOf(LeaseError);
    expect(refused.length).toBeLessThan(2);
    expect(ran).toHaveLength(3);
    expect(await records()).toEqual(ALL);
    expect(await tables()).toEqual(['a', 'b', 'c', 'migrations']);
  });

  const held = async (name: string, untilMs: number) => {
    await store.command('CREATE DATABASE IF NOT EXISTS telltale ENGINE = Atomic');
    await store.command(
      `CREATE TABLE telltale.migration_lease_${name} (held UInt8) ENGINE = MergeTree ORDER BY held COMMENT '${untilMs} host-a process 7'`,
    );
  };

  it('says who has it, and takes nothing then', async () => {
    await held('00', Date.now() + LEASE_MS);
    const dir = folder(TWO);
    await expect(migrate(store, { log: fakeLog(), dir, lease: deps('late') })).rejects.toThrow(
      'another migration is running: host-a process 7; if it is dead, its lease ends in',
    );
    expect(await tables()).toEqual(['migration_lease_00', 'migrations']);
  });

  it('passes over one whose time is up', async () => {
    await held('01', Date.now() - 1);
    await migrate(store, { log: fakeLog(), dir: folder(TWO), lease: deps('next') });
    expect(await tables()).toEqual(['a', 'b', 'c', 'migrations']);
  });

  it('stops before the next step once it was lost', async () => {
    const robbed: Store = {
      ...store,
      command: async (text) => {
        await store.command(text);
        if (!text.includes('telltale.a')) return;
        const [lease] = (await tables()).filter((name) => name.startsWith('migration_lease'));
        await store.command(`DROP TABLE telltale.${lease} SYNC`);
      },
    };
    const dir = folder(TWO);
    await expect(migrate(robbed, { log: fakeLog(), dir, lease: deps('one') })).rejects.toThrow(
      'the lease was lost',
    );
    expect(await records()).toEqual(ALL.slice(0, 1));
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
