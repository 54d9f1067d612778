/** The tracee's bytes as text and back; paths by text. */
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  absolutePath,
  escapeBytes,
  splitStrings,
  textsOf,
  unescapeBytes,
} from '../../../collector/sensors/bytes.ts';
import { createKeyPicker } from '../../../collector/sensors/environ.ts';

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map((list) => Buffer.from(list)),
  fc.string({ unit: 'binary', maxLength: 20 }).map((text) => Buffer.from(text)),
  // Valid text with single bytes in between, backslashes and cut sequences included.
  fc
    .array(fc.constantFrom('a', '\\', '\\x41', 'é', '€', '𝄞', '\xff', '\x80', '\xe2\x82'))
    .map((list) => Buffer.concat(list.map((t) => Buffer.from(t, t > '\xff' ? 'utf8' : 'latin1')))),
);

describe('escaped text', () => {
  it('gives every byte string back, and is always UTF-8', () => {
    fc.assert(
      fc.property(bytes, (one) => {
        const text = escapeBytes(one);
        expect(text.isWellFormed()).toBe(true);
        expect(unescapeBytes(text)).toEqual(one);
      }),
      { numRuns: 500 },
    );
  });

  it('leaves valid text alone, and escapes a field as a whole', () => {
    expect(textsOf([Buffer.from('é\\x41')])).toEqual({ texts: ['é\\x41'], escaped: false });
    expect(textsOf([Buffer.from('a\\b'), Buffer.from([0xff])])).toEqual({
      texts: ['a\\\\b', '\\xff'],
      escaped: true,
    });
    expect(() => unescapeBytes('\\y')).toThrow('not in the escaped form at character 0');
  });

  it('cuts NUL-ended lists', () => {
    const word = fc.uint8Array({ max: 255, min: 1, maxLength: 6 }).map((l) => Buffer.from(l));
    fc.assert(
      fc.property(fc.array(word), (list) => {
        const joined = Buffer.concat(list.flatMap((one) => [one, Buffer.from([0])]));
        expect(splitStrings(joined)).toEqual(list);
      }),
    );
    expect(splitStrings(Buffer.from('a\0\0b')).map(String)).toEqual(['a', '', 'b']);
  });
});

describe('absolutePath', () => {
  const part = fc.constantFrom('a', '..', '.', '', 'b.c', '...', '.hidden', '\xff');
  const relative = fc.array(part, { minLength: 1, maxLength: 7 }).map((parts) => parts.join('/'));

  it('is path.posix.resolve, for any bytes', () => {
    fc.assert(
      fc.property(relative, relative, (dir, name) => {
        const got = absolutePath(Buffer.from(`/${dir}`, 'latin1'), Buffer.from(name, 'latin1'));
        expect(got.toString('latin1')).toBe(path.posix.resolve(`/${dir}`, name));
      }),
      { numRuns: 500 },
    );
  });

  it('leaves a path whose directory is not known', () => {
    expect(String(absolutePath(Buffer.alloc(0), Buffer.from('a/../b')))).toBe('a/../b');
  });
});

describe('createKeyPicker', () => {
  const environ = Buffer.from('A=1\0AB=2\0X_A=3\0TEL_ONE=4\0B=\0TEL_TWO=x=y\0A=late\0last=z');
  const pick = (...names: string[]) => splitStrings(createKeyPicker(names)(environ)).map(String);

  it('takes whole names only, at any place, and beginnings', () => {
    expect(pick('A')).toEqual(['A=1', 'A=late']);
    expect(pick('B', 'last')).toEqual(['B=', 'last=z']);
    expect(pick('TEL_*')).toEqual(['TEL_ONE=4', 'TEL_TWO=x=y']);
    expect(pick('_A', 'nope')).toEqual([]);
    expect(pick()).toEqual([]);
  });
});
