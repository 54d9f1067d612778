/** A test for one kind of event against the test for all, and what the index makes of both. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Expression } from '../../../../schemas/rules/eql/ast.ts';
import { canHold, decide } from '../../../../schemas/rules/eql/decide.ts';
import { parseEql } from '../../../../schemas/rules/eql/parser.ts';
import type { EventMatcher, Rule } from '../../../../schemas/rules/rule.ts';
import { createRuleSet } from '../../../../schemas/rules/ruleset.ts';
import { recordView, type Scalar } from '../../../../schemas/rules/values.ts';
import { compile } from './run.ts';

const KINDS = ['exec', 'file', 'net', 'Exec', 'other'];

const leaf = fc.oneof(
  fc.constantFrom(...KINDS).map((kind) => `kind == "${kind}"`),
  fc.constantFrom(...KINDS).map((kind) => `"${kind}" != kind`),
  fc.subarray(KINDS, { minLength: 1 }).map((some) => `kind in ("${some.join('", "')}")`),
  fc.subarray(KINDS, { minLength: 1 }).map((some) => `kind not in ("${some.join('", "')}")`),
  fc.subarray(KINDS, { minLength: 1 }).map((some) => `kind in~ ("${some.join('", "')}")`),
  fc.constantFrom(
    ...['kind == null', 'kind != null', 'kind : "ex*"', 'kind in ("exec", null)', 'true', 'false'],
    ...['tool == null', 'tool == "cat"', 'tool != "cat"', 'tool : "c*"', 'file_path : "/etc/*"'],
    ...['endsWith(file_path, ".ts")', 'exit_code > 1', 'not tool : ("a*", "b*")'],
  ),
);
const { condition } = fc.letrec<{ condition: string }>((tie) => ({
  condition: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    leaf,
    tie('condition').map((one) => `not (${one})`),
    fc
      .tuple(
        fc.constantFrom('and', 'or'),
        fc.array(tie('condition'), { minLength: 2, maxLength: 4 }),
      )
      .map(([word, some]) => some.map((one) => `(${one})`).join(` ${word} `)),
  ),
}));
const some = <T extends Scalar>(...values: T[]) => fc.constantFrom(...values, undefined);
const fields = fc.record({
  kind: some('exec', 'file', 'net', 'Exec', null as unknown as string),
  tool: some('cat', 'CAT', 'bash'),
  file_path: some('/etc/passwd', '/x/a.ts'),
  exit_code: some(0, 2),
});
type Fields = Readonly<Record<string, Scalar | undefined>>;

const testOf = (query: string): EventMatcher => {
  const matcher = compile(query);
  if (matcher.type !== 'event') throw new Error('not a test of one event');
  return matcher.test;
};
const ruleOf = (test: EventMatcher): Rule => {
  return {
    meta: {},
    matcher: { type: 'event', test },
    alerts: true,
    warnings: [],
  } as unknown as Rule;
};
const conditionOf = (text: string): Expression => {
  const parsed = parseEql(`any where ${text}`);
  if (!parsed.ok || parsed.value.body.kind !== 'event') throw new Error(text);
  return parsed.value.body.filter.condition;
};

describe('a test of one kind', () => {
  it('holds for the events of that kind that the whole test holds for', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('any', 'exec', 'process', 'file', 'dns'),
        condition,
        fc.array(fields, { minLength: 1, maxLength: 10 }),
        (category, text, events) => {
          const test = testOf(`${category} where ${text}`);
          for (const one of events) {
            const view = recordView(one as Record<string, Scalar>);
            const { kind } = one as Fields;
            if (typeof kind !== 'string') continue;
            const special = test.pivot?.at(kind);
            expect(special?.matches(view) ?? false, text).toBe(test.matches(view));
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('is found in a set of many, whether an event tells its kind or not', () => {
    fc.assert(
      fc.property(
        fc.array(condition, { minLength: 1, maxLength: 8 }),
        fc.array(fields, { minLength: 1, maxLength: 10 }),
        (texts, events) => {
          const tests = texts.map((text) => testOf(`any where ${text}`));
          const set = createRuleSet(tests.map(ruleOf));
          for (const one of events) {
            const view = recordView(one as Record<string, Scalar>);
            const { matched } = set.evaluate({ views: [{ fields: view }] });
            const expected = set.rules.filter((_, at) => tests[at]?.matches(view));
            expect(matched, texts.join('\n')).toEqual(expected);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('keeps only what the kind leaves open', () => {
    const text = '(kind == "file" and file_path : "/etc/*") or (kind == "exec" and tool == "cat")';
    expect(decide(conditionOf(text), 'exec')).toEqual(
      expect.objectContaining({ node: 'comparison', operator: '==' }),
    );
    expect(canHold(decide(conditionOf(text), 'net'))).toBe(false);
    expect(testOf(`any where ${text}`).pivot?.at('exec')?.anchors).toEqual([
      { field: 'tool', how: 'equals', text: 'cat' },
    ]);
    expect(testOf('exec where tool == "cat"').pivot?.at('exit')).toBeUndefined();
  });
});

describe('tests that stand in several rules', () => {
  it('are one test, whatever their places in the text', () => {
    const [a, b, c] = ['any where tool == "cat"', 'any where  tool  ==  "cat"', 'exec where true'];
    expect(testOf(a).identity).toBe(testOf(b).identity);
    expect(testOf(a).identity).not.toBe(testOf(c).identity);
    expect(testOf('any where exit_code / 4 == 1').identity).not.toBe(
      testOf('any where exit_code / 4.0 == 1').identity,
    );
    let runs = 0;
    const counted = (query: string): Rule => {
      const { pivot: _pivot, ...test } = testOf(query);
      return ruleOf({
        ...test,
        matches: (view) => {
          runs++;
          return test.matches(view);
        },
      });
    };
    const set = createRuleSet([counted(a), counted(c), counted(b)]);
    const { matched } = set.evaluate({ views: [{ fields: recordView({ tool: 'cat' }) }] });
    expect(matched).toEqual([set.rules[0], set.rules[2]]);
    expect(runs).toBe(2);
  });
});
