/** What was watched, and how well: for any interval, and for a call. */
import { ASSURANCES } from '#schemas';
import { badInput } from '../errors.ts';
import type { Channel, Coverage, Loss, SensorSpan } from '../timeline/coverage.ts';
import { builder, costs } from './builder.ts';
import { SessionRef } from './sessions.ts';
import { ANALYSIS_COST, OF_WHOLE, ToolCallRef } from './story.ts';

const SpanRef = builder.objectRef<SensorSpan>('SensorSpan').implement({
  description: 'What one sensor or channel covers for a time.',
  fields: (t) => ({
    name: t.exposeString('name'),
    streamId: t.exposeID('streamId'),
    coverage: t.exposeString('coverage', { description: 'complete, partial or none.' }),
    rung: t.expose('rung', { type: 'Long', nullable: true }),
    kernel: t.exposeBoolean('kernel', { description: 'It shows what the kernel did.' }),
    reason: t.exposeString('reason', { nullable: true }),
    from: t.field({ type: 'Time', resolve: ({ fromNs }) => fromNs }),
    to: t.field({ type: 'Time', resolve: ({ toNs }) => toNs }),
    eventId: t.exposeID('eventId', { description: 'The event that says so.' }),
  }),
});

const LossRef = builder.objectRef<Loss>('Loss').implement({
  description: 'Events that are missing, and between which times.',
  fields: (t) => ({
    streamId: t.exposeID('streamId'),
    from: t.field({ type: 'Time', resolve: ({ fromNs }) => fromNs }),
    to: t.field({ type: 'Time', resolve: ({ toNs }) => toNs }),
    reason: t.exposeString('reason', {
      description: 'As declared; unaccounted: nobody declared it.',
    }),
    count: t.expose('count', { type: 'Long', nullable: true, description: 'Null: nobody knows.' }),
    sensor: t.exposeString('sensor', { nullable: true }),
    eventId: t.exposeID('eventId', { nullable: true }),
  }),
});

const ChannelRef = builder.objectRef<Channel>('CoverageChannel').implement({
  fields: (t) => ({
    source: t.exposeString('source'),
    events: t.expose('events', { type: 'Long' }),
    lastAt: t.field({ type: 'Time', resolve: ({ lastNs }) => lastNs }),
  }),
});

interface Count {
  readonly name: string;
  readonly events: number;
}
const AssuranceRef = builder.objectRef<Count>('AssuranceCount').implement({
  fields: (t) => ({
    assurance: t.string({
      description: `One of: ${ASSURANCES.join(', ')}.`,
      resolve: ({ name }) => name,
    }),
    events: t.expose('events', { type: 'Long' }),
  }),
});

export const CoverageRef = builder.objectRef<Coverage>('Coverage').implement({
  description: 'What was watched in an interval.',
  fields: (t) => ({
    from: t.field({ type: 'Time', resolve: ({ fromNs }) => fromNs }),
    to: t.field({ type: 'Time', resolve: ({ toNs }) => toNs }),
    verdict: t.exposeString('verdict', {
      description:
        'Of the kernel’s sensors. complete: over all of it, and nothing is lost; partial; none; unknown: no sensor has said anything.',
    }),
    sensors: t.field({ type: [SpanRef], resolve: ({ sensors }) => sensors }),
    losses: t.field({ type: [LossRef], resolve: ({ losses }) => losses }),
    channels: t.field({
      type: [ChannelRef],
      description: 'Sources that reported something in it.',
      resolve: ({ channels }) => channels,
    }),
    assurance: t.field({
      type: [AssuranceRef],
      description: 'Events in it, by how good their evidence is.',
      resolve: ({ assurance }) => ASSURANCES.map((name) => ({ name, events: assurance[name] })),
    }),
  }),
});

builder.objectFields(ToolCallRef, (t) => ({
  coverage: t.field({
    type: CoverageRef,
    description: 'Of the time in which it ran.',
    resolve: ({ call, assessment }) =>
      assessment.coverage().of(call.startedNs, call.endedNs ?? call.startedNs),
  }),
}));

builder.objectFields(SessionRef, (t) => ({
  coverage: t.field({
    type: CoverageRef,
    description: `Of an interval, or of the whole session. ${OF_WHOLE}`,
    ...costs(ANALYSIS_COST),
    args: {
      from: t.arg({ type: 'Time', description: 'The session’s first event where absent.' }),
      to: t.arg({ type: 'Time', description: 'The session’s last event where absent.' }),
    },
    resolve: async ({ id, startedNs, endedNs }, { from, to }, { loads }) => {
      const [begin, end] = [from ?? startedNs, to ?? endedNs];
      if (begin > end) throw badInput('to: is before from');
      return (await loads.assessment(id)).coverage().of(begin, end);
    },
  }),
}));
