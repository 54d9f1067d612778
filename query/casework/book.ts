/**
 * The casebook: reads annotations and saved searches, and writes what a person says on them. A word
 * is on disk when `say` resolves and in the table shortly after; until then the book adds it itself,
 * so that whoever writes reads it back.
 */
import { randomUUID } from 'node:crypto';
import { type Clock, fromRow, parseEventId, type Row } from '#schemas';
import type { Annotation as Draft } from '../access/gate.ts';
import type { JournalEntry } from '../access/journal.ts';
import { hasRole, hasScope, needContent, type Viewer } from '../access/viewer.ts';
import { isUuid } from '../cursor.ts';
import { badInput, QueryError } from '../errors.ts';
import type { Runner } from '../run.ts';
import type { ScopedSql } from '../sql.ts';
import { countPlan, ofAnnotationPlan, ofSessionPlan, searchesPlan, VERSIONS_MAX } from './plan.ts';
import {
  type Annotation,
  type AnnotationType,
  annotationsOf,
  type Content,
  draftOf,
  type Version,
  versionOf,
} from './record.ts';

/** How long a word is kept here, and how many: longer than it takes to get into the table. */
const RECENT_MS = 60_000;
const RECENT_MAX = 1000;
const REFS_MAX = 100;
const NOTE_CHARACTERS_MAX = 16_384;
const TAG_CHARACTERS_MAX = 100;

interface Recent {
  readonly tenant: string;
  readonly untilNs: bigint;
  readonly version: Version;
}

/** The book as one viewer has it in one request. */
export interface Casebook {
  /** Those on a session and its events; empty for a viewer without the scope of content. */
  ofSession(session: string): Promise<readonly Annotation[]>;
  one(id: string): Promise<Annotation>;
  searches(): Promise<readonly Annotation[]>;
  create(type: AnnotationType, session: string | undefined, content: Content): Promise<Annotation>;
  /** Says it anew. `version` is the one that the caller has seen last. */
  edit(id: string, version: number, content: Change): Promise<Annotation>;
  withdraw(id: string, version: number, reason: string | undefined): Promise<Annotation>;
}

/** What is said anew; `search` is whether the caller means a saved search. */
export interface Change extends Partial<Content> {
  readonly search: boolean;
}

export interface CasebookRequest {
  readonly run: Runner;
  readonly viewer: Viewer;
  readonly annotate: (draft: Draft) => Promise<JournalEntry>;
}

function checkText(name: string, text: string | undefined, most: number): void {
  if (text === undefined) return;
  if (text.length > most) throw badInput(`${name}: at most ${most} characters`);
  if (!text.isWellFormed()) throw badInput(`${name}: holds a lone surrogate`);
}

/** Throws `QueryError` where something is missing, too long or no id. */
function check(type: AnnotationType, session: string | undefined, content: Content): void {
  const { refs, tag, note } = content;
  if (refs.length > REFS_MAX) throw badInput(`eventIds: at most ${REFS_MAX}`);
  if (new Set(refs).size < refs.length) throw badInput('eventIds: one stands there twice');
  if (refs.some((id) => parseEventId(id) === undefined))
    throw badInput('eventIds: an event’s id is STREAM-SEQ');
  checkText('note', note, NOTE_CHARACTERS_MAX);
  checkText('tag', tag, TAG_CHARACTERS_MAX);
  if (type === 'tag' && (tag ?? '') === '') throw badInput('tag: a tag needs its word');
  if (type === 'note' && (note ?? '') === '') throw badInput('note: a note needs its text');
  if (type === 'link' && refs.length < 2) throw badInput('eventIds: a link is between two or more');
  if (session !== undefined && !isUuid(session)) throw badInput('sessionId: not a UUID');
}

function versionsIn(rows: readonly Row[]): Version[] {
  if (rows.length > VERSIONS_MAX)
    throw new QueryError('SESSION_TOO_LARGE', `more than ${VERSIONS_MAX} annotations in one place`);
  return rows.flatMap((row) => versionOf(fromRow(row) as never) ?? []);
}

/** The book of one service. */
export function createCasework(clock: Clock) {
  let recent: Recent[] = [];

  function remember(tenant: string, version: Version): void {
    const now = clock.monotonicNs();
    const untilNs = now + BigInt(RECENT_MS) * 1_000_000n;
    recent = [...recent.filter((one) => one.untilNs > now), { tenant, untilNs, version }];
    recent = recent.slice(-RECENT_MAX);
  }

  function open({ run, viewer, annotate }: CasebookRequest): Casebook {
    const { tenant } = run;

    async function read(plan: ScopedSql, of: (version: Version) => boolean) {
      const rows = await run.rows<Row>(plan);
      const mine = recent.filter((one) => one.tenant === tenant).map(({ version }) => version);
      return annotationsOf([...versionsIn(rows), ...mine.filter(of)]);
    }

    async function one(id: string): Promise<Annotation> {
      needContent(viewer, 'casework');
      if (!isUuid(id)) throw badInput('id: not the id of an annotation');
      const of = (version: Version) => version.annotationId === id;
      const [found] = await read(ofAnnotationPlan(tenant, id), of);
      if (found === undefined) throw new QueryError('NOT_FOUND', 'no such annotation');
      return found;
    }

    /** Writes one word and gives what then stands. */
    async function say(
      said: Pick<Version, 'annotationId' | 'type' | 'action' | 'version' | 'sessionId'> & Content,
    ): Promise<Annotation> {
      const entry = await annotate(draftOf(said));
      const seq = Number(entry.id.slice(entry.id.lastIndexOf('-') + 1));
      const { id: event, ts: at } = entry;
      remember(tenant, { ...said, author: viewer.id, at, eventId: event, seq });
      return one(said.annotationId);
    }

    /** The annotation, where `version` is its last and the viewer may change it. */
    async function changeable(id: string, version: number): Promise<Annotation> {
      const found = await one(id);
      const last = found.history.at(-1) as Version;
      if (found.withdrawn !== undefined) throw badInput('id: it was withdrawn');
      if (last.version !== version)
        throw badInput(`version: it is ${last.version} now, by ${last.author}: look at it again`);
      if (found.first.author !== viewer.id && !hasRole(viewer, 'admin'))
        throw new QueryError(
          'FORBIDDEN',
          'only its author or an admin may change it: add your own',
        );
      return found;
    }

    async function checkEvents(session: string | undefined, refs: readonly string[]) {
      if (refs.length === 0) return;
      if (session === undefined) throw badInput('sessionId: say of which session the events are');
      const events = refs.map((id) => parseEventId(id) as { stream_id: string; seq: number });
      const [row] = await run.rows<Row>(countPlan(tenant, session, events));
      if (Number(row?.found) !== refs.length)
        throw badInput('eventIds: not all are in the session');
    }

    return {
      one,
      async ofSession(session) {
        if (!hasScope(viewer, 'content')) return [];
        return read(ofSessionPlan(tenant, session), ({ sessionId }) => sessionId === session);
      },
      async searches() {
        needContent(viewer, 'casework');
        return read(searchesPlan(tenant), ({ type }) => type === 'search');
      },
      async create(type, session, content) {
        needContent(viewer, 'casework');
        check(type, session, content);
        await checkEvents(session, content.refs);
        const annotationId = randomUUID();
        return say({
          annotationId,
          type,
          action: 'create',
          version: 1,
          sessionId: session,
          ...content,
        });
      },
      async edit(id, version, content) {
        const { type, sessionId, current } = await changeable(id, version);
        if ((type === 'search') !== content.search) throw badInput(`id: it is a ${type}`);
        const said: Content = {
          refs: content.refs ?? current.refs,
          tag: content.tag ?? current.tag,
          note: content.note ?? current.note,
          name: content.name ?? current.name,
          document: content.document ?? current.document,
          variables: content.variables ?? current.variables,
        };
        check(type, sessionId, said);
        await checkEvents(sessionId, content.refs ?? []);
        return say({
          annotationId: id,
          type,
          action: 'edit',
          version: version + 1,
          sessionId,
          ...said,
        });
      },
      async withdraw(id, version, reason) {
        const { type, sessionId, current } = await changeable(id, version);
        checkText('reason', reason, NOTE_CHARACTERS_MAX);
        const { refs, tag, name } = current;
        return say({
          annotationId: id,
          type,
          action: 'withdraw',
          version: version + 1,
          sessionId,
          refs,
          tag,
          name,
          note: reason,
        });
      },
    };
  }

  return { open };
}

export type Casework = ReturnType<typeof createCasework>;
