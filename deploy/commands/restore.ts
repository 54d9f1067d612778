import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { DATABASE, type Log, type Store } from '#schemas';
import { claimDatabase } from '../backup/claim.ts';
import { recordCustody } from '../backup/custody.ts';
import { BackupError } from '../backup/manifest.ts';
import {
  type CheckedBackup,
  layoutOfBackup,
  openChecked,
  putBack,
  type Restored,
} from '../backup/restore.ts';
import {
  createProgress,
  interruptSignal,
  openSite,
  SITE_FLAGS,
  type Site,
  siteOf,
} from '../backup/site.ts';
import { createClock } from '../process/clock.ts';
import { UsageError } from '../process/lifecycle.ts';
import { terminalLog } from '../process/log.ts';
import { tenant } from '../settings.ts';
import { jobName } from './backup.ts';

const NEXT = `Next: a log that was put back may be older than what its witnesses saw; they refuse it then, and a new
log is to be begun under another name. Events since the backup come from the collectors' spools and
from Kafka: set the group's offsets back to the time of the backup; what is stored already is dropped.
`;
/** The first heads without events that are told one by one. */
const UNBORNE_TOLD = 10;

function told(restored: Restored, { backup }: CheckedBackup): string {
  const { rows, tables, unborne } = restored;
  const { created, by, log } = backup.manifest;
  const heads = log === null ? 'no transparency log' : `the log's ${log.size} heads`;
  const told = unborne.slice(0, UNBORNE_TOLD).map((what) => `    ${what}\n`);
  return `restored the backup of ${created} by ${JSON.stringify(by)}: ${rows} rows in ${tables} tables, as backed up; ${heads}
${
  unborne.length === 0
    ? '  each head of the log has its event\n'
    : `  ${unborne.length} heads of the log have no event in the backup (removed by retention, or lost before): "telltale verify --all" tells which\n${told.join('')}`
}`;
}

interface Work {
  readonly checked: CheckedBackup;
  readonly site: Site;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly tell: (what: string) => void;
  readonly tenant: string;
}

async function restoreInto(store: Store, work: Work, dir: { tlog?: string; access?: string }) {
  const { checked, log, signal, tell, site } = work;
  const id = jobName('restore', Date.now());
  const options = { ...dir, store, log, clock: createClock(), id, tell };
  const restored = await putBack(checked, options, signal);
  const at = dir.access === undefined ? {} : { dir: dir.access };
  await recordCustody({ store, log, tenant: work.tenant, ...at }, 'restore', site.by, {
    backup: checked.backup.sha256,
    from: checked.backup.dir,
  });
  return restored;
}

/** Into a folder beside the one that is wanted, which gets its name when all is well. */
async function restoreEmbedded(data: string, work: Work): Promise<Restored> {
  const partial = `${data}.partial`;
  if (fs.existsSync(partial)) throw new BackupError(`${partial} is there already: remove it first`);
  if (fs.existsSync(data) && fs.readdirSync(data).length > 0)
    throw new BackupError(`${data} is not empty: nothing is overwritten; give another --data`);
  fs.mkdirSync(partial, { recursive: true, mode: 0o700 });
  try {
    const store = await openSite(work.site, work.log, partial);
    const dirs = { tlog: path.join(partial, 'tlog'), access: path.join(partial, 'access') };
    const restored = await restoreInto(store, work, dirs).finally(() => store.close());
    fs.rmSync(path.join(dirs.access, 'local.json'), { force: true });
    if (fs.existsSync(data)) fs.rmdirSync(data);
    fs.renameSync(partial, data);
    return restored;
  } catch (error) {
    fs.rmSync(partial, { recursive: true, force: true });
    throw error;
  }
}

/** Into a server without our database; what fails is taken away again, since all of it is new. */
async function restoreServer(work: Work): Promise<Restored> {
  const { site, log, checked } = work;
  for (const dir of [site.tlog, site.access])
    if (dir !== undefined && fs.existsSync(dir) && fs.readdirSync(dir).length > 0)
      throw new BackupError(`${dir} is not empty: nothing is overwritten`);
  const store = await openSite(site, log);
  try {
    const at = await layoutOfBackup(store, checked.backup);
    const claim = await claimDatabase(store, at, jobName('restore', Date.now()));
    const dirs = {
      ...(site.tlog === undefined ? {} : { tlog: site.tlog }),
      ...(site.access === undefined ? {} : { access: site.access }),
    };
    try {
      const restored = await restoreInto(store, work, dirs);
      await claim.keep();
      return restored;
    } catch (error) {
      for (const dir of Object.values(dirs)) fs.rmSync(dir, { recursive: true, force: true });
      if (await claim.drop()) throw error;
      throw new BackupError(
        `${(error as Error).message}\nthe database ${DATABASE} is not the one that this restore made: it was left as it is`,
        { cause: error },
      );
    }
  } finally {
    await store.close();
  }
}

/** `telltale restore`: exit code 0 when what was restored is what was backed up. */
export async function restore(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...SITE_FLAGS,
      sha256: { type: 'string' },
      check: { type: 'boolean', default: false },
    },
  });
  const [from, ...rest] = positionals;
  if (from === undefined || rest.length > 0) throw new UsageError('say which backup, and one only');
  const site = siteOf(values, 'restore');
  const progress = createProgress();
  const { tell } = progress;
  const signal = interruptSignal();
  const log = terminalLog(false);
  try {
    tell('holding the backup to its manifest');
    const { base, sha256 } = values;
    const checked = await openChecked(path.resolve(from), { base, sha256 }, signal);
    if (values.check) {
      const count = Object.keys(checked.backup.manifest.files).length;
      progress.end();
      process.stdout.write(`${from} is as its manifest says: ${count} files\n`);
      return 0;
    }
    const work = { checked, site, log, signal, tell, tenant: values.tenant ?? tenant() };
    const { data } = site;
    const restored = await (data === undefined ? restoreServer(work) : restoreEmbedded(data, work));
    progress.end();
    process.stdout.write(`${told(restored, checked)}${NEXT}`);
    return 0;
  } catch (error) {
    throw error instanceof BackupError ? new UsageError(error.message) : error;
  } finally {
    progress.end();
  }
}
