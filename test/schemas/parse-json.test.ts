import { randomInt } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decode, encode, parseJson, type TelltaleEvent } from '#schemas';
import { sampleEvents } from './arbitraries.ts';

/** Characters of which keys are made that V8 may take for one another. */
const key = fc.string({
  unit: fc.constantFrom('\\', 'N', 'n', '"', 'a', ':', ' ', '\u0001', '\n', 'é', '😀', '\u2028'),
  maxLength: 4,
});
const text = fc.oneof(
  fc.json(),
  fc.json().map((json) => JSON.stringify(JSON.parse(json), null, 2)),
  fc.jsonValue().map((value) => JSON.stringify({ a: value, '\\': 1 })),
);

/** The text of an object, whose keys are never handed to the parser as keys of an object. */
const objectText = (entries: readonly (readonly [string, string])[]) =>
  `{${entries.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`;

describe('parseJson', () => {
  it('reads each key as it is written, whatever came before', () => {
    const pairs = fc.uniqueArray(fc.tuple(key, fc.string({ maxLength: 3 })), {
      selector: ([name]) => name,
      maxLength: 4,
    });
    fc.assert(
      fc.property(pairs, (entries) => {
        const found = parseJson(`{"attrs":${objectText(entries)},"b":["\\\\"]}`) as {
          attrs: Record<string, string>;
        };
        // Numbers in keys would be sorted; there are none.
        expect(Object.entries(found.attrs)).toEqual(entries);
      }),
      { numRuns: 5_000 },
    );
  });

  it('is not led astray by the texts of nodejs/node#63785', () => {
    const keysOf = (json: string) => Object.keys(parseJson(json) as object);
    expect(keysOf('{"\\\\\\\\":""}')).toEqual(['\\\\']);
    expect(keysOf('{"\\\\N":""}')).toEqual(['\\N']);
    expect(keysOf('{"h":[],"\\\\":0}')).toEqual(['h', '\\']);
    expect(keysOf('{"h":1,"\\"":2}')).toEqual(['h', '"']);
    expect(keysOf('{"h":1,"\\n":2}')).toEqual(['h', '\n']);
  });

  it('is JSON.parse for all else', () => {
    const read = (parse: (json: string) => unknown, json: string) => {
      try {
        return JSON.stringify(parse(json));
      } catch (error) {
        return (error as Error).name;
      }
    };
    const other = fc.string({ unit: fc.constantFrom(...'{}[]":,\\ntrue1 ') });
    // Keys with escapes are for the tests above: JSON.parse is no reference for them.
    const plain = fc.oneof(text, other).filter((json) => !/\\.*"\s*:/s.test(json));
    fc.assert(
      fc.property(plain, (json) => {
        expect(read(parseJson, json)).toBe(read(JSON.parse, json));
      }),
      { numRuns: 5_000 },
    );
    expect(JSON.stringify(parseJson('{"\\u005f_proto__":{"x":1},"\\n" : 1,"\\n":2}'))).toBe(
      '{"__proto__":{"x":1},"\\n":2}',
    );
  });

  it('keeps an event whose attributes were made to look like another’s', () => {
    const [event] = sampleEvents().filter(({ attrs }) => attrs !== undefined) as [TelltaleEvent];
    const name = String.fromCharCode(0x61 + randomInt(26));
    for (const hostile of ['\\\\', `\\${name}`, '\\', '"', '\n']) {
      const one = { ...event, attrs: { [hostile]: 'x' } } as TelltaleEvent;
      const found = decode(encode(one).toString());
      expect(found).toEqual({ ok: true, event: one });
    }
  });
});
