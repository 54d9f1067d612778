/** A server's part lies on a disk of its own; the engine is real, the HTTP before it a bridge. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Session } from 'chdb';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Store } from '#schemas';
import { takeBackup } from '../../../deploy/backup/backup.ts';
import { claimDatabase } from '../../../deploy/backup/claim.ts';
import { parsePlace, placeOf, placeText, statementOf } from '../../../deploy/backup/engine.ts';
import { readManifest } from '../../../deploy/backup/manifest.ts';
import { between, tableFaults } from '../../../deploy/backup/tables.ts';
import { layoutFor } from '../../../deploy/clickhouse/layout.ts';
import { backup } from '../../../deploy/commands/backup.ts';
import { restore } from '../../../deploy/commands/restore.ts';
import { migrate } from '../../../deploy/migrate.ts';
import { createClock } from '../../../deploy/process/clock.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { fakeLog } from '../../fakes/ports.ts';
import { insertEvents, stampStream } from '../../query/seed.ts';
import { type Bridge, startBridge } from '../stores/bridge.ts';

const LIMITS = { timeMs: 30_000, memoryBytesMax: 1e9, rowsMax: 1000 };
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-backup-server-'));
const at = (name: string) => path.join(root, name);
const said: string[] = [];
let engine: Session;
let bridge: Bridge;
let store: Store;
const events = stampStream();

beforeAll(async () => {
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => said.push(String(text)) > 0);
  vi.spyOn(process.stderr, 'write').mockImplementation(() => true);
  const config = `<clickhouse><storage_configuration><disks><vault><type>local</type><path>${at('vault')}/</path></vault></disks></storage_configuration><backups><allowed_disk>vault</allowed_disk></backups></clickhouse>`;
  fs.mkdirSync(at('vault'));
  fs.writeFileSync(at('config.xml'), config);
  engine = new Session(at('db'), { connectionArgs: [`--config-file=${at('config.xml')}`] });
  bridge = await startBridge(at('db'));
  store = await openStore(bridge.url, { log: fakeLog() });
  await migrate(store, { log: fakeLog() });
  await insertEvents(store, events);
}, 60_000);
afterAll(async () => {
  vi.restoreAllMocks();
  await store.close();
  await bridge.close();
  engine.close();
  fs.rmSync(root, { recursive: true, force: true });
});

const count = async () => {
  const text = "SELECT count() AS rows FROM telltale.events WHERE agent = 'codex'";
  const rows = await store.query<{ rows: string }>({ text, params: {} }, LIMITS).catch(() => []);
  return Number(rows[0]?.rows ?? 0);
};
const where = () => ['--store', bridge.url, '--access', at('access')];

describe('telltale backup and restore, a server', () => {
  it('has the engine put its part on a disk, and put it back', async () => {
    const recorded = await count();
    expect(recorded).toBeGreaterThan(5);
    await expect(backup([at('none'), ...where()])).rejects.toThrow('--to disk:NAME');
    expect(await backup([at('one'), ...where(), '--to', 'disk:vault'])).toBe(0);
    const { manifest } = readManifest(at('one'));
    expect(manifest.engine_backup).toMatch(
      /^Disk\('vault', 'telltale-backup-\d{14}-[0-9a-f]{8}'\)$/,
    );
    expect(fs.readdirSync(at('vault'))).toHaveLength(1);
    await expect(restore([at('one'), ...where()])).rejects.toThrow('is not empty');
    const over = restore([at('one'), '--store', bridge.url]);
    await expect(over).rejects.toThrow('has a database telltale already');
    expect(await count()).toBe(recorded);
    await store.command('DROP DATABASE telltale SYNC');
    expect(await restore([at('one'), '--store', bridge.url, '--access', at('access2')])).toBe(0);
    expect(await count()).toBe(recorded);
  }, 60_000);

  it('says in the engine’s words that its part is gone, and leaves nothing', async () => {
    await store.command('DROP DATABASE telltale SYNC');
    fs.renameSync(at('vault'), at('elsewhere'));
    fs.mkdirSync(at('vault'));
    const gone = restore([at('one'), '--store', bridge.url, '--access', at('access3')]);
    await expect(gone).rejects.toThrow(/RESTORE ended with RESTORE_FAILED: .*not found/);
    expect(await count()).toBe(0);
    expect(fs.existsSync(at('access3'))).toBe(false);
    fs.rmSync(at('vault'), { recursive: true });
    fs.renameSync(at('elsewhere'), at('vault'));
    expect(await restore([at('one'), '--store', bridge.url, '--access', at('access3')])).toBe(0);
  }, 60_000);

  it('takes away the database that it made, and never another', async () => {
    const one = layoutFor(undefined);
    await expect(claimDatabase(store, one, 'a')).rejects.toThrow('has a database telltale already');
    await store.command('DROP DATABASE telltale SYNC');
    const claim = await claimDatabase(store, one, 'a');
    await expect(migrate(store, { log: fakeLog() })).rejects.toThrow(
      /is being restored \("telltale restore a"\)/,
    );
    await store.command('DROP DATABASE telltale SYNC');
    await migrate(store, { log: fakeLog() });
    await insertEvents(store, events);
    expect(await claim.drop()).toBe(false);
    expect(await count()).toBeGreaterThan(5);
    await store.command('DROP DATABASE telltale SYNC');
    const again = await claimDatabase(store, one, 'b');
    expect(await again.drop()).toBe(true);
    expect(await restore([at('one'), '--store', bridge.url, '--access', at('access5')])).toBe(0);
    const comment = "SELECT comment FROM system.databases WHERE name = 'telltale'";
    expect(await store.query({ text: comment, params: {} }, LIMITS)).toEqual([{ comment: '' }]);
  }, 60_000);

  it.each(['the engine writes'])(
    'leaves nothing when it is stopped while %s',
    async (phase) => {
      const abort = new AbortController();
      const tell = (what: string) => what.startsWith(phase) && abort.abort(new Error('stopped'));
      const place = placeOf('disk:vault', `stopped-${phase.length}`);
      const taken = takeBackup(
        {
          ...{ dir: at('stopped'), store, log: fakeLog(), clock: createClock(), place, tell },
          ...{ access: at('access4'), tenant: 'acme', by: { actor: 'kim', reason: 'test' } },
          id: `stopped-${phase.length}`,
        },
        abort.signal,
      );
      await expect(taken).rejects.toThrow();
      expect(fs.existsSync(at('stopped')) || fs.existsSync(at('stopped.partial'))).toBe(false);
    },
    30_000,
  );
});

describe('the statements', () => {
  it('hold names and paths as literals', () => {
    const place = { type: 'file', path: "/a'b\\c" } as const;
    expect(statementOf({ verb: 'BACKUP', place, id: 'x', at: layoutFor(undefined) })).toBe(
      "BACKUP DATABASE telltale TO File('/a\\'b\\\\c') SETTINGS id = 'x' ASYNC",
    );
    const s3 = placeOf('s3:vault', 'n-1');
    if (s3 === undefined) throw new Error('no place');
    expect(
      statementOf({ verb: 'RESTORE', place: s3, base: place, id: 'x', at: layoutFor('c') }),
    ).toBe(
      "RESTORE DATABASE telltale ON CLUSTER 'c' FROM S3(vault, 'n-1') SETTINGS id = 'x', base_backup = File('/a\\'b\\\\c'), allow_different_database_def = true ASYNC",
    );
    for (const one of [s3, placeOf('disk:vault', 'n-1') ?? s3])
      expect(parsePlace(placeText(one))).toEqual(one);
  });

  it.each(['disk:', 'disk:a b', "s3:x')", 'tape:x', 'disk'])('refuses the place %s', (text) => {
    expect(placeOf(text, 'n')).toBeUndefined();
  });

  it.each(["File('/etc')", "S3('http://h', 'n')", "Disk('a', 'n') SETTINGS x = 1", ''])(
    'takes no place from a manifest that it did not write: %s',
    (text) => expect(() => parsePlace(text)).toThrow('names no place'),
  );
});

describe('tables that are written to meanwhile', () => {
  it('have bounds instead of a digest', () => {
    const states = between(
      { a: { rows: 1, digest: '1' }, b: { rows: 2, digest: '2' } },
      { a: { rows: 1, digest: '1' }, b: { rows: 5, digest: '7' }, c: { rows: 1, digest: '1' } },
    );
    expect(states).toEqual({
      a: { rows: 1, digest: '1' },
      b: { rows: 2, rows_max: 5 },
      c: { rows: 0, rows_max: 1 },
    });
    const are = (rows: number) => ({ ...states, a: { rows: 1, digest: '1' }, b: { rows } });
    expect(tableFaults(states, are(3))).toEqual([]);
    expect(tableFaults(states, are(6))).toEqual(['b: 6 rows, and not 2 to 5']);
    expect(tableFaults({ z: { rows: 1 } }, {})).toEqual(['z: there is no such table']);
  });
});
