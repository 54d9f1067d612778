/** Falco's conditions: what they mean, and how what can't be one is refused. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConditionError, parseCondition } from '../../../../schemas/rules/falco/parser.ts';
import { refusals } from '../rules.ts';
import { bash, holds, ruleOf, write } from './rules.ts';

const LS = bash('ls -la /Srv "a"\n');

describe('a condition', () => {
  it.each([
    ['tool.name = "Bash"', true],
    ['tool.name == Bash', true],
    ["tool.name = 'Bash'", true],
    ['tool.name != "Bash"', false],
    ['tool.name = "bash"', false],
    ['tool.input_command contains "-la"', true],
    ['tool.input_command contains "/srv"', false],
    ['tool.input_command icontains "/srv"', true],
    ['tool.input_command startswith "ls "', true],
    ['tool.input_command startswith "s -"', false],
    ['tool.input_command endswith "\\"a\\"\\n"', true],
    ['tool.input_command contains ""', true],
    ['tool.name in ("Read", "Bash")', true],
    ['tool.name in(Read,Bash)', true],
    ['tool.name in ()', false],
    ['tool.name intersects (Bash)', true],
    ['tool.name exists', true],
    ['tool.patch_op exists', true],
    ['tool.patch_op = ""', true],
    ['tolower(tool.name) = bash', true],
    ['toupper(basename(agent.cwd)) = APP', true],
    ['basename(agent.cwd) = APP', false],
    ['agent.cwd startswith val(agent.real_cwd)', true],
    ['agent.cwd = val(tool.name)', false],
    ['tolower(tool.name) = tolower(tool.name)', true],
  ])('%s is %s', (condition, expected) => {
    expect(holds(condition, LS)).toBe(expected);
  });

  it('binds "and" before "or" and "not" before both', () => {
    const [yes, no] = ['tool.name = Bash', 'tool.name = Read'];
    expect(holds(`${yes} or ${no} and ${no}`, LS)).toBe(true);
    expect(holds(`(${yes} or ${no}) and ${no}`, LS)).toBe(false);
    expect(holds(`not ${no} and ${yes}`, LS)).toBe(true);
    expect(holds(`not(${no} or ${yes})`, LS)).toBe(false);
    expect(holds(`not not ${yes}`, LS)).toBe(true);
    expect(holds(`${no} or(${yes})and(${yes})`, LS)).toBe(true);
    expect(holds(`\n ${yes}\n and\n${yes} \n`, LS)).toBe(true);
  });

  it('compares paths of pmatch by whole names', () => {
    const within = (paths: string, path: string) =>
      holds(`tool.real_file_path pmatch (${paths})`, write(path));
    expect(within('/etc/, /root', '/etc/passwd')).toBe(true);
    expect(within('/etc/, /root', '/root')).toBe(true);
    expect(within('/etc/', '/etcetera/x')).toBe(false);
    expect(within('/var/run', '/var')).toBe(false);
    expect(within('/', '/anything')).toBe(true);
  });

  it.each([
    ['', 'condition', /character 1: expected a field, a macro or "\(", found the end/],
    ['tool.name', 'condition', /character 10: expected an operator/],
    ['tool.name ~ x', 'condition', /expected an operator, found "~ x"/],
    ['tool.name = "x', 'condition', /expected a text/],
    ['tool.name = "\\q"', 'condition', /no escape "\\\\q"/],
    ['tool.name = a b', 'condition', /character 15: expected "and" or "or", found "b"/],
    ['(tool.name = a', 'condition', /expected "\)"/],
    ['tool.name in a.b', 'condition', /expected/],
    ['tool.name in val(x)', 'condition', /expected a field within val/],
    ['tolower(x) = a', 'condition', /expected a field within tolower/],
    ['proc.name = sh', 'field', /tool calls have no field "proc.name"/],
    ['correlation.id > 0', 'field', /no field "correlation.id"/],
    ['tool.name[0] = a', 'field', /no field "tool.name\[0\]"/],
    ['tool.name = val(evt.type)', 'field', /no field "evt.type"/],
    ['tool.name > 1', 'condition', /operator > is not supported/],
    ['tool.name regex "a+"', 'condition', /operator regex is not supported/],
    ['tool.name glob "a*"', 'condition', /operator glob is not supported/],
    ['b64(tool.name) = a', 'condition', /transformer b64\(\) is not supported/],
    ['tool.file_path pmatch (/home/*/x)', 'condition', /wildcards/],
    ['nothing and tool.name = a', 'reference', /the macro "nothing" is not there/],
    [`${'('.repeat(100)}a`, 'limit', /deeper than 64/],
    [`${'tolower('.repeat(100)}a`, 'limit', /deeper than 64/],
    [`tool.name = ${'x'.repeat(70_000)}`, 'limit', /more than 65536 characters/],
  ])('refuses %j', (condition, code, reason) => {
    const [refusal = '', ...more] = refusals(ruleOf(condition));
    expect(more).toEqual([]);
    expect(refusal.startsWith(`${code} 5 condition, character `)).toBe(true);
    expect(refusal).toMatch(reason);
  });

  it('throws nothing but its own error, whatever stands there', () => {
    const pieces = fc.constantFrom(
      ...['tool.name', 'tool.input', ' ', '\n', '(', ')', '"', "'", '\\', ',', '=', '!=', '<', '['],
      ...[' and ', ' or ', ' not ', ' in ', ' contains ', ' exists ', ' pmatch ', 'val(', 'b64('],
      ...['tolower(', 'basename(', 'macro', '"text"', ']', '.', '\u0000', '\ud800', '1e3'],
    );
    const texts = fc.oneof(
      fc.array(pieces, { maxLength: 40 }).map((some) => some.join('')),
      fc.string({ maxLength: 100 }),
    );
    fc.assert(
      fc.property(texts, (text) => {
        try {
          parseCondition(text);
        } catch (error) {
          expect(error).toBeInstanceOf(ConditionError);
          expect((error as ConditionError).at).toBeLessThanOrEqual(text.length);
        }
      }),
      { numRuns: 500 },
    );
  });
});
