/** Who took a backup or put one back is in the journal, as every other access is. */
import { DATABASE, type Log, type Store } from '#schemas';
import { openDirect } from '../access/direct.ts';

export interface Custody {
  readonly store: Store;
  readonly log: Log;
  readonly tenant: string;
  /** The data directory's `access`; absent: a folder beside the collector's spool. */
  readonly dir?: string;
}

/**
 * Writes one access event and ships the journal, so that it is in the table when this resolves.
 * Rejects with `JournalError` where it can't be kept.
 */
export async function recordCustody(
  custody: Custody,
  operation: string,
  by: { readonly actor: string; readonly reason: string },
  attrs: Readonly<Record<string, string>>,
): Promise<void> {
  const opened = openDirect(custody);
  try {
    await opened.deps.journals(custody.tenant).append({
      kind: 'access',
      actor: by.actor,
      operation,
      outcome: 'success',
      reason: by.reason,
      attrs: { ...attrs, database: DATABASE },
    });
  } finally {
    await opened.stop();
  }
}
