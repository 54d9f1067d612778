/** Sequences over random events: the state machine against the reference, and against itself. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { END_OF_TIME_NS } from '../../../../schemas/rules/eql/pipes.ts';
import type { Firing, Matcher } from '../../../../schemas/rules/rule.ts';
import { findAll, type Seen } from './reference.ts';
import { compile, hitsOf, open, type PlainEvent, ruleEvent, runAll } from './run.ts';

interface StepSpec {
  readonly category: string;
  readonly flag: boolean | undefined;
  readonly missing: boolean;
  readonly runs: number;
}
interface Spec {
  readonly steps: readonly StepSpec[];
  readonly until: string | undefined;
  readonly by: boolean;
  readonly span: number | undefined;
}

const category = fc.constantFrom('a', 'b', 'c');
const stepSpec = fc.record({
  category: fc.oneof(category, category, category, fc.constant('any')),
  flag: fc.option(fc.boolean(), { nil: undefined, freq: 1 }),
  missing: fc.oneof(fc.constant(false), fc.constant(false), fc.boolean()),
  runs: fc.constantFrom(1, 1, 1, 2),
});
const spec: fc.Arbitrary<Spec> = fc
  .record({
    steps: fc.array(stepSpec, { minLength: 2, maxLength: 4 }),
    until: fc.option(category, { nil: undefined, freq: 3 }),
    by: fc.boolean(),
    span: fc.option(fc.integer({ min: 1, max: 12 }), { nil: undefined }),
  })
  .filter(({ steps }) => steps.some(({ missing }) => !missing))
  .map((one) => ({
    ...one,
    span: one.steps.some(({ missing }) => missing) ? (one.span ?? 5) : one.span,
  }));

const events = fc
  .array(
    fc.record({
      event_type: category,
      gap: fc.constantFrom(0, 0, 1, 1, 1, 2),
      key: fc.constantFrom('x', 'y'),
      flag: fc.boolean(),
    }),
    { minLength: 10, maxLength: 30, size: 'max' },
  )
  .map((list) => {
    let timestamp = 1_764_000_000_000;
    return list.map(({ gap, ...event }, index): PlainEvent => {
      timestamp += gap;
      return { ...event, serial_event_id: index + 1, timestamp };
    });
  });

const condition = ({ flag }: StepSpec) => (flag === undefined ? 'true' : `flag == ${flag}`);

function queryOf({ steps, until, by, span }: Spec): string {
  const head = `sequence${by ? ' by key' : ''}${span === undefined ? '' : ` with maxspan=${span}ms`}`;
  const lines = steps.map((step) => {
    const runs = step.runs > 1 ? ` with runs=${step.runs}` : '';
    return `${step.missing ? '!' : ''}[${step.category} where ${condition(step)}]${runs}`;
  });
  return `${head} ${lines.join(' ')}${until === undefined ? '' : ` until [${until} where true]`}`;
}

/** What each event matches, worked out without the compiler. */
function seenBy({ steps, until, by }: Spec, list: readonly PlainEvent[]): Seen[] {
  const stages = steps.flatMap((step) => Array<StepSpec>(step.runs).fill(step));
  return list.map((event) => {
    const key = by ? String(event.key) : '';
    const fits = (step: StepSpec) =>
      (step.category === 'any' || step.category === event.event_type) &&
      (step.flag === undefined || step.flag === event.flag);
    return {
      id: String(event.serial_event_id),
      timeNs: BigInt(event.timestamp) * 1_000_000n,
      keys: stages.map((step) => (fits(step) ? key : undefined)),
      until: until === event.event_type ? key : undefined,
    };
  });
}

const isValid = ({ steps }: Spec) => steps.reduce((sum, { runs }) => sum + runs, 0) >= 2;
const ids = (firings: readonly Firing[]) => firings.map((one) => one.events);
const sorted = (lists: readonly (readonly string[])[]) => lists.map((list) => list.join()).sort();

/** Feeds one event after the other, and between them whatever `pause` does with the state. */
function feedAll(
  matcher: Matcher,
  list: readonly PlainEvent[],
  pause: (state: ReturnType<typeof open>, at: number, timeNs: bigint) => ReturnType<typeof open>,
): Firing[] {
  let state = open(matcher);
  const out: Firing[] = [];
  list.map(ruleEvent).forEach((event, at) => {
    out.push(...state.feed(event, hitsOf(matcher, event)));
    state = pause(state, at, event.timeNs);
  });
  return [...out, ...state.advance(END_OF_TIME_NS)];
}

describe('a sequence over random events', () => {
  it('finds what the reference finds', () => {
    let found = 0;
    const property = fc.property(spec.filter(isValid), events, (one, list) => {
      const stages = one.steps.flatMap((step) => Array<boolean>(step.runs).fill(step.missing));
      const spanNs = one.span === undefined ? undefined : BigInt(one.span) * 1_000_000n;
      const wanted = findAll({ missing: stages, spanNs }, seenBy(one, list));
      found += wanted.length;
      const query = queryOf(one);
      expect(sorted(ids(runAll(compile(query), list.map(ruleEvent)))), query).toEqual(
        sorted(wanted),
      );
    });
    fc.assert(property, { numRuns: 1500, seed: 8 });
    expect(found).toBeGreaterThan(1500);
  });

  it('gives the same when it is told the time in between', () => {
    const property = fc.property(
      spec.filter(isValid),
      events,
      fc.array(fc.boolean(), { minLength: 30, maxLength: 30 }),
      (one, list, told) => {
        const matcher = compile(queryOf(one));
        const times = list.map(({ timestamp }) => BigInt(timestamp) * 1_000_000n);
        let early: Firing[] = [];
        const late = feedAll(matcher, list, (state, at) => {
          // No event before the next one comes any more.
          if (told[at]) early = [...early, ...state.advance(times[at + 1] ?? times[at] ?? 0n)];
          return state;
        });
        const once = runAll(matcher, list.map(ruleEvent));
        expect(sorted(ids([...early, ...late]))).toEqual(sorted(ids(once)));
      },
    );
    fc.assert(property, { numRuns: 400, seed: 9 });
  });

  it('goes on after a save and a trip through JSON as if nothing had been', () => {
    const property = fc.property(spec.filter(isValid), events, (one, list) => {
      const matcher = compile(`${queryOf(one)} | head 7`);
      const saved = feedAll(matcher, list, (state) =>
        open(matcher, undefined, JSON.parse(JSON.stringify(state.save()))),
      );
      expect(saved).toEqual(runAll(matcher, list.map(ruleEvent)));
    });
    fc.assert(property, { numRuns: 400, seed: 10 });
  });

  it('takes events of one time in their order', () => {
    const property = fc.property(spec.filter(isValid), events, (one, list) => {
      const query = queryOf({ ...one, span: 1_000_000, by: false });
      const matcher = compile(query);
      const still = list.map((event) => ({ ...event, timestamp: 1_764_000_000_000 }));
      const moving = list.map((event, at) => ({ ...event, timestamp: 1_764_000_000_000 + at }));
      expect(sorted(ids(runAll(matcher, still.map(ruleEvent))))).toEqual(
        sorted(ids(runAll(matcher, moving.map(ruleEvent)))),
      );
    });
    fc.assert(property, { numRuns: 500, seed: 11 });
  });

  it('holds no more than its limit, and counts what it threw out', () => {
    const property = fc.property(
      spec.filter(isValid),
      fc.integer({ min: 1, max: 4 }),
      events,
      (one, groupsMax, list) => {
        const matcher = compile(queryOf({ ...one, by: true }));
        const state = open(matcher, { groupsMax, eventsPerGroupMax: 100, valuesMax: 100 });
        for (const event of list.map(ruleEvent)) {
          state.feed(event, hitsOf(matcher, event));
          expect(state.stats().groups).toBeLessThanOrEqual(groupsMax);
        }
        const free = open(matcher);
        const groups = list.map(ruleEvent).map((event) => {
          free.feed(event, hitsOf(matcher, event));
          return free.stats().groups;
        });
        if (state.stats().evicted > 0) expect(Math.max(...groups)).toBeGreaterThan(groupsMax);
      },
    );
    fc.assert(property, { numRuns: 300, seed: 12 });
  });
});
