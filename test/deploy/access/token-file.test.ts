/** The file of tokens: its owner's alone, whole at any time, seen by running services. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { changeTokens, readTokens, watchTokens } from '../../../deploy/access/token-file.ts';
import { token } from '../../../deploy/commands/token.ts';
import { createToken } from '../../../query/access/token.ts';
import { fakeLog, fakeRandom } from '../../fakes/ports.ts';

const dirs: string[] = [];
function newFile(): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-tokens-'));
  dirs.push(dir);
  return path.join(dir, 'access', 'tokens.json');
}
afterEach(() => {
  for (const dir of dirs.splice(0)) fs.rmSync(dir, { recursive: true, force: true });
  vi.restoreAllMocks();
});

const base = {
  name: 'grafana',
  tenant: 'acme',
  roles: ['viewer'],
  scopes: [],
  created: '2026-01-01T00:00:00.000Z',
} as const;

describe('the file', () => {
  it('is its owner’s alone, is replaced whole, and is seen by who watches it', () => {
    const file = newFile();
    const log = fakeLog();
    const now = watchTokens(file, log);
    expect(now()).toEqual([]);
    const { record } = createToken(fakeRandom(), base);
    changeTokens(file, () => [record]);
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
    expect(fs.statSync(path.dirname(file)).mode & 0o777).toBe(0o700);
    expect(now()).toEqual([record]);
    expect(now()).toBe(now());
    changeTokens(file, () => []);
    expect(now()).toEqual([]);
    expect(fs.readdirSync(path.dirname(file)).sort()).toEqual(['lock', 'tokens.json']);
    fs.writeFileSync(file, '{');
    expect(now()).toEqual([]);
    expect(log.lines.map(({ event }) => event)).toEqual(['access.tokens_unreadable']);
  });

  it('is left as it was by a change that fails', () => {
    const file = newFile();
    const { record } = createToken(fakeRandom(), base);
    changeTokens(file, () => [record]);
    const before = fs.readFileSync(file, 'utf8');
    expect(() =>
      changeTokens(file, () => {
        throw new Error('no');
      }),
    ).toThrow('no');
    expect(fs.readFileSync(file, 'utf8')).toBe(before);
  });

  it('names what is wrong in it, and where', () => {
    const file = newFile();
    const { record } = createToken(fakeRandom(), base);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    const write = (tokens: unknown) =>
      fs.writeFileSync(file, JSON.stringify({ format: 'telltale-tokens/1', tokens }));
    const wrong: [object, RegExp][] = [
      [{ roles: ['root'] }, /token 1: roles/],
      [{ scopes: ['all'] }, /token 1: scopes/],
      [{ tenant: '' }, /token 1: tenant/],
      [{ sha256: 'x' }, /token 1: sha256/],
      [{ expires: 'soon' }, /token 1: expires/],
    ];
    for (const [over, message] of wrong) {
      write([{ ...record, ...over }]);
      expect(() => readTokens(file)).toThrow(message);
    }
    fs.writeFileSync(file, '[]');
    expect(() => readTokens(file)).toThrow('not a file of tokens');
  });
});

describe('telltale token', () => {
  const run = async (...args: string[]) => {
    let out = '';
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      out += text;
      return true;
    });
    vi.spyOn(process.stderr, 'write').mockImplementation(() => true);
    const code = await token(args);
    vi.restoreAllMocks();
    return { code, out };
  };

  it('creates, lists and revokes; the secret is told once', async () => {
    const file = newFile();
    const where = ['--file', file];
    const made = await run('create', '--name', 'grafana', '--tenant', 'acme', ...where);
    const secret = made.out.trim();
    expect(secret).toMatch(/^tt_[A-Za-z0-9_-]{43}$/);
    expect(fs.readFileSync(file, 'utf8')).not.toContain(secret);
    const [record] = readTokens(file);
    expect(record).toMatchObject({
      name: 'grafana',
      tenant: 'acme',
      roles: ['viewer'],
      scopes: [],
    });
    expect(Date.parse(record?.expires ?? '') - Date.now()).toBeGreaterThan(89 * 86_400_000);
    const listed = await run('list', ...where);
    expect(listed.out).toContain('grafana  acme  viewer  expires');
    expect((await run('list', '--json', ...where)).out).not.toContain(record?.sha256);
    await run('revoke', record?.id ?? '', ...where);
    expect((await run('list', ...where)).out).toContain('revoked');
  });

  it('says what is wrong with a request', async () => {
    const where = ['--file', newFile()];
    for (const [args, message] of [
      [['create'], /--name/],
      [['create', '--name', 'x', '--role', 'root'], /one of viewer/],
      [['create', '--name', 'x', '--expires', '0d'], /--expires 0d/],
      [['create', '--name', '-'], /name: 1 to 100/],
      [['revoke'], /which token/],
      [['revoke', 'nope'], /there is no token/],
      [['make'], /create, list, rotate or revoke/],
    ] as const)
      await expect(token([...args, ...where])).rejects.toThrow(message);
  });
});
