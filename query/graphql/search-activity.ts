/** Counts over time, for dashboards. */
import { ACTIVITY_KEYS, type Activity, activity, INTERVALS_MAX } from '../search/activity.ts';
import { builder, costs } from './builder.ts';

const ACTIVITY_COST = 500;
const USUAL_INTERVALS = 100;

const ActivityRef = builder.objectRef<Activity>('Activity').implement({
  description: 'What happened in one interval. An interval in which nothing happened is not there.',
  fields: (t) => ({
    at: t.field({ type: 'Time', description: 'Its begin.', resolve: ({ atNs }) => atNs }),
    key: t.exposeString('key', { description: 'Of what is counted; empty where not parted.' }),
    events: t.field({ type: 'Long', resolve: ({ events }) => events }),
    sessions: t.field({
      type: 'Long',
      description: 'Sessions with an event in it; an estimate within 1 %.',
      resolve: ({ sessions }) => sessions,
    }),
    denied: t.field({
      type: 'Long',
      description: 'Approvals and policy decisions that denied.',
      resolve: ({ denied }) => denied,
    }),
    alerts: t.field({
      type: 'Long',
      description: 'Alerts raised in it; 0 where counts are parted by a key.',
      resolve: ({ alerts }) => alerts,
    }),
    gaps: t.field({ type: 'Long', resolve: ({ gaps }) => gaps }),
    lost: t.field({
      type: 'Long',
      description: 'Events that the gaps declare lost, where they can say how many.',
      resolve: ({ lost }) => lost,
    }),
    inputTokens: t.field({ type: 'Long', resolve: ({ inputTokens }) => inputTokens }),
    outputTokens: t.field({ type: 'Long', resolve: ({ outputTokens }) => outputTokens }),
    lagMsP50: t.field({
      type: 'Long',
      description: 'From an event to its row, in milliseconds: the median.',
      resolve: ({ lagMsP50 }) => lagMsP50,
    }),
    lagMsP95: t.field({ type: 'Long', resolve: ({ lagMsP95 }) => lagMsP95 }),
  }),
});

builder.queryField('activity', (t) =>
  t.field({
    type: [ActivityRef],
    description: 'Counts over time, in order; exact, from the events themselves.',
    ...costs(ACTIVITY_COST, USUAL_INTERVALS),
    args: {
      from: t.arg({ type: 'Time', required: true }),
      before: t.arg({ type: 'Time', required: true }),
      stepSeconds: t.arg.int({
        required: true,
        description: `How long an interval is: 60 for minutes, 3600 for hours. At most ${INTERVALS_MAX} intervals.`,
      }),
      by: t.arg.string({ description: `Parts the counts: ${ACTIVITY_KEYS.join(', ')}.` }),
    },
    resolve: async (_root, args, { run }) => [...(await activity(run, args))],
  }),
);
