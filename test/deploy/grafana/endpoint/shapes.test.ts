/** What is taken as one of our statements, and what is run for it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  recognise,
  SHAPES,
  type Shape,
  valuesIn,
} from '../../../../deploy/grafana/endpoint/shapes.ts';
import { cut, expand, type Picks } from '../../../../deploy/grafana/macros.ts';
import { SEEDED } from '../store.ts';

const named: [string, Shape][] = SHAPES.map((shape) => [
  `${shape.dashboard ?? ''} ${shape.of}`,
  shape,
]);
const seconds = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const range = fc.record({
  fromSeconds: seconds,
  toSeconds: seconds,
  intervalSeconds: fc.integer({ min: 1, max: 10_000_000 }),
});
const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.constantFrom("x') OR 1=1 -- ", "x\\') OR 1=1 -- ", 'x\\', '%27', "'", '{a,b}', '$__interval'),
);
const picks = fc.dictionary(
  fc.constantFrom('tenant', 'agent', 'host', 'session'),
  fc.oneof(text, fc.array(text, { maxLength: 3 })),
) as fc.Arbitrary<Picks>;

describe.each(named)('%s', (_, shape) => {
  it('is recognised whatever is looked at and picked, and nothing of it gets into the text', () => {
    const texts = new Set<string>();
    fc.assert(
      fc.property(range, picks, (looked, picked) => {
        const found = recognise(expand(shape.sql, looked, picked));
        expect(found?.shape.sql).toBe(shape.sql);
        texts.add(found?.text as string);
        for (const value of Object.values(found?.params ?? {}))
          expect(String(value)).toMatch(/^[A-Za-z0-9._~%-]*$/);
      }),
      { numRuns: 20 },
    );
    expect(texts.size).toBe(1);
  });
});

describe('what is not ours', () => {
  const sql = expand(SHAPES[0]?.sql as string, SEEDED);
  const INJECTED = ["'", '(', ';', '--', '/*', ' ', 'OR 1=1', '0', 'x', '\0', '$$', '%', '\\'];

  it('is any text that differs in one place from one of ours', () => {
    expect(recognise(sql)).toBeDefined();
    fc.assert(
      fc.property(
        fc.nat(SHAPES.length - 1),
        fc.nat(),
        fc.constantFrom(...INJECTED),
        fc.boolean(),
        (which, where, put, over) => {
          const shape = SHAPES[which] as Shape;
          const whole = expand(shape.sql, SEEDED);
          const at = where % (whole.length + 1);
          const text = whole.slice(0, at) + put + whole.slice(over ? at + put.length : at);
          const found = recognise(text);
          // What is taken all the same is the very text that Grafana makes of the values in it.
          if (found === undefined) return;
          const { holes, constants } = cut(found.shape.sql);
          const again = constants.map((constant, i) => {
            const hole = holes[i];
            if (hole === undefined) return constant;
            const value = found.params[hole.kind === 'number' ? hole.name : `picked_${hole.name}`];
            return `${constant}${hole.kind === 'number' ? value : `'${value}'`}`;
          });
          expect(again.join('')).toBe(text);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('is one that holds two values where ours has one', () => {
    const { constants, holes } = cut('SELECT 1 WHERE $__timeFilter(ts) AND $__timeFilter(ts)');
    expect(holes.length).toBe(4);
    const of = (...numbers: readonly string[]) =>
      constants.map((constant, i) => constant + (numbers[i] ?? '')).join('');
    const taken = (...numbers: readonly string[]) =>
      valuesIn({ constants, holes }, of(...numbers)) !== undefined;
    expect(taken('1', '2', '1', '2')).toBe(true);
    for (const wrong of [
      '3',
      '01',
      '-1',
      '1.5',
      '4294967296',
      '99999999999',
      '0x1',
      '',
      ' 1',
      '1e3',
    ])
      expect(taken(wrong, '2', wrong, '2')).toBe(wrong === '3');
    expect(taken('1', '2', '3', '2')).toBe(false);
  });
});
