/** Casework -> the statements that read it. Pure; every value is bound. */
import { selectEvent } from '#schemas';
import { caseworkSession } from '../access/journal.ts';
import { ofSession } from '../plan.ts';
import { condition, type ScopedSql, select } from '../sql.ts';

/** Versions of annotations that are read of one session, or of all saved searches. */
export const VERSIONS_MAX = 20_000;

const COLUMNS = ['stream_id', 'seq', 'kind', 'ts', 'actor', 'note', 'tag', 'refs', 'attrs'];

const versionsPlan = (tenant: string, name: string, value: string): ScopedSql =>
  select(tenant, {
    columns: selectEvent(COLUMNS),
    from: 'events',
    where: [
      ofSession(caseworkSession(tenant)),
      condition("kind = 'annotation'"),
      condition(`attrs['${name}'] = {value:String}`, { value }),
    ],
    limit: VERSIONS_MAX + 1,
  });

/** All that was said on a session and its events. */
export const ofSessionPlan = (tenant: string, session: string): ScopedSql =>
  versionsPlan(tenant, 'session_id', session);

/** All that was said on one annotation. */
export const ofAnnotationPlan = (tenant: string, id: string): ScopedSql =>
  versionsPlan(tenant, 'annotation_id', id);

/** All saved searches. */
export const searchesPlan = (tenant: string): ScopedSql => versionsPlan(tenant, 'type', 'search');

/** How many of some events a session has. */
export const countPlan = (
  tenant: string,
  session: string,
  events: readonly { readonly stream_id: string; readonly seq: number }[],
): ScopedSql =>
  select(tenant, {
    columns: "uniqExact(concat(toString(stream_id), '-', toString(seq))) AS found",
    from: 'events',
    where: [
      ofSession(session),
      condition("has({ids:Array(String)}, concat(toString(stream_id), '-', toString(seq)))", {
        ids: events.map(({ stream_id, seq }) => `${stream_id}-${seq}`),
      }),
    ],
  });
