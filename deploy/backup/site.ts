/** What the commands of backups have in common: where things are, progress, and Ctrl-C. */
import os from 'node:os';
import path from 'node:path';
import type { Log, Store } from '#schemas';
import { accessDir } from '../access/local.ts';
import { UsageError } from '../process/lifecycle.ts';
import { dataDir, storeUrl } from '../settings.ts';
import { EMBEDDED_DEFAULTS, openEmbedded } from '../stores/embedded.ts';
import { openStore } from '../stores/open.ts';

/** For `parseArgs`. */
export const SITE_FLAGS = {
  data: { type: 'string' },
  store: { type: 'string' },
  tlog: { type: 'string' },
  access: { type: 'string' },
  base: { type: 'string' },
  reason: { type: 'string' },
  by: { type: 'string' },
  tenant: { type: 'string' },
} as const;

interface SiteFlags {
  readonly data?: string | undefined;
  readonly store?: string | undefined;
  readonly tlog?: string | undefined;
  readonly access?: string | undefined;
  readonly reason?: string | undefined;
  readonly by?: string | undefined;
}

/** An embedded store with its folders, or a server and the folders of its services. */
export interface Site {
  /** The data directory of an embedded store; undefined: a server. */
  readonly data: string | undefined;
  readonly url: string;
  readonly tlog: string | undefined;
  readonly access: string | undefined;
  readonly by: { readonly actor: string; readonly reason: string };
}

/** Reads the flags. Throws `UsageError` where they name two places. */
export function siteOf(flags: SiteFlags, verb: string): Site {
  if (flags.store !== undefined && flags.data !== undefined)
    throw new UsageError('give --store or --data, not both');
  const by = { actor: flags.by ?? os.userInfo().username, reason: flags.reason ?? verb };
  const url = flags.data === undefined ? (flags.store ?? storeUrl()) : undefined;
  if (url !== undefined && !url.startsWith('chdb:'))
    return { data: undefined, url, tlog: flags.tlog, access: flags.access, by };
  const data = path.resolve(url?.slice('chdb:'.length) ?? flags.data ?? dataDir());
  if (flags.tlog !== undefined || flags.access !== undefined)
    throw new UsageError('--tlog and --access are for a server: --data has both in it');
  const [tlog, access] = [path.join(data, 'tlog'), accessDir(data)];
  return { data, url: `chdb:${data}`, tlog, access, by };
}

/** Opens the store of a site, in `dir` where it is embedded, with leave to back up and restore. */
export async function openSite(site: Site, log: Log, dir = site.data): Promise<Store> {
  if (dir === undefined) return openStore(site.url, { log });
  return await openEmbedded(dir, log, { ...EMBEDDED_DEFAULTS, backups: true }).catch(
    (error: Error) => {
      throw new Error(
        `the store in ${dir} can't be opened; if "telltale up" has it open, stop that first and start it again afterwards (collectors keep what they record meanwhile)`,
        { cause: error },
      );
    },
  );
}

/** Words on standard error: one line that changes on a terminal, a line a phase elsewhere. */
export function createProgress(): { tell(what: string): void; end(): void } {
  const { isTTY } = process.stderr;
  const began = performance.now();
  let last = '';
  return {
    tell(what) {
      const phase = what.replace(/, \d+ files$/, '');
      const seconds = Math.round((performance.now() - began) / 1000);
      if (isTTY) process.stderr.write(`\r\x1b[K${seconds} s  ${what} `);
      else if (phase !== last) process.stderr.write(`telltale: ${phase}\n`);
      last = phase;
    },
    end() {
      if (isTTY && last !== '') process.stderr.write('\r\x1b[K');
    },
  };
}

/** A signal that SIGINT and SIGTERM abort: what runs cleans up and rejects. */
export function interruptSignal(): AbortSignal {
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => abort.abort(new Error(`stopped by ${signal}; nothing was left`)));
  return abort.signal;
}
