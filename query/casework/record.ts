/**
 * Casework as events: what an investigator pins, tags, notes, links and saves. Pure.
 *
 * Each word on it is an `annotation` event in the tenant's casework session, chained like all others. One
 * annotation is all events with its id, in the order of the timeline; the last one holds. An edit is
 * one more event and so is a withdrawal: nothing is overwritten, and what was recorded of the agent
 * is never touched.
 *
 *     attrs: annotation_id, type, action (create | edit | withdraw), version (from 1), session_id,
 *            name, document, variables (of a saved search)
 *     tag, note, refs (events that it is about) stand in the fields of those names
 */
import type { Annotation as Draft } from '../access/gate.ts';

/** What an annotation is. A search is one that was saved. */
export const ANNOTATION_TYPES = ['pin', 'tag', 'note', 'link', 'search'] as const;
export type AnnotationType = (typeof ANNOTATION_TYPES)[number];
export type Action = 'create' | 'edit' | 'withdraw';

/** What a person says of it. */
export interface Content {
  readonly refs: readonly string[];
  readonly tag?: string | undefined;
  readonly note?: string | undefined;
  /** Of a saved search. */
  readonly name?: string | undefined;
  readonly document?: string | undefined;
  readonly variables?: string | undefined;
}

/** One word on an annotation: an event of the journal. */
export interface Version extends Content {
  readonly annotationId: string;
  readonly type: AnnotationType;
  readonly action: Action;
  readonly version: number;
  readonly sessionId?: string | undefined;
  readonly author: string;
  /** Decimal nanoseconds. */
  readonly at: string;
  /** The journal's event, by which its proof is found. */
  readonly eventId: string;
  /** Its number, for the order of two in one nanosecond. */
  readonly seq: number;
}

/** An annotation as it stands, with all that was said before. */
export interface Annotation {
  readonly id: string;
  readonly type: AnnotationType;
  readonly sessionId?: string | undefined;
  /** What holds now; of a withdrawn one, what held until then. */
  readonly current: Version;
  readonly first: Version;
  readonly withdrawn?: Version | undefined;
  /** The oldest first. */
  readonly history: readonly Version[];
}

/** Without what is absent: an event has no empty fields. */
const filled = (fields: Readonly<Record<string, string | undefined>>) =>
  Object.fromEntries(
    Object.entries(fields).filter(
      (entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== '',
    ),
  );

/** The event that says this; who says it, and when, the journal adds. */
export function draftOf(
  said: Pick<Version, 'annotationId' | 'type' | 'action' | 'version' | 'sessionId'> & Content,
): Draft {
  const { annotationId, type, action, version, sessionId, refs, tag, note } = said;
  return {
    ...filled({ tag, note }),
    ...(refs.length === 0 ? {} : { refs: [...refs] }),
    attrs: filled({
      annotation_id: annotationId,
      type,
      action,
      version: String(version),
      session_id: sessionId,
      name: said.name,
      document: said.document,
      variables: said.variables,
    }),
  };
}

interface Said {
  readonly actor: string;
  readonly ts: string;
  readonly stream_id: string;
  readonly seq: number;
  readonly tag?: string | undefined;
  readonly note?: string | undefined;
  readonly refs?: readonly string[] | undefined;
  readonly attrs?: Readonly<Record<string, string>> | undefined;
}

/** The version that an event holds; undefined for an annotation that this service did not write. */
export function versionOf(event: Said): Version | undefined {
  const attrs = event.attrs ?? {};
  const type = ANNOTATION_TYPES.find((known) => known === attrs.type);
  const action = (['create', 'edit', 'withdraw'] as const).find((one) => one === attrs.action);
  const version = Number(attrs.version);
  if (attrs.annotation_id === undefined || type === undefined || action === undefined)
    return undefined;
  if (!Number.isSafeInteger(version)) return undefined;
  return {
    annotationId: attrs.annotation_id,
    type,
    action,
    version,
    sessionId: attrs.session_id,
    author: event.actor,
    at: event.ts,
    eventId: `${event.stream_id}-${event.seq}`,
    seq: event.seq,
    refs: event.refs ?? [],
    tag: event.tag,
    note: event.note,
    name: attrs.name,
    document: attrs.document,
    variables: attrs.variables,
  };
}

const order = (a: Version, b: Version): number =>
  a.at < b.at ? -1 : a.at > b.at ? 1 : a.seq - b.seq || (a.eventId < b.eventId ? -1 : 1);

/** Annotations of versions in any order, each event once; the oldest annotation first. */
export function annotationsOf(versions: Iterable<Version>): Annotation[] {
  const byId = new Map<string, Map<string, Version>>();
  for (const version of versions) {
    const known = byId.get(version.annotationId) ?? new Map<string, Version>();
    byId.set(version.annotationId, known.set(version.eventId, version));
  }
  const out = [...byId].map(([id, events]): Annotation => {
    const history = [...events.values()].sort(order);
    const first = history[0] as Version;
    const last = history.at(-1) as Version;
    const spoken = history.filter(({ action }) => action !== 'withdraw');
    return {
      id,
      type: first.type,
      sessionId: first.sessionId,
      first,
      current: spoken.at(-1) ?? last,
      withdrawn: last.action === 'withdraw' ? last : undefined,
      history,
    };
  });
  return out.sort((a, b) => order(a.first, b.first));
}
