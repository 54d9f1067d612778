/**
 * The manifest of a backup: what it holds, to the byte. It is written last, so that a folder without
 * one is no backup, and its own SHA-256, kept elsewhere, vouches for all of it.
 *
 *     DIR/manifest.json    format, who, why, when, versions, tables, the log's head, all files
 *     DIR/store/           the engine's own backup; not there where the engine keeps it on a disk of its own
 *     DIR/tlog/            the transparency log with its signing key
 *     DIR/access/          the file of tokens (hashes)
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

export const BACKUP_FORMAT = 'telltale-backup/1';
export const MANIFEST = 'manifest.json';
export const STORE_DIR = 'store';
export const TLOG_DIR = 'tlog';
export const ACCESS_DIR = 'access';
const MANIFEST_BYTES_MAX = 256 * 1024 ** 2;
/** Faults that are told one by one. */
const FAULTS_MAX = 20;

/** What a table held: exactly, or between two counts where it was written to meanwhile. */
export interface TableState {
  readonly rows: number;
  /** Sum of the hashes of all rows; absent where the table was written to meanwhile. */
  readonly digest?: string;
  /** The rows when the backup ended, where they were more by then. */
  readonly rows_max?: number;
}

export interface Manifest {
  readonly format: typeof BACKUP_FORMAT;
  readonly created: string;
  readonly by: string;
  readonly reason: string;
  readonly tool: string;
  /** The engine's version. */
  readonly engine: string;
  /** Where the engine's part is: `store`, or its own words for a disk or bucket of its own. */
  readonly engine_backup: string;
  /** Of a cluster: its name in `remote_servers`, and how many shards the parts are of. */
  readonly cluster?: { readonly name: string; readonly shards: number };
  /** SHA-256 of the manifest of the full backup that this one builds on. */
  readonly base?: string;
  /** The newest applied step of a migration. */
  readonly schema: string;
  readonly tables: Readonly<Record<string, TableState>>;
  readonly log: { readonly origin: string; readonly size: number; readonly root: string } | null;
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>;
}

/** A backup that is not what it says it is, or no backup at all; names each place. */
export class BackupError extends Error {
  override readonly name = 'BackupError';
}

/** All files below a folder, by their names with `/`, sorted. */
export function filesBelow(dir: string): string[] {
  return fs
    .readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(dir, path.join(entry.parentPath, entry.name)))
    .map((name) => name.split(path.sep).join('/'))
    .sort();
}

async function fileState(file: string, signal: AbortSignal | undefined) {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of fs.createReadStream(file, { signal })) {
    hash.update(chunk as Buffer);
    bytes += (chunk as Buffer).length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** Bytes and SHA-256 of each file of a backup but its manifest. */
export async function hashFiles(dir: string, signal?: AbortSignal): Promise<Manifest['files']> {
  const files: Record<string, { bytes: number; sha256: string }> = {};
  for (const name of filesBelow(dir))
    if (name !== MANIFEST) files[name] = await fileState(path.join(dir, name), signal);
  return files;
}

export const sha256Of = (bytes: Uint8Array): string =>
  createHash('sha256').update(bytes).digest('hex');

/** Writes the manifest durably; gives its SHA-256. */
export function writeManifest(dir: string, manifest: Manifest): string {
  const bytes = Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`);
  const fd = fs.openSync(path.join(dir, MANIFEST), 'wx', 0o600);
  try {
    fs.writeSync(fd, bytes);
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
  return sha256Of(bytes);
}

export interface OpenBackup {
  readonly dir: string;
  readonly manifest: Manifest;
  /** Of the manifest. */
  readonly sha256: string;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Reads a backup's manifest. Throws `BackupError` where there is none that this version can read. */
export function readManifest(dir: string): OpenBackup {
  const file = path.join(dir, MANIFEST);
  let bytes: Buffer;
  try {
    if (fs.statSync(file).size > MANIFEST_BYTES_MAX) throw new BackupError(`${file}: too large`);
    bytes = fs.readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    throw new BackupError(`${dir} is no backup, or was not finished: it has no ${MANIFEST}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString());
  } catch {
    throw new BackupError(`${file}: it is no JSON`);
  }
  if (!isRecord(value) || value.format !== BACKUP_FORMAT)
    throw new BackupError(`${file}: not of the format ${BACKUP_FORMAT}`);
  if (!isRecord(value.files) || !isRecord(value.tables) || typeof value.engine_backup !== 'string')
    throw new BackupError(`${file}: files, tables and engine_backup are missing`);
  return { dir, manifest: value as unknown as Manifest, sha256: sha256Of(bytes) };
}

/**
 * Holds a backup to its manifest. Rejects with `BackupError` that names the files which are missing,
 * altered or not listed, and what is wrong with each.
 */
export async function checkBackup(backup: OpenBackup, signal?: AbortSignal): Promise<void> {
  const { dir, manifest } = backup;
  const faults: string[] = [];
  const there = new Set(filesBelow(dir));
  there.delete(MANIFEST);
  for (const [name, must] of Object.entries(manifest.files)) {
    if (!there.delete(name)) {
      faults.push(`${name}: missing`);
      continue;
    }
    const { bytes, sha256 } = await fileState(path.join(dir, name), signal);
    if (bytes !== must.bytes) faults.push(`${name}: ${bytes} bytes, and not ${must.bytes}`);
    else if (sha256 !== must.sha256) faults.push(`${name}: altered (its SHA-256 is ${sha256})`);
  }
  for (const name of there) faults.push(`${name}: not in the manifest`);
  if (faults.length === 0) return;
  const more = faults.length > FAULTS_MAX ? [`and ${faults.length - FAULTS_MAX} more`] : [];
  throw new BackupError(
    `${dir} is damaged, nothing was restored:\n  ${[...faults.slice(0, FAULTS_MAX), ...more].join('\n  ')}`,
  );
}
