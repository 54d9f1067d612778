/** Rule files and telemetry that are made to cost time, memory or the process. */
import { describe, expect, it } from 'vitest';
import { createRuleSet, loadRules } from '#schemas';
import { compileRegex } from '../../../schemas/rules/regex.ts';
import { event, good, holds, refusals, ruleOf } from './rules.ts';

/** CPU time of a piece of work, in milliseconds. */
function cpuMs(work: () => void): number {
  const start = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

const FILE_MS_MAX = 6000;

describe('rule files', () => {
  it.each([
    ['brackets', '['.repeat(100_000), /brackets/],
    ['braces', '{a: '.repeat(250), /brackets/],
    ['dashes', '- '.repeat(100_000), /indented/],
    ['question marks, which end the process of a YAML parser', '? '.repeat(100_000), /indented/],
    [
      'deep blocks',
      Array.from({ length: 300 }, (_, n) => `${' '.repeat(n)}a:`).join('\n'),
      /deeper/,
    ],
    ['a circle of aliases', 'a: &a\n  b: *a\n', /deeper|aliases/],
    [
      'a bomb of aliases',
      `a: &a [x,x,x,x,x,x,x,x,x]\n${[...'bcdefghi'].map((name, n) => `${name}: &${name} [${Array(9).fill(`*${'abcdefghi'[n]}`).join(',')}]`).join('\n')}\n`,
      /aliases|more than/,
    ],
    [
      'many keys',
      Array.from({ length: 60_000 }, (_, n) => `k${n}: v`).join('\n'),
      /limit|more than/,
    ],
    ['the same key', 'a: 1\n'.repeat(1000), /twice/],
    ['quotes', '"'.repeat(300_000), /no YAML/],
    ['too many bytes', `a: ${'x'.repeat(600_000)}`, /bytes/],
    [
      'a parenthesis a word',
      ruleOf({ s: { f: 1 }, condition: '('.repeat(5000) }),
      /deeper|more than/,
    ],
    ['not after not', ruleOf({ s: { f: 1 }, condition: `${'not '.repeat(1500)}s` }), /deeper/],
    [
      'endless placeholders',
      ruleOf({ s: { 'f|windash|base64': ' -a'.repeat(20) }, condition: 's' }),
      /permuted/,
    ],
    [
      'a long expression',
      ruleOf({ s: { 'f|re': 'a'.repeat(9000) }, condition: 's' }),
      /characters/,
    ],
    [
      'a nested repetition',
      ruleOf({ s: { 'f|re': '((a{100}){100}){100}' }, condition: 's' }),
      /repeat/,
    ],
  ])('%s', (_what, text, reason) => {
    let found: readonly string[] = [];
    const took = cpuMs(() => {
      found = refusals(text);
    });
    expect(found[0]).toMatch(reason);
    expect(took).toBeLessThan(FILE_MS_MAX);
  });
});

describe('telemetry', () => {
  it('can’t make an expression slow, whatever the pattern', () => {
    const evil = ['(a+)+$', '(a|aa)+$', '(a|a?)+$', '(.*a){20}$', '([a-zA-Z]+)*$', '^(.+)+x$'];
    const text = `${'a'.repeat(50_000)}!`;
    for (const source of evil) {
      const regex = compileRegex(source);
      if (!regex.ok) throw new Error(regex.reason);
      expect(
        cpuMs(() => regex.pattern.test(text)),
        source,
      ).toBeLessThan(2000);
    }
  });

  it('can’t make wildcards slow', () => {
    const text = 'ab'.repeat(100_000);
    for (const pattern of ['*a*b*a*b*a*b*c', '*a?a?b*c', '*?*?*?*?c', `*${'ab'.repeat(50)}c*`])
      expect(
        cpuMs(() => holds({ s: { f: pattern }, condition: 's' }, { f: text })),
        pattern,
      ).toBeLessThan(2000);
  });

  it('has fields of any name and any size', () => {
    const set = createRuleSet(
      good(ruleOf({ s: ['needle'], t: { constructor: 'x' }, condition: 's or t' })),
    );
    const odd = JSON.parse(
      '{"__proto__":"a","constructor":"y","toString":1,"hasOwnProperty":null}',
    );
    expect(set.evaluate(event(odd)).matched).toEqual([]);
    expect(set.evaluate(event({ constructor: 'x' } as never)).matched).toHaveLength(1);
    const huge = { f: `${'x'.repeat(2_000_000)}needle`, g: Array(10_000).fill('y') };
    expect(cpuMs(() => expect(set.evaluate(event(huge)).matched).toHaveLength(1))).toBeLessThan(
      3000,
    );
  });

  it('does not fill the memory with sources that it makes up', () => {
    const set = createRuleSet(good(ruleOf({ s: { f: 1 }, condition: 's' })));
    for (let n = 0; n < 5000; n++)
      set.evaluate(event({ f: 1 }, { source: { category: `made-up-${n}` } }));
    expect(set.evaluate(event({ f: 1 }, { source: { category: 'test' } })).matched).toHaveLength(1);
  });
});

describe('faults', () => {
  it('carry no more of a rule than a line', () => {
    const { faults } = loadRules([
      { file: 'x.yml', text: ruleOf({ s: { [`f|${'y'.repeat(10_000)}`]: 1 }, condition: 's' }) },
    ]);
    expect(faults[0]?.reason.length).toBeLessThan(200);
  });
});
