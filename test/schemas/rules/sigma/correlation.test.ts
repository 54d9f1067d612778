/** Correlations: the golden cases, and what they leave open. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { createRuleSet, type StreamMatcher } from '#schemas';
import { event, FIXTURES, type Fields, fire, good, refusals } from '../rules.ts';

interface Golden {
  readonly base_rules: readonly { readonly name: string }[];
  readonly streams: Readonly<Record<string, readonly (Fields & { id: string; ts: number })[]>>;
  readonly cases: readonly {
    readonly id: string;
    readonly stream: string;
    readonly correlation: { readonly rules: readonly string[] };
    readonly fires: readonly unknown[];
  }[];
}

const golden = JSON.parse(
  fs.readFileSync(path.join(FIXTURES, 'correlations.json'), 'utf8'),
) as Golden;

const json = (documents: readonly unknown[]): string =>
  documents.map((one) => JSON.stringify(one)).join('\n---\n');

describe('the golden cases', () => {
  it.each(golden.cases)('$id', ({ id, stream, correlation, fires }) => {
    const used = golden.base_rules.filter(({ name }) => correlation.rules.includes(name));
    const set = createRuleSet(good(json([...used, { title: id, correlation }])));
    const events = (golden.streams[stream] ?? []).map(({ id: name, ts, ...fields }) =>
      event(fields as Fields, { id: name, ms: ts }),
    );
    const got = fire(set, events).map((firing) => [firing.events.at(-1), firing.key]);
    expect(got).toEqual(fires);
  });
});

/** The stream of the last rule of a text. */
function streamOf(documents: readonly unknown[]): StreamMatcher {
  const matcher = good(json(documents)).at(-1)?.matcher;
  if (matcher?.type !== 'stream') throw new Error('the last rule is no correlation');
  return matcher.stream;
}

const base = (name: string, detection: object, extra: object = {}) => ({
  title: name,
  name,
  logsource: { category: 'test' },
  detection: { s: detection, condition: 's' },
  ...extra,
});
const A = base('a', { k: 'a' });
const B = base('b', { k: 'b' });
const C = base('c', { k: 'c' });

/** Fires one correlation over events `[ms, fields]`; gives ids (their places) and keys. */
function run(
  correlation: object,
  events: readonly [number, Fields][],
  more: readonly object[] = [],
) {
  const documents = [A, B, C, ...more, { title: 'x', name: 'x', correlation }];
  const all = events.map(([ms, fields], index) => event(fields, { id: String(index), ms }));
  return fire(createRuleSet(good(json(documents))), all);
}
const ids = (...args: Parameters<typeof run>) => run(...args).map(({ events }) => events.join(' '));
const times = (...args: Parameters<typeof run>) =>
  run(...args).map(({ timeNs }) => Number(timeNs / 1_000_000n));

const count = (condition: object | string, more: object = {}) => ({
  type: 'event_count',
  rules: ['a'],
  'group-by': ['u'],
  timespan: '1s',
  condition,
  ...more,
});
const a = (ms: number, fields: Fields = {}): [number, Fields] => [ms, { k: 'a', u: 1, ...fields }];
const b = (ms: number, fields: Fields = {}): [number, Fields] => [ms, { k: 'b', u: 1, ...fields }];
const c = (ms: number, fields: Fields = {}): [number, Fields] => [ms, { k: 'c', u: 1, ...fields }];

describe('windows', () => {
  it('hold both their ends', () => {
    expect(ids(count({ gte: 2 }), [a(0), a(1000)])).toEqual(['0 1']);
    expect(ids(count({ gte: 2 }), [a(0), a(1001)])).toEqual([]);
  });

  it('fire again for each event, without suppression', () => {
    expect(ids(count({ gte: 2 }), [a(0), a(1), a(2)])).toEqual(['0 1', '0 1 2']);
  });

  it('take events of one time in their order', () => {
    const order = {
      ...count({}),
      type: 'temporal_ordered',
      rules: ['a', 'b'],
      condition: undefined,
    };
    expect(ids(order, [a(5), b(5)])).toEqual(['0 1']);
    expect(ids(order, [b(5), a(5)])).toEqual([]);
  });

  it('are kept apart by group, and leave out events without a group', () => {
    expect(
      ids(count({ gte: 2 }), [a(0), a(1, { u: 2 }), [2, { k: 'a' }], a(3, { u: null })]),
    ).toEqual([]);
    const keys = run(count({ gte: 1 }, { 'group-by': ['u', 'v'] }), [a(0, { v: 'x' })]);
    expect(keys.map(({ key }) => key)).toEqual([['1', 'x']]);
  });
});

describe('conditions', () => {
  it('may be a range, equal or not', () => {
    const events = [a(0), a(1), a(2), a(3)];
    expect(times(count({ gt: 1, lte: 3 }), events)).toEqual([1, 2]);
    expect(times(count({ eq: 2 }), events)).toEqual([1]);
    expect(times(count({ neq: 2 }), events)).toEqual([0, 2, 3]);
    expect(times(count({ lt: 3 }), events)).toEqual([0, 1]);
  });

  it('count different values, also of several fields', () => {
    const distinct = (field: unknown) => ({ ...count({ field, gte: 2 }), type: 'value_count' });
    expect(times(distinct('v'), [a(0, { v: 1 }), a(1, { v: 1 }), a(2), a(3, { v: 2 })])).toEqual([
      3,
    ]);
    const two = [a(0, { v: 1, w: 1 }), a(1, { v: 1, w: 1 }), a(2, { v: 1, w: 2 })];
    expect(times(distinct(['v', 'w']), two)).toEqual([2]);
    expect(times(distinct('v'), [a(0, { v: 1 }), a(900, { v: 2 }), a(1500, { v: 2 })])).toEqual([
      900,
    ]);
  });

  it('add up, average and rank numbers, and leave out what is none', () => {
    const of = (type: string, condition: object) => ({ ...count(condition), type });
    const events = [a(0, { n: 1 }), a(1, { n: '9' }), a(2, { n: 'x' }), a(3, { n: 2 })];
    expect(times(of('value_sum', { field: 'n', gte: 10 }), events)).toEqual([1, 3]);
    expect(times(of('value_avg', { field: 'n', gte: 4.5 }), events)).toEqual([1]);
    expect(times(of('value_percentile', { field: 'n', percentile: 50, eq: 2 }), events)).toEqual([
      3,
    ]);
    expect(times(of('value_percentile', { field: 'n', percentile: 50, eq: 5 }), events)).toEqual([
      1,
    ]);
  });

  it('without a percentile ask for the share of the event’s own value', () => {
    const rare = { ...count({ field: 'v', lte: 25 }), type: 'value_percentile' };
    const events = [a(0, { v: 'x' }), a(1, { v: 'x' }), a(2, { v: 'x' }), a(3, { v: 'y' })];
    expect(times(rare, events)).toEqual([3]);
  });
});

const temporal = (more: object) => ({
  type: 'temporal',
  rules: ['a', 'b', 'c'],
  'group-by': ['u'],
  timespan: '1s',
  ...more,
});

describe('temporal correlations', () => {
  it('need all rules, or as many as the condition says', () => {
    const events = [c(0), a(1), b(2), b(1001)];
    expect(ids(temporal({}), events)).toEqual(['0 1 2']);
    expect(times(temporal({ condition: { gte: 2 } }), events)).toEqual([1, 2, 1001]);
  });

  it('take conditions over the names of rules', () => {
    const condition = 'a and not b or c';
    expect(times(temporal({ condition }), [a(0), b(1), c(2), a(1002)])).toEqual([0, 2, 1002]);
    const alone = temporal({ rules: undefined, condition: 'a and (b or c)' });
    expect(times(alone, [b(0), a(1), c(2)])).toEqual([1, 2]);
  });

  it('in order need each step by another event, and fire at the last', () => {
    const both = base('both', { k: ['a', 'b'] });
    const ordered = temporal({ type: 'temporal_ordered', rules: ['both', 'b'] });
    expect(ids(ordered, [b(0), b(1), a(2)], [both])).toEqual(['0 1']);
    const three = temporal({ type: 'temporal_ordered' });
    expect(ids(three, [a(0), b(100), a(900), c(1050)])).toEqual([]);
    expect(ids(three, [a(0), b(100), a(500), b(600), c(1400)])).toEqual(['2 3 4']);
  });
});

describe('aliases and chains', () => {
  it('join fields of different names', () => {
    const aliases = { who: { a: 'from', b: 'to' } };
    const pair = { ...temporal({ rules: ['a', 'b'], aliases }), 'group-by': ['who'] };
    const events: [number, Fields][] = [
      [0, { k: 'a', from: 'p', to: 'q' }],
      [1, { k: 'b', from: 'p', to: 'q' }],
      [2, { k: 'b', from: 'x', to: 'p' }],
    ];
    expect(run(pair, events).map(({ key, events: of }) => [key, of])).toEqual([
      [['p'], ['0', '2']],
    ]);
  });

  it('feed correlations with the firings of correlations', () => {
    const many = { title: 'many', name: 'many', correlation: count({ gte: 3 }) };
    const chain = temporal({ type: 'temporal_ordered', rules: ['many', 'b'], timespan: '10s' });
    const events = [a(0), a(1), b(2), a(3), b(4000), b(20_000)];
    expect(ids(chain, events, [many])).toEqual(['0 1 3 4']);
    const matcher = streamOf([A, B, many, { title: 'x', correlation: chain }]);
    const { windowNs, groupBy, fields } = matcher;
    expect(windowNs).toBe(11_000_000_000n);
    expect(groupBy).toEqual([['u'], ['u']]);
    expect(fields).toEqual(['u']);
  });

  it('say which inputs they can’t do without', () => {
    const many = { title: 'many', name: 'many', correlation: count({ gte: 3 }) };
    const required = (correlation: object) =>
      streamOf([A, B, C, many, { title: 'x', correlation }]).required;
    expect(required(temporal({}))).toEqual([0, 1, 2]);
    expect(required(temporal({ type: 'temporal_ordered', rules: ['many', 'b'] }))).toEqual([0, 1]);
    expect(required(count({ gte: 1 }))).toEqual([0]);
    expect(required(count({ gte: 1 }, { rules: ['a', 'b'] }))).toBeUndefined();
    expect(required(temporal({ condition: { gte: 2 } }))).toBeUndefined();
    expect(required(temporal({ rules: ['a', 'b'], condition: 'a or b' }))).toBeUndefined();
  });

  it('read no field but those that they name', () => {
    const asked = new Set<string>();
    const stream = streamOf([
      A,
      { title: 'x', correlation: { ...count({ field: 'v', gte: 1 }), type: 'value_count' } },
    ]);
    const one = event({ u: 1, v: 2, secret: 3 });
    const fields = {
      ...(one.views[0]?.fields as object),
      get: (name: string) => asked.add(name) && 1,
    };
    stream.open().feed(one, [{ input: 0, fields: fields as never }]);
    expect([...asked].sort()).toEqual(stream.fields.toSorted());
  });

  it('silence the rules that they refer to, unless told to generate', () => {
    const alerting = (more: object) =>
      good(json([A, { title: 'x', correlation: count({ gte: 2 }, more) }]))
        .filter(({ alerts }) => alerts)
        .map(({ meta }) => meta.title);
    expect(alerting({})).toEqual(['x']);
    expect(alerting({ generate: true })).toEqual(['a', 'x']);
  });
});

describe('state', () => {
  const stream = streamOf([A, { title: 'x', correlation: count({ lt: 100 }) }]);
  const hit = (fields: Fields, ms: number) => {
    const one = event(fields, { ms });
    return [one, [{ input: 0, fields: one.views[0]?.fields as never }]] as const;
  };

  it('is bounded, and what is thrown out is counted', () => {
    const state = stream.open({ groupsMax: 2, eventsPerGroupMax: 3, valuesMax: 2 });
    for (let u = 0; u < 5; u++) state.feed(...hit({ u }, u));
    expect(state.stats()).toMatchObject({ groups: 2, evicted: 3 });
    const narrow = stream.open({ groupsMax: 2, eventsPerGroupMax: 3, valuesMax: 2 });
    for (let n = 0; n < 200; n++) narrow.feed(...hit({ u: 1 }, 0));
    expect(narrow.stats()).toEqual({ groups: 1, events: 102, evicted: 98 });
  });

  it('is forgotten when its window has passed', () => {
    const state = stream.open();
    state.feed(...hit({ u: 1 }, 0));
    state.advance(1_000_000_000n);
    expect(state.stats().groups).toBe(1);
    state.advance(1_000_000_001n);
    expect(state.stats()).toEqual({ groups: 0, events: 0, evicted: 0 });
  });
});

describe('refused are', () => {
  const why = (correlation: object, more: readonly object[] = []) =>
    refusals(json([A, B, ...more, { title: 'x', name: 'x', correlation }])).join('; ');
  it.each([
    ['an unknown rule', count({ gte: 1 }, { rules: ['nobody'] }), /"nobody" is not among/],
    ['no rule', count({ gte: 1 }, { rules: undefined }), /names its rules/],
    ['a rule twice', count({ gte: 1 }, { rules: ['a', 'a'] }), /twice/],
    ['another unit of time', count({ gte: 1 }, { timespan: '1w' }), /s, m, h, d/],
    ['no time', count({ gte: 1 }, { timespan: undefined }), /timespan/],
    ['no condition', count({}, { condition: undefined }), /needs a condition/],
    ['an empty condition', count({}), /needs one of lt/],
    ['a field where none is counted', count({ gte: 1, field: 'x' }), /has no "field"/],
    ['a count without a field', { ...count({ gte: 1 }), type: 'value_count' }, /needs a field/],
    ['another type', { ...count({ gte: 1 }), type: 'value_median' }, /type has to be one of/],
    ['a text where numbers are counted', count('a'), /is a map/],
    ['an endless count', count({ gte: 1e9 }), /are not kept/],
    ['itself', count({ gte: 1 }, { rules: ['x'] }), /refers to itself/],
    ['a rule left out', temporal({ rules: ['a', 'b'], condition: 'a' }), /leaves out b/],
    [
      'an ordered or',
      temporal({ type: 'temporal_ordered', rules: ['a', 'b'], condition: 'a or b' }),
      /have no order/,
    ],
    [
      'an ordered part',
      temporal({ type: 'temporal_ordered', rules: ['a', 'b'], condition: { gte: 1 } }),
      /all its 2 rules/,
    ],
    [
      'an alias of a stranger',
      temporal({ rules: ['a', 'b'], aliases: { x: { z: 'f' } } }),
      /none of its/,
    ],
  ])('%s', (_what, correlation, reason) => {
    expect(why(correlation)).toMatch(reason);
  });

  it('correlations of refused rules, with the reason', () => {
    const bad = base('bad', { 'k|nope': 1 });
    expect(why(count({ gte: 1 }, { rules: ['bad'] }), [bad])).toMatch(/"bad" was refused/);
  });

  it('circles', () => {
    const one = { title: 'o', name: 'o', correlation: count({ gte: 1 }, { rules: ['x'] }) };
    expect(why(count({ gte: 1 }, { rules: ['o'] }), [one])).toMatch(/itself in the end/);
  });
});
