import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Store } from '#schemas';
import {
  ClusterError,
  clusterStatements,
  TENANT_TABLES,
} from '../../../deploy/clickhouse/cluster.ts';
import { PREPARATION, readMigrations, statementsOf } from '../../../deploy/migrate.ts';
import { HTTP_DEFAULTS, openHttp } from '../../../deploy/stores/http.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { fakeLog } from '../../fakes/ports.ts';

const LIMITS = { timeMs: 20_000, memoryBytesMax: 1e9, rowsMax: 100_000 };
const CLUSTER = 'telltale';
const single = [...PREPARATION, ...readMigrations().map(({ text }) => text)];
const statements = single.flatMap((text) => clusterStatements(text, CLUSTER));
const created = (text: string) =>
  /^CREATE (?:OR REPLACE )?TABLE .*?telltale\.(\w+)/.exec(text)?.[1];

describe('the statements of a cluster', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-cluster-'));
  let store: Store;
  beforeAll(async () => {
    store = await openStore(`chdb:${dir}`, { log: fakeLog() });
  });
  afterAll(async () => {
    await store.close();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  it('are in the grammar of the engine, each of them', async () => {
    for (const text of statements) {
      const [row] = await store.query<{ text: string }>(
        { text: 'SELECT formatQuery({text:String}) AS text', params: { text } },
        LIMITS,
      );
      expect(row?.text).toMatch(/^(CREATE|ALTER|DROP|INSERT) /);
    }
    const wrong = { text: 'SELECT formatQuery({text:String})', params: { text: 'CREATE TABEL x' } };
    await expect(store.query(wrong, LIMITS)).rejects.toThrow(/Syntax error/);
  });

  it('name settings that the engine has', async () => {
    const names = [
      ...new Set(statements.flatMap((text) => text.match(/replicated_dedup\w+/g) ?? [])),
    ];
    const text =
      'SELECT name FROM system.replicated_merge_tree_settings WHERE has({n:Array(String)}, name)';
    const found = await store.query<{ name: string }>({ text, params: { n: names } }, LIMITS);
    expect(found.map(({ name }) => name).sort()).toEqual(names.sort());
    expect(names).toHaveLength(2);
  });

  it('replicate every table, and hide each local one behind its Distributed', () => {
    const tables = single.flatMap((text) => created(text) ?? []);
    const made = statements.flatMap((text) => created(text) ?? []);
    for (const table of tables) expect(made).toContain(table);
    for (const text of statements) {
      expect(text).not.toMatch(/non_replicated|ENGINE = (Aggregating|Summing)?MergeTree/);
      if (!text.startsWith('INSERT')) expect(text).toContain(`ON CLUSTER '${CLUSTER}'`);
      const table = created(text);
      if (table === undefined) continue;
      if (table.endsWith('_local')) expect(text).toContain('/clickhouse/tables/{shard}/');
      else
        expect(text).toMatch(
          /= Distributed\('telltale', 'telltale', '\w+_local', sipHash|tables\/all\//,
        );
    }
    const views = statements.filter((text) => text.startsWith('CREATE MATERIALIZED'));
    expect(views.length).toBeGreaterThanOrEqual(3);
    for (const view of views)
      for (const [, named = ''] of view.matchAll(/(?:TO|FROM) telltale\.(\w+)/g))
        expect(named).toMatch(/_local$/);
  });

  it('put a group of replicas in one place of Keeper, and two groups never', () => {
    const places = statements.flatMap((text) => /'(\/clickhouse[^']*)'/.exec(text)?.[1] ?? []);
    expect(new Set(places).size).toBe(places.length);
    expect(TENANT_TABLES).toContain('events_local');
    expect(TENANT_TABLES).not.toContain('migrations');
  });

  it('have accounts that the engine can read, with a policy on each table of a tenant', async () => {
    const file = path.resolve(import.meta.dirname, '../../../deploy/clickhouse/accounts.sql');
    const accounts = statementsOf(fs.readFileSync(file, 'utf8'));
    for (const text of accounts) {
      const format = { text: 'SELECT formatQuery({text:String}) AS text', params: { text } };
      const [row] = await store.query<{ text: string }>(format, LIMITS);
      expect(row?.text).toMatch(/^(CREATE USER|CREATE ROW POLICY|GRANT) /);
      expect(text).toContain(`ON CLUSTER '${CLUSTER}'`);
    }
    const policies = accounts.flatMap(
      (text) => /POLICY .* ON telltale\.(\w+) USING tenant/.exec(text)?.[1] ?? [],
    );
    expect(policies.sort()).toEqual([...TENANT_TABLES].sort());
    // Whoever may read all, or write, has no account for people.
    expect(accounts.filter((text) => /GRANT.* ALL /.test(text))).toHaveLength(1);
  });

  it('refuse what they have no form for', () => {
    const make = (text: string) => () => clusterStatements(text, CLUSTER);
    expect(make('CREATE TABLE IF NOT EXISTS telltale.fresh (n UInt8)')).toThrow(
      /sharded or everywhere/,
    );
    expect(make('DROP TABLE telltale.events')).toThrow(ClusterError);
    expect(() => clusterStatements('x', "a' b")).toThrow(/--cluster .*remote_servers/);
  });
});

describe('a store of several replicas', () => {
  it('waits for all of them with each insert, and asks subqueries once', async () => {
    const asked: URLSearchParams[] = [];
    const server = http.createServer((request, out) => {
      asked.push(new URL(request.url ?? '/', 'http://x').searchParams);
      request.resume().on('end', () => out.end());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const store = openHttp(url, { ...HTTP_DEFAULTS, replicas: 2 });
    const insert = { table: 'telltale.t', lines: Buffer.from('{"n":1}\n'), rows: 1, timeMs: 1000 };
    await store.insert({ ...insert, dedupToken: 'a' });
    await store.query({ text: 'SELECT 1', params: {} }, LIMITS);
    await store.close();
    await new Promise((resolve) => server.close(resolve));
    const [write, read] = asked.map((params) => Object.fromEntries(params));
    expect(write).toMatchObject({
      insert_deduplication_token: 'a',
      insert_quorum: '2',
      insert_quorum_parallel: '1',
      distributed_foreground_insert: '1',
      deduplicate_blocks_in_dependent_materialized_views: '1',
    });
    expect(read).toMatchObject({
      distributed_product_mode: 'global',
      skip_unavailable_shards: '0',
    });
  });
});
