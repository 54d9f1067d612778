/**
 * Every mapper on records that were hurt: fields dropped, of another type, records doubled and in
 * another order. No record may break a mapper, none may cost the others their events, and the same
 * records must always give the same. It runs over small hand-made sessions, and over what the real
 * CLIs once sent where that lies beside the checkout.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Draft } from '#schemas';
import { type Adapter, findAdapter } from '../../../collector/agents/index.ts';
import { fitDraft } from '../../../collector/fit.ts';
import { type Captures, capturesThere as there, unpackCaptures } from './captured.ts';
import { CLAUDE, GEMINI, GENAI, give, type Input, OPENCODE, placesOf } from './samples.ts';
import { CODEX } from './samples-codex.ts';

function map(name: string, inputs: readonly Input[]): readonly Draft[] {
  const mapper = (findAdapter(name, []) as Adapter).mapper(0n);
  const drafts = inputs.flatMap((input) => give(mapper, input) ?? []);
  return [...drafts, ...(mapper.end?.() ?? [])];
}

/** Which calls and ends of calls each channel told. */
const told = (drafts: readonly Draft[]): ReadonlySet<string> =>
  new Set(
    drafts
      .filter(({ kind, tool_call_id: id }) => id !== undefined && kind.startsWith('tool.'))
      .map(({ kind, source, tool_call_id }) => `${kind} ${source} ${tool_call_id}`),
  );

type Hurt = 'drop' | 'retype';
const OTHERS = [null, 0, -1, 1.5, '', 'x', true, [], {}, [[]], { a: 1 }, '\ud800', 1e308];

/** The record with one of its fields dropped or of another type. */
function hurt(record: unknown, how: Hurt, where: number, other: unknown): unknown {
  const copy = structuredClone(record);
  const places = placesOf(copy);
  const [owner, key] = places[where % Math.max(places.length, 1)] ?? [];
  if (owner === undefined || key === undefined) return other;
  if (how === 'drop') delete owner[key];
  else owner[key] = other;
  return copy;
}

/** What the records tell without the one at `at`. */
const toldWithout = (name: string, inputs: readonly Input[], at: number) =>
  told(
    map(
      name,
      inputs.filter((_input, index) => index !== at),
    ),
  );

/**
 * That the record at `at`, hurt, breaks nothing and costs the others nothing: what they tell
 * without it, `without`, they tell beside it as well.
 */
function costsNoOther(
  name: string,
  inputs: readonly Input[],
  at: number,
  change: (record: unknown) => unknown,
  without = toldWithout(name, inputs, at),
): void {
  const changed = inputs.map((input, index) =>
    index === at ? ({ ...input, record: change(input.record) } as Input) : input,
  );
  const drafts = map(name, changed);
  expect(map(name, changed)).toEqual(drafts);
  for (const draft of drafts) fitDraft(draft);
  const left = told(drafts);
  for (const key of without)
    expect(left, `${key} after ${JSON.stringify(changed[at])}`).toContain(key);
}

function holds(name: string, inputs: readonly Input[], numRuns: number): void {
  const whole = told(map(name, inputs));
  const pick = fc.nat({ max: Math.max(inputs.length - 1, 0) });
  const how = fc.constantFrom<Hurt>('drop', 'retype');
  fc.assert(
    fc.property(pick, how, fc.nat(), fc.constantFrom(...OTHERS), (at, kind, where, other) => {
      if (inputs[at] !== undefined)
        costsNoOther(name, inputs, at, (record) => hurt(record, kind, where, other));
    }),
    { numRuns },
  );
  fc.assert(
    fc.property(pick, fc.infiniteStream(fc.nat()), (at, random) => {
      const doubled = [...inputs, ...inputs.slice(at, at + 1)];
      expect(told(map(name, doubled))).toEqual(whole);
      const keys = new Map(inputs.map((input) => [input, random.next().value]));
      const shuffled = [...inputs].sort((a, b) => (keys.get(a) ?? 0) - (keys.get(b) ?? 0));
      const calls = new Set([...told(map(name, shuffled))].map((key) => key.split(' ').at(-1)));
      for (const key of whole) expect(calls).toContain(key.split(' ').at(-1));
    }),
    { numRuns: Math.ceil(numRuns / 4) },
  );
}

const SAMPLES = { claude: CLAUDE, codex: CODEX, gemini: GEMINI, opencode: OPENCODE, genai: GENAI };
describe.each(Object.entries(SAMPLES))('a hand-made session of %s', (name, inputs) => {
  it('survives any hurt to one record, and is mapped the same each time', () => {
    holds(name, inputs, 60);
  });

  it.each([
    ['missing', 'drop', undefined],
    ['a number without measure', 'retype', 1e308],
  ] as const)('loses nothing else where any one field is %s', (_what, how, other) => {
    for (const [at, { record }] of inputs.entries()) {
      const without = toldWithout(name, inputs, at);
      for (const where of placesOf(record).keys())
        costsNoOther(name, inputs, at, (whole) => hurt(whole, how, where, other), without);
    }
  });
});

/** Telemetry of which a mapper takes something: the rest would only cost time. */
const TELLING =
  /tool_|user_prompt|api_re|api_err|assistant|claude_code\.(tool|llm)|"tool_call"|codex\.(tool|sandbox|network|user|guardian)|call_id/;
function telling(record: unknown): boolean {
  const text = JSON.stringify(record).slice(0, 1500);
  return !text.includes('"attributes"') || TELLING.test(text);
}

describe.skipIf(!there)('what the CLIs sent', () => {
  let captures: Captures;
  beforeAll(() => {
    captures = unpackCaptures();
  });
  afterAll(() => captures.remove());

  it.each([
    ['claude', 'allowlist-json', 10],
    ['claude', 'default-flags-json', 8],
    ['codex', 'ww-json', 4],
    ['gemini', 'yolo-http', 6],
    ['opencode', 'run-auto', 6],
  ] as const)('%s %s survives any hurt to one record', (name, variant, numRuns) => {
    const inputs = captures.inputs(name, variant).filter(({ record }) => telling(record));
    expect(inputs.length).toBeGreaterThan(50);
    holds(name, inputs, numRuns);
  });
});
