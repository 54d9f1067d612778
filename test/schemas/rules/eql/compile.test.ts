import { describe, expect, it } from 'vitest';
import { readDocuments } from '../../../../schemas/rules/document.ts';
import { compileEql } from '../../../../schemas/rules/eql/compile.ts';
import { faultText, outcome } from '../../../../schemas/rules/faults.ts';

const HEAD = `title: A rule
id: 3f0d3e1c-8b1e-4a53-9a6f-0b9a4f3c2d11
author: Somebody
license: Apache-2.0
level: high
tags: [attack.t1059]
falsepositives: [none]
language: eql
`;

function read(text: string) {
  const [document] = readDocuments(text, 'rules/a.yaml');
  if (!document?.ok) throw new Error('no document');
  return outcome(() => compileEql(document.value));
}
function refusal(body: string): string {
  const rule = read(HEAD + body);
  return rule.ok ? 'none' : faultText(rule.fault);
}

describe('a rule file', () => {
  it('keeps what it says of itself', () => {
    const rule = read(`${HEAD}query: process where process.name == "sh"\n`);
    if (!rule.ok) throw new Error(faultText(rule.fault));
    expect(rule.value.meta).toMatchObject({
      title: 'A rule',
      author: 'Somebody',
      license: 'Apache-2.0',
      level: 'high',
      language: 'eql',
      file: 'rules/a.yaml',
    });
    expect(rule.value.warnings).toEqual([]);
    expect(rule.value.matcher.type).toBe('event');
  });

  it.each([
    [
      'query: process where pid = 1\n',
      'rules/a.yaml:9:26: "=" does not compare: expected "==" or ":", found "="',
    ],
    [
      'query: |\n  process where\n    pid = 1\n',
      'rules/a.yaml:11:8: line 2, column 7 of the query: "=" does not compare: expected "==" or ":", found "="',
    ],
    [
      'query: process where pid == "1"\n',
      'rules/a.yaml:9:26: "==" compares values of one type, not a number and a string',
    ],
    ['threshold: 5\n', 'rules/a.yaml:9:12: threshold has to be a map'],
    [
      'query: a where true\nfirst_seen: {}\n',
      'rules/a.yaml:10:1: a rule has either query or first_seen, not both',
    ],
    ['nothing: 1\n', 'rules/a.yaml:1:1: a rule in EQL needs one of query, threshold, first_seen'],
    [
      'threshold:\n  where: exec where true\n  by: session.id\n  count: 0\n  timespan: 5m\n',
      'rules/a.yaml:12:10: count is a whole number from 1 to 1000',
    ],
    [
      'threshold:\n  where: exec where true\n  by: session.id\n  count: 2\n  timespan: soon\n',
      'rules/a.yaml:13:13: timespan is a time such as 90s, 10m, 1h, 30d',
    ],
    [
      'threshold:\n  where: exec where true\n  by: nope\n  count: 2\n  timespan: 5m\n',
      'rules/a.yaml:11:7: unknown field "nope"',
    ],
    [
      'threshold:\n  where: exec where true\n  by: process.args\n  count: 2\n  timespan: 5m\n',
      'rules/a.yaml:11:7: "process.args" is a list',
    ],
    [
      'threshold:\n  where: exec where true\n  by: pid\n  count: 2\n  window: 5m\n',
      'rules/a.yaml:13:3: unknown key "window": there are where, after, after_silence, by, count, distinct, distinct_count, timespan',
    ],
    [
      'threshold:\n  where: exec where true | head 1\n  by: pid\n  count: 2\n  timespan: 5m\n',
      'rules/a.yaml:10:10: where is an event query without pipes',
    ],
    [
      'first_seen:\n  where: network where true\n  field: net_host\n  history: 30d\n',
      'rules/a.yaml:10:3: "by" is missing',
    ],
  ])('%j is refused with file, line and reason', (body, message) => {
    expect(refusal(body)).toBe(message);
  });

  it('is of another language', () => {
    const rule = read(HEAD.replace('eql', 'kuery'));
    expect(rule.ok ? '' : faultText(rule.fault)).toBe(
      'rules/a.yaml:8:11: the language is "eql", not "kuery"',
    );
  });

  it.each([
    ['query: any where nope == 1\n', 'unknown field "nope"'],
    ['query: nope where true\n', 'no event has the category "nope"'],
    [
      'query: any where true | tail 3\n',
      '"| tail" needs the end of the events: over a stream it never fires',
    ],
    ['query: any where true\nlevle: low\n', 'unknown key "levle"'],
  ])('%j is taken with a warning', (body, message) => {
    const rule = read(HEAD + body);
    expect(rule.ok && rule.value.warnings.map(({ reason }) => reason)).toEqual([message]);
  });
});
