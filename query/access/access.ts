/**
 * One access: who reads what, from the first look at the request to its answer. Nothing is read
 * without one (`run.ts` takes no other ticket), and no answer leaves before its event is on disk:
 *
 *     one answer          read … end()            one event, before the answer leaves
 *     in pieces           begin() … pieces … end()    one before the first piece, one behind the last
 */
import { randomUUID } from 'node:crypto';
import type { Clock, Sql } from '#schemas';
import { QueryError } from '../errors.ts';
import { type AccessDraft, type Journal, JournalError } from './journal.ts';
import { ROLES, type Viewer } from './viewer.ts';

export type AccessOutcome = NonNullable<AccessDraft['outcome']>;

/** What is known of a request beside who sent it. */
export interface Asked {
  /** A route, or the kind and name of a GraphQL operation. */
  readonly operation: string;
  /** More of it, by name; values are texts. */
  readonly details?: Readonly<Record<string, string>>;
}

/** Sessions that one event names; how many more there were is told. */
const SESSIONS_MAX = 50;
const REASON_CHARACTERS_MAX = 500;
const OPERATION_CHARACTERS_MAX = 200;

const cut = (text: string, most: number) => text.slice(0, most).toWellFormed();

/** An open access. A class, so that nothing else passes for one. */
export class Access {
  readonly viewer: Viewer;
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #startNs: bigint;
  readonly #sessions = new Set<string>();
  readonly #id: string = randomUUID();
  #asked: Asked;
  #rows = 0;
  #statements = 0;
  #begun = false;
  #ended: Promise<void> | undefined;

  constructor(viewer: Viewer, asked: Asked, journal: Journal, clock: Clock) {
    this.viewer = viewer;
    this.#asked = asked;
    this.#journal = journal;
    this.#clock = clock;
    this.#startNs = clock.monotonicNs();
  }

  /** Whether something is an access, by its make and not by its look. */
  static is(value: object): value is Access {
    return #ended in value;
  }

  /** Whether it may be read with: not ended yet. */
  get isOpen(): boolean {
    return this.#ended === undefined;
  }

  /** Resolves when its journal can write; one that failed lately is tried before anything is read. */
  async ready(): Promise<void> {
    if (this.#journal.failing) await this.begin();
  }

  /** What became known of the request since it was opened. */
  describe({ operation, details }: Partial<Asked>): void {
    this.#asked = {
      operation: operation ?? this.#asked.operation,
      details: { ...this.#asked.details, ...details },
    };
  }

  /** Notes a statement, and the sessions that it names. */
  reads({ params }: Sql): void {
    this.#statements++;
    for (const value of [params.session, params.session_text])
      if (typeof value === 'string') this.#sessions.add(value);
  }

  /** Notes rows that came of it. */
  got(rows: number): void {
    this.#rows += rows;
  }

  get rows(): number {
    return this.#rows;
  }

  #draft(phase: 'begin' | 'end', outcome?: AccessOutcome, reason?: string): AccessDraft {
    const { viewer } = this;
    const sessions = [...this.#sessions];
    const listed = sessions.slice(0, SESSIONS_MAX);
    const tookNs = this.#clock.monotonicNs() - this.#startNs;
    const roles = ROLES.filter((role) => viewer.roles.has(role)).join(' ');
    const counts = {
      rows: String(this.#rows),
      statements: String(this.#statements),
      duration_us: String(tookNs / 1000n),
    };
    return {
      kind: 'access',
      actor: viewer.id,
      operation: cut(this.#asked.operation, OPERATION_CHARACTERS_MAX),
      ...(outcome === undefined ? {} : { outcome }),
      ...(reason === undefined ? {} : { reason: cut(reason, REASON_CHARACTERS_MAX) }),
      attrs: {
        ...this.#asked.details,
        request_id: this.#id,
        authenticated_by: viewer.by,
        roles,
        scopes: [...viewer.scopes].join(' '),
        ...(this.#begun || phase === 'begin' ? { phase } : {}),
        ...(phase === 'end' ? counts : {}),
        ...(listed.length === 0 ? {} : { sessions: listed.join(' ') }),
        ...(sessions.length > listed.length ? { sessions_count: String(sessions.length) } : {}),
      },
    };
  }

  async #write(draft: AccessDraft): Promise<void> {
    try {
      await this.#journal.append(draft);
    } catch (error) {
      if (!(error instanceof JournalError)) throw error;
      const why = 'this access can’t be recorded, so nothing is read';
      throw new QueryError('JOURNAL_UNAVAILABLE', `${why}: ${error.message}`, { cause: error });
    }
  }

  /** Before the first piece of an answer that leaves in pieces. Rejects with JOURNAL_UNAVAILABLE. */
  async begin(): Promise<void> {
    await this.#write(this.#draft('begin'));
    this.#begun = true;
  }

  /** Closes it. Rejects with JOURNAL_UNAVAILABLE: then no answer may leave. Counts once. */
  end(outcome: AccessOutcome, reason?: string): Promise<void> {
    this.#ended ??= this.#write(this.#draft('end', outcome, reason));
    return this.#ended;
  }
}
