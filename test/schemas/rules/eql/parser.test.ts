import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEPTH_MAX } from '../../../../schemas/rules/eql/cursor.ts';
import { QUERY_CHARS_MAX, TOKENS_MAX, tokenize } from '../../../../schemas/rules/eql/lexer.ts';
import { parseEql } from '../../../../schemas/rules/eql/parser.ts';
import { compileQuery } from '../../../../schemas/rules/eql/query.ts';

/** `line:column message` of the fault of a query. */
function fault(query: string): string {
  const parsed = parseEql(query);
  if (!parsed.ok) return `${parsed.fault.line}:${parsed.fault.column} ${parsed.fault.message}`;
  const compiled = compileQuery(parsed.value);
  if (compiled.ok) return 'none';
  return `${compiled.fault.line}:${compiled.fault.column} ${compiled.fault.message}`;
}

const literal = (text: string) => {
  const tokens = tokenize(text);
  return tokens.ok ? tokens.value[0]?.text : tokens.fault.message;
};

describe('strings', () => {
  it('know the escapes of the dialect', () => {
    expect(literal('"a\\r\\n\\t\\"\\\\b"')).toBe('a\r\n\t"\\b');
    expect(literal('"\\u{200f}\\u{0001F600}"')).toBe('\u200f😀');
  });
  it('take everything as it stands between three quotes', () => {
    expect(literal('"""a\\n"b"""')).toBe('a\\n"b');
    expect(literal('"""a""""')).toBe('a"');
  });
  it.each([
    ['"a', 'the string is not closed: expected "'],
    ['"a\nb"', 'the string is not closed: expected "'],
    ['"""a', 'the raw string is not closed: expected """'],
    ["'a'", 'strings are written in double quotes, not in single quotes'],
    ['?"a"', 'raw strings are written in three double quotes: """…"""'],
    ['"\\x"', 'unknown escape \\x in a string: expected \\b \\t \\n \\f \\r \\" \\\\ \\u{XX}'],
    ['"\\u{d800}"', '\\u{d800} is not a Unicode character'],
    ['/* a', 'the comment is not closed: expected */'],
  ])('%s is refused', (text, message) => {
    expect(literal(text)).toBe(message);
  });
});

describe('a query', () => {
  it.each([
    ['process where true'],
    ['any where true // for all\n'],
    ['/* one */ file where /* two */ `file.path` == "a"'],
    ['"tool.call" where tool == "Bash"'],
    ['"""tool.call""" where true'],
    ['process where not (process.name in~ ("A", "b",) and ?user.id == null)'],
    ['process where process.pid + 2 * -3 % 4 / 5 - 1 >= 0'],
    ['process where process.name like~ ("a*", "b?") or process.args regex "x.*"'],
    [
      'sequence by session.id, ?host with maxspan=1h [exec where true] by pid with runs=3 ![net where true] by ppid [file where true] by pid until [exit where true] by pid | head 3 | tail 1',
    ],
    ['sample by host [exec where true] [net where true]'],
    ['process where process.any == 1'],
  ])('%s is taken', (query) => {
    expect(parseEql(query).ok).toBe(true);
  });

  it.each([
    ['', '1:1 expected an event category or "any", found the end of the query'],
    ['process', '1:8 expected "where" after the event category, found the end of the query'],
    [
      'process where',
      '1:14 expected a field, a value, a function or "(", found the end of the query',
    ],
    ['process\n  where pid = 1', '2:13 "=" does not compare: expected "==" or ":", found "="'],
    [
      'a where pid == 1 == 2',
      '1:18 comparisons cannot be chained: expected "and" between them, found "=="',
    ],
    ['a where pid : 5', '1:15 expected a string after ":", found "5"'],
    ['a where (pid == 1', '1:18 expected ")" to close the bracket, found the end of the query'],
    ['a where pid == 1 b', '1:18 expected "and", "or" or "|", found "b"'],
    ['`a` where true', '1:1 a category is escaped by double quotes, found "a"'],
    [
      'a where true | count',
      '1:16 Elasticsearch EQL has the pipes "head" and "tail" only, found "count"',
    ],
    ['a where true | head 0', '1:21 expected how many, from 1 to 10000, found "0"'],
    [
      'join [a where true] [b where true]',
      '1:1 "join" is not part of the Elasticsearch dialect, found "join"',
    ],
    [
      'a where child of [b where true]',
      '1:9 "child of", "descendant of" and "event of" are not part of the dialect, found "child"',
    ],
    [
      'sequence [a where true] [b where true] fork',
      '1:40 "fork" is not part of the Elasticsearch dialect, found "fork"',
    ],
    ['sequence [a where true]', '1:1 a sequence needs at least 2 steps'],
    [
      'sequence ![a where true] ![b where true]',
      '1:1 a sequence needs at least one step that is not a missing event',
    ],
    [
      'sequence [a where true] ![b where true]',
      '1:25 a missing event needs "with maxspan" on the sequence',
    ],
    [
      'sequence with maxspan=5 [a where true]',
      '1:25 expected a time unit (d, h, m, s, ms, micros, nanos), found "["',
    ],
    [
      'sequence with maxspan=0s [a where true] [b where true]',
      '1:23 maxspan must be longer than nothing and at most 100 years',
    ],
    [
      'sequence with maxspan=1m by x [a where true] [b where true]',
      '1:26 "by" stands before "with maxspan", found "by"',
    ],
    [
      'sequence [a where true] by x [b where true]',
      '1:30 each step joins on equally many fields: here on 0, the first step on 1',
    ],
    [
      'sequence [a where true] with runs=101 [b where true]',
      '1:35 expected a number of runs from 1 to 100, found "101"',
    ],
    [
      'sequence [a where true] [b where true] until ![c where true]',
      '1:46 "until" takes no missing event',
    ],
    ['sample [a where true] [b where true]', '1:1 a sample needs a join field: expected "by"'],
    [
      'sample by x [a where true] [b where true] until [c where true]',
      '1:43 a sample takes no "until": expected "[", found "until"',
    ],
    [
      'sample by x with maxspan=1m [a where true] [b where true]',
      '1:13 a sample takes no "with": expected "[", found "with"',
    ],
    ['a where pid == 99999999999999999999', '1:16 the number 99999999999999999999 is too large'],
    ['a where $x == 1', '1:9 aliases ($name) are not part of the Elasticsearch dialect'],
  ])('%s is refused with its place', (query, message) => {
    const found = fault(query);
    expect(found.startsWith(message), found).toBe(true);
  });

  it('is refused where it is too deep, too long or has too many words', () => {
    expect(fault(`a where ${'('.repeat(500)}`)).toContain(`deeper than ${DEPTH_MAX}`);
    expect(fault(`a where ${'not '.repeat(5000)}true`)).toContain(`deeper than ${DEPTH_MAX}`);
    expect(fault(`a where ${'-'.repeat(5000)}1 == 1`)).toContain(`deeper than ${DEPTH_MAX}`);
    expect(fault(`a where pid ${'+ 1'.repeat(500)} == 1`)).toContain('operators in a row');
    expect(fault(' '.repeat(QUERY_CHARS_MAX + 1))).toContain('characters');
    expect(fault(`a where ${'1 '.repeat(TOKENS_MAX)}`)).toContain('words and signs');
  });

  it('may be a chain of thousands of terms', () => {
    const terms = Array.from({ length: 3000 }, (_, index) => `pid == ${index}`);
    expect(fault(`process where ${terms.join(' or ')}`)).toBe('none');
  });
});

describe('the parser and the compiler', () => {
  const words = fc.constantFrom(
    ...[
      'sequence',
      'sample',
      'by',
      'with',
      'maxspan',
      '=',
      '5s',
      'runs',
      '2',
      '[',
      ']',
      '![',
      'until',
    ],
    ...[
      'any',
      'process',
      'where',
      'and',
      'or',
      'not',
      'in',
      'in~',
      'like',
      'like~',
      'regex',
      ':',
      '==',
    ],
    ...[
      'pid',
      'process.name',
      'process.args',
      '?',
      '"a*"',
      '"["',
      '1',
      '4.5',
      'null',
      'true',
      '(',
      ')',
    ],
    ...[
      ',',
      '+',
      '-',
      '*',
      '/',
      '%',
      '|',
      'head',
      'tail',
      'length(',
      'between(',
      'number(',
      'cidrMatch(',
    ],
  );
  const check = (text: string) => {
    const parsed = parseEql(text);
    const result = parsed.ok ? compileQuery(parsed.value) : parsed;
    if (result.ok) return;
    const lines = text.split('\n');
    expect(result.fault.line).toBeGreaterThan(0);
    expect(result.fault.line).toBeLessThanOrEqual(lines.length);
    expect(result.fault.column).toBeLessThanOrEqual(
      (lines[result.fault.line - 1] ?? '').length + 1,
    );
    expect(result.fault.message).not.toBe('');
  };
  it('never throw on any text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 200 }), check), { numRuns: 1000 });
  });
  it('never throw on words of the language in any order', () => {
    const soup = fc.array(words, { maxLength: 40 }).map((list) => list.join(' '));
    fc.assert(fc.property(soup, check), { numRuns: 1500 });
  });
  it('never throw on a cut or garbled query', () => {
    const whole =
      'sequence by session.id with maxspan=1h\n [process where process.name in ("a", "b") and length(process.args) > 2]\n ![net where cidrMatch(net_ip, "10.0.0.0/8")] by pid\n [file where file_path regex~ "(a|b)*[^c]{2,3}"] by pid | head 3';
    const cut = fc
      .tuple(fc.nat(whole.length), fc.nat(whole.length), fc.string({ maxLength: 3 }))
      .map(([from, to, text]) => whole.slice(0, from) + text + whole.slice(to));
    fc.assert(fc.property(cut, check), { numRuns: 1000 });
  });
});
