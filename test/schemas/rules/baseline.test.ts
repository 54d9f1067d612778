import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Anomaly,
  BASELINE_START,
  type BaselineSettings,
  createBaseline,
  explain,
  judgeStep,
  REGISTRY,
  sessionScore,
  stepToken,
  type TelltaleEvent,
} from '#schemas';

const token = fc.constantFrom('a', 'b', 'c', 'd');
const session = fc.array(token, { minLength: 1, maxLength: 20 });
const sorted = (model: ReturnType<typeof createBaseline>) =>
  [...model.counts()].map((one) => JSON.stringify(one)).sort();

describe('a model', () => {
  it('gives probabilities that add up to 1, over what it knows and one unknown', () => {
    fc.assert(
      fc.property(
        fc.array(session, { maxLength: 5 }),
        fc.array(token, { maxLength: 4 }),
        (all, context) => {
          const model = createBaseline();
          for (const one of all) model.learn(one);
          const known = [...new Set(all.flat())];
          const sum = [...known, 'never seen'].reduce(
            (total, one) => total + model.probability(one, context),
            0,
          );
          expect(sum).toBeCloseTo(1, 9);
          expect(model.probability('never seen', context)).toBeGreaterThan(0);
        },
      ),
    );
  });

  it('is the sum of the counts of its parts, in any order', () => {
    fc.assert(
      fc.property(fc.array(session, { maxLength: 6 }), fc.nat(6), (all, at) => {
        const whole = createBaseline();
        for (const one of all) whole.learn(one);
        const [first, second] = [createBaseline(), createBaseline()];
        for (const one of all.slice(0, at)) first.learn(one);
        for (const one of all.slice(at)) second.learn(one);
        const merged = createBaseline();
        merged.add(second.counts());
        merged.add(JSON.parse(JSON.stringify([...first.counts()])));
        expect(sorted(merged)).toEqual(sorted(whole));
        expect([merged.steps, merged.vocabulary]).toEqual([whole.steps, whole.vocabulary]);
      }),
    );
  });

  it('discounts by method C of Witten and Bell', () => {
    const model = createBaseline();
    model.learn(['a', 'b', 'a', 'b', 'a', 'c']);
    // Unigrams: c(a) = 3, c(b) = 2, c(c) = 1, T = 3, uniform over 4.
    const unigram = (count: number) => (count + 3 / 4) / (6 + 3);
    expect(model.probability('c', [])).toBeCloseTo(unigram(1), 12);
    // Behind a: b twice, c once, T = 2.
    expect(model.probability('c', ['a'])).toBeCloseTo((1 + 2 * unigram(1)) / (3 + 2), 12);
    expect(model.probability('a', ['a'])).toBeCloseTo((2 * unigram(3)) / 5, 12);
    expect(model.expected(['a']).map((one) => one.token)).toEqual(['b', 'c']);
  });

  it('learns no more n-grams than its bound, and counts them', () => {
    const model = createBaseline(10);
    model.learn('abcdefghij'.split(''));
    expect([...model.counts()]).toHaveLength(10);
    expect(model.dropped).toBeGreaterThan(0);
    expect(model.probability('z', ['a'])).toBeGreaterThan(0);
  });
});

describe('a session', () => {
  const SETTINGS: BaselineSettings = { windowSteps: 4, thresholdBits: 4, stepsMin: 100 };
  const usual = Array.from(
    { length: 200 },
    (_, at) => ['ask', 'read', 'write', 'test'][at % 4] as string,
  );
  const model = createBaseline();
  model.learn(usual);

  function judge(tokens: readonly string[], settings = SETTINGS) {
    let state = BASELINE_START;
    const anomalies: Anomaly[] = [];
    tokens.forEach((one, at) => {
      const judged = judgeStep(model, settings, state, `e${at}`, one);
      // The state is plain data: it survives a trip through JSON.
      state = JSON.parse(JSON.stringify(judged.state));
      if (judged.anomaly !== undefined) anomalies.push(judged.anomaly);
    });
    return { anomalies, score: sessionScore(state) };
  }

  it('that goes as usual is quiet', () => {
    const { anomalies, score } = judge(usual.slice(0, 40));
    expect(anomalies).toEqual([]);
    expect(score).toBeLessThan(1);
  });

  it('that takes another way is told once, with the step that surprised most', () => {
    const odd = ['curl', 'read', 'curl', 'curl', 'nc'];
    const { anomalies, score } = judge([...usual.slice(0, 20), ...odd, ...usual.slice(0, 20)]);
    expect(anomalies).toHaveLength(1);
    const [one] = anomalies as [Anomaly];
    expect(one.worst.token).toBe('curl');
    expect(one.worst.context).toEqual(['read', 'write', 'test']);
    expect(one.expected[0]?.token).toBe('ask');
    expect(explain(one)).toMatch(
      /^[\d.]+ bits a step; most of all curl after read, then write, then test \([\d.]+ bits\); expected was ask \(\d+ %\)/,
    );
    expect(score).toBeGreaterThan(judge(usual.slice(0, 40)).score);
  });

  it('is not judged by a model that has learned too little', () => {
    const { anomalies, score } = judge(['curl', 'nc', 'curl', 'nc'], {
      ...SETTINGS,
      stepsMin: 1000,
    });
    expect([anomalies, score]).toEqual([[], 0]);
  });
});

describe('the token of a step', () => {
  const of = (fields: { kind: string } & Record<string, unknown>) =>
    stepToken(fields as unknown as TelltaleEvent, REGISTRY.get(fields.kind)?.role ?? '');
  it.each<[{ kind: string } & Record<string, unknown>, string | undefined]>([
    [{ kind: 'exec', exe: '/usr/bin/curl', outcome: 'success' }, 'exec:network:-:-:success'],
    [{ kind: 'exec', exe: '/opt/x/python3.12' }, 'exec:interpreter:-:-:-'],
    [{ kind: 'exec', exe: '/home/dev/a.out' }, 'exec:other:-:-:-'],
    [{ kind: 'exit', exit_code: 2 }, 'exit:-:-:-:failure'],
    [
      { kind: 'file', file_op: 'read', file_path: '/home/dev/.ssh/id_rsa' },
      'file/read:-:secret:-:-',
    ],
    [{ kind: 'file', file_op: 'write', file_path: '/srv/app/src/a.ts' }, 'file/write:-:other:-:-'],
    [{ kind: 'net', net_op: 'connect', net_host: 'pypi.org' }, 'net/connect:-:-:registry:-'],
    [{ kind: 'net', net_op: 'connect', net_ip: '10.2.3.4' }, 'net/connect:-:-:private:-'],
    [{ kind: 'net', net_op: 'connect', net_ip: '203.0.113.9' }, 'net/connect:-:-:other:-'],
    [{ kind: 'tool.call', tool: 'mcp__jira__get' }, 'tool.call:mcp:-:-:-'],
    [{ kind: 'approval', decision: 'denied', tool: 'Bash' }, 'approval/denied:shell:-:-:-'],
    [{ kind: 'session.heartbeat' }, undefined],
    [{ kind: 'alert' }, undefined],
  ])('%j', (event, wanted) => {
    expect(of(event)).toBe(wanted);
  });
  it('has no blank, whatever the fields hold, and names of an agent add no tokens', () => {
    const tokens = new Set<string | undefined>();
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), (exe, path, host) => {
        const made = [
          of({ kind: 'exec', exe: `/x/${exe}-made-up` }),
          of({ kind: 'file', file_op: 'write', file_path: `/srv/${path}/made/up` }),
          of({ kind: 'net', net_op: 'dns', net_host: `${host}.made-up.example` }),
        ];
        for (const one of made) {
          tokens.add(one);
          expect(one).not.toMatch(/\s/);
        }
      }),
    );
    expect(tokens.size).toBeLessThan(60);
  });
});
