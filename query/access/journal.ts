/**
 * The journal: what the service itself records, as chained streams like any other. Whoever runs the
 * service hands it in; here is what it must do, and what is written.
 */
import { createHash } from 'node:crypto';
import { type DraftOf, JOURNAL_AGENTS } from '#schemas';

type Own = 'kind' | 'ts' | 'source' | 'assurance';
type Bare<K extends 'access' | 'annotation'> = { readonly kind: K } & Omit<DraftOf<K>, Own>;
/** What is written down: the journal adds when, and who says so. */
export type JournalDraft = Bare<'access'> | Bare<'annotation'>;
export type AccessDraft = Bare<'access'>;
export type AnnotationDraft = Bare<'annotation'>;

/** An event that is on disk and will be in the table, usually within a second. */
export interface JournalEntry {
  /** The event's id, as everywhere: STREAM-SEQ. */
  readonly id: string;
  readonly session: string;
  /** Decimal nanoseconds. */
  readonly ts: string;
}

/** The journal can't take the event now; nothing of it was promised. */
export class JournalError extends Error {
  override readonly name = 'JournalError';
}

/** The journal of one tenant. */
export interface Journal {
  /**
   * Resolves when the event survives a loss of power. Rejects with `JournalError` where it can't be
   * kept: a disk that is full, a journal that is closed.
   */
  append(draft: JournalDraft): Promise<JournalEntry>;
  /** Whether the last event could not be kept. */
  readonly failing: boolean;
}

/** The journals of all tenants; a tenant's is opened when it is first asked for. */
export type Journals = (tenant: string) => Journal;

/** Which agent stands on a journal's events: accesses are in one session, casework in another. */
export const JOURNAL_AGENT = { access: JOURNAL_AGENTS[0], annotation: JOURNAL_AGENTS[1] } as const;

/**
 * The session that all annotations of a tenant are in, a stream for each run of each service: a
 * UUID of version 8 (RFC 9562) out of the tenant's name, so that it is found without a search.
 */
export function caseworkSession(tenant: string): string {
  const bytes = createHash('sha256')
    .update(`telltale casework\n${tenant}`)
    .digest()
    .subarray(0, 16);
  bytes[6] = 0x80 | ((bytes[6] as number) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] as number) & 0x3f);
  const hex = bytes.toString('hex');
  return [8, 12, 16, 20, 32].map((end, i, ends) => hex.slice(ends[i - 1] ?? 0, end)).join('-');
}
