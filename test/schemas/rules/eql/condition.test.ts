import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FieldType } from '../../../../schemas/rules/eql/operand.ts';
import { parseEql } from '../../../../schemas/rules/eql/parser.ts';
import { compileQuery } from '../../../../schemas/rules/eql/query.ts';
import { compileWildcard } from '../../../../schemas/rules/eql/wildcard.ts';
import { recordView, type Scalar } from '../../../../schemas/rules/values.ts';

type Fields = Readonly<Record<string, Scalar | readonly Scalar[]>>;
const TYPES: Readonly<Record<string, FieldType>> = {
  text: { type: 'string', list: false },
  word: { type: 'string', list: false },
  whole: { type: 'integer', list: false },
  other: { type: 'integer', list: false },
  yes: { type: 'boolean', list: false },
  many: { type: 'string', list: true },
};

function compile(condition: string) {
  const parsed = parseEql(`any where ${condition}`);
  if (!parsed.ok) throw new Error(parsed.fault.message);
  return compileQuery(parsed.value, (name) => TYPES[name]);
}

function holds(condition: string, fields: Fields = {}): boolean {
  const compiled = compile(condition);
  if (!compiled.ok) throw new Error(compiled.fault.message);
  const { matcher } = compiled.value;
  if (matcher.type !== 'event') throw new Error('not a test of one event');
  return matcher.test.matches(recordView(fields));
}

function refusal(condition: string): string {
  const compiled = compile(condition);
  return compiled.ok ? '' : `${compiled.fault.column} ${compiled.fault.message}`;
}

/** True, false or null, told apart by what `not` makes of it. */
function truth(condition: string, fields: Fields = {}): boolean | null {
  if (holds(condition, fields)) return true;
  return holds(`not (${condition})`, fields) ? false : null;
}

const EVENT: Fields = { text: 'Cmd.exe', whole: 4, other: 2, yes: true, many: ['-X', 'Post'] };

describe('operators', () => {
  it.each<[string, boolean | null]>([
    ['text == "Cmd.exe"', true],
    ['text == "cmd.exe"', false],
    ['text == "Cmd*"', false],
    ['"Cmd.exe" == text', true],
    ['text != "cmd.exe"', true],
    ['text : "cmd.*"', true],
    ['text : ("a", "CMD.???")', true],
    ['text like "cmd.*"', false],
    ['text like "Cmd.*"', true],
    ['text like~ ("x", "c*E")', true],
    ['text regex "Cmd"', false],
    ['text regex "Cmd[.].*"', true],
    ['text regex~ "cmd[.]EXE"', true],
    ['text in ("Cmd.exe")', true],
    ['text in ("cmd.exe")', false],
    ['text in~ ("cmd.exe")', true],
    ['text not in ("a", "b")', true],
    ['text not in~ ("CMD.EXE")', false],
    ['whole in (1, 4)', true],
    ['whole >= 4 and whole < 5', true],
    ['4 < whole', false],
    ['5 > whole', true],
    ['text < "D"', true],
    ['whole + 1 == 5', true],
    ['whole / 3 == 1', true],
    ['whole / 3.0 > 1.3', true],
    ['-whole / 3 == -1', true],
    ['whole % 3 == 1', true],
    ['2 + 3 * 2 == 8', true],
    ['(2 + 3) * 2 == 10', true],
    ['10 - 3 - 2 == 5', true],
    ['yes', true],
    ['yes == false', false],
    ['true', true],
    ['not true', false],
    ['whole / 0 == 1', null],
  ])('%s is %s', (condition, wanted) => {
    expect(truth(condition, EVENT)).toBe(wanted);
  });
});

describe('what is missing', () => {
  it.each<[string, boolean | null]>([
    ['text == "a"', null],
    ['text != "a"', null],
    ['text : "a"', null],
    ['text like "*"', null],
    ['text regex ".*"', null],
    ['text in ("a")', null],
    ['text not in ("a")', null],
    ['whole > 1', null],
    ['whole + 1 == 2', null],
    ['text == null', true],
    ['null != text', false],
    ['text > null', null],
    ['null == null', true],
    ['null != null', false],
    ['length(text) == null', true],
    ['yes', null],
    ['yes and false', false],
    ['yes and true', null],
    ['yes or true', true],
    ['yes or false', null],
    ['?unknown == null', true],
    ['?unknown == "a"', null],
    ['whole in (null)', null],
    ['many : "*"', null],
  ])('%s is %s', (condition, wanted) => {
    expect(truth(condition)).toBe(wanted);
  });
  it('is an empty list, and no null in a list', () => {
    expect(truth('many == "a"', { many: [] })).toBe(null);
    expect(truth('many == "a"', { many: [null, 'a'] })).toBe(true);
    expect(truth('many == "a"', { many: [null, 'b'] })).toBe(null);
  });
  it('is a value of another type than the field should have', () => {
    expect(truth('text == "4"', { text: 4 })).toBe(null);
    expect(truth('whole == 4', { whole: '4' })).toBe(null);
    expect(truth('text : "4"', { text: 4 })).toBe(null);
  });
});

describe('a list', () => {
  it.each<[string, boolean | null]>([
    ['many == "-X"', true],
    ['many : "post"', true],
    ['many != "-X"', false],
    ['many != "z"', true],
    ['many in ("z", "Post")', true],
    ['many not in ("z", "Post")', false],
    ['startsWith(many, "-")', true],
    ['not startsWith(many, "z")', true],
    ['length(many) == 4', true],
    ['length(many) == 5', false],
    ['many regex "[A-Z][a-z]+"', true],
    ['concat(many, "!") == "Post!"', true],
  ])('%s is %s', (condition, wanted) => {
    expect(truth(condition, EVENT)).toBe(wanted);
  });
});

describe('a type that does not fit', () => {
  it.each([
    ['text == 1', '"==" compares values of one type, not a string and a number'],
    ['whole == "1"', '"==" compares values of one type, not a number and a string'],
    ['whole == other', 'EQL compares a field with a value, not with another field'],
    ['length(text) > whole', 'EQL compares a field with a value, not with another field'],
    ['whole', 'a condition is true or false, not a number'],
    ['text and true', 'a condition is true or false, not a string'],
    ['not 1', 'a condition is true or false, not a number'],
    ['whole : "1"', '":" compares strings, not a number'],
    ['whole like "1*"', '"like" compares strings, not a number'],
    ['text + 1 == 2', '"+" works on numbers, not on a string'],
    ['-text == 2', '"-" works on numbers, not on a string'],
    ['yes > true', '">" does not order true and false'],
    ['text in (1)', '"in" compares values of one type, not a string against a number'],
    ['whole in (other)', 'a list holds constants, not fields'],
    ['text regex "a~b"', 'the expression uses complement (~), which RE2 has not'],
    ['text regex "(a"', 'the expression has a ( that is not closed'],
    ['length(whole) == 1', 'argument 1 of length is a string, not a number'],
    ['length(text, text) == 1', 'length takes 1 arguments, here are 2'],
    ['Length(text) == 1', 'unknown function Length; did you mean length?'],
    ['match(text, "a")', 'Elasticsearch EQL has no function match: use "regex" or "regex~"'],
    ['length~(text) == 1', 'length has no case-insensitive form length~'],
    ['cidrMatch(text, "10.0.0.0/33")', '"10.0.0.0/33" has no prefix length of its family'],
    ['cidrMatch(text, word)', 'argument 2 of cidrMatch has to be a constant'],
    ['number(text, 99) == 1', 'the base of number() is a whole number from 2 to 36'],
    ['concat(many, many) == "a"', 'concat takes at most one field that is a list'],
  ])('%s is refused', (condition, message) => {
    expect(refusal(condition)).toContain(message);
  });
  it('is told with its column', () => {
    expect(refusal('yes and text == 1')).toMatch(/^24 /);
  });
});

describe('functions, over the examples of the reference', () => {
  it.each<[string, Scalar]>([
    ['add(4, 0.5)', 4.5],
    ['add(null, 4)', null],
    ['subtract(10.5, 0.5)', 10],
    ['multiply(0.25, 2)', 0.5],
    ['divide(4, 3)', 1],
    ['divide(0.5, 0.25)', 2],
    ['divide(-4, 3)', -1],
    ['divide(4, 0)', null],
    ['modulo(10, 6)', 4],
    ['modulo(-10, -6)', -4],
    ['modulo(10, 0.5)', 0],
    ['between("C:/Windows/System32/cmd.exe", "System32/", ".exe")', 'cmd'],
    ['between("C:/Windows/System32/cmd.exe", "system32/", ".exe")', ''],
    ['between~("C:/Windows/System32/cmd.exe", "system32/", ".exe")', 'cmd'],
    ['between("C:/Windows/System32/cmd.exe", "/", "/", false)', 'Windows'],
    ['between("C:/Windows/System32/cmd.exe", "/", "/", true)', 'Windows/System32'],
    ['between("", "", "")', ''],
    ['between(null, "a", "b")', null],
    ['cidrMatch("192.168.152.12", "10.0.0.0/8", "192.168.0.0/16")', true],
    ['cidrMatch("192.168.152.12", "10.0.0.0/8")', false],
    ['cidrMatch("2001:db8::1", "2001:db8::/32")', true],
    ['cidrMatch(null, "10.0.0.0/8")', null],
    ['cidrMatch("10.0.0.1", null)', null],
    ['concat("a", " ", 42, " ", 42.5, " ", true)', 'a 42 42.5 true'],
    ['concat("a", null)', null],
    ['endsWith("regsvr32.exe", ".EXE")', false],
    ['endsWith~("regsvr32.exe", ".EXE")', true],
    ['endsWith("", "")', true],
    ['endsWith("a", null)', null],
    ['startsWith~("regsvr32.exe", "Regsvr32")', true],
    ['startsWith("regsvr32.exe", "Regsvr32")', false],
    ['indexOf("subdomain.example.com", "d")', 3],
    ['indexOf("subdomain.example.com", "D")', null],
    ['indexOf~("subdomain.example.com", "D")', 3],
    ['indexOf("subdomain.example.com", ".", 9)', 9],
    ['indexOf("subdomain.example.com", ".", 10)', 17],
    ['indexOf("subdomain.example.com", ".", -6)', 9],
    ['indexOf("subdomain.example.com", "", 10)', 10],
    ['indexOf("subdomain.example.com", "", -6)', 0],
    ['indexOf("subdomain.example.com", ".", 30)', null],
    ['indexOf("subdomain.example.com", ".", null)', null],
    ['length("start explorer.exe")', 18],
    ['length("")', 0],
    ['number("1337")', 1337],
    ['number("42.5")', 42.5],
    ['number("deadbeef", 16)', 3735928559],
    ['number("0xdeadbeef")', 3735928559],
    ['number("0xdeadbeef", null)', 3735928559],
    ['number("  -1337  ")', -1337],
    ['number("+1337")', 1337],
    ['number("zebra")', null],
    ['number("")', null],
    ['number(null, 16)', null],
    ['string(42.5)', '42.5'],
    ['string(null)', null],
    ['stringContains("start regsvr32.exe", "regsvr32")', true],
    ['stringContains~("start regsvr32.exe", "Regsvr32")', true],
    ['stringContains("", "")', false],
    ['stringContains("a", null)', null],
    ['substring("start regsvr32.exe", 6)', 'regsvr32.exe'],
    ['substring("start regsvr32.exe", 0, 5)', 'start'],
    ['substring("start regsvr32.exe", 6, 14)', 'regsvr32'],
    ['substring("start regsvr32.exe", -4)', '.exe'],
    ['substring("start regsvr32.exe", -4, -1)', '.ex'],
    ['substring("start", 9)', ''],
    ['wildcard("cmd.exe", "*.dll", "cmd.*")', true],
    ['wildcard("cmd.exe", "CMD.*")', false],
    ['wildcard~("cmd.exe", "CMD.*")', true],
  ])('%s gives %s', (call, wanted) => {
    if (wanted === null) expect(holds(`${call} == null`)).toBe(true);
    else expect(holds(`${call} == ${JSON.stringify(wanted)}`)).toBe(true);
  });
});

describe('wildcards', () => {
  const PARTS: Readonly<Record<string, string>> = { '*': '[^]*', '?': '[^]' };
  const expression = (pattern: string) =>
    new RegExp(`^${[...pattern].map((char) => PARTS[char] ?? char).join('')}$`, 'u');
  it('match what an expression of the same meaning matches', () => {
    const char = fc.constantFrom('a', 'b', '*', '?', '😀');
    const pattern = fc.array(char, { maxLength: 8 }).map((list) => list.join(''));
    const text = fc.array(fc.constantFrom('a', 'b', '😀', '\n'), { maxLength: 10 });
    fc.assert(
      fc.property(pattern, text, (wanted, list) => {
        const whole = list.join('');
        const matches = compileWildcard(wanted, false)(whole);
        expect(matches, `${wanted} over ${JSON.stringify(whole)}`).toBe(
          expression(wanted).test(whole),
        );
      }),
      { numRuns: 5000 },
    );
  });
  it('take long texts and many stars in no time', () => {
    const matches = compileWildcard(`${'*a'.repeat(200)}b`, false);
    expect(matches('a'.repeat(100_000))).toBe(false);
  });
});

describe("Lucene's expressions", () => {
  it.each<[string, string, boolean]>([
    ['a.c', 'a\nc', true],
    ['^a$', '^a$', true],
    ['a', 'xa', false],
    ['a+?', '', true],
    ['a{2,3}', 'aa', true],
    ['a{2,3}', 'aaaa', false],
    ['"a.c"+', 'a.ca.c', true],
    ['"a.c"', 'abc', false],
    ['@foo@', 'a foo b', true],
    ['[^a-c\\d]x', 'zx', true],
    ['[^a-c\\d]x', '5x', false],
    ['[\\]\\-a]', '-', true],
    ['[]a]', ']', true],
    ['\\.\\*\\~', '.*~', true],
    ['(ab|cd)+', 'abcdab', true],
    ['\\n', 'n', true],
    ['', '', true],
  ])('%s over %j is %s', (pattern, text, wanted) => {
    expect(holds(`text regex """${pattern}"""`, { text })).toBe(wanted);
  });
});
