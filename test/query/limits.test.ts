/** What a request may ask for, counted before anything is read. */
import { parse, validate } from 'graphql';
import { describe, expect, it } from 'vitest';
import type { QueryError } from '../../query/errors.ts';
import { ALIASES_MAX, COST_MAX, examine } from '../../query/graphql/limits.ts';
import { schema } from '../../query/graphql/schema.ts';

function costOf(query: string, variables: object = {}): number {
  const document = parse(query);
  expect(validate(schema, document)).toEqual([]);
  return examine(schema, document, variables as Record<string, unknown>).cost;
}

function codeOf(query: string, variables: object = {}): string | undefined {
  try {
    costOf(query, variables);
    return undefined;
  } catch (error) {
    return (error as QueryError).code;
  }
}

const timeline = (first: string, fields: string) =>
  `query ${first === '$n' ? '($n: Int)' : ''} { session(id: "latest") { timeline(first: ${first}) { nodes { ${fields} } } } }`;

describe('cost', () => {
  it('counts page sizes alike inline and in variables, clamped', () => {
    const inline = costOf(timeline('1000', 'id kind'));
    expect(inline).toBeGreaterThan(2000);
    expect(costOf(timeline('$n', 'id kind'), { n: 1000 })).toBe(inline);
    expect(costOf(timeline('$n', 'id kind'), { n: 2_000_000_000 })).toBe(inline);
    expect(costOf(timeline('$n', 'id kind'), { n: 10 })).toBeLessThan(inline / 50);
    expect(costOf(timeline('$n', 'id kind'))).toBe(costOf(timeline('100', 'id kind')));
  });

  it('allows a full page of every field of every kind, once', () => {
    const types = schema.getPossibleTypes(schema.getType('Event') as never);
    const all = types
      .map((type) => {
        const fields = Object.values(type.getFields()).map(({ name, type: of }) =>
          String(of).includes('Entry')
            ? `${name} { name value }`
            : String(of).includes('DeadLetter')
              ? `${name} { seq reason field detail }`
              : String(of).includes('Annotation')
                ? `${name} { id note }`
                : name,
        );
        return `... on ${type.name} { ${fields.join(' ')} }`;
      })
      .join(' ');
    // Kinds that have one name for different types would need aliases; so each kind alone.
    const cost = Math.max(
      ...all
        .split('... on ')
        .slice(1)
        .map((part) => costOf(timeline('1000', `... on ${part}`))),
    );
    expect(cost).toBeGreaterThan(20_000);
    expect(cost).toBeLessThan(COST_MAX);
    expect(
      codeOf(
        `query ($n: Int) { sessions(first: 10) { nodes { timeline(first: $n) { nodes { id kind ts summary } } } } }`,
        { n: 1000 },
      ),
    ).toBeUndefined();
    expect(
      codeOf(
        `query ($n: Int) { sessions(first: $n) { nodes { timeline(first: $n) { nodes { id } } } } }`,
        { n: 1000 },
      ),
    ).toBe('REQUEST_TOO_LARGE');
  });

  it('counts fragments as if written out', () => {
    const plain = costOf('{ sessions(first: 50) { nodes { id agent } } }');
    const spread = costOf(
      '{ sessions(first: 50) { ...P } } fragment P on SessionConnection { nodes { ...S } } fragment S on Session { id agent }',
    );
    expect(spread).toBe(plain);
  });

  it('stops counting fragments that double each other', () => {
    const levels = Array.from(
      { length: 40 },
      (_, i) => `fragment F${i} on Session { ...F${i + 1} ...F${i + 1} }`,
    );
    const query = `{ session(id: "latest") { ...F0 } } ${levels.join(' ')} fragment F40 on Session { id }`;
    expect(codeOf(query)).toBe('REQUEST_TOO_LARGE');
  });

  it('counts reading whole sessions many times', () => {
    const many = '{ sessions(first: 200) { nodes { findings { kind } } } }';
    expect(codeOf(many)).toBe('REQUEST_TOO_LARGE');
    expect(codeOf(many.replace('200', '10'))).toBeUndefined();
  });
});

describe('shape', () => {
  it('limits aliases, also in fragments', () => {
    const aliases = (count: number) =>
      Array.from({ length: count }, (_, i) => `a${i}: id`).join(' ');
    const query = (count: number) =>
      `{ session(id: "latest") { ...F } } fragment F on Session { ${aliases(count)} }`;
    expect(codeOf(query(ALIASES_MAX))).toBeUndefined();
    expect(codeOf(query(ALIASES_MAX + 1))).toBe('REQUEST_TOO_LARGE');
  });

  it('allows the introspection that tools send', async () => {
    const { getIntrospectionQuery } = await import('graphql');
    expect(codeOf(getIntrospectionQuery())).toBeUndefined();
  });

  it('takes one operation a document', () => {
    const two = 'query A { sessions { nodes { id } } } query B { sessions { nodes { host } } }';
    expect(codeOf(two)).toBe('BAD_USER_INPUT');
  });
});
