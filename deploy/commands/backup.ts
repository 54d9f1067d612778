import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { type TakenBackup, takeBackup } from '../backup/backup.ts';
import { placeOf } from '../backup/engine.ts';
import { BackupError } from '../backup/manifest.ts';
import { createProgress, interruptSignal, openSite, SITE_FLAGS, siteOf } from '../backup/site.ts';
import { requireSchema } from '../migrate.ts';
import { createClock } from '../process/clock.ts';
import { UsageError } from '../process/lifecycle.ts';
import { terminalLog } from '../process/log.ts';
import { tenant } from '../settings.ts';

const NOT_IN_IT = `Not in it: what collectors hold in their spools, and what Kafka holds. The folder has the log's signing
key and the hashes of tokens: keep it as you keep those.
`;

/** A name that sorts by time, for the engine and for a disk of its own. */
export const jobName = (verb: string, nowMs: number): string =>
  `telltale-${verb}-${new Date(nowMs).toISOString().replace(/\D/g, '').slice(0, 14)}-${randomBytes(4).toString('hex')}`;

function told({ manifest, sha256 }: TakenBackup, dir: string): string {
  const { tables, log, files, base } = manifest;
  const rows = Object.values(tables).reduce((sum, state) => sum + state.rows, 0);
  const bytes = Object.values(files).reduce((sum, file) => sum + file.bytes, 0);
  const moving = Object.values(tables).filter(({ digest }) => digest === undefined).length;
  return [
    `backup ${dir}${base === undefined ? '' : ' (builds on a full one)'}`,
    `  ${rows} rows in ${Object.keys(tables).length} tables, ${Object.keys(files).length} files of ${bytes} bytes here`,
    `  transparency log: ${log === null ? 'none' : `${log.size} heads of ${log.origin}`}`,
    ...(moving === 0
      ? []
      : [`  ${moving} tables were written to meanwhile: their counts are bounds, not exact`]),
    `  sha256 of the manifest: ${sha256}`,
    '',
  ].join('\n');
}

/** `telltale backup`: exit code 0 when the backup is whole and on disk. */
export async function backup(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { ...SITE_FLAGS, to: { type: 'string' } },
  });
  const [target, ...rest] = positionals;
  if (target === undefined || rest.length > 0)
    throw new UsageError('say into which folder, and one only');
  const dir = path.resolve(target);
  const site = siteOf(values, 'backup');
  const clock = createClock();
  const id = jobName('backup', Date.now());
  const place = values.to === undefined ? undefined : placeOf(values.to, id);
  if (values.to !== undefined && place === undefined)
    throw new UsageError(`--to ${values.to}: give disk:NAME or s3:COLLECTION of the server`);
  if (site.data === undefined && place === undefined)
    throw new UsageError('say where the server puts its part: --to disk:NAME or s3:COLLECTION');
  if (site.data !== undefined && !fs.existsSync(site.data))
    throw new UsageError(`${site.data}: there is no such directory; nothing was recorded there`);
  const log = terminalLog(false);
  const store = await openSite(site, log);
  const progress = createProgress();
  const { tell } = progress;
  try {
    await requireSchema(store);
    const { by, tlog, access } = site;
    const { base } = values;
    const of = values.tenant ?? tenant();
    const taken = await takeBackup(
      { dir, store, log, clock, place, base, tlog, access, tenant: of, by, id, tell },
      interruptSignal(),
    );
    progress.end();
    process.stdout.write(`${told(taken, dir)}${NOT_IN_IT}`);
    return 0;
  } catch (error) {
    throw error instanceof BackupError ? new UsageError(error.message) : error;
  } finally {
    progress.end();
    await store.close();
  }
}
