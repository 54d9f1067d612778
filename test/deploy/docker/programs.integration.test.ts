/** The health checks and the maker of secrets, run as programs; the accounts; the password's file. */
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import type net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { readTokens } from '../../../deploy/access/token-file.ts';
import { serviceLog } from '../../../deploy/process/log.ts';
import { storeUrl } from '../../../deploy/settings.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { findToken } from '../../../query/access/token.ts';

const root = path.resolve(import.meta.dirname, '../../..');
const run = promisify(execFile);
const program = (name: string, ...args: string[]) =>
  run(process.execPath, [path.join(root, 'deploy/docker', name), ...args]);

const log = serviceLog('test', 'error');

let dir: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-docker-'));
});
afterEach(() => {
  fs.rmSync(dir, { recursive: true, force: true });
  vi.unstubAllEnvs();
});

describe('health.mjs', () => {
  it('says whether the service beside it is ready, and why it is not', async () => {
    const answers = [
      [200, { status: 'pass', checks: { store: { status: 'pass' } } }],
      [503, { status: 'fail', checks: { store: { status: 'fail', reason: 'busy' } } }],
    ] as const;
    let asked = 0;
    const server = http.createServer((request, response) => {
      expect(request.url).toBe('/readyz');
      const [status, body] = answers[asked++] ?? answers[1];
      response.writeHead(status).end(JSON.stringify(body));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const port = String((server.address() as net.AddressInfo).port);
    expect((await program('health.mjs', port)).stdout).toBe('ready\n');
    const fault = { code: 1, stdout: 'not ready: store busy\n' };
    await expect(program('health.mjs', port)).rejects.toMatchObject(fault);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await expect(program('health.mjs', port)).rejects.toMatchObject({ code: 1 });
    await expect(program('health.mjs', 'no port')).rejects.toMatchObject({ code: 2 });
  });
});

describe('secrets.mjs', () => {
  it('makes each secret once, for its owner alone', async () => {
    const { stdout } = await program('secrets.mjs', dir);
    const secrets = path.join(dir, 'secrets');
    const names = fs.readdirSync(secrets);
    const contents = () => names.map((name) => fs.readFileSync(path.join(secrets, name), 'utf8'));
    const before = contents();
    expect(new Set(before).size).toBe(names.length);
    for (const name of names)
      expect(fs.statSync(path.join(secrets, name)).mode & 0o777, name).toBe(0o600);
    const compose = fs.readFileSync(path.join(root, 'deploy/compose.yaml'), 'utf8');
    for (const [, name] of compose.matchAll(/TELLTALE_SECRETS:\?[^}]*\}\/([\w.]+)/g))
      expect(names).toContain(name);
    const environment = fs.readFileSync(path.join(dir, 'compose.env'), 'utf8');
    for (const [, name] of compose.matchAll(/\$\{([A-Z_0-9]+)/g))
      expect(environment).toMatch(new RegExp(`^${name}=.+$`, 'm'));
    for (const secret of before) {
      expect(environment).not.toContain(secret);
      expect(stdout).not.toContain(secret);
    }
    await program('secrets.mjs', dir);
    expect(contents()).toEqual(before);
  });

  it('makes a token that the query service lets in', async () => {
    await program('secrets.mjs', dir);
    const token = fs.readFileSync(path.join(dir, 'secrets/api_token'), 'utf8');
    const tokens = readTokens(path.join(dir, 'secrets/tokens.json'));
    expect(findToken(tokens, token, Date.now())).toMatchObject({ name: 'first', roles: ['admin'] });
    expect(findToken(tokens, `${token.slice(0, -1)}!`, Date.now())).toBeUndefined();
  });
});

describe('the accounts of ClickHouse', () => {
  const users = fs.readFileSync(path.join(root, 'deploy/clickhouse/users.xml'), 'utf8');
  const grants = (user: string) => {
    const at = users.slice(users.indexOf('<users>'));
    const block = new RegExp(`<${user}>([^]*?)</${user}>`).exec(at)?.[1] ?? '';
    expect(block).toContain('<password_sha256_hex from_env=');
    return [...block.matchAll(/<query>(.*?)<\/query>/g)].map(([, text]) => text);
  };

  it('have what their service does and nothing else', () => {
    expect(users).toContain('<default remove="remove"/>');
    expect(grants('telltale_ingest')).toEqual(['GRANT SELECT, INSERT ON telltale.*']);
    expect(grants('telltale_grafana')).toEqual(['GRANT SELECT ON telltale.*']);
    expect(grants('telltale_query')).toEqual([
      'GRANT SELECT ON telltale.*',
      'GRANT INSERT ON telltale.events',
      'GRANT INSERT ON telltale.dead_letters',
    ]);
    expect(users).not.toMatch(/<password>|access_management/);
  });

  it('are granted by statements that the engine can read', async () => {
    const store = await openStore(`chdb:${dir}`, { log });
    try {
      for (const [, grant] of users.matchAll(/<query>(.*?)<\/query>/g))
        await store.command(`EXPLAIN AST ${grant} TO somebody`);
      const wrong = store.command('EXPLAIN AST GRANT SELEKT ON telltale.* TO somebody');
      await expect(wrong).rejects.toThrow();
    } finally {
      await store.close();
    }
  });
});

describe('TELLTALE_STORE_PASSWORD_FILE', () => {
  const given = (store: string | undefined, text?: string) => {
    const file = path.join(dir, 'password');
    if (text !== undefined) fs.writeFileSync(file, text);
    vi.stubEnv('TELLTALE_STORE', store);
    vi.stubEnv('TELLTALE_STORE_PASSWORD_FILE', file);
  };

  it('gives the address its password, whatever is in it', () => {
    given('http://me@clickhouse:8123', 'p@ss:/%?#\n');
    const url = new URL(storeUrl() ?? '');
    expect([url.username, decodeURIComponent(url.password)]).toEqual(['me', 'p@ss:/%?#']);
    expect(url.host).toBe('clickhouse:8123');
  });

  it('says what is wrong, without the password', () => {
    given('http://me@clickhouse:8123');
    expect(storeUrl).toThrow(/password: can't be read \(ENOENT\)/);
    given('chdb:/data', 'geheim');
    expect(storeUrl).toThrow(/must be an http\(s\):\/\/ URL/);
    given('http://clickhouse:8123', 'geheim');
    expect(storeUrl).toThrow(/^(?!.*geheim).*a user in TELLTALE_STORE/);
    given(undefined, 'geheim');
    expect(storeUrl()).toBeUndefined();
  });
});
