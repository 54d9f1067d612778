import { describe, expect, it } from 'vitest';
import type { TelltaleEvent } from '#schemas';
import { buildStory, type SessionData } from '../../../query/timeline/story.ts';
import { callOf, createEvents, STREAM, sessionOf } from './events.ts';

const kindsOf = (events: readonly TelltaleEvent[], more: Partial<SessionData> = {}) =>
  buildStory(sessionOf(events, more)).findings.map(({ kind }) => kind);

describe('findings', () => {
  it('there are none in a session that is whole and agrees with itself', () => {
    const e = createEvents();
    const root = e.run(20, 2, 1, ['sh', '-c', 'ls'], { tool_call_id: 'a', attribution: 'env_key' });
    expect(
      kindsOf([
        ...callOf(e, 'a', 10, 50, { command: 'ls' }, { exit_code: 0 }),
        root,
        e.end(30, 2, 0),
      ]),
    ).toEqual([]);
  });

  it('a refused call that ran all the same', () => {
    const e = createEvents();
    const events = [
      ...callOf(e, 'a', 10, 50, { command: 'rm x' }, { outcome: 'denied' }),
      e.run(20, 2, 1, ['sh', '-c', 'rm x'], { tool_call_id: 'a', attribution: 'env_key' }),
    ];
    expect(kindsOf(events)).toContain('denied_but_ran');
    expect(kindsOf(events.slice(0, 2))).toEqual([]);
  });

  it('a denied host that was called, by a call or outside of any; not one that failed', () => {
    const e = createEvents();
    const rule = e.say(5, {
      kind: 'policy.decision',
      decision: 'deny',
      policy_type: 'network',
      net_host: 'evil.example',
      net_port: 80,
    });
    const connect = (more: object) =>
      e.see(9, {
        kind: 'net',
        pid: 3,
        net_op: 'connect',
        net_host: 'evil.example',
        net_port: 80,
        ...more,
      });
    expect(kindsOf([rule, connect({})])).toContain('denied_but_ran');
    expect(kindsOf([rule, connect({ net_port: 81 })])).not.toContain('denied_but_ran');
    expect(kindsOf([rule, connect({ outcome: 'failure', error: 'ECONNREFUSED' })])).not.toContain(
      'denied_but_ran',
    );
    const allowed = e.say(6, {
      kind: 'policy.decision',
      decision: 'allow',
      policy_type: 'network',
      net_host: 'evil.example',
    });
    expect(kindsOf([rule, allowed, connect({})])).not.toContain('denied_but_ran');
  });

  it('claims that the kernel did not see, only where it watched all the time', () => {
    const e = createEvents();
    const claims = [
      ...callOf(
        e,
        'a',
        10,
        50,
        { command: 'make', cwd: '/w' },
        { outcome: 'success', changes: ['add x.txt'] },
      ),
    ];
    const sight = [
      e.make(1, 'collector', {
        kind: 'sensor',
        sensor_name: 'seccomp',
        sensor_rung: 1,
        coverage: 'complete',
      }),
      e.run(2, 9, 1, ['agent'], { tool_call_id: 'b', attribution: 'env_key' }),
      e.see(60, { kind: 'file', pid: 9, file_op: 'create', file_path: '/w/y.txt' }),
    ];
    expect(kindsOf(claims)).toEqual([]);
    expect(kindsOf([...claims, ...sight.slice(1)])).not.toContain('claim_unseen');
    expect(kindsOf([...claims, ...sight]).filter((kind) => kind === 'claim_unseen')).toHaveLength(
      2,
    );
  });

  it('loss that is declared, undeclared or parked, and a stream that is not closed', () => {
    const e = createEvents();
    const gap = e.make(5, 'collector', { kind: 'gap', gap_reason: 'spool_full', gap_count: 4 });
    const whole = sessionOf([gap]).streams[0]?.completeness;
    if (whole === undefined) throw new Error('no stream');
    const streams = [
      {
        streamId: STREAM,
        completeness: { ...whole, closed: false, unaccounted: [[3, 5]] as const },
      },
    ];
    const letter = { id: 'a', streamId: STREAM, reason: 'invalid', field: 'pid', detail: 'x' };
    const found = kindsOf([gap], { streams, deadLetters: [letter] });
    expect(found.sort()).toEqual(['gap', 'incomplete', 'not_closed', 'parked']);
    const replayed = [{ ...letter, replayedNs: '1764000000000000000' }];
    expect(kindsOf([gap], { streams, deadLetters: replayed })).not.toContain('parked');
  });

  it('broken evidence stands first', () => {
    const e = createEvents();
    const integrity = {
      verdict: 'broken',
      events: 5,
      checkpoints: 1,
      covered: 0,
      sealed: false,
      erased: 0,
      unproved: [],
      faults: [{ seq: 4, kind: 'changed', what: 'edited' }],
      faultCount: 1,
    } as const;
    const streams = [{ streamId: STREAM, integrity }];
    const [first] = buildStory(sessionOf([e.run(1, 2, 1, ['x'])], { streams })).findings;
    expect(first).toMatchObject({ kind: 'tampered', severity: 'high', eventIds: [`${STREAM}-4`] });
  });

  it('a sensor that covers only a part', () => {
    const e = createEvents();
    const state = (coverage: string) =>
      e.make(1, 'collector', { kind: 'sensor', sensor_name: 'seccomp', coverage });
    expect(kindsOf([state('complete'), state('partial')])).toEqual(['coverage']);
  });
});
