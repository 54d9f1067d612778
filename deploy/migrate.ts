/**
 * Brings a store to the wanted schema: `schemas/migrations/NNNN_name.sql`, in order, once each.
 *
 * A file holds several statements, parted by a line `-- ;;` (the engines take one a call, and a
 * semicolon may stand in a comment). Each statement is recorded after it ran, so a run that died
 * between two goes on where it was; the one that ran unrecorded runs again, which is why each
 * must be repeatable (IF NOT EXISTS, IF EXISTS). What is applied never changes: its hash is kept.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import {
  DATABASE,
  type Log,
  MIGRATIONS_TABLE,
  type QueryLimits,
  type Sql,
  type Store,
} from '#schemas';
import { CLAIM } from './backup/claim.ts';
import { type LeaseDeps, withLease } from './migrate-lease.ts';

/** Beside `schemas/` in the source and in `dist/` alike; `assets.mjs` copies the files there. */
export const MIGRATIONS_DIR = path.resolve(import.meta.dirname, '../schemas/migrations');

const LIMITS: QueryLimits = { timeMs: 30_000, memoryBytesMax: 256 * 1024 ** 2, rowsMax: 100_000 };
const INSERT_MS = 30_000;
const FILE = /^(\d{4})_[a-z0-9_]+\.sql$/;
const PARTING = /^-- ;;[ \t]*$/m;
/** Rows of `entities` are minima and maxima, so that filling it twice changes nothing. */
const REPEATABLE =
  /\bIF (?:NOT )?EXISTS\b|\bMODIFY (?:SETTING|QUERY)\b|\bCOMMENT COLUMN\b|^\s*CREATE OR REPLACE\b|^\s*INSERT INTO telltale\.entities\b/i;
const COMMENTS = /^--[^\n]*$/gm;

/** One statement of a migration file. */
export interface Step {
  /** The file's name. */
  readonly migration: string;
  /** Its place in the file, from 0. */
  readonly statement: number;
  readonly text: string;
  /** SHA-256 of `text`, lower-case hex. */
  readonly sha256: string;
}

export interface Migrated {
  /** Steps that ran now, or would run where it is a dry run. */
  readonly applied: readonly Step[];
  /** How many had run before. */
  readonly known: number;
}

/** What a step is about to touch, for a dry run. */
export interface Touched {
  /** The table that its statement names first. */
  readonly table: string;
  /** Undefined where there is no such table yet. */
  readonly rows: number | undefined;
  readonly bytes: number | undefined;
}

/** The store or the files are not what a migration may build on; says which and why. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
}

/** The statements of one file; comment lines and blank statements fall away. */
export function statementsOf(file: string): string[] {
  return file
    .split(PARTING)
    .map((part) => part.replace(COMMENTS, '').trim())
    .filter((part) => part !== '');
}

/** Reads the migrations. Throws `MigrationError` on a hole, a wrong name or an unsafe statement. */
export function readMigrations(dir: string = MIGRATIONS_DIR): Step[] {
  const names = fs.readdirSync(dir).sort();
  const steps: Step[] = [];
  for (const [index, name] of names.entries()) {
    const number = FILE.exec(name)?.[1];
    if (number === undefined) throw new MigrationError(`${name}: a migration is NNNN_name.sql`);
    if (Number(number) !== index + 1)
      throw new MigrationError(`${name}: number ${index + 1} is expected here`);
    const texts = statementsOf(fs.readFileSync(path.join(dir, name), 'utf8'));
    if (texts.length === 0) throw new MigrationError(`${name}: holds no statement`);
    for (const [statement, text] of texts.entries()) {
      if (!REPEATABLE.test(text))
        throw new MigrationError(
          `${name}: statement ${statement} can't be run twice: write IF NOT EXISTS or IF EXISTS`,
        );
      const sha256 = createHash('sha256').update(text).digest('hex');
      steps.push({ migration: name, statement, text, sha256 });
    }
  }
  if (steps.length === 0) throw new MigrationError(`${dir}: no migrations`);
  return steps;
}

const sql = (text: string, params: Sql['params'] = {}): Sql => ({ text, params });
const keyOf = (step: Pick<Step, 'migration' | 'statement'>) =>
  `${step.migration}#${step.statement}`;

/** What is recorded as applied: hash by step. Empty where the table is not there yet. */
async function appliedSteps(store: Store): Promise<Map<string, string>> {
  const [database, table] = MIGRATIONS_TABLE.split('.') as [string, string];
  const there = await store.query(
    sql('SELECT 1 AS there FROM system.tables WHERE database = {d:String} AND name = {t:String}', {
      d: database,
      t: table,
    }),
    LIMITS,
  );
  if (there.length === 0) return new Map();
  const rows = await store.query<{ migration: string; statement: number; sha256: string }>(
    sql(`SELECT DISTINCT migration, statement, sha256 FROM ${MIGRATIONS_TABLE}`),
    LIMITS,
  );
  return new Map(rows.map((row) => [keyOf(row), row.sha256]));
}

/** The database, and the table that remembers. */
export const PREPARATION: readonly string[] = [
  `CREATE DATABASE IF NOT EXISTS ${DATABASE} ENGINE = Atomic`,
  `CREATE TABLE IF NOT EXISTS ${MIGRATIONS_TABLE} (
  migration String, statement UInt32, sha256 String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = MergeTree ORDER BY (migration, statement)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1`,
];

/** A database that a restore has made is filled by that and by nobody else. */
async function refuseClaimed(store: Store): Promise<void> {
  const text = 'SELECT comment FROM system.databases WHERE name = {d:String}';
  const [row] = await store.query<{ comment: string }>(sql(text, { d: DATABASE }), LIMITS);
  if (row?.comment.startsWith(CLAIM))
    throw new MigrationError(
      `the database ${DATABASE} is being restored ("${row.comment}"): wait until that has ended; if it was killed, DROP DATABASE ${DATABASE} and restore again`,
    );
}

/** Creates both. May be repeated. */
async function prepare(store: Store, rewrite: Rewrite): Promise<void> {
  await refuseClaimed(store);
  for (const text of PREPARATION.flatMap(rewrite)) await store.command(text);
}

async function record(store: Store, step: Step): Promise<void> {
  const { migration, statement, sha256 } = step;
  await store.insert({
    table: MIGRATIONS_TABLE,
    lines: Buffer.from(`${JSON.stringify({ migration, statement, sha256 })}\n`),
    rows: 1,
    dedupToken: `${keyOf(step)}:${sha256}`,
    timeMs: INSERT_MS,
  });
}

/** Throws where a step was applied that this program does not know: the store is newer than it. */
function refuseNewer(steps: readonly Step[], applied: ReadonlyMap<string, string>): void {
  const known = new Set(steps.map(keyOf));
  const strange = [...applied.keys()].filter((key) => !known.has(key)).sort();
  if (strange.length === 0) return;
  const mine = steps.at(-1)?.migration;
  throw new MigrationError(
    `the store is newer than this program: it has ${strange.at(-1)}, and this program ends at ${mine}; use the version of telltale that migrated it, or a later one (there is no way back)`,
  );
}

/** The steps that have not run. Throws where an applied one is no longer what it was. */
function pendingOf(steps: readonly Step[], applied: ReadonlyMap<string, string>): Step[] {
  refuseNewer(steps, applied);
  return steps.filter((step) => {
    const before = applied.get(keyOf(step));
    if (before !== undefined && before !== step.sha256)
      throw new MigrationError(
        `${step.migration}: statement ${step.statement} was changed after it was applied; add a new migration instead`,
      );
    return before === undefined;
  });
}

/**
 * What a service asks before it works on a store that others migrate. Rejects with `MigrationError`
 * where the store is newer than the program, or older, or was migrated by other files.
 */
export async function requireSchema(store: Store, dir?: string): Promise<void> {
  const pending = pendingOf(readMigrations(dir), await appliedSteps(store));
  const [first] = pending;
  if (first !== undefined)
    throw new MigrationError(
      `the store is older than this program: ${pending.length} statements from ${first.migration} on are not applied; run "telltale migrate" first`,
    );
}

/** Rejects with `MigrationError` where the store is newer than this program, and only then. */
export async function refuseNewerStore(store: Store, dir?: string): Promise<void> {
  refuseNewer(readMigrations(dir), await appliedSteps(store));
}

const NAMED = /\btelltale\.(\w+)/;

/** What a step would touch, by what the engine says of its table. */
export async function touchedBy(store: Store, step: Step): Promise<Touched> {
  const name = NAMED.exec(step.text)?.[1] ?? '';
  const [row] = await store.query<{ rows: string | null; bytes: string | null }>(
    sql(
      'SELECT total_rows AS rows, total_bytes AS bytes FROM system.tables WHERE database = {d:String} AND name = {t:String}',
      { d: DATABASE, t: name },
    ),
    LIMITS,
  );
  const count = (value: string | null | undefined) => (value == null ? undefined : Number(value));
  return { table: `${DATABASE}.${name}`, rows: count(row?.rows), bytes: count(row?.bytes) };
}

export interface MigrateOptions {
  readonly log: Log;
  readonly dryRun?: boolean;
  readonly dir?: string;
  /** Holds others off a server; an embedded store is one process's anyway. */
  readonly lease?: LeaseDeps;
  /** What a statement is where the store is a cluster; the statement itself where absent. */
  readonly rewrite?: (text: string) => readonly string[];
}

type Rewrite = NonNullable<MigrateOptions['rewrite']>;
const unchanged: Rewrite = (text) => [text];

async function apply(
  store: Store,
  pending: readonly Step[],
  { log, rewrite = unchanged }: MigrateOptions,
  hold: () => Promise<void>,
): Promise<void> {
  for (const step of pending) {
    const fields = { migration: step.migration, statement: step.statement };
    await hold();
    try {
      for (const text of rewrite(step.text)) await store.command(text);
    } catch (error) {
      log.error('migrate.failed', fields);
      throw error;
    }
    await record(store, step);
    log.info('migrate.applied', fields);
  }
}

/**
 * Applies what has not been applied. May be called at every start, and again after a failure:
 * it goes on where it stopped. With `dryRun` nothing is written. Rejects with `StoreError`,
 * `MigrationError`, or `LeaseError` where another migrator is at work.
 */
export async function migrate(store: Store, options: MigrateOptions): Promise<Migrated> {
  const { log, dryRun = false, lease } = options;
  const steps = readMigrations(options.dir);
  let pending = pendingOf(steps, await appliedSteps(store));
  const done = () => ({ applied: pending, known: steps.length - pending.length });
  if (dryRun)
    for (const { migration, statement } of pending)
      log.info('migrate.pending', { migration, statement });
  if (dryRun || pending.length === 0) return done();
  await prepare(store, options.rewrite ?? unchanged);
  if (lease === undefined) await apply(store, pending, options, async () => {});
  else
    await withLease(store, lease, async (hold) => {
      // Whoever had the lease before may have applied them meanwhile.
      pending = pendingOf(steps, await appliedSteps(store));
      await apply(store, pending, options, hold);
    });
  return done();
}
