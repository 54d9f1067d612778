/** Agents and subagents of a session. */
import type { Agent } from '../timeline/agents.ts';
import { builder, costs } from './builder.ts';
import { SessionRef } from './sessions.ts';
import { ANALYSIS_COST, OF_WHOLE } from './story.ts';

export const AgentRef = builder.objectRef<Agent>('Agent').implement({
  description: 'An agent, or one that it started.',
  fields: (t) => ({
    id: t.exposeID('id', { description: 'Its own id, or that of its conversation.' }),
    parentId: t.exposeID('parentId', { nullable: true }),
    depth: t.exposeInt('depth'),
    type: t.exposeString('type', { nullable: true }),
    spawnCallId: t.exposeString('spawnCallId', {
      nullable: true,
      description: 'The tool call that started it.',
    }),
    conversationId: t.exposeString('conversationId', { nullable: true }),
    firstAt: t.field({ type: 'Time', resolve: ({ firstNs }) => firstNs }),
    lastAt: t.field({ type: 'Time', resolve: ({ lastNs }) => lastNs }),
    eventCount: t.field({ type: 'Long', resolve: ({ events }) => events }),
    callIds: t.stringList({ resolve: ({ callIds }) => callIds }),
    inputTokens: t.expose('inputTokens', { type: 'Long' }),
    outputTokens: t.expose('outputTokens', { type: 'Long' }),
  }),
});

builder.objectFields(SessionRef, (t) => ({
  agents: t.field({
    type: [AgentRef],
    description: `The agent and its subagents, flat, parents before children. ${OF_WHOLE}`,
    ...costs(ANALYSIS_COST),
    resolve: async ({ id }, _args, { loads }) => (await loads.assessment(id)).agents().list,
  }),
}));
