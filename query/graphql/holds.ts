/** What was done to a session as a whole: a legal hold, and a removal by retention. */
import {
  type Hold,
  holdOf,
  type Removal,
  type RemovedHead,
  removalOf,
  removedSession,
} from '../retention.ts';
import { builder, costs, needs } from './builder.ts';
import { SessionRef } from './sessions.ts';

const HOLD_COST = 5;

const HoldRef = builder.objectRef<Hold>('Hold').implement({
  description: 'A legal hold: retention removes nothing of the session while it stands.',
  fields: (t) => ({
    by: t.exposeString('by', { description: 'Who placed it.' }),
    reason: t.exposeString('reason'),
    since: t.field({ type: 'Time', resolve: ({ sinceNs }) => sinceNs }),
  }),
});

builder.objectField(SessionRef, 'hold', (t) =>
  t.field({
    type: HoldRef,
    nullable: true,
    description: 'The legal hold on it; null where there is none.',
    ...needs('investigator', costs(HOLD_COST)),
    resolve: async ({ id }, _args, { run }) => (await holdOf(run, id)) ?? null,
  }),
);

const RemovedStreamRef = builder.objectRef<Removal['streams'][number]>('RemovedStream').implement({
  fields: (t) => ({
    streamId: t.id({ resolve: ({ stream_id }) => stream_id }),
    lastSeq: t.field({
      type: 'Long',
      description: 'The highest number that was stored.',
      resolve: ({ last_seq }) => last_seq,
    }),
    events: t.expose('events', { type: 'Long', description: 'How many were stored.' }),
  }),
});

const RemovalRef = builder.objectRef<RemovedHead>('Removal').implement({
  description:
    'A tombstone: retention removed the session, and nothing of it was lost. What the transparency log holds of it stays.',
  fields: (t) => ({
    policy: t.string({ resolve: ({ removal }) => removal.policy }),
    days: t.field({
      type: 'Long',
      description: 'After how many days that policy removes a session.',
      resolve: ({ removal }) => removal.days,
    }),
    by: t.string({ description: 'Who ran it.', resolve: ({ removal }) => removal.by }),
    at: t.field({ type: 'Time', resolve: ({ removal }) => removal.removedNs }),
    events: t.field({
      type: 'Long',
      description: 'How many were stored.',
      resolve: ({ removal }) => removal.events,
    }),
    streams: t.field({
      type: [RemovedStreamRef],
      ...costs(HOLD_COST),
      resolve: async ({ id }, _args, { run }) => (await removalOf(run, id))?.streams ?? [],
    }),
  }),
});

builder.objectField(SessionRef, 'removal', (t) =>
  t.field({
    type: RemovalRef,
    nullable: true,
    description: 'Set where retention removed the session, or what of it had come until then.',
    ...costs(HOLD_COST),
    resolve: async (session, _args, { run }) =>
      'removal' in session
        ? (session as RemovedHead)
        : ((await removedSession(run, session.id)) ?? null),
  }),
);
