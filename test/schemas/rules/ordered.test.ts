/** Whatever order hits come in, what stands at the end is what a run in the true order gives. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readDocuments } from '../../../schemas/rules/document.ts';
import { compileEql } from '../../../schemas/rules/eql/compile.ts';
import { comparePositions, type KeptHit, keepHit } from '../../../schemas/rules/hits.ts';
import {
  type Changes,
  createOrdered,
  type Ordered,
  type Standing,
} from '../../../schemas/rules/ordered.ts';
import { STREAM_LIMITS, type StreamMatcher } from '../../../schemas/rules/rule.ts';
import { createView } from '../../../schemas/rules/values.ts';

const SECOND_NS = 1_000_000_000n;
const LATENESS_NS = 20n * SECOND_NS;
const END_NS = 10_000n * SECOND_NS;

const RULES = {
  sequence:
    "query: 'sequence by host with maxspan=30s [file where true] [network where true] [process where true]'",
  until:
    "query: 'sequence by host [file where true] [network where true] until [process where true]'",
  runs: "query: 'sequence by host with maxspan=60s [file where true] with runs=3 [network where true]'",
  missing: "query: 'sequence by host with maxspan=15s [file where true] ![network where true]'",
  threshold:
    '\n  threshold:\n    where: file where true\n    by: host\n    count: 3\n    timespan: 20s',
} as const;

function matcherOf(rule: string): StreamMatcher {
  const [document] = readDocuments(`title: test\nlevel: low\n${rule.trim()}\n`, 'test.yml');
  if (document === undefined || !document.ok) throw new Error(JSON.stringify(document));
  const { matcher } = compileEql(document.value);
  if (matcher.type !== 'stream') throw new Error('not a rule over a stream');
  return matcher.stream;
}

interface Sample {
  readonly second: number;
  readonly category: 'file' | 'network' | 'process';
  readonly k: string;
  readonly stream: number;
}

const sample = fc.record({
  second: fc.nat(120),
  category: fc.constantFrom('file', 'network', 'process'),
  k: fc.constantFrom('x', 'y'),
  stream: fc.nat(1),
});

/** The hit of each sample; several may have the same time. */
function hitsOf(matcher: StreamMatcher, samples: readonly Sample[]): KeptHit[] {
  return samples.flatMap(({ second, category, k, stream }, seq) => {
    const fields = createView({
      get: (name) => (name === 'host' ? k : name === 'event.category' ? category : undefined),
      names: () => ['host'],
    });
    const source = { product: 'telltale', service: 'eql', category };
    const hits = matcher.inputs.flatMap(({ logsource, matches }, input) =>
      (logsource.category === undefined || logsource.category === source.category) &&
      matches(fields)
        ? [{ input, fields }]
        : [],
    );
    if (hits.length === 0) return [];
    const timeNs = BigInt(second) * SECOND_NS;
    const event = { session: 's', stream: `s${stream}`, seq, timeNs };
    return [keepHit({ ...event, hits }, matcher.fields)];
  });
}

/** What two states can be compared by: the names of events are each state's own. */
const told = ({ key, parts }: Standing): string => JSON.stringify([key, parts[0]?.id]);

/** Applies changes to the set of names that stand. */
function apply(standing: Set<string>, { raised, withdrawn }: Changes): void {
  for (const one of withdrawn) expect(standing.delete(told(one))).toBe(true);
  for (const one of raised) {
    expect(standing.has(told(one))).toBe(false);
    standing.add(told(one));
  }
}

function run(ordered: Ordered, batches: readonly (readonly KeptHit[])[]): Set<string> {
  const standing = new Set<string>();
  // A hit belongs to one state of a rule, and these are given to several.
  const own = ({ session, stream, seq, timeNs, hits }: KeptHit): KeptHit => ({
    ...{ session, stream, seq, timeNs },
    hits: hits.map(({ input, fields }) => ({ input, fields })),
  });
  for (const batch of batches) apply(standing, ordered.add(batch.map(own)));
  apply(standing, ordered.advance(END_NS));
  return standing;
}

/** Puts hits out of order, none later than the lateness allows, and cuts them into batches. */
function delayed(hits: readonly KeptHit[], delays: readonly number[], cuts: readonly number[]) {
  const arriving = hits
    .map((hit, at) => ({
      hit,
      at: hit.timeNs + (BigInt(delays[at % delays.length] as number) * LATENESS_NS) / 100n,
    }))
    .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0))
    .map(({ hit }) => hit);
  const batches: KeptHit[][] = [];
  for (let at = 0, i = 0; at < arriving.length; i++) {
    const size = cuts[i % cuts.length] as number;
    batches.push(arriving.slice(at, at + size));
    at += size;
  }
  return batches;
}

describe.each(Object.entries(RULES))('%s', (_name, rule) => {
  const matcher = matcherOf(rule);
  const fresh = () => createOrdered(matcher, LATENESS_NS, STREAM_LIMITS);

  it('gives the same late as in order', () => {
    fc.assert(
      fc.property(
        fc.array(sample, { maxLength: 60 }),
        fc.array(fc.nat(100), { minLength: 1, maxLength: 20 }),
        fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 5 }),
        (samples, delays, cuts) => {
          const hits = hitsOf(matcher, samples);
          const sorted = [...hits].sort(comparePositions);
          const expected = run(fresh(), [sorted]);
          expect([...run(fresh(), delayed(sorted, delays, cuts))].sort()).toEqual(
            [...expected].sort(),
          );
        },
      ),
      { numRuns: 300 },
    );
  });

  it('matches something at all', () => {
    const samples: Sample[] = Array.from({ length: 63 }, (_, i) => ({
      second: i * 2,
      category: (['file', 'file', 'file', 'network', 'process'] as const)[i % 5] as 'file',
      k: 'x',
      stream: 0,
    }));
    expect(run(fresh(), [hitsOf(matcher, samples)]).size).toBeGreaterThan(0);
  });
});

describe('a late hit', () => {
  it('withdraws what does not hold in the true order, and keeps no more than the lateness', () => {
    const matcher = matcherOf(RULES.until);
    const ordered = createOrdered(matcher, LATENESS_NS, STREAM_LIMITS);
    const at = (second: number, category: Sample['category']): Sample => ({
      second,
      category,
      k: 'x',
      stream: 0,
    });
    const hits = hitsOf(matcher, [
      at(1, 'file'),
      at(5, 'process'),
      at(9, 'network'),
      at(100, 'file'),
    ]);
    const [a, c, b, later] = hits as [KeptHit, KeptHit, KeptHit, KeptHit];
    expect(ordered.add([a, b]).raised).toHaveLength(1);
    const changes = ordered.add([c]);
    expect(changes.raised).toEqual([]);
    expect(changes.withdrawn.map(({ parts }) => parts.map(({ id }) => id))).toEqual([
      ['s0-0', 's0-2'],
    ]);
    ordered.add([later]);
    expect(ordered.size).toBe(1);
  });
});
