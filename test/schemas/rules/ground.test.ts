/** The ground of both languages: networks, expressions, literals, located documents. */
import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileCidr } from '../../../schemas/rules/cidr.ts';
import { readDocuments } from '../../../schemas/rules/document.ts';
import { createBackward, createForward, createLiterals } from '../../../schemas/rules/literals.ts';
import { compileRegex } from '../../../schemas/rules/regex.ts';
import { fold, numberOf } from '../../../schemas/rules/values.ts';

describe('networks', () => {
  const contains = (network: string, address: string) => {
    const cidr = compileCidr(network);
    if (!cidr.ok) throw new Error(cidr.reason);
    return cidr.contains(address);
  };
  it.each([
    ['10.0.0.0/8', '10.255.0.1', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['10.0.0.0/8', '::ffff:10.0.0.1', true],
    ['::ffff:10.0.0.0/104', '10.1.2.3', true],
    ['192.0.2.128/25', '192.0.2.127', false],
    ['192.0.2.7', '192.0.2.7', true],
    ['0.0.0.0/0', '1.2.3.4', true],
    ['0.0.0.0/0', '::1', false],
    ['::/0', '2001:db8::1', true],
    ['fe80::/10', 'febf::1%eth0', true],
    ['fe80::/10', 'fec0::1', false],
    ['2001:db8::/32', '2001:db8:1:2:3:4:5:6', true],
    ['10.0.0.0/8', '10.0.0', false],
    ['10.0.0.0/8', '', false],
  ])('%s has %s: %s', (network, address, expected) => {
    expect(contains(network, address)).toBe(expected);
  });

  it.each([
    '10.0.0.1/8',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    'x/8',
    '',
    '::1/0',
  ])('%s is none', (network) => {
    expect(compileCidr(network).ok).toBe(false);
  });

  it('hold exactly the addresses with their first bits', () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.ipV4(), fc.integer({ min: 0, max: 32 }), (a, b, bits) => {
        const number = (ip: string) => ip.split('.').reduce((n, byte) => n * 256 + Number(byte), 0);
        const size = 2 ** (32 - bits);
        const base = Math.floor(number(a) / size) * size;
        const text = [24, 16, 8, 0].map((shift) => Math.floor(base / 2 ** shift) % 256).join('.');
        expect(contains(`${text}/${bits}`, b)).toBe(Math.floor(number(b) / size) * size === base);
        expect(contains(`${text}/${bits}`, a)).toBe(true);
      }),
    );
  });

  it('take any address that Node takes', () => {
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        expect(isIP(address)).toBe(6);
        expect(contains(address, address)).toBe(true);
      }),
    );
  });
});

describe('expressions', () => {
  it('take flags', () => {
    const test = (source: string, text: string, flags = {}) => {
      const regex = compileRegex(source, flags);
      if (!regex.ok) throw new Error(regex.reason);
      return regex.pattern.test(text);
    };
    expect(test('B', 'abc')).toBe(false);
    expect(test('B', 'abc', { ignoreCase: true })).toBe(true);
    expect(test('^b$', 'a\nb', { multiline: true })).toBe(true);
    expect(test('a.b', 'a\nb', { dotAll: true })).toBe(true);
  });

  it('never throw, whatever the pattern', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), fc.string(), (source, text) => {
        const regex = compileRegex(source);
        if (regex.ok) expect(typeof regex.pattern.test(text)).toBe('boolean');
        else expect(regex.reason).not.toBe('');
      }),
      { numRuns: 500 },
    );
  });
});

describe('literals', () => {
  const letters = fc.constantFrom('a', 'b', 'ä', '😀');
  const text = (maxLength: number) =>
    fc.array(letters, { maxLength }).map((units) => units.join(''));

  it.each([
    ['begins', createForward, (where: string, one: string) => where.startsWith(one)],
    ['ends', createBackward, (where: string, one: string) => where.endsWith(one)],
  ] as const)('are found that a text %s with, or is', (_how, create, stands) => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(text(4), fc.boolean()), { minLength: 1, maxLength: 8 }),
        text(6),
        (literals, where) => {
          const found: number[] = [];
          const endings = literals.map(([one, whole], id) => ({ text: one, id, whole }));
          create(endings)(where, (ids) => found.push(...ids));
          const expected = literals.flatMap(([one, whole], id) =>
            (whole ? where === one : stands(where, one)) ? [id] : [],
          );
          expect(found.sort((a, b) => a - b)).toEqual(expected);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('are found where they stand and nowhere else', () => {
    fc.assert(
      fc.property(
        fc.array(
          text(4).filter((one) => one !== ''),
          { minLength: 1, maxLength: 8 },
        ),
        text(30),
        (literals, where) => {
          const found = new Set<number>();
          createLiterals(literals.map((one, id) => [one, id]))(where, (ids) => {
            for (const id of ids) found.add(id);
          });
          const expected = literals.flatMap((one, id) => (where.includes(one) ? [id] : []));
          expect([...found].sort((a, b) => a - b)).toEqual(expected);
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('folding', () => {
  it('keeps a part of a text a part of it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }), (a, b) => {
        expect(fold(a + b)).toContain(fold(a));
        expect(fold(a + b)).toContain(fold(b));
      }),
    );
    expect(fold('ΣΑΣ')).toBe('σασ');
  });

  it('knows numbers as telemetry writes them', () => {
    expect([' 5', '0x10', '1e3', '-2.5', 7].map(numberOf)).toEqual([5, 16, 1000, -2.5, 7]);
    expect(['', ' ', 'x', '5s', true, null].map(numberOf)).toEqual(Array(6).fill(undefined));
  });
});

describe('documents', () => {
  it('know the place of each value, and how a number was written', () => {
    const [document] = readDocuments('a: 0755\nb:\n  - x\n  - "y"\n', 'f.yml');
    if (!document?.ok) throw new Error('refused');
    const [a, b] = document.value.entries;
    expect(a?.value).toMatchObject({ value: 755, source: '0755', place: { line: 1, column: 4 } });
    const items = b?.value.type === 'list' ? b.value.items : [];
    expect(items.map(({ place }) => [place.line, place.column])).toEqual([
      [3, 5],
      [4, 5],
    ]);
  });

  it('follow aliases, and refuse what rules do not have', () => {
    const reason = (text: string) => {
      const [document] = readDocuments(text, 'f.yml');
      return document?.ok === false ? document.fault.reason : document?.ok;
    };
    expect(reason('a: &x [1]\nb: *x\n')).toBe(true);
    expect(reason('a: *x\n')).toMatch(/no anchor/);
    expect(reason('a: 1\na: 2\n')).toMatch(/twice/);
    expect(reason('? [a]\n: b\n')).toMatch(/plain word/);
    expect(reason('- a\n')).toMatch(/map of keys/);
    expect(reason('a: !!binary aGk=\n')).toMatch(/kind that rules/);
    expect(readDocuments('---\n---\n', 'f.yml')).toEqual([]);
  });
});
