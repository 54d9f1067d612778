/**
 * Takes a backup. The order matters: the journal says so first, so that the backup holds the event
 * of its own making; then the log, then the store, so that each head of the log has its events; the
 * manifest is last. All goes into `DIR.partial`, which becomes `DIR` when it is whole.
 */
import fs from 'node:fs';
import path from 'node:path';
import { type Clock, type Log, parseCheckpointText, parseNote, type Store } from '#schemas';
import { COMMITTED_PATH } from '../../ingest/seal/log.ts';
import { type Layout, layoutOf, shardsOf } from '../clickhouse/layout.ts';
import { TOOL } from '../evidence/tool.ts';
import { recordCustody } from './custody.ts';
import { type Job, type Place, placeText, runJob } from './engine.ts';
import {
  ACCESS_DIR,
  BACKUP_FORMAT,
  BackupError,
  filesBelow,
  hashFiles,
  type Manifest,
  readManifest,
  STORE_DIR,
  TLOG_DIR,
  writeManifest,
} from './manifest.ts';
import { between, engineVersion, schemaOf, tableStates } from './tables.ts';

/** Of `access/`: what is no token of one run, no lock and no spool. */
const TOKENS = /^[^/]*tokens[^/]*\.json$/;

export interface BackupOptions {
  /** Where the backup is to be; nothing may be there. */
  readonly dir: string;
  readonly store: Store;
  readonly log: Log;
  readonly clock: Clock;
  /** Where the engine puts its part; undefined: into the backup itself. */
  readonly place?: Place | undefined;
  /** A full backup that this one builds on. */
  readonly base?: string | undefined;
  readonly tlog?: string | undefined;
  readonly access?: string | undefined;
  readonly tenant: string;
  readonly by: { readonly actor: string; readonly reason: string };
  /** Names this backup to the engine: letters, digits and `-`. */
  readonly id: string;
  /** Hears what is done now. */
  readonly tell: (what: string) => void;
}

export interface TakenBackup {
  readonly manifest: Manifest;
  readonly sha256: string;
}

/** The head that a log had committed; null where there is no log. */
export function logHead(tlog: string): Manifest['log'] {
  const file = path.join(tlog, COMMITTED_PATH);
  if (!fs.existsSync(file)) return null;
  const note = parseNote(fs.readFileSync(file));
  const head = note.ok ? parseCheckpointText(note.value.text) : note;
  if (!head.ok) throw new BackupError(`${file}: ${head.what}`);
  const { origin, size, root } = head.value;
  return { origin, size, root: root.toString('hex') };
}

/** Copies files below a folder, the named ones first; names of `skip` stay behind. */
export function copyBelow(
  from: string,
  to: string,
  take: (name: string) => boolean,
  first: readonly string[] = [],
): void {
  const names = filesBelow(from).filter(take);
  for (const name of [...first.filter((one) => names.includes(one)), ...names]) {
    const target = path.join(to, name);
    if (fs.existsSync(target)) continue;
    fs.mkdirSync(path.dirname(target), { recursive: true, mode: 0o700 });
    // A partial tile goes when its full one is there, which is copied too.
    if (fs.existsSync(path.join(from, name)))
      fs.copyFileSync(path.join(from, name), target, fs.constants.COPYFILE_EXCL);
  }
}

/** The full backup under this one: its place for the engine, and its manifest's hash. */
export function baseOf(dir: string): { readonly place: Place | string; readonly sha256: string } {
  const { manifest, sha256 } = readManifest(dir);
  if (manifest.base !== undefined)
    throw new BackupError(`${dir} builds on another backup itself: give a full one`);
  const own = manifest.engine_backup === STORE_DIR;
  const inside: Place = { type: 'file', path: path.resolve(dir, STORE_DIR) };
  return { place: own ? inside : manifest.engine_backup, sha256 };
}

/** Refuses places that one server alone would find again. */
async function clusterOf(store: Store, { cluster }: Layout, place: Place) {
  if (cluster === undefined) return {};
  if (place.type === 'file')
    throw new BackupError(
      `the store is the cluster ${cluster}: say where all its servers put their parts, --to s3:COLLECTION, or disk:NAME of one that they share`,
    );
  return { cluster: { name: cluster, shards: await shardsOf(store, cluster) } };
}

async function fill(options: BackupOptions, dir: string, signal: AbortSignal): Promise<Manifest> {
  const { store, tlog, access, tell, base, by } = options;
  if (tlog !== undefined && fs.existsSync(tlog))
    // What is committed first: the tiles that it needs are there, and are never changed.
    copyBelow(tlog, path.join(dir, TLOG_DIR), (name) => name !== 'lock', [COMMITTED_PATH]);
  if (access !== undefined && fs.existsSync(access))
    copyBelow(access, path.join(dir, ACCESS_DIR), (name) => TOKENS.test(name));
  const under = base === undefined ? undefined : baseOf(base);
  if (typeof under?.place === 'string')
    throw new BackupError(`${base} is kept at ${under.place}: an incremental one needs files`);
  const at = await layoutOf(store);
  const place: Place = options.place ?? { type: 'file', path: path.resolve(dir, STORE_DIR) };
  const cluster = await clusterOf(store, at, place);
  tell('counting the tables');
  const before = await tableStates(store, at, signal);
  const job: Job = { verb: 'BACKUP', place, base: under?.place, id: options.id, at };
  await runJob(
    options,
    job,
    (files) => tell(`the engine writes its backup, ${files} files`),
    signal,
  );
  tell('counting the tables again');
  const after = await tableStates(store, at, signal);
  tell('hashing the files');
  return {
    format: BACKUP_FORMAT,
    created: new Date(Number(options.clock.wallNs() / 1_000_000n)).toISOString(),
    by: by.actor,
    reason: by.reason,
    tool: TOOL,
    engine: await engineVersion(store),
    engine_backup: options.place === undefined ? STORE_DIR : placeText(place),
    ...cluster,
    ...(under === undefined ? {} : { base: under.sha256 }),
    schema: await schemaOf(store),
    tables: between(before, after),
    log: logHead(path.join(dir, TLOG_DIR)),
    files: await hashFiles(dir, signal),
  };
}

/**
 * Takes a backup of a store, its log and its tokens. Rejects with `BackupError`, `StoreError` or the
 * signal's reason; nothing is left then but the journal's event.
 */
export async function takeBackup(
  options: BackupOptions,
  signal: AbortSignal,
): Promise<TakenBackup> {
  const partial = `${options.dir}.partial`;
  for (const dir of [options.dir, partial])
    if (fs.existsSync(dir))
      throw new BackupError(`${dir} is there already: nothing is overwritten`);
  const { store, log, tenant, access, by } = options;
  await recordCustody(
    { store, log, tenant, ...(access === undefined ? {} : { dir: access }) },
    'backup',
    by,
    { backup: options.id, to: options.dir },
  );
  fs.mkdirSync(partial, { recursive: true, mode: 0o700 });
  try {
    const manifest = await fill(options, partial, signal);
    signal.throwIfAborted();
    const sha256 = writeManifest(partial, manifest);
    fs.renameSync(partial, options.dir);
    return { manifest, sha256 };
  } catch (error) {
    fs.rmSync(partial, { recursive: true, force: true });
    throw error;
  }
}
