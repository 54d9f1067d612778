import { describe, expect, it } from 'vitest';
import { mergeToolCalls, normalText, settleExit } from '../../../query/timeline/merge.ts';
import { buildStory } from '../../../query/timeline/story.ts';
import { at, callOf, createEvents, sessionOf } from './events.ts';

describe('merging the channels of a tool call', () => {
  it('fills each field from the first channel that knows it', () => {
    const { make } = createEvents();
    const [call] = mergeToolCalls([
      make(10, 'otlp', { kind: 'tool.call', tool_call_id: 'c', tool: 'shell' }),
      make(12, 'rollout', { kind: 'tool.call', tool_call_id: 'c', command: 'ls', cwd: '/w' }),
      make(30, 'hook', {
        kind: 'tool.result',
        tool_call_id: 'c',
        outcome: 'success',
        exit_code: 0,
      }),
    ]);
    expect(call).toMatchObject({
      tool: 'shell',
      command: 'ls',
      cwd: '/w',
      outcome: 'success',
      exitCode: { code: 0, from: 'channel', source: 'hook' },
      channels: ['hook', 'otlp', 'rollout'],
      startedNs: at(10),
      endedNs: at(30),
      contradictions: [],
    });
  });

  it('keeps the kernel’s exit code over the claim and lists the contradiction', () => {
    const events = createEvents();
    const story = buildStory(
      sessionOf([
        events.run(0, 1, 9, ['agent']),
        ...callOf(
          events,
          'c',
          10,
          50,
          { tool: 'sh', command: 'make' },
          { outcome: 'success', exit_code: 0 },
        ),
        events.run(20, 2, 1, ['sh', '-c', 'make'], { tool_call_id: 'c', attribution: 'env_key' }),
        events.end(40, 2, 3),
      ]),
    );
    const item = story.turns.flatMap(({ items }) => items).concat(story.before)[0];
    expect(item).toMatchObject({
      call: {
        exitCode: { code: 3, from: 'kernel', source: 'seccomp' },
        contradictions: [
          {
            field: 'exit_code',
            kept: { value: '3', source: 'seccomp' },
            other: { value: '0', source: 'otlp' },
          },
        ],
      },
    });
    expect(story.findings.filter(({ kind }) => kind === 'contradiction')).toHaveLength(1);
    expect(story.counts.failedCalls).toBe(1);
  });

  it('contradicts a success of a call that a signal ended, and takes 128 + N for the same end', () => {
    const events = createEvents();
    const told = (exit_code: number) =>
      mergeToolCalls(callOf(events, 'c', 0, 9, {}, { exit_code }))[0];
    const kernel = { signal: 'SIGKILL', source: 'seccomp', eventId: 'k-1' };
    const good = told(0);
    const same = told(137);
    if (good === undefined || same === undefined) throw new Error('no call');
    expect(settleExit(good, kernel).contradictions).toHaveLength(1);
    expect(settleExit(good, kernel).exitCode).toBeUndefined();
    expect(settleExit(same, kernel).contradictions).toEqual([]);
    expect(settleExit(same, kernel).exitSignal).toBe('SIGKILL');
  });

  it('lists different claims, and not the same JSON in another layout nor a cut value', () => {
    const { make } = createEvents();
    const call = (source: string, fields: object) =>
      make(1, source, { kind: 'tool.call', tool_call_id: 'c', ...fields });
    const [one] = mergeToolCalls([
      call('otlp', { arguments: '{"a":1,"b":2}', tool: 'x' }),
      call('rollout', { arguments: '{ "b": 2, "a": 1 }', tool: 'y' }),
      call('hook', { arguments: '{"a":1', truncated: true, tool: 'x' }),
    ]);
    expect(one?.contradictions.map(({ field, other }) => [field, other.value])).toEqual([
      ['tool', 'y'],
    ]);
    expect(one?.arguments).toBe('{"a":1,"b":2}');
  });

  it('prefers the claim with the better assurance over an earlier one', () => {
    const { make } = createEvents();
    const result = (ms: number, source: string, assurance: string, exit_code: number) =>
      make(ms, source, { kind: 'tool.result', tool_call_id: 'c', assurance, exit_code });
    const [call] = mergeToolCalls([
      result(1, 'otlp', 'inferred', 0),
      result(2, 'hook', 'reported', 2),
    ]);
    expect(call?.exitCode).toMatchObject({ code: 2, source: 'hook' });
  });

  it('normalises nested JSON, and leaves text that only looks like it', () => {
    expect(normalText(' {"b":[{"d":1,"c":2}],"a":null} ')).toBe('{"a":null,"b":[{"c":2,"d":1}]}');
    expect(normalText('{not json')).toBe('{not json');
  });
});
