/** Erasing, removing and backing up a cluster: by the local tables, on each server. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { takeBackup } from '../../../deploy/backup/backup.ts';
import { claimDatabase } from '../../../deploy/backup/claim.ts';
import { placeOf } from '../../../deploy/backup/engine.ts';
import { readManifest } from '../../../deploy/backup/manifest.ts';
import { layoutOfBackup } from '../../../deploy/backup/restore.ts';
import { layoutOf } from '../../../deploy/clickhouse/layout.ts';
import { eraseContent } from '../../../deploy/erase/erase.ts';
import { createClock } from '../../../deploy/process/clock.ts';
import { parsePolicy } from '../../../deploy/retention/policy.ts';
import { planSweep, sweep } from '../../../deploy/retention/sweep.ts';
import { fakeClock, fakeLog } from '../../fakes/ports.ts';
import { insertEvents, SESSION, stampStream } from '../../query/seed.ts';
import { CLUSTER, type OneShard, openOneShard } from './one-shard.ts';

const LIMITS = { timeMs: 30_000, memoryBytesMax: 1e9, rowsMax: 100_000 };
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-one-shard-'));
const at = (name: string) => path.join(root, name);
let cluster: OneShard;

const rows = async (text: string) => await cluster.store.query({ text, params: {} }, LIMITS);
const countOf = async (where: string) =>
  Number((await rows(`SELECT count() AS n FROM telltale.${where}`))[0]?.n);

beforeAll(async () => {
  fs.mkdirSync(at('vault'));
  const disks = `<storage_configuration><disks><vault><type>local</type><path>${at('vault')}/</path></vault></disks></storage_configuration><backups><allowed_disk>vault</allowed_disk></backups>`;
  cluster = await openOneShard(root, disks);
  await insertEvents(cluster.store, stampStream());
}, 60_000);
afterAll(async () => {
  await cluster.close();
  fs.rmSync(root, { recursive: true, force: true });
});

/** Everything said since the last time, each in the grammar of the engine. */
async function checked(): Promise<string[]> {
  const said = cluster.said.splice(0);
  for (const text of said) {
    const params = { text };
    await cluster.store.query({ text: 'SELECT formatQuery({text:String}) AS t', params }, LIMITS);
  }
  return said;
}

/** No statement changes a Distributed table, or a table of one server alone. */
function onEachServer(said: readonly string[]): void {
  const changes = said.filter((text) => /^ALTER|^CREATE|^DROP|^BACKUP|^SYSTEM/.test(text));
  expect(changes.length).toBeGreaterThan(0);
  for (const text of changes) {
    expect(text).not.toMatch(
      /^ALTER TABLE telltale\.(events|dead_letters|streams|entities|alerts) /,
    );
    if (!/^ALTER TABLE telltale\.(alert_states|dead_replays) (DELETE|DROP)/.test(text))
      expect(text).toContain(`ON CLUSTER '${CLUSTER}'`);
  }
}

describe('a cluster', () => {
  it('is known by its Distributed tables', async () => {
    expect((await layoutOf(cluster.store)).cluster).toBe(CLUSTER);
    expect(await countOf('events')).toBe(await countOf('events_local'));
    onEachServer(await checked());
  });

  it('is backed up by each server, where all of them find it again', async () => {
    const options = {
      ...{ store: cluster.store, log: fakeLog(), clock: createClock(), tenant: 'acme' },
      ...{ by: { actor: 'kim', reason: 'test' }, tell: () => {}, access: at('access') },
    };
    const { signal } = new AbortController();
    await expect(takeBackup({ ...options, dir: at('none'), id: 'none' }, signal)).rejects.toThrow(
      `the store is the cluster ${CLUSTER}: say where all its servers put`,
    );
    const place = placeOf('disk:vault', 'one');
    await takeBackup({ ...options, dir: at('one'), id: 'one', place }, signal);
    const { manifest } = readManifest(at('one'));
    expect(manifest.cluster).toEqual({ name: CLUSTER, shards: 1 });
    expect(manifest.tables.events?.rows).toBe(await countOf('events_local'));
    expect(Object.keys(manifest.tables).filter((name) => name.endsWith('_local'))).toEqual([]);
    const said = await checked();
    onEachServer(said);
    expect(said.join('\n')).toContain(`BACKUP DATABASE telltale ON CLUSTER '${CLUSTER}' TO Disk`);
  }, 30_000);

  it('is restored into a cluster of the same shape alone, without a database there', async () => {
    const backup = readManifest(at('one'));
    const where = await layoutOfBackup(cluster.store, backup);
    expect(where.cluster).toBe(CLUSTER);
    const like = (name: string, shards: number) =>
      layoutOfBackup(cluster.store, {
        ...backup,
        manifest: { ...backup.manifest, cluster: { name, shards } },
      });
    await expect(like(CLUSTER, 3)).rejects.toThrow(/with 3 shards, and the server knows 1 of it/);
    await expect(like('other', 1)).rejects.toThrow('knows no cluster of that name');
    await expect(like("x' TO", 1)).rejects.toThrow('names no cluster');
    await expect(claimDatabase(cluster.store, where, 'x')).rejects.toThrow(
      'nothing is overwritten',
    );
    expect(await checked()).toEqual([]);
  });

  it('has content erased on each shard, from the local tables', async () => {
    const clock = fakeClock();
    const request = { tenant: 'acme', session: SESSION, actor: 'kim', reason: 'asked' };
    const held = `events_local WHERE content_salt != '' AND session_id = '${SESSION}'`;
    expect(await countOf(held)).toBeGreaterThan(3);
    const done = await eraseContent({ store: cluster.store, clock }, request);
    expect(done.events).toBeGreaterThan(3);
    expect(await countOf(held)).toBe(0);
    expect(await countOf('erasures')).toBe(done.events);
    const left = "SELECT count() AS n FROM system.tables WHERE name LIKE 'erasing%'";
    expect(await rows(left)).toEqual([{ n: '0' }]);
    const said = await checked();
    onEachServer(said);
    // What a server looks into has come from the others before it looks.
    const order = said.map((text) => text.split(/ ON CLUSTER| UPDATE/)[0]);
    expect(order.indexOf('SYSTEM SYNC REPLICA')).toBeGreaterThan(
      order.indexOf('CREATE TABLE telltale.erasing_rows'),
    );
    expect(order.indexOf('CREATE TABLE telltale.erasing')).toBeGreaterThan(
      order.indexOf('SYSTEM SYNC REPLICA'),
    );
    const filled = said.filter((text) => text.includes('AS SELECT * FROM telltale.erasing_rows'));
    expect(filled).toHaveLength(1);
  }, 30_000);

  it('has whole sessions removed from each shard, with tombstones', async () => {
    const aged = `ALTER TABLE telltale.events_local ON CLUSTER '${CLUSTER}' UPDATE ingested_at = now64(3) - INTERVAL 90 DAY WHERE session_id = '${SESSION}' SETTINGS mutations_sync = 2`;
    await cluster.store.command(aged);
    await cluster.store.insert({
      table: 'telltale.alerts',
      lines: Buffer.from(
        `${JSON.stringify({ tenant: 'acme', session_id: SESSION, fingerprint: 'f'.repeat(32) })}\n`,
      ),
      ...{ rows: 1, dedupToken: 'alert', timeMs: 30_000 },
    });
    const state = { tenant: 'acme', fingerprint: 'f'.repeat(32) };
    await cluster.store.insert({
      table: 'telltale.alert_states',
      lines: Buffer.from(`${JSON.stringify(state)}\n`),
      ...{ rows: 1, dedupToken: 'state', timeMs: 30_000 },
    });
    cluster.said.length = 0;
    const policy = parsePolicy('name: p\ndefault: {sessionDays: 30}');
    const journal: string[] = [];
    const record = async (_: string, operation: string) => void journal.push(operation);
    const deps = { store: cluster.store, clock: createClock(), actor: 'kim', record };
    const plans = await planSweep(deps, policy);
    const swept = await sweep(deps, policy, plans, new AbortController().signal);
    expect([swept.removed, journal]).toEqual([1, ['retention remove']]);
    for (const table of ['events', 'streams', 'entities', 'alerts'])
      expect([table, await countOf(`${table}_local WHERE session_id = '${SESSION}'`)]).toEqual([
        table,
        0,
      ]);
    expect(await countOf('alert_states')).toBe(0);
    expect(await countOf(`removals WHERE session_id = '${SESSION}'`)).toBe(1);
    onEachServer(await checked());
  }, 30_000);
});
