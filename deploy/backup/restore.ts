/**
 * Puts a backup back, where nothing is yet: the backup is held to its manifest before anything is
 * written, and what was restored is held to it after: the rows of each table, their digests, the
 * log's head, and the events that the log vouches for.
 */
import fs from 'node:fs';
import path from 'node:path';
import { type Clock, DATABASE, type Head, type Log, type QueryLimits, type Store } from '#schemas';
import { auditHeads } from '../../ingest/seal/audit.ts';
import { openLogFiles } from '../../ingest/seal/files.ts';
import { headsAt } from '../../ingest/seal/heads.ts';
import { checkTree, walkHeads } from '../../ingest/seal/walk.ts';
import { type Layout, layoutFor, shardsOf } from '../clickhouse/layout.ts';
import { refuseNewerStore } from '../migrate.ts';
import { copyBelow, logHead } from './backup.ts';
import { type Place, parsePlace, runJob } from './engine.ts';
import {
  ACCESS_DIR,
  BackupError,
  checkBackup,
  type Manifest,
  type OpenBackup,
  readManifest,
  STORE_DIR,
  TLOG_DIR,
} from './manifest.ts';
import { tableFaults, tableStates } from './tables.ts';

const LIMITS: QueryLimits = { timeMs: 30_000, memoryBytesMax: 64 * 1024 ** 2, rowsMax: 100_000 };

export interface RestoreOptions {
  readonly store: Store;
  readonly log: Log;
  readonly clock: Clock;
  /** Where the log goes; undefined: it is left in the backup. */
  readonly tlog?: string | undefined;
  readonly access?: string | undefined;
  readonly id: string;
  readonly tell: (what: string) => void;
}

/** A backup that was held to its manifest, with the full one under it. */
export interface CheckedBackup {
  readonly backup: OpenBackup;
  readonly base: Place | undefined;
}

/**
 * Opens a backup and the one that it builds on, and holds both to their manifests. Rejects with
 * `BackupError` that says what is damaged, and where.
 */
export async function openChecked(
  dir: string,
  { base, sha256 }: { readonly base?: string | undefined; readonly sha256?: string | undefined },
  signal: AbortSignal,
): Promise<CheckedBackup> {
  const backup = readManifest(dir);
  if (sha256 !== undefined && backup.sha256 !== sha256)
    throw new BackupError(`${dir}: its manifest has the SHA-256 ${backup.sha256}, not ${sha256}`);
  await checkBackup(backup, signal);
  const needs = backup.manifest.base;
  if (needs === undefined) return { backup, base: undefined };
  if (base === undefined)
    throw new BackupError(`${dir} builds on a full backup: say where that is, with --base DIR`);
  const under = readManifest(base);
  if (under.sha256 !== needs)
    throw new BackupError(`${base} is not the backup that ${dir} builds on`);
  await checkBackup(under, signal);
  return { backup, base: { type: 'file', path: path.resolve(base, STORE_DIR) } };
}

/** Rejects where the store holds anything of ours: a restore never overwrites. */
export async function refuseUsed(store: Store): Promise<void> {
  const text = 'SELECT name FROM system.tables WHERE database = {database:String} LIMIT 1';
  const [row] = await store.query({ text, params: { database: DATABASE } }, LIMITS);
  if (row !== undefined)
    throw new BackupError(
      `the store has a database ${DATABASE} already (${row.name}): nothing is overwritten; restore into an empty one`,
    );
}

const CLUSTER_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;

/** Where a backup goes: a server, or a cluster of the shape that it is of. Rejects where there is none. */
export async function layoutOfBackup(store: Store, { manifest, dir }: OpenBackup): Promise<Layout> {
  const { name, shards } = manifest.cluster ?? {};
  if (name === undefined) return layoutFor(undefined);
  if (!CLUSTER_NAME.test(name) || !Number.isInteger(shards))
    throw new BackupError(`${dir}: its manifest names no cluster: ${JSON.stringify(name)}`);
  const there = await shardsOf(store, name);
  if (there !== shards)
    throw new BackupError(
      `the backup is of the cluster ${name} with ${shards} shards, and the server knows ${there === 0 ? 'no cluster of that name' : `${there} of it`}: restore into a cluster of the same name and number of shards`,
    );
  return layoutFor(name);
}

/** What of the log is not as the backup says, or has no events in the store. */
async function logFaults(store: Store, dir: string, must: Manifest['log']): Promise<string[]> {
  const is = logHead(dir);
  if (must === null || is === null) return must === is ? [] : ['the log is missing'];
  if (is.origin !== must.origin || is.size !== must.size || is.root !== must.root)
    return [
      `the log has ${is.size} heads under ${is.root}, and not ${must.size} under ${must.root}`,
    ];
  const files = await openLogFiles(dir);
  const root = Buffer.from(is.root, 'hex');
  const tree = await checkTree({ origin: is.origin, size: is.size, root }, files.read);
  if (tree !== undefined) return [`the log: ${tree.where} ${tree.what}`];
  const lookup = (heads: readonly Head[]) => headsAt(store, heads);
  const faults: string[] = [];
  for await (const { leaf, what } of auditHeads(walkHeads(is.size, files.read), lookup))
    faults.push(
      `session ${leaf.head.session_id}, event ${leaf.head.seq}: ${what === 'missing' ? 'the log vouches for it and it is not there' : 'another event than the log vouches for'}`,
    );
  return faults;
}

export interface Restored {
  readonly rows: number;
  readonly tables: number;
  /** Heads of the log without their events: what was removed or erased before the backup, or lost. */
  readonly unborne: readonly string[];
}

/**
 * Restores into an empty store and empty folders, and holds what is there then to the manifest. Rejects
 * with `BackupError` or the signal's reason; the caller removes what is half done.
 */
export async function putBack(
  { backup, base }: CheckedBackup,
  options: RestoreOptions,
  signal: AbortSignal,
): Promise<Restored> {
  const { store, tell, tlog, access } = options;
  const { dir, manifest } = backup;
  await refuseUsed(store);
  const at = await layoutOfBackup(store, backup);
  const place: Place =
    manifest.engine_backup === STORE_DIR
      ? { type: 'file', path: path.resolve(dir, STORE_DIR) }
      : parsePlace(manifest.engine_backup);
  const job = { verb: 'RESTORE', place, base, id: options.id, at } as const;
  await runJob(
    options,
    job,
    (files) => tell(`the engine reads its backup, ${files} files`),
    signal,
  );
  if (access !== undefined && fs.existsSync(path.join(dir, ACCESS_DIR)))
    copyBelow(path.join(dir, ACCESS_DIR), access, () => true);
  if (tlog !== undefined && manifest.log !== null)
    copyBelow(path.join(dir, TLOG_DIR), tlog, () => true);
  tell('counting and hashing the rows');
  const states = await tableStates(store, at, signal);
  const faults = tableFaults(manifest.tables, states);
  if (faults.length > 0)
    throw new BackupError(`what was restored is not what was backed up:\n  ${faults.join('\n  ')}`);
  // An older one is brought up to date by whoever opens it next.
  await refuseNewerStore(store);
  tell('holding the log to the events');
  const unborne = await logFaults(store, path.join(dir, TLOG_DIR), manifest.log);
  const rows = Object.values(states).reduce((sum, state) => sum + state.rows, 0);
  return { rows, tables: Object.keys(states).length, unborne };
}
