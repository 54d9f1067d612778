/** A whole data directory: recorded, sealed, backed up, lost, put back, and judged as before. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Store } from '#schemas';
import { changeTokens, readTokens } from '../../../deploy/access/token-file.ts';
import { readManifest } from '../../../deploy/backup/manifest.ts';
import { tableFaults, tableStates } from '../../../deploy/backup/tables.ts';
import { layoutFor } from '../../../deploy/clickhouse/layout.ts';
import { backup } from '../../../deploy/commands/backup.ts';
import { restore } from '../../../deploy/commands/restore.ts';
import type { Up } from '../../../deploy/commands/up.ts';
import { trustOf } from '../../../deploy/evidence/keys.ts';
import { stageSession } from '../../../deploy/evidence/stage.ts';
import { TOOL } from '../../../deploy/evidence/tool.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { createToken } from '../../../query/access/token.ts';
import type { Report } from '../../../schemas/evidence/report.ts';
import { verifyEvidence } from '../../../schemas/evidence/verify.ts';
import { fakeLog, fakeRandom } from '../../fakes/ports.ts';
import { SESSION } from '../../query/seed.ts';
import { caught, onStore, record, TENANT, withUp } from '../data-dir.ts';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-backup-'));
const at = (name: string) => path.join(root, name);
let before: Report;
let said: ReturnType<typeof caught>;

/** The three verdicts on the session as `up` serves it, held to its log. */
async function judged(up: Up): Promise<Report> {
  const dir = fs.mkdtempSync(at('stage-'));
  const by = { at_ms: 1, by: 'test', reason: 'test' };
  const base = new URL(up.url);
  const staged = await stageSession({
    ...{ base, session: SESSION, content: 'full', tool: TOOL, by, dir },
  });
  const trust = trustOf({ 'log-key': [up.logKey], witness: [] });
  return verifyEvidence(staged.files, trust).finally(staged.files.close);
}

async function accesses(data: string): Promise<string[]> {
  const text = `SELECT operation FROM telltale.events WHERE kind = 'access' AND operation IN ('backup', 'restore') ORDER BY ts`;
  return (await onStore(data, text)).map(({ operation }) => String(operation));
}

beforeAll(async () => {
  said = caught();
  await withUp(at('data'), async (up) => {
    expect(await record(up)).toBe(200);
    before = await judged(up);
  });
  const created = new Date().toISOString();
  const { record: token } = createToken(fakeRandom(), {
    ...{ name: 'kim', tenant: TENANT, roles: ['viewer'], scopes: [], created },
  });
  changeTokens(at('data/access/tokens.json'), () => [token]);
  expect(await backup([at('full'), '--data', at('data'), '--reason', 'nightly'])).toBe(0);
}, 60_000);
afterAll(() => {
  vi.restoreAllMocks();
  fs.rmSync(root, { recursive: true, force: true });
});

describe('telltale backup and restore, embedded', () => {
  it('judges a session as before, by the same log, tokens and counts', async () => {
    expect(before.integrity.verdict).toBe('intact');
    const { manifest, sha256 } = readManifest(at('full'));
    expect(said.words()).toContain(sha256);
    expect(manifest).toMatchObject({ reason: 'nightly', engine_backup: 'store' });
    expect(manifest.log?.size).toBeGreaterThan(0);
    const told = ['--reason', 'test of the backup', '--sha256', sha256];
    expect(await restore([at('full'), '--data', at('back'), ...told])).toBe(0);
    expect(said.words()).toContain('each head of the log has its event');
    expect(readTokens(at('back/access/tokens.json')).map(({ name }) => name)).toEqual(['kim']);
    expect(await accesses(at('back'))).toEqual(['backup', 'restore']);
    const after = await withUp(at('back'), judged);
    // The journal's own head came into the log since.
    const verdicts = ({ integrity, completeness, assurance }: Report) => ({
      integrity: { ...integrity, anchor: { ...integrity.anchor, size: 0 } },
      ...{ completeness, assurance },
    });
    expect(verdicts(after)).toEqual(verdicts(before));
  }, 60_000);

  it('overwrites nothing', async () => {
    await expect(restore([at('full'), '--data', at('data')])).rejects.toThrow('is not empty');
    await expect(backup([at('full'), '--data', at('data')])).rejects.toThrow('is there already');
  });

  it('refuses a damaged backup, with what and where, and leaves nothing', async () => {
    const copy = at('damaged');
    fs.cpSync(at('full'), copy, { recursive: true });
    const files = Object.entries(readManifest(copy).manifest.files);
    const [altered, shorter, missing] = files
      .filter(([name, { bytes }]) => name.endsWith('.bin') && bytes > 100)
      .map(([name]) => name) as [string, string, string];
    const bytes = fs.readFileSync(path.join(copy, altered));
    bytes.writeUInt8((bytes[50] as number) ^ 1, 50);
    fs.writeFileSync(path.join(copy, altered), bytes);
    fs.truncateSync(path.join(copy, shorter), 10);
    fs.rmSync(path.join(copy, missing));
    fs.writeFileSync(path.join(copy, 'stranger'), 'x');
    const refused = restore([copy, '--data', at('never')]);
    const message = await refused.then(
      () => '',
      (error: Error) => error.message,
    );
    expect(message).toContain('is damaged, nothing was restored');
    expect(message).toContain(`${altered}: altered`);
    expect(message).toContain(`${shorter}: 10 bytes, and not`);
    expect(message).toContain(`${missing}: missing`);
    expect(message).toContain('stranger: not in the manifest');
    expect(fs.existsSync(at('never')) || fs.existsSync(at('never.partial'))).toBe(false);
    const other = ['--sha256', '00'.repeat(32)];
    await expect(restore([at('full'), '--check', ...other])).rejects.toThrow('has the SHA-256');
    fs.rmSync(path.join(copy, 'manifest.json'));
    await expect(restore([copy, '--check'])).rejects.toThrow('is no backup, or was not finished');
  });

  it('builds a small one on a full one, and needs both to put it back', async () => {
    const more = ['--data', at('data'), '--base', at('full')];
    expect(await backup([at('next'), ...more])).toBe(0);
    const size = (dir: string) =>
      Object.entries(readManifest(dir).manifest.files)
        .filter(([name]) => name.startsWith('store/'))
        .reduce((sum, [, { bytes }]) => sum + bytes, 0);
    expect(size(at('next'))).toBeLessThan(size(at('full')) / 2);
    const alone = restore([at('next'), '--data', at('again')]);
    await expect(alone).rejects.toThrow('say where that is, with --base DIR');
    fs.renameSync(at('full'), at('moved'));
    const both = ['--data', at('again'), '--base', at('moved')];
    expect(await restore([at('next'), ...both])).toBe(0);
    expect(await accesses(at('again'))).toEqual(['backup', 'backup', 'restore']);
    await expect(backup([at('third'), '--data', at('data'), '--base', at('next')])).rejects.toThrow(
      'give a full one',
    );
    expect(fs.existsSync(at('third.partial'))).toBe(false);
  }, 60_000);

  it('finds a row that is gone, doubled or another', async () => {
    const store: Store = await openStore(`chdb:${at('again')}`, { log: fakeLog() });
    const must = await tableStates(store, layoutFor(undefined));
    expect(tableFaults(must, must)).toEqual([]);
    const erase = 'ALTER TABLE telltale.events UPDATE user = {} WHERE seq = 1';
    await store.command(`${erase.replace('{}', "'x'")} SETTINGS mutations_sync = 1`);
    expect(tableFaults(must, await tableStates(store, layoutFor(undefined)))[0]).toContain(
      'with other content',
    );
    await store.command(
      'ALTER TABLE telltale.events DELETE WHERE seq = 1 SETTINGS mutations_sync = 1',
    );
    expect(tableFaults(must, await tableStates(store, layoutFor(undefined)))[0]).toMatch(
      /^events: \d+ rows, and not/,
    );
    await store.close();
  });
});
