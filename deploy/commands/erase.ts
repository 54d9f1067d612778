import fs from 'node:fs';
import os from 'node:os';
import { parseArgs } from 'node:util';
import { type Erasure, eraseContent, planErasure } from '../erase/erase.ts';
import { ErasureError, type ErasureRequest } from '../erase/request.ts';
import { migrate, requireSchema } from '../migrate.ts';
import { createClock } from '../process/clock.ts';
import { UsageError } from '../process/lifecycle.ts';
import { terminalLog } from '../process/log.ts';
import { dataDir, storeUrl, tenant } from '../settings.ts';
import { openStore } from '../stores/open.ts';

const NOT_REACHED = `Not reached from here: what collectors still hold in their spools, what Kafka keeps until its
retention ends, bundles that were exported, backups, and alerts that were delivered. Freed disk
blocks keep their bytes until the file system uses them again.
`;

/** The store to erase from; an embedded one only one process at a time can have. */
async function openFor(url: string) {
  const dir = url.startsWith('chdb:') ? url.slice('chdb:'.length) : undefined;
  if (dir !== undefined && !fs.existsSync(dir))
    throw new Error(`${dir}: there is no such directory; nothing was recorded there`);
  const log = terminalLog(false);
  const store = await openStore(url, { log }).catch((error: Error) => {
    throw new Error(
      dir === undefined
        ? `the store at ${url} can't be reached`
        : `the store in ${dir} can't be opened; if "telltale up" has it open, stop that, erase, and start it again (collectors keep what they record meanwhile)`,
      { cause: error },
    );
  });
  // A server is migrated by its own command, under its lease.
  await (dir === undefined ? requireSchema(store) : migrate(store, { log })).catch(
    async (error) => {
      await store.close();
      throw error;
    },
  );
  return store;
}

function told(request: ErasureRequest, done: Erasure, dryRun: boolean): string {
  const values = Object.entries(done.values)
    .map(([name, count]) => `  ${name.padEnd(14)} ${count}\n`)
    .join('');
  const verb = dryRun ? 'would erase' : 'erased';
  return `${verb} content of ${done.events} events and ${done.deadLetters} dead letters of session ${request.session}\n${values}`;
}

/** `telltale erase`: takes content out of the store and leaves every proof valid. */
export async function erase(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      event: { type: 'string', multiple: true },
      fields: { type: 'string' },
      reason: { type: 'string' },
      by: { type: 'string' },
      store: { type: 'string' },
      data: { type: 'string' },
      tenant: { type: 'string' },
      'dry-run': { type: 'boolean', default: false },
    },
  });
  const [session, ...rest] = positionals;
  if (session === undefined || rest.length > 0)
    throw new UsageError('say which session, by its id');
  if (values.reason === undefined) throw new UsageError('say why, with --reason: it is recorded');
  if (values.store !== undefined && values.data !== undefined)
    throw new UsageError('give --store or --data, not both');
  const url = values.data === undefined ? (values.store ?? storeUrl()) : `chdb:${values.data}`;
  const request: ErasureRequest = {
    tenant: values.tenant ?? tenant(),
    session,
    ...(values.event === undefined ? {} : { events: values.event }),
    ...(values.fields === undefined ? {} : { fields: values.fields.split(',') }),
    actor: values.by ?? os.userInfo().username,
    reason: values.reason,
  };
  const store = await openFor(url ?? `chdb:${dataDir()}`);
  const dryRun = values['dry-run'];
  try {
    const done = dryRun
      ? await planErasure(store, request)
      : await eraseContent({ store, clock: createClock() }, request);
    process.stdout.write(`${told(request, done, dryRun)}${dryRun ? '' : NOT_REACHED}`);
  } catch (error) {
    throw error instanceof ErasureError ? new UsageError(error.message) : error;
  } finally {
    await store.close();
  }
  return 0;
}
