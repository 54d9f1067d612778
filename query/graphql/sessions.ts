/** Sessions, and a session's timeline. */
import { ASSURANCES, parseEventId } from '#schemas';
import { readSessionCursor } from '../cursor.ts';
import { badInput } from '../errors.ts';
import { findSession } from '../load.ts';
import { PAGE_DEFAULT, PAGE_MAX, pageSize } from '../plan.ts';
import { eventOf, type SessionHead, type SessionRow, sessionHead, sessionPage } from '../render.ts';
import { removedSession, removedSessions } from '../retention.ts';
import { sessionsPlan } from '../session-plan.ts';
import type { FlatEvent } from '../timeline/view.ts';
import { timelineColumns, timelinePage } from '../timeline-page.ts';
import { eventPlan } from '../timeline-plan.ts';
import { builder, costs } from './builder.ts';
import { columnsFor } from './columns.ts';
import { EventRef } from './events.ts';
import { connectionOf } from './page.ts';

export const SessionRef = builder.objectRef<SessionHead>('Session');
const SessionConnection = connectionOf<SessionHead>('Session', SessionRef as never);
const EventConnection = connectionOf<FlatEvent>('Event', EventRef as never);

/** What reading one page costs beside its fields. */
const PAGE_COST = 20;
const SIZE = `At most ${PAGE_MAX}, more is taken as ${PAGE_MAX}; ${PAGE_DEFAULT} where nothing is said.`;
const AFTER = 'The cursor that the page begins after.';
/** How the streams of a session are merged; also in `query/README.md`. */
const ORDER =
  'The order is `ts`, then `seq`, then `streamId`. `ts` is the time by the clock of whoever saw the event; ' +
  'no clock is corrected, so streams of several machines lie as their clocks say. ' +
  'Within one stream `seq` is the order in which the collector took the events in, and `observedTs` when.';

const SessionFilterInput = builder.inputType('SessionFilter', {
  fields: (t) => ({
    agent: t.string(),
    host: t.string(),
    user: t.string(),
    startedFrom: t.field({ type: 'Time', description: 'Started at or after.' }),
    startedBefore: t.field({ type: 'Time', description: 'Started before.' }),
    journal: t.boolean({
      description:
        'The service’s own sessions, of accesses and of casework, instead of those of agents; for admins.',
    }),
    removed: t.boolean({
      description:
        'The tombstones of sessions that retention removed, instead of sessions that are there. They have a time and a `removal`; nothing else is known of them.',
    }),
  }),
});

export const EventFilterInput = builder.inputType('EventFilter', {
  description: 'All that is given must hold.',
  fields: (t) => ({
    kinds: t.stringList({ description: 'Event kinds, such as "exec".' }),
    toolCallId: t.string({
      description: 'As recorded; effects that were attributed later are under toolCalls.',
    }),
    turnId: t.string(),
    streamId: t.string(),
    processOf: t.id({
      description:
        'The id of a process, or of an event in one: what that process and its descendants did, as the kernel sensor saw it. A pid that was used again is told apart.',
    }),
    pid: t.field({
      type: 'Long',
      description: 'The same for every process that had this pid, in all streams or in `streamId`.',
    }),
    text: t.string({
      description:
        'Found in commands, arguments, prompts, messages or outputs; case does not matter for ASCII.',
    }),
    path: t.string({ description: 'A path; with "/" at its end all below it.' }),
    host: t.string({ description: 'A host name or an address.' }),
    verdicts: t.stringList({
      description:
        'What approvals and policy rules decided: allow, deny, ask, cancelled (nobody decided).',
    }),
    assurances: t.stringList({
      description: `How good the evidence is: ${ASSURANCES.join(', ')}.`,
    }),
    from: t.field({ type: 'Time', description: 'Happened at or after.' }),
    before: t.field({ type: 'Time', description: 'Happened before.' }),
  }),
});

SessionRef.implement({
  description: 'One recorded run of an agent.',
  fields: (t) => ({
    id: t.exposeID('id'),
    agent: t.exposeString('agent'),
    host: t.exposeString('host'),
    user: t.exposeString('user'),
    startedAt: t.field({ type: 'Time', resolve: ({ startedNs }) => startedNs }),
    endedAt: t.field({
      type: 'Time',
      description: 'The last event so far; whether the session is over is in `completeness`.',
      resolve: ({ endedNs }) => endedNs,
    }),
    timeline: t.field({
      type: EventConnection,
      description: `Everything that was recorded. ${ORDER}`,
      ...costs(PAGE_COST),
      args: {
        first: t.arg.int({ description: SIZE }),
        after: t.arg.string({ description: AFTER }),
        last: t.arg.int({ description: `So many from the end. ${SIZE}` }),
        before: t.arg.string({ description: 'The cursor that the page ends before.' }),
        filter: t.arg({ type: EventFilterInput }),
      },
      resolve: (session, { filter, ...args }, { run, texts }, info) =>
        texts === undefined
          ? timelinePage(run, session, args, filter, columnsFor(info))
          : timelineColumns(run, session, args, filter, columnsFor(texts.asAsked(info))),
    }),
  }),
});

builder.queryFields((t) => ({
  sessions: t.field({
    type: SessionConnection,
    description: 'Recorded sessions, newest first.',
    ...costs(PAGE_COST),
    args: {
      first: t.arg.int({ description: SIZE }),
      after: t.arg.string({ description: AFTER }),
      filter: t.arg({ type: SessionFilterInput }),
    },
    resolve: async (_root, { first, after, filter }, { run }) => {
      const size = pageSize(first);
      const place = after === undefined || after === null ? undefined : readSessionCursor(after);
      if (filter?.removed)
        return sessionPage(await removedSessions(run, size, filter, place), size);
      const plan = sessionsPlan(run.tenant, size, filter ?? {}, place);
      return sessionPage((await run.rows<SessionRow>(plan)).map(sessionHead), size);
    },
  }),
  session: t.field({
    type: SessionRef,
    nullable: true,
    description:
      'One session, by its id; "latest" is the one that began last. Of one that retention removed the tombstone: `removal` says so.',
    args: { id: t.arg.id({ required: true }) },
    resolve: async (_root, { id }, { run, loads }) =>
      (await findSession(run, String(id), loads)) ??
      (await removedSession(run, String(id))) ??
      null,
  }),
  event: t.field({
    type: EventRef,
    nullable: true,
    description: 'One event, by its id: "STREAM-SEQ".',
    ...costs(PAGE_COST),
    args: { id: t.arg.id({ required: true }) },
    resolve: async (_root, { id }, { run }) => {
      const key = parseEventId(String(id));
      if (key === undefined) throw badInput('id: an event’s id is STREAM-SEQ');
      const [row] = await run.rows(eventPlan(run.tenant, key.stream_id, key.seq));
      return row === undefined ? null : eventOf(row);
    },
  }),
}));
