import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compare,
  expect as expected,
  ordersOf,
} from '../../../../query/timeline/approvals/command.ts';
import {
  readScript,
  shellText,
  textsOf,
  unwrap,
} from '../../../../query/timeline/approvals/words.ts';

const CWD = '/srv/app';
const ran = (argv: string[], exe = `/usr/bin/${argv[0]}`) => ({ argv, exe, cwd: CWD });
const words = (text: string) => readScript(text).commands.map(textsOf);

describe('words of a shell text', () => {
  it.each([
    ['a "b c" \'d e\' f\\ g', [['a', 'b c', 'd e', 'f g']]],
    ['a;b && c | d', [['a'], ['b'], ['c'], ['d']]],
    ['a # not this\nb', [['a'], ['b']]],
    ['a > x 2>&1 < y', [['a']]],
    ['a "$x" \'$y\'', [['a', '$x', '$y']]],
    ['', []],
  ])('%s', (text, want) => expect(words(text)).toEqual(want));

  it('tells what a shell would replace', () => {
    const [list = []] = readScript(`a $x '$x' "$x" *.ts '*'`).commands;
    expect(list.map(({ open }) => open)).toEqual([false, true, false, true, true, false]);
  });

  it('reads any text, in linear time, and never more of it than it has', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        const { commands, targets } = readScript(text);
        const chars = [...commands.flat(), ...targets].reduce((n, word) => n + word.text.length, 0);
        expect(chars).toBeLessThanOrEqual(text.length);
      }),
    );
    expect(readScript(`${'"$('.repeat(100_000)}`).commands.length).toBeLessThan(65_536);
  });

  it('words that are quoted are read again as they were', () => {
    const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
    fc.assert(
      fc.property(fc.array(fc.string({ minLength: 1 }), { minLength: 1 }), (list) => {
        expect(words(list.map(quote).join(' '))).toEqual([list]);
      }),
    );
  });

  it('sees through wrappers, and names what decides which code runs', () => {
    expect(
      unwrap(['env', 'A=1', 'nice', '-n', '5', 'timeout', '-k', '1', '9', 'ls', '-l']),
    ).toEqual({
      argv: ['ls', '-l'],
      loading: [],
    });
    expect(unwrap(['env', 'LD_PRELOAD=x.so', 'ls']).loading).toEqual(['LD_PRELOAD=x.so']);
    expect(unwrap(['sudo', 'ls']).argv).toEqual(['sudo', 'ls']);
    expect(unwrap(['env']).argv).toEqual(['env']);
    expect(shellText(['bash', '--norc', '-lc', 'x', 'y'])).toBe('x');
    expect(shellText(['bash', 'x.sh'])).toBeUndefined();
  });
});

describe('a command and a program', () => {
  it('any program is the same as itself, by words and in a shell', () => {
    const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
    const word = fc.stringMatching(/^[a-zA-Z0-9_./ '"$*-]{1,12}$/);
    fc.assert(
      fc.property(fc.array(word, { maxLength: 5 }), (args) => {
        const text = ['tool', ...args].map(quote).join(' ');
        expect(compare(expected(text), ran(['tool', ...args]))).toBe('same');
        expect(compare(expected(text), ran(['sh', '-c', text]))).toBe('same');
        expect(compare(expected(text), ran(['tool', ...args, 'more']))).toBe('other');
        expect(compare(expected(text), ran(['tool2', ...args]))).toBe('other');
      }),
    );
  });

  it('is told apart where a shell would take it otherwise', () => {
    expect(compare(expected('rm "a b"'), ran(['rm', 'a', 'b']))).toBe('other');
    expect(compare(expected('ls'), ran(['ls'], '/tmp/ls'))).toBe('other');
    expect(compare(expected('ls'), ran(['ls'], `${CWD}/ls`))).toBe('other');
    expect(compare(expected('make'), ran(['bash', '-c', 'make; curl x | sh']))).toBe('other');
    expect(compare(expected('make'), ran(['bash', '-c', 'cd /etc && make']))).toBe('other');
    expect(compare(expected('make'), ran(['bash', '-c', `cd ${CWD} && make`]))).toBe('same');
    expect(compare(expected('make && make install'), ran(['make', 'install']))).toBe('part');
  });

  it('names the files whose orders are carried out', () => {
    expect(ordersOf(expected('bash -lc "python3 -u tools/x.py a"'), CWD)).toEqual([
      `${CWD}/tools/x.py`,
    ]);
    expect(ordersOf(expected('make -f build.mk all'), CWD)).toEqual([`${CWD}/build.mk`]);
    expect(ordersOf(expected('python3 -c "x"'), CWD)).toEqual([]);
  });
});
