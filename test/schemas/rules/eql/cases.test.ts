/**
 * 400 generated queries over ten generated streams; what they find was worked out by the original
 * EQL engine (eql 1.0.0 with Elasticsearch's syntax).
 */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { compile, find, hitsOf, type PlainEvent, ruleEvent } from './run.ts';

interface Cases {
  readonly streams: Readonly<Record<string, readonly PlainEvent[]>>;
  readonly cases: readonly {
    readonly id: string;
    readonly stream: string;
    readonly query: string;
    readonly expected: readonly (readonly number[])[];
  }[];
}

const ROOT = path.resolve(import.meta.dirname, '../../../..');
const read = (file: string) => JSON.parse(fs.readFileSync(file, 'utf8')) as Cases;
const { streams, cases } = read(path.join(ROOT, 'test/fixtures/eql/cases.json'));
const SHARED = path.resolve(ROOT, '../shared/detection/sequences/eql_cases.json');

describe('the cases of the original engine', () => {
  it('are 400, and enough of them find something', () => {
    expect(cases).toHaveLength(400);
    expect(cases.filter((one) => one.expected.length > 0).length).toBeGreaterThan(100);
  });

  it.skipIf(!fs.existsSync(SHARED))('are those that they were copied from', () => {
    const shared = read(SHARED);
    expect({ streams, cases }).toEqual({ streams: shared.streams, cases: shared.cases });
  });

  it.each(cases)('$id', ({ stream, query, expected }) => {
    expect(find(query, streams[stream] ?? [])).toEqual(expected);
  });

  it('hold an anchor wherever a test with anchors holds', () => {
    let checked = 0;
    for (const { stream, query } of cases) {
      const matcher = compile(query);
      const tests = matcher.type === 'event' ? [matcher.test] : matcher.stream.inputs;
      for (const event of (streams[stream] ?? []).map(ruleEvent)) {
        for (const { input, fields } of hitsOf(matcher, event)) {
          const anchors = tests[input]?.anchors;
          if (anchors === undefined) continue;
          checked += 1;
          const held = anchors.some(({ field, how, text }) =>
            fields.folded(field).some((value) => {
              if (how === 'equals') return value === text;
              if (how === 'contains') return value.includes(text);
              return how === 'startswith' ? value.startsWith(text) : value.endsWith(text);
            }),
          );
          expect(held, query).toBe(true);
        }
      }
    }
    expect(checked).toBeGreaterThan(1000);
  });
});
