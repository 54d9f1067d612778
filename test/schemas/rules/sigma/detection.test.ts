/** Detections: each modifier, value and condition form of the specification, and each refusal. */
import { describe, expect, it } from 'vitest';
import { createRuleSet, loadRules } from '#schemas';
import { event, type Fields, good, holds, refusals, ruleOf } from '../rules.ts';

const one = (key: string, value: unknown) => ({ s: { [key]: value }, condition: 's' });
const on = (key: string, value: unknown, f: Fields[string]) => holds(one(key, value), { f });

describe('strings', () => {
  it.each([
    // The cases of the specification, written as they stand in single quotes of YAML.
    ['a\\b', 'a\\b', true],
    ['a\\\\b', 'a\\b', true],
    ['a\\*', 'a*', true],
    ['a\\*', 'ab', false],
    ['a\\\\*', 'a\\xyz', true],
    ['a\\\\*', 'a*', false],
    ['a\\\\\\*', 'a\\*', true],
    ['a\\\\\\*', 'a\\x', false],
    ['\\\\\\b', '\\\\b', true],
    ['\\\\\\\\', '\\\\', true],
    ['prog?.exe', 'progA.exe', true],
    ['prog?.exe', 'prog.exe', false],
    ['p?g', 'p😀g', true],
    ['p??g', 'p😀g', false],
    ['a*c*e', 'abcde', true],
    ['a*c*e', 'ace', true],
    ['a*ca', 'aca', true],
    ['a*aca', 'aca', false],
    ['*', '', true],
    ['', '', true],
    ['', 'x', false],
    ['WHOAMI', 'whoami', true],
    ['ΟΔΟΣ', 'οδος', true],
    ['a*b', 'a\nb', true],
  ])('%s on %s: %s', (pattern, text, expected) => {
    expect(on('f', pattern, text)).toBe(expected);
  });

  it('are compared with numbers, flags and entries of lists as texts', () => {
    expect(on('f', '22', 22)).toBe(true);
    expect(on('f', 22, '22')).toBe(true);
    expect(on('f', 22, '022')).toBe(false);
    expect(on('f', 'TRUE', true)).toBe(true);
    expect(on('f', true, 'true')).toBe(true);
    expect(on('f', 'b', ['a', 'b'])).toBe(true);
    expect(on('f|endswith', 'x', ['a', 'bx', null])).toBe(true);
  });

  it('tell empty, null and missing apart', () => {
    const detections = [
      one('f', ''),
      one('f', null),
      one('f|exists', true),
      one('f|exists', false),
    ];
    const decide = (fields: Fields) => detections.map((detection) => holds(detection, fields));
    expect(decide({ f: '' })).toEqual([true, false, true, false]);
    expect(decide({ f: null })).toEqual([false, true, true, false]);
    expect(decide({})).toEqual([false, true, false, true]);
    expect(decide({ f: [] })).toEqual([false, false, true, false]);
  });
});

describe('modifiers', () => {
  const b64 = (text: string, shift = 0) =>
    Buffer.from(`${'x'.repeat(shift)}${text}yy`).toString('base64');
  it.each<[string, unknown, Fields[string], boolean]>([
    ['contains', 'b', 'aBc', true],
    ['startswith', 'ab', 'ABc', true],
    ['startswith', 'b', 'abc', false],
    ['endswith', 'bc', 'aBC', true],
    ['contains|all', ['a', 'c'], 'xaxcx', true],
    ['contains|all', ['a', 'z'], 'xaxcx', false],
    ['all|contains', ['a', 'z'], 'xaxcx', false],
    ['cased', 'Ab', 'ab', false],
    ['contains|cased', 'Ab', 'xAby', true],
    ['neq', 'a', 'b', true],
    ['neq', ['a', 'b'], 'b', false],
    ['contains|neq', 'a', 'xyz', true],
    ['windash|contains', ' -f', 'x /f', true],
    ['windash|contains', ' /f', 'x –f', true],
    ['contains|windash', ' -f-x', 'y ―f-x', true],
    ['windash|contains', ' -f-x', 'y -f/x', false],
    ['base64', 'foobar', 'Zm9vYmFy', true],
    ['base64offset|contains', 'foobar', b64('foobar', 0), true],
    ['base64offset|contains', 'foobar', b64('foobar', 1), true],
    ['base64offset|contains', 'foobar', b64('foobar', 2), true],
    ['base64offset|contains', 'foobar', b64('fxobar', 2), false],
    [
      'wide|base64offset|contains',
      'cmd',
      Buffer.from('a cmd b', 'utf16le').toString('base64'),
      true,
    ],
    ['utf16le|base64', 'cmd', Buffer.from('cmd', 'utf16le').toString('base64'), true],
    ['utf16be|base64', 'cmd', Buffer.from('cmd', 'utf16le').swap16().toString('base64'), true],
    ['utf16|base64', 'cmd', Buffer.from('\ufeffcmd', 'utf16le').toString('base64'), true],
    ['wide', 'cmd', 'c\0m\0d\0', true],
    ['utf16be|contains', 'cmd', 'x\0c\0m\0d', true],
    ['re', 'a.c', 'xabcx', true],
    ['re', '^a.c$', 'xabcx', false],
    ['re', 'A', 'a', false],
    ['re|i', 'A', 'a', true],
    ['re|s', 'a.b', 'a\nb', true],
    ['re', 'a.b', 'a\nb', false],
    ['re|m', '^b$', 'a\nb\nc', true],
    ['re', '\\.pth$', 'x.pth\n', true],
    ['re', '[$]x\\$$', '$x$', true],
    ['re|m|i', '^B$', 'a\nb', true],
    ['re|startswith', 'b|c', 'cd', true],
    ['re|endswith', 'b|c', 'cd', false],
    ['re|all', ['a', 'b'], 'ba', true],
    ['cidr', '10.0.0.0/8', '10.2.3.4', true],
    ['cidr', '10.0.0.0/8', '11.2.3.4', false],
    ['cidr', '10.0.0.0/8', '::ffff:10.1.1.1', true],
    ['cidr', ['fe80::/10', '10.0.0.0/8'], 'fe80::1', true],
    ['cidr', '10.0.0.0/8', 'no address', false],
    ['lt', 5, 4, true],
    ['lt', 5, '4', true],
    ['lt', 5, 5, false],
    ['lte', 5, 5, true],
    ['gt', 5, 5.5, true],
    ['gte', 5, 'five', false],
    ['gte', 0, '', false],
    ['minute', 30, '2025-08-02T10:30:00Z', true],
    ['hour', 10, '2025-08-02 10:30:00', true],
    ['hour|gte', 22, '2025-08-02T23:00:00+02:00', true],
    ['day', 2, '2025-08-02', true],
    ['hour', 0, '2025-08-02', false],
    ['week', 1, '2025-12-29T00:00:00Z', true],
    ['week', 53, '2021-01-03', true],
    ['month|lt', 9, '2025-08-02', true],
    ['year', 2025, '1764000000000000000', true],
    ['year', 2025, 'last year', false],
  ])('f|%s: %j on %j: %s', (modifiers, value, field, expected) => {
    expect(on(`f|${modifiers}`, value, field)).toBe(expected);
  });

  it('neq holds where the field is missing', () => {
    expect(holds(one('f|neq', 'a'), {})).toBe(true);
  });

  it('fieldref compares with another field', () => {
    const fields = { f: '/tmp/X', g: '/TMP/x', h: '/tmp', i: 'x' };
    const related = (key: string, name: string) => holds(one(key, name), fields);
    expect(related('f|fieldref', 'g')).toBe(true);
    expect(related('f|fieldref', 'h')).toBe(false);
    expect(related('f|fieldref|startswith', 'h')).toBe(true);
    expect(related('f|fieldref|endswith', 'i')).toBe(true);
    expect(related('f|fieldref|contains', 'nothing')).toBe(false);
    expect(related('f|fieldref|neq', 'h')).toBe(true);
  });

  it('expand puts in what is known, and refuses a rule of which nothing is', () => {
    const text = ruleOf(one('f|expand', 'x-%servers%-\\%y%t%'));
    const placeholders = new Map([
      ['servers', ['srv*', 'db']],
      ['t', ['']],
    ]);
    const { rules } = loadRules([{ file: 'r', text }], { placeholders });
    const set = createRuleSet(rules);
    const hit = (f: string) => set.evaluate(event({ f })).matched.length > 0;
    expect(['x-srv9-%y', 'x-db-%y', 'x-dbx-%y', 'x-%servers%-%y'].map(hit)).toEqual([
      ...[true, true, false, false],
    ]);
    expect(refusals(text)).toEqual([expect.stringContaining('placeholder %servers%')]);
    expect(on('f', '%servers%', '%servers%')).toBe(true);
  });
});

describe('search identifiers', () => {
  it('are maps (and), lists of maps (or), and keywords anywhere in the event', () => {
    const list = { s: [{ a: 1, b: 2 }, { c: 3 }], condition: 's' };
    expect(holds(list, { a: 1, b: 2 })).toBe(true);
    expect(holds(list, { a: 1, c: 3 })).toBe(true);
    expect(holds(list, { a: 1 })).toBe(false);
    const keywords = { s: ['evil', 'a*b', 7], condition: 's' };
    expect(holds(keywords, { x: 'so EVIL' })).toBe(true);
    expect(holds(keywords, { x: 'no', y: ['xaxxbx'] })).toBe(true);
    expect(holds(keywords, { x: 'no', y: 17 })).toBe(true);
    expect(holds(keywords, { x: 'no' })).toBe(false);
    const all = { s: { '|all': ['one', 'two'] }, condition: 's' };
    expect(holds(all, { x: 'one', y: 'two' })).toBe(true);
    expect(holds(all, { x: 'one' })).toBe(false);
    expect(holds({ s: { '|re': 'e[v]il' }, condition: 's' }, { x: 'evil' })).toBe(true);
    expect(holds({ s: ['word', { a: 1 }], condition: 's' }, { a: 1 })).toBe(true);
  });
});

describe('the fields that a test reads', () => {
  const fieldsOf = (detection: unknown) => {
    const matcher = good(ruleOf(detection))[0]?.matcher;
    return matcher?.type === 'event' ? matcher.test.fields : undefined;
  };
  it('are those of the identifiers in use, with those referred to; of keywords any', () => {
    const s = [{ a: 1, 'b|fieldref': 'c' }, { 'd|re': 'x' }];
    expect(fieldsOf({ s, t: { e: null }, u: { f: 1 }, condition: 's and not t' })).toEqual([
      ...['a', 'b', 'c', 'd', 'e'],
    ]);
    expect(fieldsOf({ s: ['word'], t: { e: 1 }, condition: 's and t' })).toBeUndefined();
  });
});

describe('conditions', () => {
  const names = { sel_a: { a: 1 }, sel_b: { b: 1 }, other: { c: 1 }, _hidden: { d: 1 } };
  const fits = (condition: unknown, set: string) =>
    holds({ ...names, condition }, Object.fromEntries([...set].map((name) => [name, 1])));
  it.each([
    ['sel_a and sel_b or other', 'c', true],
    ['sel_a and (sel_b or other)', 'c', false],
    ['sel_a or sel_b and other', 'a', true],
    ['not sel_a and sel_b', 'b', true],
    ['not sel_a or sel_b', '', true],
    ['not (sel_a or sel_b)', 'c', true],
    ['not not sel_a', 'a', true],
    ['1 of sel_*', 'b', true],
    ['any of sel_*', 'c', false],
    ['all of sel_*', 'ab', true],
    ['all of sel_*', 'a', false],
    ['all of *_*', 'ab', true],
    ['1 of them', 'd', false],
    ['all of them', 'abc', true],
    ['1 of _*', 'd', true],
    ['_hidden', 'd', true],
    ['sel_a and not 1 of other*', 'ac', false],
    ['SEL_A or sel_a', 'a', 'refused'],
    ['sel_a AND sel_b', 'ab', true],
    [['sel_a', 'sel_b and other'], 'bc', true],
  ])('%j on %s: %s', (condition, set, expected) => {
    if (expected === 'refused') expect(() => fits(condition, set)).toThrow(/no \\"SEL_A\\"/);
    else expect(fits(condition, set)).toBe(expected);
  });
});

const rule = (detection: string, head = '') =>
  `title: x\n${head}logsource:\n  category: t\ndetection:\n${detection}`;

describe('refused, with the line', () => {
  it.each([
    ['an unknown modifier', '  s:\n    f|nope: 1\n  condition: s\n', /^modifier 6 .*"nope"/],
    [
      'a modifier twice',
      '  s:\n    f|contains|contains: 1\n  condition: s\n',
      /^modifier 6 .*twice/,
    ],
    ['an obsolete condition', '  s:\n    f: 1\n  condition: s | count() > 5\n', /^obsolete 7/],
    ['a timeframe', '  s:\n    f: 1\n  timeframe: 5m\n  condition: s\n', /^obsolete 7/],
    ['no condition', '  s:\n    f: 1\n', /^shape 5 a condition is missing/],
    ['an empty condition', '  s:\n    f: 1\n  condition: ""\n', /^condition 7 .*is empty/],
    ['an unknown name', '  s:\n    f: 1\n  condition: s and t\n', /^condition 7 .*no "t"/],
    ['an open parenthesis', '  s:\n    f: 1\n  condition: (s\n', /^condition 7 .*not closed/],
    ['a word too much', '  s:\n    f: 1\n  condition: s s\n', /^condition 7 .*more than/],
    [
      'a missing operand',
      '  s:\n    f: 1\n  condition: s and\n',
      /^condition 7 .*missing at the end/,
    ],
    ['two of', '  s:\n    f: 1\n  condition: 2 of s*\n', /^condition 7 .*"2 of"/],
    ['a pattern for nothing', '  s:\n    f: 1\n  condition: 1 of t*\n', /^condition 7 .*fits no/],
    ['null in a list', '  s:\n    f:\n      - a\n      - null\n  condition: s\n', /^value 6 null/],
    ['an empty list', '  s:\n    f: []\n  condition: s\n', /^shape 6 .*empty/],
    ['an empty map', '  s: {}\n  condition: s\n', /^shape 5 .*empty map/],
    ['a nested list', '  s:\n    f: [[a]]\n  condition: s\n', /^shape 6 .*list or map/],
    ['look-around', "  s:\n    f|re: 'a(?=b)'\n  condition: s\n", /^regex 6 .*look-around/],
    ['a back-reference', "  s:\n    f|re: '(a)\\1'\n  condition: s\n", /^regex 6 .*back-reference/],
    ['a broken expression', "  s:\n    f|re: '('\n  condition: s\n", /^regex 6 /],
    [
      're behind another',
      '  s:\n    f|contains|re: a\n  condition: s\n',
      /^modifier 6 .*first modifier/,
    ],
    ['i without re', '  s:\n    f|i: a\n  condition: s\n', /^modifier 6 .*behind re/],
    ['lt on a text', '  s:\n    f|lt: a\n  condition: s\n', /^modifier 6 .*needs a number/],
    [
      'exists of a text',
      "  s:\n    f|exists: 'true'\n  condition: s\n",
      /^modifier 6 .*true or false/,
    ],
    [
      'a network with host bits',
      '  s:\n    f|cidr: 10.0.0.1/8\n  condition: s\n',
      /^value 6 .*behind its/,
    ],
    ['Base64 of wildcards', "  s:\n    f|base64: 'a*'\n  condition: s\n", /^value 6 .*wildcards/],
    ['UTF-16 of an umlaut', '  s:\n    f|wide: ä\n  condition: s\n', /^value 6 .*not ASCII/],
    [
      'a keyword with a field',
      "  s:\n    '|startswith': a\n  condition: s\n",
      /^modifier 6 .*needs a field/,
    ],
    [
      'a field reference with wildcards',
      "  s:\n    f|fieldref: 'a*'\n  condition: s\n",
      /^modifier 6 .*wildcards/,
    ],
  ])('%s', (_what, detection, reason) => {
    expect(refusals(rule(detection))).toEqual([expect.stringMatching(reason)]);
  });

  it('what the schema demands', () => {
    const body = '  s:\n    f: 1\n  condition: s\n';
    expect(refusals(`detection:\n${body}logsource:\n  category: t\n`)[0]).toMatch(/needs a title/);
    expect(refusals(`title: x\ndetection:\n${body}`)[0]).toMatch(/needs a logsource/);
    expect(refusals('title: x\nlogsource:\n  category: t\n')[0]).toMatch(/needs detection/);
    expect(refusals(rule(body, 'level: huge\n'))[0]).toMatch(/^shape 2 level has to be one of/);
    expect(refusals(rule(body, 'taxonomy: sigma\n'))).toEqual([]);
    expect(refusals(rule(body, 'taxonomy: ecs\n'))[0]).toMatch(/^field 2 .*"ecs"/);
    expect(refusals(rule(body, 'action: global\n'))[0]).toMatch(/^obsolete 2 .*no actions/);
    expect(refusals(rule(body, `title2: ${'x'.repeat(9)}\n`))).toEqual([]);
    expect(
      refusals(`title: ${'x'.repeat(300)}\nlogsource: {category: t}\ndetection:\n${body}`)[0],
    ).toMatch(/256/);
  });

  it('warns of what changes no match', () => {
    const { warnings, faults } = loadRules([
      {
        file: 'r.yml',
        text: rule(
          '  s:\n    f|contains|all: a\n  condition: s\n',
          'id: me\ndate: 2021/09/18\ntags: [Bad]\n',
        ),
      },
    ]);
    expect(faults).toEqual([]);
    expect(warnings.map(({ reason }) => reason)).toEqual([
      expect.stringContaining('not a UUID'),
      expect.stringContaining('YYYY-MM-DD'),
      expect.stringContaining('"Bad"'),
      expect.stringContaining('all is for lists'),
    ]);
  });

  it('one document, and not its neighbours; an id is taken once', () => {
    const body = rule('  s:\n    f: 1\n  condition: s\n', 'id: a\n');
    const text = `${body}---\ntitle: [\n---\n${body.replace('id: a', 'id: b')}---\n${body}`;
    const { rules, faults } = loadRules([{ file: 'r.yml', text }]);
    expect(rules.map(({ meta }) => `${meta.id} ${meta.line}`)).toEqual(['a 1', 'b 12']);
    expect(faults.map(({ code, reason }) => `${code} ${reason}`)).toEqual([
      expect.stringContaining('yaml is no YAML'),
      expect.stringContaining('"a" is taken by r.yml:1'),
    ]);
  });
});

describe('filters', () => {
  const target = `title: x\nid: r1\nname: r\nlogsource: {category: p, product: linux}\ndetection: {s: {f: 1}, condition: s}\n`;
  const filter = (rules: string, condition: string, source = '{category: p, product: linux}') =>
    `---\ntitle: f\nlogsource: ${source}\nfilter:\n  rules: ${rules}\n  selection: {u: adm}\n  condition: ${condition}\n`;
  const decide = (text: string) => {
    const set = createRuleSet(good(text));
    return [{ f: 1 }, { f: 1, u: 'adm' }].map(
      (fields) => set.evaluate(event(fields)).matched.length,
    );
  };
  it.each([
    ['by id', '[r1]', 'not selection', undefined, [1, 0]],
    ['by name', '[r]', 'not selection', undefined, [1, 0]],
    ['any', 'any', 'not selection', undefined, [1, 0]],
    ['a wider source', '[r]', 'not selection', '{category: p}', [1, 0]],
    ['another source', '[r]', 'not selection', '{category: q}', [1, 1]],
    ['another rule', '[z]', 'not selection', undefined, [1, 1]],
    ['as it says', '[r]', 'selection', undefined, [0, 1]],
  ])('apply %s', (_what, rules, condition, source, expected) => {
    expect(decide(target + filter(rules, condition, source))).toEqual(expected);
  });

  it('apply together, warn when they are for nothing, and need rules', () => {
    const both = target + filter('[r]', 'not selection') + filter('any', 'selection');
    expect(decide(both)).toEqual([0, 0]);
    const { warnings } = loadRules([{ file: 'r', text: target + filter('[z]', 'not selection') }]);
    expect(warnings.map(({ reason }) => reason).join()).toContain('for no rule');
    expect(refusals(target + filter('[]', 'selection'))[0]).toMatch(/at least one rule/);
  });
});

describe('log sources', () => {
  const sourced = (source: object) =>
    good(JSON.stringify({ title: 'x', logsource: source, detection: one('f', 1) }));
  it('of an event have all that the rule names', () => {
    const set = createRuleSet(sourced({ product: 'linux', category: 'p' }));
    const matches = (source?: object) =>
      set.evaluate(event({ f: 1 }, source === undefined ? {} : { source })).matched.length > 0;
    expect(matches({ product: 'linux', category: 'p', service: 's' })).toBe(true);
    expect(matches({ product: 'linux' })).toBe(false);
    expect(matches({ product: 'windows', category: 'p' })).toBe(false);
    expect(matches()).toBe(true);
  });
});
