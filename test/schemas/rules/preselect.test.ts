/** What a database is asked for on behalf of a rule: no more kinds than its tests can hold for. */
import { describe, expect, it } from 'vitest';
import { loadRules, needOf, REGISTRY, type RowTest } from '#schemas';

function rowsOf(query: string): readonly RowTest[] {
  const text = `title: T\nid: t\nlevel: low\nlanguage: eql\nquery: |\n  ${query}\n`;
  const { rules, faults } = loadRules([{ file: 'test.yml', text }]);
  expect(faults).toEqual([]);
  return needOf(rules[0] as (typeof rules)[number]).rows.flat();
}
const kindsOf = (tests: readonly RowTest[]) => tests.flatMap(({ kinds }) => kinds).sort();
const ALL = [...REGISTRY.keys()].sort();

describe('rows for rules', () => {
  it('are of the kinds that a test names, and need no text then', () => {
    const tests = rowsOf('any where kind in ("tool.call", "tool.result") and outcome != null');
    expect(tests).toEqual([{ kinds: ['tool.call', 'tool.result'] }]);
  });

  it('are of every kind where a test names none', () => {
    expect(kindsOf(rowsOf('any where outcome != null'))).toEqual(ALL);
  });

  it('are of a kind that is named, or hold the text that is', () => {
    const tests = rowsOf('any where kind == "net" or file_path == "/etc/Shadow"');
    const [named, ...others] = tests;
    expect(named).toEqual({ kinds: ['net'] });
    for (const { literals } of others)
      expect(literals).toEqual([{ columns: ['file_path'], needles: ['/etc/shadow'] }]);
    expect(kindsOf(tests)).toEqual(ALL);
  });
});
