/** Reading a store that a command opens itself: recorded like any other access. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Log, Store } from '#schemas';
import type { Asked } from '../../query/access/access.ts';
import { createGate } from '../../query/access/gate.ts';
import type { Runner } from '../../query/run.ts';
import { createClock, systemRandom } from '../process/clock.ts';
import { createMeter } from '../process/meter.ts';
import { spoolDir } from '../settings.ts';
import { type OpenAccess, openAccess } from './open.ts';

interface Direct {
  readonly store: Store;
  readonly log: Log;
  readonly tenant: string;
  /** The data directory's `access`; absent: a folder beside the collector's spool. */
  readonly dir?: string;
}

/** Accounts and a journal for one command. */
export function openDirect({ store, log, tenant, dir }: Direct): OpenAccess {
  const ports = { store, log, meter: createMeter(), clock: createClock(), random: systemRandom };
  const at = dir ?? path.join(path.dirname(spoolDir()), 'access');
  fs.mkdirSync(at, { recursive: true, mode: 0o700 });
  return openAccess({ dir: at, tenant, loopback: true }, ports);
}

/** Reads with one recorded access, in the name of the account that runs the command. */
export async function withAccess<T>(
  direct: Direct,
  asked: Asked,
  use: (run: Runner) => Promise<T>,
): Promise<T> {
  const opened = openDirect(direct);
  const gate = createGate(opened.deps);
  const viewer = {
    id: os.userInfo().username,
    tenant: direct.tenant,
    roles: new Set(['admin'] as const),
    scopes: new Set(['content'] as const),
    by: 'the store’s own key',
  };
  const access = gate.open(viewer, asked);
  try {
    const result = await use(gate.run(access, undefined));
    await access.end('success');
    return result;
  } catch (error) {
    await access.end('failure', error instanceof Error ? error.message : String(error));
    throw error;
  } finally {
    await opened.stop();
  }
}
