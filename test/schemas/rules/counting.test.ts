/** Threshold and first-seen rules, and the lineage of processes. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TelltaleEvent } from '#schemas';
import { readDocuments } from '../../../schemas/rules/document.ts';
import { compileEql } from '../../../schemas/rules/eql/compile.ts';
import { eqlViews } from '../../../schemas/rules/eql/taxonomy.ts';
import { createLineage } from '../../../schemas/rules/lineage.ts';
import type { Matcher, StreamLimits } from '../../../schemas/rules/rule.ts';
import type { RuleEvent } from '../../../schemas/rules/values.ts';
import { hitsOf, open, runAll } from './eql/run.ts';

function rule(body: string): Matcher {
  const [document] = readDocuments(`title: A rule\nlanguage: eql\n${body}`, 'a.yaml');
  if (!document?.ok) throw new Error('no document');
  return compileEql(document.value).matcher;
}

/** Events from a text such as `deny:p1@0 exec@5`; times in seconds. */
function events(text: string): RuleEvent[] {
  return text.split(' ').map((word, index) => {
    const [, name = '', value = '', at = '0'] = /^([a-z]+):?([\w.-]*)@(\d+)$/.exec(word) ?? [];
    const shared = { session_id: 's', tenant: 't', stream_id: 'x', seq: index, ts: '1' };
    const made: Readonly<Record<string, object>> = {
      deny: { kind: 'policy.decision', decision: 'deny', policy_type: 'tool', rule: value },
      page: { kind: 'tool.call', tool: 'WebFetch' },
      net: { kind: 'net', net_op: 'connect', net_host: value },
      exec: { kind: 'exec', exe: '/bin/x' },
    };
    const event = { ...shared, ...made[name] } as unknown as TelltaleEvent;
    const timeNs = 1_764_000_000_000_000_000n + BigInt(at) * 1_000_000_000n;
    return { id: String(index + 1), timeNs, views: eqlViews(event) };
  });
}
const find = (matcher: Matcher, text: string) =>
  runAll(matcher, events(text)).map((one) => one.events.map(Number));

/** Saves and opens again behind every event. */
function findSaved(matcher: Matcher, list: readonly RuleEvent[], limits?: StreamLimits) {
  let state = open(matcher, limits);
  return list.flatMap((event) => {
    const firings = state.feed(event, hitsOf(matcher, event));
    state = open(matcher, limits, JSON.parse(JSON.stringify(state.save())));
    return firings;
  });
}

describe('a threshold', () => {
  const plain = rule(
    'threshold:\n  where: policy_decision where true\n  by: session.id\n  count: 3\n  timespan: 10s\n',
  );
  const distinct = rule(
    'threshold:\n  where: policy_decision where true\n  by: session.id\n  distinct: rule\n  distinct_count: 2\n  count: 3\n  timespan: 10s\n',
  );
  const behind = rule(
    'threshold:\n  where: policy_decision where true\n  after: tool_call where true\n  by: session.id\n  count: 2\n  timespan: 10s\n',
  );
  const silence = rule(
    'threshold:\n  where: policy_decision where true\n  after: any where true\n  after_silence: 60s\n  by: session.id\n  count: 2\n  timespan: 10s\n',
  );
  it.each<[string, Matcher, string, number[][]]>([
    ['counts within the time, inclusive', plain, 'deny@0 deny@5 deny@10', [[1, 2, 3]]],
    ['slides', plain, 'deny@0 deny@5 deny@11 deny@12', [[2, 3, 4]]],
    ['begins anew', plain, 'deny@0 deny@1 deny@2 deny@3 deny@4', [[1, 2, 3]]],
    ['asks for different values', distinct, 'deny:a@0 deny:a@1 deny:a@2 deny:b@3', [[1, 2, 3, 4]]],
    ['counts behind another event', behind, 'deny@0 page@1 deny@2 deny@3', [[2, 3, 4]]],
    ['does not count long behind it', behind, 'page@0 deny@5 deny@11', []],
    ['counts behind a silence', silence, 'exec@0 exec@70 deny@71 deny@72', [[2, 3, 4]]],
    ['does not count without a silence', silence, 'exec@0 exec@50 deny@51 deny@52', []],
  ])('%s', (_what, matcher, text, wanted) => {
    expect(find(matcher, text)).toEqual(wanted);
  });

  it('fires as a slow count would, saved or not', () => {
    const gaps = fc.array(fc.tuple(fc.integer({ min: 0, max: 6 }), fc.constantFrom('a', 'b')), {
      minLength: 1,
      maxLength: 25,
    });
    fc.assert(
      fc.property(gaps, (list) => {
        let at = 0;
        const timed = list.map(([gap, value]) => {
          at += gap;
          return { at, value };
        });
        const text = timed.map(({ at: time, value }) => `deny:${value}@${time}`).join(' ');
        const wanted: number[][] = [];
        let from = 0;
        timed.forEach(({ at: now }, index) => {
          const inside = timed.flatMap((one, place) =>
            place >= from && place <= index && now - one.at <= 10 ? [place] : [],
          );
          const values = new Set(inside.map((place) => timed[place]?.value));
          if (inside.length < 3 || values.size < 2) return;
          wanted.push(inside.map((place) => place + 1));
          from = index + 1;
        });
        expect(find(distinct, text)).toEqual(wanted);
        expect(findSaved(distinct, events(text))).toEqual(runAll(distinct, events(text)));
      }),
      { numRuns: 300 },
    );
  });

  it('holds no more keys than its limit', () => {
    const byRule = rule(
      'threshold:\n  where: policy_decision where true\n  by: rule\n  count: 2\n  timespan: 1h\n',
    );
    const state = open(byRule, { groupsMax: 2, eventsPerGroupMax: 9, valuesMax: 2 });
    for (const event of events('deny:a@0 deny:b@1 deny:c@2')) {
      state.feed(event, hitsOf(byRule, event));
    }
    expect(state.stats()).toMatchObject({ groups: 2, evicted: 1 });
  });
});

describe('a first-seen rule', () => {
  const body =
    'first_seen:\n  where: network where true\n  field: net_host\n  by: tenant\n  history: 100s\n';
  const behind = `${body}  after: tool_call where true\n  after_by: session.id\n  within: 10s\n`;
  it.each<[string, string, string, number[][]]>([
    ['finds each value once', body, 'net:a@0 net:b@1 net:a@2', [[1], [2]]],
    ['remembers since it was last seen', body, 'net:a@0 net:a@90 net:a@180', [[1]]],
    ['forgets after the time', body, 'net:a@0 net:a@101', [[1], [2]]],
    ['learns first', `${body}  learn: 50s\n`, 'net:a@0 net:b@10 net:b@60 net:c@70', [[4]]],
    ['asks for an event before it', behind, 'net:a@0 page@1 net:b@5 page@20 net:c@31', [[2, 3]]],
    ['remembers what it saw without one', behind, 'net:a@0 page@1 net:a@2', []],
  ])('%s', (_what, text, list, wanted) => {
    expect(find(rule(text), list)).toEqual(wanted);
    expect(findSaved(rule(text), events(list)).map((one) => one.events.map(Number))).toEqual(
      wanted,
    );
  });
  it('names the value in its key', () => {
    const [first] = runAll(rule(body), events('net:a@0'));
    expect(first?.key).toEqual(['t', 'a']);
  });
  it('remembers as many values as a busy tenant contacts', () => {
    const hosts = Array.from({ length: 12_000 }, (_, n) => `net:h${n}@${n}`);
    const again = `net:h0@${hosts.length}`;
    const wide = rule(body.replace(/history: \S+/, 'history: 30d'));
    expect(find(wide, [...hosts, again].join(' '))).toHaveLength(hosts.length);
  });
  it('holds no more values than its limit', () => {
    const matcher = rule(body);
    const state = open(matcher, { groupsMax: 2, eventsPerGroupMax: 9, valuesMax: 2 });
    for (const event of events('net:a@0 net:b@1 net:c@2')) {
      state.feed(event, hitsOf(matcher, event));
    }
    expect(state.stats()).toMatchObject({ groups: 2, evicted: 1 });
  });
});

describe('the lineage of processes', () => {
  const event = (fields: object) =>
    ({ tenant: 't', session_id: 's', stream_id: 'x', ...fields }) as unknown as TelltaleEvent;
  const sh = event({ kind: 'exec', pid: 10, ppid: 1, exe: '/bin/sh', argv: ['sh', 'a.sh'] });
  const curl = event({ kind: 'exec', pid: 11, ppid: 10, exe: '/usr/bin/curl', argv: ['curl'] });
  it('knows who is behind an event', () => {
    const lineage = createLineage();
    expect(lineage.observe(sh).self).toMatchObject({ exe: '/bin/sh', argv: ['sh', 'a.sh'] });
    expect(lineage.observe(curl).parent?.exe).toBe('/bin/sh');
    const kin = lineage.observe(event({ kind: 'net', pid: 11 }));
    expect([kin.self?.exe, kin.parent?.exe]).toEqual(['/usr/bin/curl', '/bin/sh']);
  });
  it('forgets who has ended, and never mixes sessions', () => {
    const lineage = createLineage();
    lineage.observe(curl);
    expect(lineage.observe(event({ kind: 'net', pid: 11, session_id: 'other' }))).toEqual({});
    expect(lineage.observe(event({ kind: 'exit', pid: 11 })).self?.exe).toBe('/usr/bin/curl');
    expect(lineage.observe(event({ kind: 'net', pid: 11 }))).toEqual({});
  });
  it('does not take a failed exec for one', () => {
    const lineage = createLineage();
    lineage.observe(sh);
    lineage.observe(event({ kind: 'exec', pid: 10, exe: '/nope', outcome: 'failure' }));
    expect(lineage.observe(event({ kind: 'net', pid: 10 })).self?.exe).toBe('/bin/sh');
  });
  it('is bounded by stream and over all, and counts', () => {
    const lineage = createLineage({ programsMax: 4, streamProgramsMax: 2 });
    for (let pid = 1; pid <= 5; pid += 1) {
      lineage.observe(event({ kind: 'exec', pid, exe: '/bin/x', argv: ['x'.repeat(9999)] }));
    }
    expect([lineage.size, lineage.evicted]).toEqual([2, 3]);
    const { self } = lineage.observe(event({ kind: 'net', pid: 5 }));
    expect(self?.argv[0]).toHaveLength(4096);
    for (const session_id of ['a', 'b', 'c', 'd']) {
      lineage.observe(event({ kind: 'exec', session_id, pid: 1, exe: '/bin/x' }));
    }
    expect(lineage.size).toBeLessThanOrEqual(4);
    lineage.forget('t', 'd');
    expect(lineage.observe(event({ kind: 'net', session_id: 'd', pid: 1 }))).toEqual({});
  });
});
