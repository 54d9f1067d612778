import { describe, expect, it } from 'vitest';
import type { TelltaleEvent } from '#schemas';
import { agentsOf } from '../../../query/timeline/agents.ts';
import { inOrder } from '../../../query/timeline/view.ts';
import { createEvents } from './events.ts';

const shapeOf = (events: readonly TelltaleEvent[]) =>
  agentsOf(inOrder(events)).list.map(({ id, parentId, depth }) => [id, parentId, depth]);

describe('agents', () => {
  it('are told by conversation, and subagents by their attributes and the call that began them', () => {
    const e = createEvents();
    const root = { conversation_id: 'main' };
    const events = [
      e.say(1, { kind: 'prompt', prompt: 'x', ...root }),
      e.say(2, { kind: 'tool.call', tool: 'Task', tool_call_id: 't1', ...root }),
      e.say(3, {
        kind: 'model.turn',
        input_tokens: 5,
        ...root,
        attrs: {
          'gen_ai.agent.id': 'sub',
          'gen_ai.agent.name': 'general-purpose',
          parent_tool_call_id: 't1',
        },
      }),
      e.say(4, {
        kind: 'tool.call',
        tool_call_id: 's1',
        ...root,
        attrs: { 'gen_ai.agent.id': 'sub' },
      }),
      e.say(5, {
        kind: 'tool.call',
        tool_call_id: 'd1',
        attrs: { 'gen_ai.agent.id': 'deep', parent_agent_id: 'sub' },
      }),
      e.say(6, { kind: 'model.turn', conversation_id: 'other' }),
    ];
    expect(shapeOf(events)).toEqual([
      ['main', undefined, 0],
      ['sub', 'main', 1],
      ['deep', 'sub', 2],
      ['other', undefined, 0],
    ]);
    const sub = agentsOf(inOrder(events)).list[1];
    expect(sub).toMatchObject({
      type: 'general-purpose',
      spawnCallId: 't1',
      callIds: ['s1'],
      inputTokens: 5,
    });
  });

  it('a thread of its own stands under the one that its file names', () => {
    const e = createEvents();
    const events = [
      e.say(1, { kind: 'prompt', prompt: 'x', conversation_id: 'main' }),
      e.say(2, {
        kind: 'prompt',
        prompt: 'y',
        conversation_id: 'thread',
        attrs: { parent_agent_id: 'main' },
      }),
    ];
    expect(shapeOf(events)).toEqual([
      ['main', undefined, 0],
      ['thread', 'main', 1],
    ]);
  });

  it('that are each other’s parents, or of one that is not there, stand at the top', () => {
    const e = createEvents();
    const say = (ms: number, id: string, up: string) =>
      e.say(ms, {
        kind: 'prompt',
        prompt: 'x',
        conversation_id: id,
        attrs: { parent_agent_id: up },
      });
    const shape = shapeOf([say(1, 'a', 'b'), say(2, 'b', 'a'), say(3, 'c', 'nobody')]);
    expect(shape.map(([id]) => id).sort()).toEqual(['a', 'b', 'c']);
    expect(shape.filter(([, parent]) => parent === undefined)).toHaveLength(2);
  });

  it('of a type that only one has is that one, and of two nobody but the conversation', () => {
    const e = createEvents();
    const root = { conversation_id: 'main' };
    const turn = (ms: number, attrs?: object) =>
      e.say(ms, { kind: 'model.turn', input_tokens: 1, ...root, ...(attrs ? { attrs } : {}) });
    const typed = { 'gen_ai.agent.name': 'reviewer' };
    const one = [turn(1), turn(2, { 'gen_ai.agent.id': 's1', ...typed }), turn(3, typed)];
    const two = [...one, turn(4, { 'gen_ai.agent.id': 's2', ...typed })];
    const counted = (events: readonly TelltaleEvent[]) =>
      agentsOf(inOrder(events)).list.map(({ id, type, events }) => [id, type, events]);
    expect(counted(one)).toEqual([
      ['main', undefined, 1],
      ['s1', 'reviewer', 2],
    ]);
    expect(counted(two)[0]).toEqual(['main', undefined, 2]);
    expect(counted([turn(1, typed), turn(2, typed)])).toEqual([['main', 'reviewer', 2]]);
  });
});
