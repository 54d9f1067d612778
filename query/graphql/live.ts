/** What comes in, as it comes in: subscriptions over Server-Sent Events. See `query/live/`. */
import { badInput } from '../errors.ts';
import { type AlertsMessage, alertLooks } from '../live/alerts.ts';
import { SETTLE_MS } from '../live/arrivals.ts';
import { type EventsMessage, eventLooks, LIVE_ROWS_MAX } from '../live/events.ts';
import { findSession } from '../load.ts';
import { AlertFilterInput, AlertRef } from './alerts.ts';
import { builder, costs } from './builder.ts';
import { columnsFor } from './columns.ts';
import { EventRef } from './events.ts';
import { EventFilterInput } from './sessions.ts';

/** What one look at the store costs beside the fields of what it finds. */
const LOOK_COST = 20;
/** Nodes of a message, for costs: it has as many as came in. */
const MESSAGE_SIZE = 100;

const CURSOR =
  'Where to go on after this message: as `after`, or as `Last-Event-ID`, which it is sent as too.';
const AFTER =
  'The cursor of the last message that was taken, with the same filter; the header Last-Event-ID does the same.';
const RULE = `Every row is told once, in the order of arrival: one that comes late or out of order comes when it can be read, up to ${SETTLE_MS / 1000} s behind those that were written after it. The stream ends after an hour: go on from the cursor.`;

const LiveEvents = builder.objectRef<EventsMessage>('LiveEvents').implement({
  description: `Events that came in, at most ${LIVE_ROWS_MAX}.`,
  fields: (t) => ({
    cursor: t.exposeString('cursor', { description: CURSOR }),
    nodes: t.field({
      type: [EventRef],
      description: 'In the order of the timeline, within this message.',
      ...costs(1, MESSAGE_SIZE),
      resolve: ({ nodes }) => [...nodes],
    }),
  }),
});

const LiveAlerts = builder.objectRef<AlertsMessage>('LiveAlerts').implement({
  description: 'Alerts that were raised.',
  fields: (t) => ({
    cursor: t.exposeString('cursor', { description: CURSOR }),
    nodes: t.field({
      type: [AlertRef],
      ...costs(1, MESSAGE_SIZE),
      resolve: ({ nodes }) => [...nodes],
    }),
  }),
});

builder.subscriptionType({
  description: 'Over Server-Sent Events: POST /graphql with Accept: text/event-stream.',
});

builder.subscriptionFields((t) => ({
  sessionEvents: t.field({
    type: LiveEvents,
    description: `Events of one session as they come in. ${RULE}`,
    ...costs(LOOK_COST),
    args: {
      id: t.arg.id({ required: true, description: 'A session’s id, or "latest".' }),
      after: t.arg.string({ description: AFTER }),
      backlog: t.arg.boolean({
        defaultValue: true,
        description: 'Without a cursor: whether what is stored already comes first.',
      }),
      filter: t.arg({ type: EventFilterInput }),
    },
    subscribe: async (_root, { id, after, backlog, filter }, context, info) => {
      const { run, live } = context;
      const session = await findSession(run, String(id));
      if (session === undefined) throw badInput('id: no such session');
      const looks = eventLooks(run, {
        session: session.id,
        filter: filter ?? {},
        columns: columnsFor(info),
        after: after ?? live.lastEventId,
        backlog: backlog ?? true,
      });
      return live.follow(looks);
    },
    resolve: (message) => message as EventsMessage,
  }),
  alertsRaised: t.field({
    type: LiveAlerts,
    description: `New alerts as they are raised. ${RULE}`,
    ...costs(LOOK_COST),
    args: {
      after: t.arg.string({ description: AFTER }),
      backlog: t.arg.boolean({
        defaultValue: false,
        description: 'Without a cursor: whether those that are stored already come first.',
      }),
      session: t.arg.id({ description: 'Those of one session only.' }),
      filter: t.arg({ type: AlertFilterInput }),
    },
    subscribe: (_root, { after, backlog, session, filter }, { run, live }) =>
      live.follow(
        alertLooks(run, {
          filter: { ...filter, session },
          after: after ?? live.lastEventId,
          backlog: backlog ?? false,
        }),
      ),
    resolve: (message) => message as AlertsMessage,
  }),
}));
