/** Words that must be whole in every text that is found: never one too many. */
import fc from 'fast-check';
import { RE2JS } from 're2js';
import { describe, expect, it } from 'vitest';
import { wholeWords, wordsOf, wordsOfPattern } from '../../../query/search/words.ts';

describe('wholeWords', () => {
  it('are those with both neighbours in the part itself', () => {
    expect(wholeWords('rm -rf /tmp/foo')).toEqual(['tmp']);
    expect(wholeWords('curl https://Evil.example/x.sh')).toEqual(['https', 'evil', 'example']);
    expect(wholeWords('foo')).toEqual([]);
    expect(wholeWords(' foo ')).toEqual(['foo']);
    expect(wholeWords('-é bar_baz-')).toEqual(['bar', 'baz']);
    expect(wholeWords('/éfoo/')).toEqual([]);
  });
  it('are words of every text that has the part', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'B', 'c', '9', ' ', '-', '/', 'é', '_') });
    fc.assert(
      fc.property(text, text, text, (before, part, after) => {
        const words = wordsOf(before + part + after);
        for (const word of wholeWords(part)) expect(words).toContain(word);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('wordsOfPattern', () => {
  it('reads what a pattern must match', () => {
    expect(wordsOfPattern('curl\\s+https?://evil\\.example/')).toEqual(['evil', 'example']);
    expect(wordsOfPattern('^curl -d @/etc/passwd$')).toEqual(['curl', 'etc', 'passwd']);
    expect(wordsOfPattern('(?i)\\sbase64 +--decode(?: -w)?')).toEqual([]);
    expect(wordsOfPattern('(?i)\\sbaze64 +--decode( |$)')).toEqual(
      ['baze64', 'decode'].slice(0, 1),
    );
    expect(wordsOfPattern(' (nc|ncat) -e ')).toEqual([]);
    expect(wordsOfPattern('/(?:usr/)bin/python[.]?3 ')).toEqual(['usr', 'bin']);
    expect(wordsOfPattern('\\Q/a+b/etc/\\E')).toEqual(['etc']);
    expect(wordsOfPattern(' abc* def{2} ghi{0,3} jkl')).toEqual([]);
    expect(wordsOfPattern(' abc\\x41 ')).toEqual([]);
    for (const odd of ['(', '\\', '(?<!x) abc ', 'a)', '[', '\\k '])
      expect(wordsOfPattern(odd)).toEqual([]);
  });
  it('gives only words that any text it matches has', () => {
    // A part of a pattern, and texts that it matches.
    const parts: readonly (readonly [string, readonly string[]])[] = [
      ['abc', ['abc']],
      ['Def', ['Def']],
      [' ', [' ']],
      ['-', ['-']],
      ['/', ['/']],
      ['\\s+', [' ', '\n ']],
      ['\\b', ['']],
      ['\\W', ['é', '%']],
      ['.*', ['', 'x', ' ']],
      ['x?', ['', 'x']],
      ['y+', ['y', 'yy']],
      ['é', ['é']],
      ['(?:abc)', ['abc']],
      ['(abc|def)', ['abc', 'def']],
      ['(?: abc )?', ['', ' abc ']],
      ['[.]', ['.']],
      ['[ab]', ['a']],
      ['\\.', ['.']],
      ['(?i)', ['']],
      ['(?i:desk )', ['dEſK ', 'desk ']],
      ['\\Qa.b\\E', ['a.b']],
      ['z{2}', ['zz']],
      [' {2,}', ['  ']],
      ['w{0}', ['']],
      ['\\d', ['1']],
      ['^', ['']],
      ['$', ['']],
      ['()', ['']],
    ];
    const some = fc.array(fc.tuple(fc.constantFrom(...parts), fc.nat(), fc.boolean()), {
      minLength: 1,
      maxLength: 9,
    });
    const noise = fc.constantFrom('', ' ', 'q', 'é', '-', '\n', 'abc');
    let told = 0;
    fc.assert(
      fc.property(some, noise, noise, (chosen, before, after) => {
        const pattern = chosen.map(([[one]]) => one).join('');
        const inside = chosen.map(([[, texts], n]) => texts[n % texts.length]).join('');
        const upper = /\(\?i/.test(pattern) && chosen.some(([, , flag]) => flag);
        const text = `${before}${upper ? inside.replace(/k/g, '\u212a') : inside}${after}`;
        if (!RE2JS.compile(pattern).test(text)) return;
        const words = wordsOfPattern(pattern);
        told += words.length;
        for (const word of words) expect(wordsOf(text), `${pattern} in ${text}`).toContain(word);
      }),
      { numRuns: 6000 },
    );
    expect(told).toBeGreaterThan(100);
  });
});
