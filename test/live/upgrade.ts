/**
 * A running cluster goes from one version to the next while load runs, and loses nothing. The newer
 * version is this one with one migration more, from a copy of the sources:
 *
 *     old worker works -> newer program migrates -> old goes on -> new worker joins -> old gets SIGTERM
 *
 * A restarted old worker must refuse the newer store, and say so.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { compare, type Found, isWhole } from './oracle.ts';
import { ended, isGone, logLines, root, say, sleep } from './processes.ts';
import { assigned, openSite, type Site } from './site.ts';

export interface UpgradeOptions {
  readonly events: number;
  readonly perSecond: number;
}

export const UPGRADE: UpgradeOptions = { events: 120_000, perSecond: 2_000 };

/** Within this a worker must have gone after SIGTERM, under load (deploy/process/lifecycle.ts). */
const STOP_MS_MAX = 20_000;
const POLL_MS = 250;
const DRAIN_MS = 180_000;
const TREES = ['collector', 'deploy', 'ingest', 'query', 'schemas', 'package.json'];
const MORE = `ALTER TABLE telltale.dead_letters ADD COLUMN IF NOT EXISTS upgrade_test String`;

export interface UpgradeResult extends Found {
  readonly good: boolean;
  /** From SIGTERM to the end of the old worker. */
  readonly stopMs: number;
  readonly migrateMs: number;
  /** Events that the old worker stored after the store had become newer than it. */
  readonly storedByOldAfter: number;
  readonly oldRefused: boolean;
  readonly seconds: number;
  readonly dir: string;
}

/** This version with one migration more, beside the logs of the scenario. */
function newerVersion(site: Site): string {
  const tree = path.join(site.dir, 'newer');
  for (const name of TREES)
    fs.cpSync(path.join(root, name), path.join(tree, name), { recursive: true });
  const dir = path.join(tree, 'schemas/migrations');
  const number = String(fs.readdirSync(dir).length + 1).padStart(4, '0');
  fs.writeFileSync(path.join(dir, `${number}_upgrade.sql`), MORE);
  return tree;
}

function runNewer(site: Site, tree: string, args: readonly string[], name: string): ChildProcess {
  const out = fs.openSync(path.join(site.dir, `${name}.log`), 'a');
  const script = path.join(tree, 'deploy/cli.ts');
  const flags = ['--conditions=telltale-source', '--import', 'tsx', script];
  const env = { ...process.env, TELLTALE_LOG: 'debug', UV_THREADPOOL_SIZE: '16' };
  const child = spawn(process.execPath, [...flags, ...args], {
    ...{ cwd: root, env },
    stdio: ['ignore', out, out],
  });
  fs.closeSync(out);
  return child;
}

/** Events that the old worker says it stored. */
const storedByOld = (site: Site): number =>
  logLines(site, 'worker-old.')
    .filter(({ event }) => event === 'ingest.batch')
    .reduce((sum, { stored }) => sum + Number(stored), 0);

async function storedBeyond(site: Site, old: ChildProcess, count: number): Promise<number> {
  for (;;) {
    const stored = storedByOld(site);
    if (stored >= count) return stored;
    if (isGone(old)) throw new Error(`the old worker ended: see ${site.dir}/worker-old.log`);
    await sleep(POLL_MS);
  }
}

async function upgradeOn(site: Site, options: UpgradeOptions): Promise<UpgradeResult> {
  const began = performance.now();
  const newer = newerVersion(site);
  const old = site.worker('worker-old');
  await assigned(site, 'worker-old');
  const load = site.load({ sessions: 8, ...options }, 'load');
  await storedBeyond(site, old, options.events / 10);
  const migrating = performance.now();
  const store = ['--store', site.store.url];
  const code = await ended(runNewer(site, newer, ['migrate', ...store], 'migrate'));
  if (code !== 0) throw new Error(`telltale migrate ended with ${code}: see ${site.dir}`);
  const migrateMs = Math.round(performance.now() - migrating);
  const before = storedByOld(site);
  const after = await storedBeyond(site, old, before + options.events / 10);
  say(`migrated in ${migrateMs} ms; the old worker went on`);
  const kafka = ['--kafka', site.brokers.join(',')];
  const next = runNewer(site, newer, ['ingest', ...kafka, ...store], 'worker-new');
  try {
    await assigned(site, 'worker-new');
    const stopping = performance.now();
    old.kill('SIGTERM');
    const oldCode = await ended(old);
    const stopMs = Math.round(performance.now() - stopping);
    say(`the old worker ended with ${oldCode} after ${stopMs} ms`);
    const loadRan = !isGone(load);
    const again = site.worker('worker-again');
    const refused = await ended(again);
    const words = fs.readFileSync(path.join(site.dir, 'worker-again.log'), 'utf8');
    const oldRefused = refused === 1 && words.includes('the store is newer than this program');
    const loadCode = await ended(load);
    await site.drained(DRAIN_MS);
    next.kill('SIGTERM');
    const newCode = await ended(next);
    const found = await compare(site.store.url, site.truthDirs, site.log);
    const lost = logLines(site, 'worker-').some(({ event }) => event === 'process.stop_timeout');
    const codes = oldCode === 0 && newCode === 0 && loadCode === 0;
    const good = codes && loadRan && oldRefused && !lost && stopMs <= STOP_MS_MAX && isWhole(found);
    const seconds = Math.round((performance.now() - began) / 100) / 10;
    const storedByOldAfter = after - before;
    const { dir } = site;
    return { good, ...found, stopMs, migrateMs, storedByOldAfter, oldRefused, seconds, dir };
  } finally {
    if (!isGone(next)) next.kill('SIGKILL');
    await ended(next);
  }
}

/** Opens a site, upgrades it under load, closes it. */
export async function upgrade(options: UpgradeOptions): Promise<UpgradeResult> {
  const site = await openSite({ brokers: 1, partitions: 6 });
  try {
    return await upgradeOn(site, options);
  } finally {
    await site.close();
  }
}
