import { describe, expect, it } from 'vitest';
import { mergeToolCalls } from '../../../query/timeline/merge.ts';
import { buildTurns } from '../../../query/timeline/turns.ts';
import { callOf, createEvents } from './events.ts';

describe('turns', () => {
  it('are told by their ids, in the order of their start', () => {
    const e = createEvents();
    const events = [
      e.say(10, { kind: 'prompt', prompt: 'one', turn_id: 't1' }),
      ...callOf(e, 'a', 20, 30, { turn_id: 't1' }),
      e.say(50, { kind: 'prompt', prompt: 'two', turn_id: 't2' }),
      // Reported late, yet of the first turn by its id.
      ...callOf(e, 'b', 60, 70, { turn_id: 't1' }),
      ...callOf(e, 'c', 61, 70, {}),
    ];
    const { list } = buildTurns(events, mergeToolCalls(events));
    expect(list.map(({ id, callIds }) => [id, callIds])).toEqual([
      ['t1', ['a', 'b']],
      ['t2', ['c']],
    ]);
  });

  it('begin at each prompt where nobody gives ids', () => {
    const e = createEvents();
    const events = [
      ...callOf(e, 'early', 1, 2, {}),
      e.say(10, { kind: 'prompt', prompt: 'again' }),
      ...callOf(e, 'a', 20, 30, {}),
      e.say(40, { kind: 'prompt', prompt: 'again' }),
      ...callOf(e, 'b', 50, 60, {}),
    ];
    const { list } = buildTurns(events, mergeToolCalls(events));
    expect(list.map(({ callIds }) => callIds)).toEqual([['a'], ['b']]);
  });

  it('join one prompt of two channels, with or without an id, and not two of one channel', () => {
    const e = createEvents();
    const events = [
      e.make(10, 'rollout', { kind: 'prompt', prompt: 'one', turn_id: 't1' }),
      e.make(30, 'otlp', { kind: 'prompt', prompt_bytes: 3 }),
      e.make(90, 'otlp', { kind: 'prompt', prompt: 'one' }),
      e.make(95, 'hook', { kind: 'prompt', prompt: 'something else' }),
    ];
    const { list } = buildTurns(events, []);
    expect(list.map(({ promptIds }) => promptIds.length)).toEqual([2, 1, 1]);
  });

  it('do not begin with what an agent gives to its subagent, but for those of the subagent alone', () => {
    const e = createEvents();
    const task = (ms: number, more: object = {}) =>
      e.say(ms, { kind: 'prompt', prompt: 'sub', attrs: { parent_tool_call_id: 'c' }, ...more });
    const prompts = (events: readonly ReturnType<typeof task>[]) =>
      buildTurns(events, []).list.map(({ promptIds }) => promptIds.length);
    const asked = e.say(1, { kind: 'prompt', prompt: 'do', turn_id: 't1' });
    expect(prompts([asked, task(2, { turn_id: 't1' }), task(20_000)])).toEqual([1]);
    expect(prompts([asked, task(2, { turn_id: 't2' })])).toEqual([1, 1]);
    expect(prompts([task(2)])).toEqual([1]);
  });
});
