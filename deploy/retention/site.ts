/** The store that retention and holds work on, and the journals that say so. */
import fs from 'node:fs';
import os from 'node:os';
import type { Store } from '#schemas';
import type { GateDeps } from '../../query/access/gate.ts';
import { openDirect } from '../access/direct.ts';
import { accessDir } from '../access/local.ts';
import { migrate, requireSchema } from '../migrate.ts';
import { UsageError } from '../process/lifecycle.ts';
import { terminalLog } from '../process/log.ts';
import { dataDir, storeUrl } from '../settings.ts';
import { openStore } from '../stores/open.ts';

/** For `parseArgs`. */
export const WHERE_FLAGS = {
  store: { type: 'string' },
  data: { type: 'string' },
  access: { type: 'string' },
  by: { type: 'string' },
} as const;

interface Flags {
  readonly store?: string | undefined;
  readonly data?: string | undefined;
  readonly access?: string | undefined;
  readonly by?: string | undefined;
}

export interface Desk {
  readonly store: Store;
  readonly actor: string;
  /** One access event, in the tenant's journal before this resolves. */
  record(
    tenant: string,
    operation: string,
    reason: string,
    attrs: Readonly<Record<string, string>>,
  ): Promise<void>;
}

/** Writes what is done into a tenant's journal, by the name of whoever does it. */
export const recorder =
  (journals: GateDeps['journals'], actor: string): Desk['record'] =>
  async (tenant, operation, reason, attrs) => {
    await journals(tenant).append({
      ...{ kind: 'access', actor, operation, outcome: 'success', reason, attrs },
    });
  };

/** Opens the store, does the work and ships the journal. Throws `UsageError` for what was not meant. */
export async function atDesk<T>(flags: Flags, work: (desk: Desk) => Promise<T>): Promise<T> {
  if (flags.store !== undefined && flags.data !== undefined)
    throw new UsageError('give --store or --data, not both');
  const url =
    flags.data === undefined
      ? (flags.store ?? storeUrl() ?? `chdb:${dataDir()}`)
      : `chdb:${flags.data}`;
  const data = url.startsWith('chdb:') ? url.slice('chdb:'.length) : undefined;
  if (data !== undefined && !fs.existsSync(data))
    throw new UsageError(`${data}: there is no such directory; nothing was recorded there`);
  const log = terminalLog(false);
  const actor = flags.by ?? os.userInfo().username;
  const store = await openStore(url, { log });
  try {
    await (data === undefined ? requireSchema(store) : migrate(store, { log }));
    const dir = flags.access ?? (data === undefined ? undefined : accessDir(data));
    const opened = openDirect({
      ...{ store, log, tenant: 'default' },
      ...(dir === undefined ? {} : { dir }),
    });
    const record = recorder(opened.deps.journals, actor);
    return await work({ store, actor, record }).finally(() => opened.stop());
  } finally {
    await store.close();
  }
}
