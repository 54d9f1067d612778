/** Files of Falco's: definitions, overrides, and what of them is refused. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadRules } from '#schemas';
import { load, refusals } from '../rules.ts';
import { bash, holds, matched, ruleOf, write } from './rules.ts';

const SAFE = `- list: safe
  items: [ls, pwd]
- list: words
  items: [safe, "echo"]
- macro: is_safe
  condition: tool.input_command in (words, whoami)
`;

describe('definitions', () => {
  it('stand for each other: macros as wholes, lists within lists', () => {
    for (const command of ['ls', 'echo', 'whoami'])
      expect(holds('is_safe', bash(command), SAFE)).toBe(true);
    expect(holds('is_safe', bash('words'), SAFE)).toBe(false);
    expect(holds('tool.input_command in safe', bash('pwd'), SAFE)).toBe(true);
    expect(holds('tool.input_command in ("safe")', bash('pwd'), SAFE)).toBe(false);
    const either = `- macro: either\n  condition: tool.name = A or tool.name = Bash\n`;
    expect(holds('either and tool.name = A', bash('x'), either)).toBe(false);
  });

  it('are changed by later ones, in other files too', () => {
    const more = `- list: safe
  items: [id]
  override: { items: append }
- macro: is_safe
  condition: or tool.name = "Read"
  override:
    condition: append
- macro: is_safe
  append: true
  condition: or tool.name = "Glob"
- rule: r
  priority: ERROR
  tags: [b]
  override: { priority: replace, tags: append }
`;
    const tagged = ruleOf('is_safe', 'source: coding_agent\ntags: [a]');
    const { rules, faults } = loadRules([
      { file: 'default.yaml', text: `${SAFE}${tagged}` },
      { file: 'user.yaml', text: more },
    ]);
    expect(faults).toEqual([]);
    expect(rules).toHaveLength(1);
    expect(rules[0]?.meta).toMatchObject({ level: 'high', tags: ['a', 'b'], title: 'r', id: 'r' });
    for (const command of ['id', 'ls']) expect(matched(rules, bash(command))).toEqual(['r']);
    expect(matched(rules, write('x'))).toEqual([]);
  });

  it('of the same name replace the former, and a rule can be turned off', () => {
    const again = `${SAFE}- macro: is_safe\n  condition: tool.name = "Read"\n`;
    expect(holds('is_safe', bash('ls'), again)).toBe(false);
    const off = '- rule: r\n  enabled: false\n  override: { enabled: replace }\n';
    expect(load(`${ruleOf('tool.name = a')}\n${off}`)).toMatchObject({ rules: [], faults: [] });
    expect(load('- required_engine_version: 0.43.0\n')).toMatchObject({ rules: [], faults: [] });
  });

  it('give a rule its level', () => {
    const levels = [
      'Critical',
      'EMERGENCY',
      'ALERT',
      'ERROR',
      'WARNING',
      'notice',
      'INFO',
      'DEBUG',
    ];
    const found = levels.map((priority) => {
      const text = ruleOf('tool.name = a').replace('WARNING', priority);
      return load(text).rules[0]?.meta.level;
    });
    const [c, i] = ['critical', 'informational'];
    expect(found).toEqual([c, c, c, 'high', 'medium', 'low', i, i]);
  });
});

describe('what can not be used is refused where it stands', () => {
  it.each([
    ['- a\n', 'shape 1 an entry of a list'],
    ['- name: a\n', 'shape 1 an entry of a list'],
    ['- list: a\n', 'shape 1 the list "a" has no items'],
    ['- macro: a\n  condition: tool.name = b\n  tags: []\n', 'shape 3 the key "tags" of a macro'],
    [ruleOf('tool.name = a', 'source: syscall'), 'field 6 only coding_agent is known as a source'],
    [ruleOf('tool.name = a', 'tags: []'), 'field 1 only coding_agent is known as a source'],
    [ruleOf('tool.name = a', 'exceptions: []'), 'shape 6 the key "exceptions" of a rule'],
    [ruleOf('tool.name = a').replace('WARNING', 'LOUD'), 'shape 4 there is no priority LOUD'],
    [ruleOf('tool.name = a').replace('  output: o\n', ''), 'shape 1 the rule "r" has no output'],
    [
      '- macro: a\n  condition: or b\n  override: { condition: append }\n',
      'reference 1 there is no',
    ],
    [
      '- list: a\n  items: []\n- list: a\n  items: [x]\n  override: { items: prepend }\n',
      'shape 5 override is append or replace, not prepend',
    ],
    [
      '- list: a\n  items: []\n- list: a\n  items: [x]\n  override: {}\n',
      'shape 4 override does not say what to do with items',
    ],
  ])('%j', (text, reason) => {
    const [refusal, ...more] = refusals(text);
    expect(more).toEqual([]);
    expect(refusal?.slice(0, reason.length)).toBe(reason);
  });

  it('a macro once, and each rule that needs it', () => {
    const macro = '- macro: m\n  condition: proc.name = sh\n';
    expect(refusals(`${macro}${ruleOf('m')}`)).toEqual([
      'field 2 condition, character 1: tool calls have no field "proc.name"',
      'reference 7 condition, character 1: the macro "m" was refused',
    ]);
    const circle = '- macro: a\n  condition: b\n- macro: b\n  condition: not a\n';
    expect(refusals(circle)).toEqual([
      'reference 4 condition, character 5: the macro "a" refers to itself',
      'reference 2 condition, character 1: the macro "b" was refused',
    ]);
  });

  it('what would grow without bound', () => {
    const macros = Array.from(
      { length: 20 },
      (_, n) => `- macro: m${n + 1}\n  condition: m${n} and m${n}\n`,
    );
    const bomb = `- macro: m0\n  condition: tool.name = Bash\n${macros.join('')}`;
    expect(refusals(bomb)[0]).toMatch(/^limit \d+ condition, character 1: makes more than 10000/);
    const loop = '- list: l\n  items: [l]\n';
    expect(refusals(`${loop}${ruleOf('tool.name in (l)')}`)[0]).toMatch(/^limit .*deeper than 16/);
    const lists = Array.from(
      { length: 14 },
      (_, n) => `- list: l${n + 1}\n  items: [l${n}, l${n}]\n`,
    );
    const wide = `- list: l0\n  items: [x]\n${lists.join('')}`;
    expect(refusals(`${wide}${ruleOf('tool.name in (l14)')}`)[0]).toMatch(/^limit .*10000 items/);
  });

  it('and nothing throws', () => {
    const value = fc.jsonValue({ maxDepth: 2 });
    const entry = fc.record(
      {
        ...{ rule: value, macro: value, list: value, condition: value, items: value, tags: value },
        ...{ override: value, append: value, priority: value, source: value, desc: value },
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(entry, value), { maxLength: 6 }), (entries) => {
        load(JSON.stringify(entries));
      }),
      { numRuns: 300 },
    );
  });
});
