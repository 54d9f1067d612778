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
  it('are of the kinds that a test names, and have what has to be there', () => {
    const tests = rowsOf('any where kind in ("tool.call", "tool.result") and outcome != null');
    const need = { present: 'outcome' };
    expect(tests).toEqual([{ kinds: ['tool.call', 'tool.result'], need }]);
  });

  it('are of every kind where a test names none', () => {
    expect(kindsOf(rowsOf('any where outcome != null'))).toEqual(ALL);
  });

  it('are of a kind that is named, or hold the text that is', () => {
    const tests = rowsOf('any where kind == "net" or file_path == "/etc/Shadow"');
    const named = tests.filter(({ kinds }) => kinds.includes('net'));
    expect(named).toEqual([{ kinds: ['net'] }]);
    for (const { need } of tests.filter((one) => !named.includes(one)))
      expect(need).toEqual({ columns: ['file_path'], whole: 'text', needles: ['/etc/shadow'] });
    expect(kindsOf(tests)).toEqual(ALL);
  });

  it('have all that a condition asks for, as far as columns tell', () => {
    const tests = rowsOf(
      'any where kind == "exec" and process.name in ("cat", "cp") and process.args : "*/.netrc" and pid > 4',
    );
    const words = (column: string, ...needles: string[]) => ({ columns: [column], needles });
    expect(tests).toEqual([
      {
        kinds: ['exec'],
        need: {
          all: [{ ...words('exe', 'cat', 'cp'), whole: 'name' }, words('argv_line', '/.netrc')],
        },
      },
    ]);
  });

  it('have so many arguments, or none that tell', () => {
    const tests = rowsOf('exec where process.args_count == 1');
    const count = (value: number) => ({ number: 'length(argv)', operator: '==', value });
    expect(tests).toEqual([{ kinds: ['exec'], need: { either: [count(1), count(0)] } }]);
  });

  it('are shown by the start of the process where they have no name of their own', () => {
    const tests = rowsOf('any where kind == "exit" and process.name == "curl"');
    const shown = [
      { kinds: ['exec'], need: { columns: ['exe'], whole: 'name', needles: ['curl'] } },
    ];
    expect(tests).toEqual([{ kinds: ['exit'], shown }]);
  });
});
