/** Approvals, each held against what ran. */
import type { Drift } from '../timeline/approvals/finding.ts';
import type { Execution, Review, Shown } from '../timeline/approvals/review.ts';
import { builder, costs } from './builder.ts';
import { EventRef } from './events.ts';
import { SessionRef } from './sessions.ts';
import { ANALYSIS_COST, FindingRef, OF_WHOLE } from './story.ts';

interface ReviewRow extends Review {
  readonly drift: readonly Drift[];
}

const ShownRef = builder.objectRef<Shown>('ShownCommand').implement({
  description: 'The text that was shown for approval.',
  fields: (t) => ({
    text: t.string({ resolve: ({ expected }) => expected.text }),
    cut: t.boolean({
      description: 'Only its beginning was kept.',
      resolve: ({ expected }) => expected.cut,
    }),
    eventId: t.exposeID('eventId'),
    from: t.exposeString('from', {
      description: 'approval: it says so itself. call: what the call was at that time.',
    }),
  }),
});

const ExecutionRef = builder.objectRef<Execution>('Execution').implement({
  description: 'A program that the call started.',
  fields: (t) => ({
    processId: t.id({ resolve: ({ process }) => process.id }),
    eventId: t.exposeID('eventId'),
    at: t.field({ type: 'Time', resolve: ({ ns }) => ns }),
    command: t.exposeString('command'),
    match: t.exposeString('match', {
      description:
        'same: what was shown, however it is said. part: one of its commands. other. unknown: nobody knows what was shown.',
    }),
  }),
});

const ReviewRef = builder.objectRef<ReviewRow>('ApprovalReview').implement({
  description: 'What was asked and decided about a call, against what ran.',
  fields: (t) => ({
    callId: t.exposeString('callId'),
    requests: t.field({ type: [EventRef], resolve: ({ requests }) => requests }),
    decisions: t.field({ type: [EventRef], resolve: ({ decisions }) => decisions }),
    rules: t.field({ type: [EventRef], resolve: ({ rules }) => rules }),
    shown: t.field({ type: ShownRef, nullable: true, resolve: ({ shown }) => shown ?? null }),
    executions: t.field({ type: [ExecutionRef], resolve: ({ executions }) => executions }),
    drift: t.field({
      type: [FindingRef],
      description: 'Where both differ.',
      resolve: ({ drift }) => drift,
    }),
  }),
});

builder.objectFields(SessionRef, (t) => ({
  approvals: t.field({
    type: [ReviewRef],
    description: `Calls that somebody or some rule was asked about. ${OF_WHOLE}`,
    ...costs(ANALYSIS_COST),
    resolve: async ({ id }, _args, { loads }) => {
      const assessment = await loads.assessment(id);
      const byCall = new Map<string, Drift[]>();
      for (const drift of assessment.drift())
        byCall.set(drift.callId, [...(byCall.get(drift.callId) ?? []), drift]);
      return assessment
        .reviews()
        .map((review) => ({ ...review, drift: byCall.get(review.callId) ?? [] }));
    },
  }),
}));
