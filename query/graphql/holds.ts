/** Legal hold on a session. */
import { type Hold, holdOf } from '../retention.ts';
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
