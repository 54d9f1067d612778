/** The engine's own BACKUP and RESTORE: started, watched, and killed when nobody wants it any more. */
import { type Clock, DATABASE, type QueryLimits, type Store } from '#schemas';
import type { Layout } from '../clickhouse/layout.ts';
import { literal } from '../stores/literal.ts';
import { BackupError } from './manifest.ts';

const LIMITS: QueryLimits = { timeMs: 30_000, memoryBytesMax: 64 * 1024 ** 2, rowsMax: 100 };
const LOOK_MS = 200;
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,99}$/;

/** Where the engine puts its part. */
export type Place =
  | { readonly type: 'file'; readonly path: string }
  /** A disk of the server's configuration that `backups.allowed_disk` names. */
  | { readonly type: 'disk'; readonly disk: string; readonly name: string }
  /** A named collection of the server's configuration, so that no key stands in a statement. */
  | { readonly type: 's3'; readonly collection: string; readonly name: string };

/** The place of `disk:NAME` or `s3:COLLECTION` of a flag; undefined where it is neither. */
export function placeOf(text: string, name: string): Place | undefined {
  const [type, target = ''] = text.split(':', 2);
  if (!NAME.test(target)) return undefined;
  if (type === 'disk') return { type, disk: target, name };
  return type === 's3' ? { type, collection: target, name } : undefined;
}

const quoted = (text: string): string => literal('String', text);

/** A place in the engine's words. */
export function placeText(place: Place): string {
  if (place.type === 'file') return `File(${quoted(place.path)})`;
  if (place.type === 'disk') return `Disk(${quoted(place.disk)}, ${quoted(place.name)})`;
  return `S3(${place.collection}, ${quoted(place.name)})`;
}

const WRITTEN =
  /^(Disk)\('(\w{1,100})', '([\w-]{1,200})'\)$|^(S3)\((\w{1,100}), '([\w-]{1,200})'\)$/;

/** Reads what `placeText` wrote into a manifest; nothing else of a manifest gets into a statement. */
export function parsePlace(text: string): Place {
  const [, disk, target = '', name = '', s3, collection = '', s3name = ''] =
    WRITTEN.exec(text) ?? [];
  if (disk !== undefined) return { type: 'disk', disk: target, name };
  if (s3 !== undefined && NAME.test(collection)) return { type: 's3', collection, name: s3name };
  throw new BackupError(`the manifest names no place that the engine keeps backups at: ${text}`);
}

export interface Job {
  readonly verb: 'BACKUP' | 'RESTORE';
  readonly place: Place;
  readonly base?: Place | undefined;
  /** Letters and digits; told to the engine, to find the job by. */
  readonly id: string;
  /** Each server of a cluster does its part. */
  readonly at: Pick<Layout, 'everywhere'>;
}

/** The statement of a job; it is answered at once and goes on by itself. */
export function statementOf({ verb, place, base, id, at }: Job): string {
  const preposition = verb === 'BACKUP' ? 'TO' : 'FROM';
  const settings = [
    `id = ${quoted(id)}`,
    ...(base === undefined ? [] : [`base_backup = ${placeText(base)}`]),
    // The database is there already, with a mark of whose it is (claim.ts).
    ...(verb === 'RESTORE' ? ['allow_different_database_def = true'] : []),
  ];
  return `${verb} DATABASE ${DATABASE}${at.everywhere} ${preposition} ${placeText(place)} SETTINGS ${settings.join(', ')} ASYNC`;
}

interface Status {
  readonly status: string;
  readonly error: string;
  readonly num_files: string;
  readonly files_read: string;
  readonly query_id: string;
}

async function statusOf(store: Store, id: string): Promise<Status | undefined> {
  const text = `SELECT toString(status) AS status, error, num_files, files_read, query_id FROM system.backups
WHERE id = {id:String}`;
  return (await store.query<Status & Record<string, unknown>>({ text, params: { id } }, LIMITS))[0];
}

/**
 * Runs a job to its end; `tell` hears of it while it runs. Rejects with `BackupError` in the engine's
 * words, or with the signal's reason once the job was killed.
 */
export async function runJob(
  { store, clock }: { readonly store: Store; readonly clock: Clock },
  job: Job,
  tell: (files: number) => void,
  signal: AbortSignal,
): Promise<void> {
  tell(0);
  signal.throwIfAborted();
  await store.command(statementOf(job));
  for (let killed = false; ; ) {
    const now = await statusOf(store, job.id);
    const words = now?.status ?? 'it is not in system.backups';
    if (words === 'BACKUP_CREATED' || words === 'RESTORED') break;
    if (now === undefined || /FAILED|CANCELLED/.test(words)) {
      signal.throwIfAborted();
      // The first line: what follows is the engine's stack.
      const why = (now?.error ?? '').split(', Stack trace')[0];
      throw new BackupError(`the engine's ${job.verb} ended with ${words}: ${why}`);
    }
    if (signal.aborted && !killed) {
      killed = true;
      await store.command(`KILL QUERY WHERE query_id = ${quoted(now.query_id)} ASYNC`);
    }
    tell(Math.max(Number(now.num_files), Number(now.files_read)));
    await clock.sleep(LOOK_MS);
  }
  signal.throwIfAborted();
}
