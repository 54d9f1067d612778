/** Correlations against a slow reference that looks at the whole stream for each event. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRuleSet } from '#schemas';
import { event, type Fields, fire, good } from '../rules.ts';

const KINDS = ['event_count', 'value_count', 'value_sum', 'temporal', 'temporal_ordered'] as const;
type Kind = (typeof KINDS)[number];
interface Seen {
  readonly ms: number;
  readonly k: 'a' | 'b' | 'c' | 'z';
  readonly u: string | undefined;
  readonly v: number | undefined;
}
interface Case {
  readonly kind: Kind;
  readonly rules: readonly Seen['k'][];
  readonly spanS: number;
  readonly atLeast: number;
}

/** Whether events of a window, oldest first, hold `rules` in order, each by another event. */
function inOrder(window: readonly Seen[], rules: readonly Seen['k'][]): boolean {
  let next = 0;
  for (const { k } of window) if (k === rules[next]) next++;
  return next === rules.length;
}

/** The same with the last event as the last step. */
const endsInOrder = (window: readonly Seen[], rules: readonly Seen['k'][]): boolean =>
  window.at(-1)?.k === rules.at(-1) && inOrder(window.slice(0, -1), rules.slice(0, -1));

function slowly({ kind, rules, spanS, atLeast }: Case, events: readonly Seen[]): readonly number[] {
  return events.flatMap((now, at) => {
    const counts = (one: Seen) =>
      rules.includes(one.k) &&
      one.u === now.u &&
      (!kind.startsWith('value') || one.v !== undefined);
    if (now.u === undefined || !counts(now)) return [];
    const window = events
      .slice(0, at + 1)
      .filter((one) => counts(one) && one.ms >= now.ms - spanS * 1000);
    const values = window.map(({ v }) => v ?? 0);
    const holds = {
      event_count: () => window.length >= atLeast,
      value_count: () => new Set(values).size >= atLeast,
      value_sum: () => values.reduce((sum, v) => sum + v, 0) >= atLeast,
      temporal: () => rules.every((rule) => window.some(({ k }) => k === rule)),
      temporal_ordered: () => endsInOrder(window, rules),
    };
    return holds[kind]() ? [at] : [];
  });
}

const seen: fc.Arbitrary<Omit<Seen, 'ms'> & { gap: number }> = fc.record({
  // Ties and exact distances of a timespan come about often.
  gap: fc.constantFrom(0, 0, 1, 499, 500, 1000),
  k: fc.constantFrom('a', 'b', 'c', 'z'),
  u: fc.constantFrom('x', 'x', 'y', undefined),
  v: fc.constantFrom(1, 2, 5, undefined),
});
const anyCase: fc.Arbitrary<Case> = fc.record({
  kind: fc.constantFrom(...KINDS),
  rules: fc.shuffledSubarray(['a', 'b', 'c'] as const, { minLength: 1 }),
  spanS: fc.integer({ min: 1, max: 3 }),
  atLeast: fc.integer({ min: 1, max: 6 }),
});

function ruleText({ kind, rules, spanS, atLeast }: Case): string {
  const base = ['a', 'b', 'c'].map((k) => ({
    title: k,
    name: k,
    logsource: { category: 'test' },
    detection: { s: { k }, condition: 's' },
  }));
  const value = kind.startsWith('value') ? { field: 'v' } : {};
  const condition = kind.startsWith('temporal') ? {} : { condition: { ...value, gte: atLeast } };
  const correlation = { type: kind, rules, 'group-by': ['u'], timespan: `${spanS}s`, ...condition };
  return [...base, { title: 'x', correlation }].map((one) => JSON.stringify(one)).join('\n---\n');
}

describe('a correlation', () => {
  it('fires where the slow reference does, saved and opened again at each event', () => {
    fc.assert(
      fc.property(anyCase, fc.array(seen, { maxLength: 40 }), (one, gaps) => {
        let ms = 0;
        const events = gaps.map(({ gap, ...rest }): Seen => {
          ms += gap;
          return { ms, ...rest };
        });
        const fed = events.map(({ ms: at, ...fields }, index) =>
          event(JSON.parse(JSON.stringify(fields)) as Fields, { id: String(index), ms: at }),
        );
        const fired = fire(createRuleSet(good(ruleText(one))), fed);
        expect(fired.map(({ events: ids }) => Number(ids.at(-1)))).toEqual(slowly(one, events));
      }),
      { numRuns: 300 },
    );
  });
});
