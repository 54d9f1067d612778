import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { signerOf } from '#schemas';
import { readTokens } from '../../../deploy/access/token-file.ts';
import { keys } from '../../../deploy/commands/keys.ts';
import { token } from '../../../deploy/commands/token.ts';
import { lockDir } from '../../../deploy/process/lock.ts';
import { redactionKey } from '../../../deploy/redaction.ts';
import { caught } from '../data-dir.ts';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-keys-'));
const dir = path.join(root, 'tlog');
const old = signerOf('example.com/log', 1, Buffer.alloc(32, 1));
let said: ReturnType<typeof caught>;
beforeAll(() => {
  said = caught();
  fs.mkdirSync(dir);
  fs.writeFileSync(path.join(dir, 'log.key'), `${old.text}\n`, { mode: 0o600 });
});
afterAll(() => {
  vi.restoreAllMocks();
  fs.rmSync(root, { recursive: true, force: true });
});

describe('telltale keys', () => {
  it('lists, rotates and retires a log’s key, and prints no secret', async () => {
    expect(await keys(['rotate', 'log', '--dir', dir])).toBe(0);
    const [, vkey] = /new log key: (\S+)/.exec(said.words()) ?? [];
    expect(await keys(['list', '--dir', dir, '--spool', root])).toBe(0);
    const listed = said.words();
    expect(listed).toContain(`log  current   ${vkey}`);
    expect(listed).toContain(`log  previous  ${old.verifier.text}`);
    const secret = fs.readFileSync(path.join(dir, 'log.key'), 'utf8').trim();
    expect(listed).not.toContain(secret);
    expect(fs.statSync(path.join(dir, 'log.key')).mode & 0o777).toBe(0o600);
    expect(fs.statSync(path.join(dir, 'log.key.previous')).mode & 0o777).toBe(0o600);
    expect(await keys(['retire', 'log', '--dir', dir])).toBe(0);
    expect(said.words()).toContain('1 previous log keys sign no more');
    expect(fs.existsSync(path.join(dir, 'log.key.previous'))).toBe(false);
  });

  it('leaves a log alone that is in use, and says what it wants', async () => {
    const unlock = lockDir(dir);
    await expect(keys(['rotate', 'log', '--dir', dir])).rejects.toThrow('in use');
    unlock();
    await expect(keys(['rotate', 'witness', '--dir', dir])).rejects.toThrow('no such key');
    await expect(keys(['rotate', 'constructor', '--dir', dir])).rejects.toThrow('list, rotate');
  });

  it('moves the redaction key aside', async () => {
    const spool = path.join(root, 'spool');
    await expect(keys(['rotate', 'redaction', '--spool', spool])).rejects.toThrow('no such key');
    const before = redactionKey(spool);
    expect(await keys(['rotate', 'redaction', '--spool', spool])).toBe(0);
    expect(redactionKey(spool).equals(before)).toBe(false);
    const [kept = ''] = fs.readdirSync(spool).filter((name) => name.startsWith('redaction.key.'));
    expect(fs.readFileSync(path.join(spool, kept)).equals(before)).toBe(true);
  });
});

describe('telltale token rotate', () => {
  it('gives the same rights, and the old one an end', async () => {
    const file = path.join(root, 'tokens.json');
    const flags = ['--file', file];
    await token(['create', '--name', 'kim', '--role', 'admin', '--expires', 'never', ...flags]);
    const [one] = readTokens(file);
    await token(['rotate', one?.id ?? '', '--overlap', '2h', ...flags]);
    const [before, after] = readTokens(file);
    expect(after).toMatchObject({ name: 'kim', roles: ['admin'], tenant: one?.tenant });
    const left = Date.parse(before?.expires ?? '') - Date.now();
    expect(left).toBeGreaterThan(7_100_000);
    expect(left).toBeLessThanOrEqual(7_200_000);
    await token(['revoke', one?.id ?? '', ...flags]);
    await expect(token(['rotate', one?.id ?? '', ...flags])).rejects.toThrow('or it is revoked');
    await expect(token(['rotate', 'x', ...flags])).rejects.toThrow('there is no token "x"');
  });
});
