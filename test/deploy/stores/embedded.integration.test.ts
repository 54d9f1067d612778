import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Session } from 'chdb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Store } from '#schemas';
import { openStore } from '../../../deploy/stores/open.ts';
import { fakeLog } from '../../fakes/ports.ts';
import { describeStore, LIMITS, sql } from './contract.ts';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-store-'));
let store: Store;
beforeAll(async () => {
  store = await openStore(`chdb:${dir}`, { log: fakeLog() });
});
afterAll(async () => {
  await store.close();
  fs.rmSync(dir, { recursive: true, force: true });
});

describeStore('embedded', () => store);

describe('embedded: the engine’s own traps are still there', () => {
  // If this fails, the engine was mended and the washing may go.
  it('a failed query’s rows come out of the next query on the same session', async () => {
    const session = new Session(dir);
    const failing =
      'SELECT number, throwIf(number = 990000) FROM numbers(1000000) SETTINGS max_threads = 1';
    await session.queryAsync(failing, { format: 'JSONEachRow' }).catch(() => {});
    const next = await session.queryAsync("SELECT 'clean' AS x", { format: 'JSONEachRow' });
    expect(next.bytes().length).toBeGreaterThan(1000);
    session.close();
  });
});

describe('embedded: the directory', () => {
  it('is refused to a second process with words that help', () => {
    const script = `
      import { openStore } from ${JSON.stringify(path.resolve('deploy/stores/open.ts'))};
      const log = { debug() {}, info() {}, warn() {}, error() {} };
      openStore('chdb:${dir}', { log }).then(
        () => console.log('opened'), (error) => console.log(error.fault.code, error.message));`;
    const file = path.join(os.tmpdir(), `telltale-second-${process.pid}.mts`);
    fs.writeFileSync(file, script);
    const args = ['--conditions=telltale-source', '--import', 'tsx', file];
    const child = spawnSync(process.execPath, args, { encoding: 'utf8' });
    fs.rmSync(file);
    expect(child.stdout).toMatch(/^unreachable can't open the store .* another process/);
  });

  it('keeps serving its owner', async () => {
    expect(await store.query(sql('SELECT 1 AS n'), LIMITS)).toEqual([{ n: 1 }]);
  });
});
