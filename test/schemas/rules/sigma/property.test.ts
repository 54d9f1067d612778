/** What holds of any rule file and of any detection. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRuleSet, type EventMatcher, type FieldValue, loadRules, recordView } from '#schemas';
import { event, type Fields, good, ruleOf } from '../rules.ts';

/** Pieces of rule files, put together in any way. */
const yamlPieces = fc.constantFrom(
  ...['title: x\n', 'logsource:\n', '  category: t\n', 'detection:\n', '  s:\n', '    f: 1\n'],
  ...[
    '    f|re: "("\n',
    '    - a\n',
    '  condition: s\n',
    '  condition: 1 of *\n',
    '---\n',
    '...\n',
  ],
  ...['correlation:\n', '  type: event_count\n', '  rules: [x]\n', '  timespan: 1m\n', 'filter:\n'],
  ...['&a ', '*a ', '[', ']', '{', '}', '!!set ', '? ', '- ', ': ', '"', "'", '|\n', '>\n', '\t'],
  ...[
    'query: process where true\n',
    'language: eql\n',
    '#',
    '%',
    '\u0000',
    'ä',
    '\ud800',
    '<<: *a\n',
  ],
);
const yaml = fc.oneof(
  fc.array(yamlPieces, { maxLength: 30 }).map((pieces) => pieces.join('')),
  fc.string({ maxLength: 200 }),
);
const json = fc.jsonValue({ maxDepth: 4 });
/** Documents that have the right keys and anything below them. */
const shaped = fc
  .record(
    {
      title: fc.oneof(fc.constant('t'), json),
      id: json,
      logsource: fc.oneof(fc.constant({ category: 't' }), json),
      detection: fc.dictionary(fc.constantFrom('s', 'condition', 'f|re', 'timeframe'), json),
      correlation: json,
      filter: json,
      level: json,
      tags: json,
    },
    { requiredKeys: ['title', 'logsource'] },
  )
  .map((document) => JSON.stringify(document));

describe('the loader', () => {
  it('never throws, and names a place for what it refuses', () => {
    fc.assert(
      fc.property(fc.oneof(yaml, shaped), (text) => {
        const { faults } = loadRules([{ file: 'any.yml', text }]);
        for (const { file, line, column, reason } of faults) {
          expect(file).toBe('any.yml');
          expect(line).toBeGreaterThan(0);
          expect(column).toBeGreaterThan(0);
          expect(reason).not.toBe('');
        }
      }),
      { numRuns: 600 },
    );
  });
});

// A second, slow and plain matcher, written from the specification's text.

type Parts = readonly (string | { readonly wild: '*' | '?' })[];

function partsOf(source: string): Parts {
  const parts: (string | { wild: '*' | '?' })[] = [];
  for (let rest = source; rest !== ''; ) {
    const escaped = /^\\([\\*?])/.exec(rest);
    if (escaped !== null) parts.push(escaped[1] as string);
    else if (/^[*?]/.test(rest)) parts.push({ wild: rest[0] as '*' | '?' });
    else parts.push(String.fromCodePoint(rest.codePointAt(0) as number));
    rest = rest.slice(escaped === null ? (parts.at(-1) as string).length || 1 : 2);
  }
  return parts;
}

function slowMatch(parts: Parts, text: readonly string[]): boolean {
  const [first, ...rest] = parts;
  if (first === undefined) return text.length === 0;
  if (typeof first === 'object' && first.wild === '*')
    return slowMatch(rest, text) || (text.length > 0 && slowMatch(parts, text.slice(1)));
  if (text.length === 0) return false;
  const same = typeof first === 'object' || first.toLowerCase() === text[0]?.toLowerCase();
  return same && slowMatch(rest, text.slice(1));
}

const WILD = { wild: '*' } as const;
type Modifier = '' | '|contains' | '|startswith' | '|endswith';
interface Item {
  readonly field: string;
  readonly modifier: Modifier;
  readonly all: boolean;
  readonly values: readonly string[];
}

function slowItem({ field, modifier, all, values }: Item, fields: Fields): boolean {
  const texts = fields[field] === undefined ? [] : [fields[field]].flat();
  const one = (value: string) => {
    const front = modifier === '|contains' || modifier === '|endswith' ? [WILD] : [];
    const back = modifier === '|contains' || modifier === '|startswith' ? [WILD] : [];
    const parts = [...front, ...partsOf(value), ...back];
    return texts.some((text) => text !== null && slowMatch(parts, [...String(text)]));
  };
  return all ? values.every(one) : values.some(one);
}

const letters = fc.constantFrom('a', 'B', 'b', '\\', '*', '?', '/', 'ä', '😀', '1');
const value = fc.array(letters, { maxLength: 5 }).map((parts) => parts.join(''));
const item: fc.Arbitrary<Item> = fc.record({
  // By `type` a rule set has selections of its own.
  field: fc.constantFrom('f', 'type'),
  modifier: fc.constantFrom<Modifier>('', '|contains', '|startswith', '|endswith'),
  all: fc.boolean(),
  values: fc.array(value, { minLength: 1, maxLength: 3 }),
});
const fieldValue: fc.Arbitrary<FieldValue> = fc.oneof(
  fc
    .array(fc.constantFrom('a', 'A', 'b', '\\', '*', '/', 'Ä', '😀', '1'), { maxLength: 7 })
    .map((l) => l.join('')),
  fc.constantFrom<FieldValue>(null, 1, true, '', ['a', 'b/']),
);
const fields = fc.dictionary(fc.constantFrom('f', 'type', 'h'), fieldValue) as fc.Arbitrary<Fields>;
const FORMS: readonly [string, (a: boolean, b: boolean) => boolean][] = [
  ['x and y', (a, b) => a && b],
  ['x or not y', (a, b) => a || !b],
  ['not (x or y)', (a, b) => !(a || b)],
  ['1 of x* or y', (a, b) => a || b],
  ['all of them', (a, b) => a && b],
];

const keyOf = ({ field, modifier, all }: Item) => `${field}${modifier}${all ? '|all' : ''}`;
const entry = (one: Item) => ({ [keyOf(one)]: one.values });

describe('a detection', () => {
  it('decides as the slow matcher does, through the index and without', () => {
    fc.assert(
      fc.property(
        fc.tuple(item, item),
        fc.constantFrom(...FORMS),
        fc.array(fields, { minLength: 1, maxLength: 8 }),
        ([x, y], [condition, decide], events) => {
          const rules = good(ruleOf({ x: entry(x), y: entry(y), condition }));
          const set = createRuleSet(rules);
          const test = (rules[0]?.matcher as { test: EventMatcher } | undefined)?.test;
          expect(test?.fields?.toSorted()).toEqual([...new Set([x.field, y.field])].sort());
          for (const one of events) {
            const expected = decide(slowItem(x, one), slowItem(y, one));
            expect(set.evaluate(event(one)).matched.length > 0).toBe(expected);
            expect(test?.matches(recordView(one))).toBe(expected);
          }
        },
      ),
      { numRuns: 400 },
    );
  });

  it('decides among many as it does alone', () => {
    fc.assert(
      fc.property(
        fc.array(item, { minLength: 2, maxLength: 12 }),
        fc.array(fields, { minLength: 1, maxLength: 6 }),
        (items, events) => {
          const texts = items.map((one) => ruleOf({ x: entry(one), condition: 'x' }));
          const all = createRuleSet(good(texts.join('\n---\n')));
          const alone = texts.map((text) => createRuleSet(good(text)));
          for (const one of events) {
            const expected = alone.map((set) => set.evaluate(event(one)).matched.length);
            const matched = new Set(all.evaluate(event(one)).matched);
            expect(all.rules.map((rule) => (matched.has(rule) ? 1 : 0))).toEqual(expected);
          }
        },
      ),
      { numRuns: 150 },
    );
  });
});
