/** What sequences and samples mean, one statement a test. */
import { describe, expect, it } from 'vitest';
import { END_OF_TIME_NS } from '../../../../schemas/rules/eql/pipes.ts';
import { compile, find, hitsOf, open, type PlainEvent, ruleEvent, runAll } from './run.ts';

/** Events from a text such as `a1@0 b2@5`: category, key, milliseconds; ids from 1. */
function events(text: string): PlainEvent[] {
  return text.split(' ').map((word, index) => {
    const [, event_type = '', key = '', at = '0'] = /^([a-z]+)(\d*)@(\d+)$/.exec(word) ?? [];
    const id = index + 1;
    const shared = { event_type, serial_event_id: id, timestamp: 1_764_000_000_000 + Number(at) };
    return key === '' ? shared : { ...shared, key: Number(key) };
  });
}
const AB = '[a where true] [b where true]';

describe('a sequence', () => {
  it.each<[string, string, string, number[][]]>([
    ['keeps the latest partial match', `sequence ${AB}`, 'a@0 a@1 b@2', [[2, 3]]],
    ['uses a match once', `sequence ${AB}`, 'a@0 b@1 b@2', [[1, 2]]],
    [
      'fills one step by one event',
      'sequence [a where true] [any where true]',
      'a@0 a@1 a@2',
      [
        [1, 2],
        [2, 3],
      ],
    ],
    [
      'keeps keys apart',
      `sequence by key ${AB}`,
      'a1@0 a2@1 b1@2 b2@3',
      [
        [1, 3],
        [2, 4],
      ],
    ],
    ['takes the span inclusive', `sequence with maxspan=5ms ${AB}`, 'a@0 b@5', [[1, 2]]],
    ['ends behind the span', `sequence with maxspan=5ms ${AB}`, 'a@0 b@6', []],
    [
      'does not wait for a second last step when the first was too late',
      `sequence with maxspan=5ms ${AB}`,
      'a@0 b@6 b@7',
      [],
    ],
    ['ends by until', `sequence ${AB} until [c where true]`, 'a@0 c@1 b@2', []],
    ['ends by until before it completes', `sequence ${AB} until [b where true]`, 'a@0 b@1', []],
    [
      'is not undone by a later until',
      `sequence ${AB} until [c where true]`,
      'a@0 b@1 c@2',
      [[1, 2]],
    ],
    [
      'may begin with the event that ended another',
      'sequence [a where true] [b where true] until [a where true]',
      'a@0 a@1 b@2',
      [[2, 3]],
    ],
    ['takes events of one time in their order', `sequence ${AB}`, 'b@0 a@0 b@0', [[2, 3]]],
    [
      'repeats a step',
      'sequence [a where true] [b where true] with runs=2',
      'a@0 b@1 c@2 b@3',
      [[1, 2, 4]],
    ],
    ['leaves out events without the key', `sequence by key ${AB}`, 'a@0 b@1 a1@2 b1@3', [[3, 4]]],
    [
      'joins missing keys where they may be missing',
      `sequence by ?key ${AB}`,
      'a@0 b@1 a1@2 b@3 b1@4',
      [
        [1, 2],
        [3, 5],
      ],
    ],
    [
      'joins each step by its own field',
      'sequence [a where true] by key [b where true] by timestamp',
      'a1@0 b@1',
      [],
    ],
    ['counts off by head', `sequence ${AB} | head 1`, 'a@0 b@1 a@2 b@3', [[1, 2]]],
    ['counts off by tail', `sequence ${AB} | tail 1`, 'a@0 b@1 a@2 b@3', [[3, 4]]],
    ['pipes in order', `sequence ${AB} | tail 2 | head 1`, 'a@0 b@1 a@2 b@3 a@4 b@5', [[3, 4]]],
  ])('%s', (_what, query, text, wanted) => {
    expect(find(query, events(text))).toEqual(wanted);
  });
});

it('a key of any length is kept short, and still tells values apart', () => {
  const long = 'x'.repeat(100_000);
  const made = (id: number, event_type: string, key: string): PlainEvent => ({
    event_type,
    serial_event_id: id,
    timestamp: 1_764_000_000_000 + id,
    key,
  });
  const list = [made(1, 'a', `${long}1`), made(2, 'a', `${long}2`), made(3, 'b', `${long}1`)];
  const [firing, ...more] = runAll(compile(`sequence by key ${AB}`), list.map(ruleEvent));
  expect(firing?.events).toEqual(['1', '3']);
  expect(firing?.key[0]).toMatch(/^x{64}… sha256:[0-9a-f]{64}$/);
  expect(more).toEqual([]);
});

describe('a missing event', () => {
  const between = 'sequence with maxspan=9ms [a where true] ![m where true] [b where true]';
  const after = 'sequence with maxspan=9ms [a where true] ![m where true]';
  const before = 'sequence with maxspan=9ms ![m where true] [a where true]';
  const around = 'sequence with maxspan=9ms ![m where true] [a where true] ![m where true]';
  it.each<[string, string, string, number[][]]>([
    ['in the middle is not there', between, 'a@0 b@1', [[1, 2]]],
    ['in the middle is there', between, 'a@0 m@1 b@2', []],
    [
      'is of another key',
      between.replace('sequence', 'sequence by key'),
      'a1@0 m2@1 b1@2',
      [[1, 3]],
    ],
    ['is of the same key', between.replace('sequence', 'sequence by key'), 'a1@0 m1@1 b1@2', []],
    ['does not hinder a later beginning', between, 'a@0 m@1 a@2 b@3', [[3, 4]]],
    ['at the end is not there', after, 'a@0', [[1]]],
    ['at the end comes within the span', after, 'a@0 m@9', []],
    ['at the end comes too late', after, 'a@0 m@10', [[1]]],
    [
      'at the end counts from the first event',
      'sequence with maxspan=9ms [a where true] [b where true] ![m where true]',
      'a@0 b@5 m@10',
      [[1, 2]],
    ],
    [
      'at the end has the last event with it',
      'sequence with maxspan=9ms [a where true] ![a where true]',
      'a@0 a@5',
      [[2]],
    ],
    ['at the beginning was not there', before, 'a@0', [[1]]],
    ['at the beginning was there', before, 'm@0 a@9', []],
    ['at the beginning was there long ago', before, 'm@0 a@10', [[2]]],
    [
      'at the beginning counts to the last event',
      'sequence with maxspan=9ms ![m where true] [a where true] [b where true]',
      'm@0 a@5 b@10',
      [[2, 3]],
    ],
    ['on both sides leaves no window', around, 'm@0 a@3 m@9', []],
    ['on both sides leaves a window', around, 'm@0 a@3 m@10', [[2]]],
    ['on one side only leaves one too', around, 'm@0 a@3', [[2]]],
  ])('%s', (_what, query, text, wanted) => {
    expect(find(query, events(text))).toEqual(wanted);
  });

  it('at the end is certain when the time has passed, not before', () => {
    const matcher = compile(after);
    const state = open(matcher);
    const [event] = events('a@0').map(ruleEvent);
    if (event === undefined) throw new Error('no event');
    expect(state.feed(event, hitsOf(matcher, event))).toEqual([]);
    expect(state.advance(event.timeNs + 9_000_000n)).toEqual([]);
    const deadlineNs = event.timeNs + 9_000_000n;
    expect(state.advance(deadlineNs + 1n)).toEqual([
      { timeNs: deadlineNs, key: [], events: ['1'] },
    ]);
    expect(state.advance(END_OF_TIME_NS)).toEqual([]);
  });
});

describe('a sample', () => {
  const sample = 'sample by key [a where true] [b where true]';
  it.each<[string, string, string, number[][]]>([
    ['takes events in any order', sample, 'b1@0 a1@9', [[2, 1]]],
    [
      'gives one for each key',
      sample,
      'a1@0 b1@1 a1@2 b1@3 a2@4 b2@5',
      [
        [1, 2],
        [5, 6],
      ],
    ],
    [
      'needs a different event for each filter',
      'sample by key [any where true] [a where true]',
      'a1@0',
      [],
    ],
    [
      'finds the choice that works',
      'sample by key [any where true] [a where true]',
      'a1@0 b1@1',
      [[2, 1]],
    ],
    ['leaves out events without the key', sample, 'a@0 b@1', []],
  ])('%s', (_what, query, text, wanted) => {
    expect(find(query, events(text))).toEqual(wanted);
  });
  it('goes on after a save', () => {
    const matcher = compile(sample);
    const list = events('b1@0 a2@1 a1@2 b2@3 a1@4 b1@5').map(ruleEvent);
    let state = open(matcher);
    const found = list.flatMap((event) => {
      const firings = state.feed(event, hitsOf(matcher, event));
      state = open(matcher, undefined, JSON.parse(JSON.stringify(state.save())));
      return firings;
    });
    expect(found).toEqual(runAll(matcher, list));
    expect(found).toHaveLength(2);
  });
  it('holds no more keys than its limit', () => {
    const matcher = compile(sample);
    const state = open(matcher, { groupsMax: 2, eventsPerGroupMax: 9, valuesMax: 2 });
    for (const event of events('a1@0 a2@1 a3@2 a4@3').map(ruleEvent)) {
      state.feed(event, hitsOf(matcher, event));
    }
    expect(state.stats()).toMatchObject({ groups: 2, evicted: 2 });
  });
});

describe('what an engine is told of a query', () => {
  it('is how far back it reaches, and by what it joins', () => {
    const { stream } = compile(
      'sequence by key with maxspan=5m [a where true] by x [b where true] by y until [c where true] by z',
    ) as Extract<ReturnType<typeof compile>, { type: 'stream' }>;
    expect(stream.windowNs).toBe(300_000_000_000n);
    expect(stream.groupBy).toEqual([
      ['key', 'x'],
      ['key', 'y'],
      ['key', 'z'],
    ]);
    expect(stream.fields).toEqual(['key', 'x', 'y', 'z']);
    expect(stream.inputs).toHaveLength(3);
    expect(stream.required).toEqual([0, 1]);
  });
  it('is which fields a test reads, and which tests have to hold', () => {
    const { stream } = compile(
      'sequence with maxspan=5m ![dns where true] [exec where length(a.b) > 1 or not c in (1) and -d == 2] [any where ?e like "x" or f : "y"]',
    ) as Extract<ReturnType<typeof compile>, { type: 'stream' }>;
    const read = stream.inputs.map(({ fields = [] }) => new Set(fields));
    // What tells kinds of one category apart is read as well.
    for (const fields of read) for (const name of ['kind', 'net_op']) fields.delete(name);
    expect(read.map((fields) => [...fields])).toEqual([[], ['a.b', 'c', 'd'], ['e', 'f']]);
    expect(stream.required).toEqual([1, 2]);
  });
  it('is that it reaches back without end', () => {
    for (const query of [`sequence ${AB}`, `sequence with maxspan=1s ${AB} | head 1`]) {
      const matcher = compile(query);
      expect(matcher.type === 'stream' && matcher.stream.windowNs).toBe(undefined);
    }
  });
  it('refuses the state of another rule', () => {
    const two = compile(`sequence ${AB}`);
    const three = compile(`sequence ${AB} [c where true]`);
    expect(() => open(three, undefined, open(two).save())).toThrow('of another rule');
  });
});
