import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JSON_DEPTH_MAX, jsonIn, jsonShape, readJson } from '../../collector/json.ts';
import { atPaths } from '../../collector/redact/configured.ts';

/** What a text has, counted in its value: only where no member is written twice. */
function shapeOf(value: unknown): { depth: number; members: number } {
  if (typeof value !== 'object' || value === null) return { depth: 0, members: 0 };
  const inner = Object.values(value).map(shapeOf);
  return {
    depth: 1 + Math.max(0, ...inner.map(({ depth }) => depth)),
    members: inner.reduce(
      (sum, { members }) => sum + members,
      Array.isArray(value) ? 0 : Object.keys(value).length,
    ),
  };
}

describe('JSON of others', () => {
  it('is read as it is written, whatever stands in its texts', () => {
    const key = fc.constantFrom('a', '"', '\\', '\\"', '[{:', '__proto__', 'constructor', '\n');
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 6 },
        fc.oneof(key, fc.string(), fc.integer(), fc.constant(null)),
        fc.array(tie('tree'), { maxLength: 4 }),
        fc.dictionary(key, tie('tree'), { maxKeys: 4 }),
      ),
    }));
    fc.assert(
      fc.property(tree, fc.constantFrom(0, 2), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        expect(JSON.stringify(readJson(text), null, indent)).toBe(text);
        expect(jsonShape(text)).toEqual(shapeOf(readJson(text)));
      }),
    );
  });

  it('sets no prototype', () => {
    const value = readJson('{"__proto__":{"admin":true}}') as { admin?: boolean };
    expect(value.admin).toBeUndefined();
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  });

  it('is refused where it is nested without end, in time', () => {
    const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
    expect(() => readJson(nested(JSON_DEPTH_MAX))).not.toThrow();
    for (const open of ['[', '{"a":', '{"\\u0061":'])
      expect(() => readJson(open.repeat(1_000_000))).toThrow(SyntaxError);
    expect(() => readJson(nested(JSON_DEPTH_MAX + 1))).toThrow(/1001 deep/);
  });

  it.each(['', '{', '"', '"\\', '{"a":1}x', 'undefined', undefined, null, 7, {}])(
    'is nothing in %j',
    (text) => expect(jsonIn(text)).toBeUndefined(),
  );
});

describe('a secret at a configured place', () => {
  const whole = (text: string) => [{ rule: 'path', start: 0, end: text.length }];
  it.each([
    '{"pin":"first","pin":"last"}',
    '{"a":{"pin":"x"},"a":1}',
    `{"a":${'['.repeat(100)}{"pin":"x"}${']'.repeat(100)}}`,
  ])('is found, or all is secret: %s', (text) => {
    expect(atPaths(text, ['**.pin'])).toEqual(whole(text));
  });

  it('alone is one where a text says no more of it', () => {
    const text = '{"pin":"first","b":["pin:x"]}';
    expect(atPaths(text, ['pin'])).toEqual([{ rule: 'path', start: 8, end: 13 }]);
  });
});
