/** What command lines name, and that the views and the selects that fill the table agree. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ENTITIES_TABLE, entitySelects, type Row, type Store } from '#schemas';
import { migrate } from '../../deploy/migrate.ts';
import { openStore } from '../../deploy/stores/open.ts';
import { fakeLog } from '../fakes/ports.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-entities-'));
const LIMITS = { timeMs: 20_000, memoryBytesMax: 1e9, rowsMax: 100_000 };
let store: Store;
beforeAll(async () => {
  store = await openStore(`chdb:${dir}`, { log: fakeLog() });
  await migrate(store, { log: fakeLog() });
});
afterAll(async () => {
  await store.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

let sessions = 0;
/** The entities that the views make of some command lines, by the line's number. */
async function entitiesOf(argvs: readonly (readonly string[])[]): Promise<string[][]> {
  const first = sessions;
  sessions += argvs.length;
  const idAt = (n: number) => `0193a5e0-0000-7000-8000-${String(n).padStart(12, '0')}`;
  const rows = argvs.map((argv, n) => ({
    tenant: 'acme',
    session_id: idAt(first + n),
    stream_id: idAt(n),
    seq: n,
    kind: 'exec',
    ts: '2026-11-24 10:00:00.000000000',
    argv,
  }));
  await store.insert({
    table: 'telltale.events',
    lines: Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join('')),
    rows: rows.length,
    dedupToken: `entities-${first}`,
    timeMs: 20_000,
  });
  const text = `SELECT toString(session_id) AS id, value FROM ${ENTITIES_TABLE} WHERE type IN ('package', 'git_remote') ORDER BY value`;
  const found = await store.query<Row>({ text, params: {} }, LIMITS);
  return argvs.map((_, n) =>
    found.filter(({ id }) => id === idAt(first + n)).map(({ value }) => String(value)),
  );
}

const CASES: readonly (readonly [string, readonly string[]])[] = [
  ['npm install left-pad', ['pkg:npm/left-pad']],
  [
    'npm i -D --registry https://r.example @scope/Foo@1.2.3 bar@latest',
    ['pkg:npm/%40scope/Foo', 'pkg:npm/bar'],
  ],
  ['/usr/bin/pnpm add -D vite', ['pkg:npm/vite']],
  ['npx -y cowsay hi', ['pkg:npm/cowsay']],
  [
    'pip install -r req.txt Requests==2.31 numpy[extra]>=1.2 ./local',
    ['pkg:pypi/numpy', 'pkg:pypi/requests'],
  ],
  ['python3 -m pip install -U Flask', ['pkg:pypi/flask']],
  ['uv pip install ruff', ['pkg:pypi/ruff']],
  ['uvx black .', ['pkg:pypi/black']],
  ['apt-get install -y curl=7.1 vim', ['pkg:deb/curl', 'pkg:deb/vim']],
  ['cargo install --version 1.0 ripgrep', ['pkg:cargo/ripgrep']],
  ['go install golang.org/x/tools/gopls@latest', ['pkg:golang/golang.org/x/tools/gopls']],
  ['gem install rails -v 7', ['pkg:gem/rails']],
  ['git clone https://user:secret@GitHub.com/org/Repo.git dir', ['github.com/org/Repo']],
  ['git -C /x push git@github.com:org/repo.git main', ['github.com/org/repo']],
  ['git remote add origin ssh://git@host.example:2222/org/repo', ['host.example/org/repo']],
  ['git clone https://host.example/a/b?token=secret#x', ['host.example/a/b']],
];
const NOTHING = [
  'npm install',
  'npm run install',
  'npm install https://x.example/y.tgz user/repo ./dir',
  'pip install git+https://github.com/a/b ./wheel.whl',
  'python3 -m venv x',
  'git commit -m https://x.example/z',
  'git push origin main',
  'ls -la install npm',
];

describe('entities of command lines', () => {
  it('are packages and remotes, each under one name, never with a password', async () => {
    const lines = [...CASES.map(([line]) => line), ...NOTHING];
    const found = await entitiesOf(lines.map((line) => line.split(' ')));
    lines.forEach((line, n) => {
      expect(found[n], line).toEqual([...(CASES[n]?.[1] ?? [])].sort());
    });
    expect(JSON.stringify(found)).not.toContain('secret');
  });

  it('are made of any argv without an error, and have the form of their sort', async () => {
    const word = fc.oneof(
      fc.constantFrom(
        'npm',
        'install',
        'git',
        'clone',
        'pip',
        '-r',
        '--',
        'https://a.b/c',
        '@',
        'go',
        'get',
        '',
      ),
      fc.string({ unit: 'binary', maxLength: 12 }),
    );
    const argvs = fc.sample(fc.array(word, { maxLength: 6 }), { numRuns: 400, seed: 7 });
    const usable = argvs.map((argv) => argv.map((one) => one.toWellFormed()));
    for (const value of (await entitiesOf(usable)).flat())
      expect(value).toMatch(
        /^pkg:[a-z]+\/(%40[a-z0-9-][a-z0-9-._]*\/)?[A-Za-z0-9._+~/-]+$|^[^/@]+\//,
      );
  });

  it('are the same filled by the views and by the selects', async () => {
    await store.command('CREATE TABLE telltale.filled AS telltale.entities');
    for (const select of entitySelects())
      await store.command(`INSERT INTO telltale.filled ${select}`);
    const rows = async (table: string) => {
      const text = `SELECT type, value, session_id, min(first_ts) AS first, max(last_ts) AS last FROM ${table} GROUP BY type, value, session_id ORDER BY type, value, session_id`;
      return await store.query<Row>({ text, params: {} }, LIMITS);
    };
    const viewed = await rows(ENTITIES_TABLE);
    expect(viewed.length).toBeGreaterThan(15);
    expect(await rows('telltale.filled')).toEqual(viewed);
    await store.command('DROP TABLE IF EXISTS telltale.filled');
  });
});
