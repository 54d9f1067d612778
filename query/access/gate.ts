/**
 * The gate: the one place of the service that holds the store. A request gets an access (`open`),
 * and with it a runner (`run`); there is no other way to either.
 */
import type { Clock, Log, Meter, Store } from '#schemas';
import { QueryError } from '../errors.ts';
import { createRunner, type Runner } from '../run.ts';
import { Access, type AccessOutcome, type Asked } from './access.ts';
import { type AnnotationDraft, type JournalEntry, JournalError, type Journals } from './journal.ts';
import type { Viewer } from './viewer.ts';
import { needRole } from './viewer.ts';

export interface GateDeps {
  readonly store: Store;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly journals: Journals;
  /** Whose journal takes what was refused before anybody was known. */
  readonly tenant: string;
}

/** What an annotation says; who says it is the viewer. */
export type Annotation = Omit<AnnotationDraft, 'kind' | 'actor'>;

export interface Gate {
  open(viewer: Viewer, asked: Asked): Access;
  /** Reads of an open access; `signal` ends them in the store. */
  run(access: Access, signal: AbortSignal | undefined): Runner;
  /** Writes down what was refused before there was a viewer. Never rejects: nothing was read. */
  refused(asked: Asked, outcome: AccessOutcome, reason: string): Promise<void>;
  /** Writes an annotation in the viewer's name. Rejects with FORBIDDEN or JOURNAL_UNAVAILABLE. */
  annotate(viewer: Viewer, annotation: Annotation): Promise<JournalEntry>;
}

/** Stands for who it was where nobody is known. */
export const NOBODY = 'nobody';

export function createGate(deps: GateDeps): Gate {
  const { journals, clock, log, meter } = deps;

  async function refused(asked: Asked, outcome: AccessOutcome, reason: string): Promise<void> {
    const attrs = { ...asked.details };
    const { operation } = asked;
    const draft = { kind: 'access', actor: NOBODY, operation, outcome, reason, attrs } as const;
    await journals(deps.tenant)
      .append(draft)
      .catch((error) => log.warn('query.refusal_not_recorded', { error: String(error) }));
  }

  async function annotate(viewer: Viewer, annotation: Annotation): Promise<JournalEntry> {
    needRole(viewer, 'investigator', 'annotating');
    try {
      const draft = { ...annotation, kind: 'annotation', actor: viewer.id } as const;
      return await journals(viewer.tenant).append(draft);
    } catch (error) {
      if (!(error instanceof JournalError)) throw error;
      const what = `this can’t be written down now: ${error.message}`;
      throw new QueryError('JOURNAL_UNAVAILABLE', what, { cause: error });
    }
  }

  return {
    open: (viewer, asked) => {
      meter.count('telltale.query.accesses', 1);
      return new Access(viewer, asked, journals(viewer.tenant), clock);
    },
    run: (access, signal) => createRunner(deps, access, signal),
    refused,
    annotate,
  };
}
