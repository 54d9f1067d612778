/** Reconstruction of large sessions, and of such as are made to be slow: no step is quadratic. */
import { describe, expect, it } from 'vitest';
import type { TelltaleEvent } from '#schemas';
import { assess } from '../../../query/timeline/assess.ts';
import { buildStory } from '../../../query/timeline/story.ts';
import { buildTriage } from '../../../query/timeline/triage.ts';
import { callOf, createEvents, STREAM, sessionOf } from './events.ts';

/** A step that is quadratic costs a hundred times as much for ten times the events. */
const RATIO_MAX = 30;

function cpuMs(events: readonly TelltaleEvent[]): number {
  const data = sessionOf(events);
  const before = process.cpuUsage();
  const made = assess(events, data.streams);
  buildTriage(data, made, buildStory(data, made));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

const SHAPES: Readonly<Record<string, (n: number) => TelltaleEvent[]>> = {
  'one call with very many programs': (n) => {
    const e = createEvents(STREAM, false);
    const key = { tool_call_id: 'c', attribution: 'env_key' };
    const command = 'make all && '.repeat(50);
    return [
      ...callOf(e, 'c', 1, n, { command }),
      e.say(2, {
        kind: 'approval',
        tool_call_id: 'c',
        decision: 'approved',
        scope: 'once',
        command,
      }),
      ...Array.from({ length: n }, (_, i) => e.run(3 + i, 10 + i, 1, ['make', `${i}`], key)),
    ];
  },
  'very many calls with one text, each approved and each rewriting one script': (n) => {
    const e = createEvents(STREAM, false);
    return Array.from({ length: n / 5 }, (_, i) => {
      const id = `c${i}`;
      const key = { tool_call_id: id, attribution: 'env_key' };
      const command = './run.sh';
      return [
        ...callOf(e, id, i * 10, i * 10 + 9, { command, cwd: '/w' }),
        i % 2
          ? e.say(i * 10 + 1, {
              kind: 'approval',
              tool_call_id: id,
              decision: 'approved',
              decided_by: 'user',
              scope: 'once',
              command,
            })
          : e.say(i * 10 + 1, {
              kind: 'policy.decision',
              decision: 'ask',
              policy_type: 'command',
              policy_version: `${i}`,
              tool_call_id: id,
            }),
        e.see(i * 10 + 2, {
          kind: 'file',
          pid: 9,
          file_op: 'write',
          file_path: '/w/run.sh',
          ...key,
        }),
        e.run(i * 10 + 3, 100 + i, 9, ['/bin/sh', './run.sh'], { cwd: '/w', ...key }),
      ];
    }).flat();
  },
  'gaps, sensors and destinations without end': (n) => {
    const e = createEvents(STREAM, false);
    return Array.from({ length: n / 5 }, (_, i) => [
      e.make(i, 'collector', { kind: 'gap', gap_reason: 'spool_full', gap_count: 1 }),
      e.make(i, 'collector', {
        kind: 'sensor',
        sensor_name: `s${i % 50}`,
        sensor_rung: 1,
        coverage: i % 2 ? 'none' : 'complete',
      }),
      e.see(i, {
        kind: 'net',
        pid: 9,
        net_op: 'dns',
        net_host: 'one.example',
        net_ip: '192.0.2.53',
        net_port: 53,
      }),
      e.see(i, {
        kind: 'net',
        pid: 9,
        net_op: 'connect',
        net_ip: `192.0.2.${i % 250}`,
        net_port: 1 + (i % 60_000),
      }),
      e.say(i, {
        kind: 'model.turn',
        conversation_id: `a${i}`,
        attrs: { parent_agent_id: `a${i - 1}` },
      }),
    ]).flat();
  },
};

describe('reconstruction', { timeout: 60_000 }, () => {
  it.each(Object.keys(SHAPES))('of %s', (name) => {
    const shape = SHAPES[name] as (n: number) => TelltaleEvent[];
    cpuMs(shape(500));
    const small = Math.max(cpuMs(shape(2_000)), 5);
    const large = cpuMs(shape(20_000));
    console.info(`${name}: 2,000 events ${small.toFixed(0)} ms, 20,000 ${large.toFixed(0)} ms`);
    expect(large / small).toBeLessThan(RATIO_MAX);
  });
});
