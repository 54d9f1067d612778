/** Viewers and a journal for tests: who asks is said outright, what is journaled is kept in memory. */
import type { Store } from '#schemas';
import { createGate } from '../../query/access/gate.ts';
import { type JournalDraft, JournalError, type Journals } from '../../query/access/journal.ts';
import type { Role, Scope, Viewer } from '../../query/access/viewer.ts';
import { QueryError } from '../../query/errors.ts';
import type { Runner } from '../../query/run.ts';
import type { QueryDeps } from '../../query/server.ts';
import { fakeClock, fakeLog, fakeMeter } from '../fakes/ports.ts';

/** A viewer of a tenant: an admin who may see content, unless it is said otherwise. */
export const viewer = (
  tenant: string,
  roles: readonly Role[] = ['admin'],
  scopes: readonly Scope[] = ['content'],
  id = 'kim',
): Viewer => ({ id, tenant, roles: new Set(roles), scopes: new Set(scopes), by: 'test' });

export interface MemoryJournal {
  readonly journals: Journals;
  readonly entries: { readonly tenant: string; readonly draft: JournalDraft }[];
  /** Whether it takes nothing. */
  broken: boolean;
}

export function memoryJournal(): MemoryJournal {
  const made: MemoryJournal = {
    entries: [],
    broken: false,
    journals: (tenant) => ({
      append: async (draft) => {
        if (made.broken) throw new JournalError('the disk is full');
        made.entries.push({ tenant, draft });
        return { id: `journal-${made.entries.length}`, session: 'journal', ts: '0' };
      },
      get failing() {
        return made.broken;
      },
    }),
  };
  return made;
}

type AccessDeps = Omit<QueryDeps, 'store' | 'log' | 'meter' | 'clock'>;

/** What `registerQuery` needs of accounts: everyone is `who`, whatever they send. */
export const accessOf = (who: Viewer, journal: MemoryJournal = memoryJournal()): AccessDeps => ({
  tenant: who.tenant,
  authenticate: async () => who,
  journals: journal.journals,
  loopbackOnly: true,
});

/** The same, where the header `Authorization: Bearer NAME` says who of `viewers` it is. */
export const accessOfMany = (
  viewers: Readonly<Record<string, Viewer>>,
  tenant: string,
  journal: MemoryJournal = memoryJournal(),
): AccessDeps => ({
  tenant,
  authenticate: async (authorization) => {
    const found = viewers[authorization?.replace('Bearer ', '') ?? ''];
    if (found === undefined) throw new QueryError('UNAUTHENTICATED', 'send a token');
    return found;
  },
  journals: journal.journals,
  loopbackOnly: true,
});

/** A runner over a store, for a test of what runs under the service. */
export function runnerFor(store: Store, who: Viewer | string, signal?: AbortSignal): Runner {
  const seen = typeof who === 'string' ? viewer(who) : who;
  const { journals } = memoryJournal();
  const ports = { log: fakeLog(), meter: fakeMeter(), clock: fakeClock() };
  const gate = createGate({ store, journals, tenant: seen.tenant, ...ports });
  return gate.run(gate.open(seen, { operation: 'a test' }), signal);
}
