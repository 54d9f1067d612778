/**
 * Every mapper on records that were hurt: fields dropped, of another type, records doubled and in
 * another order. No record may break a mapper, none may cost the others their events, and the same
 * records must always give the same. It runs over small hand-made sessions, and over what the real
 * CLIs once sent where that lies beside the checkout.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Draft } from '#schemas';
import { type Adapter, findAdapter } from '../../../collector/agents/index.ts';
import { fitDraft } from '../../../collector/fit.ts';
import { CLAUDE, GEMINI, give, type Input, OPENCODE } from './samples.ts';

const archive = path.resolve(import.meta.dirname, '../../../../shared/agents/captures.tar.xz');
const there = fs.existsSync(archive);
if (!there) console.warn('SKIPPED: no captures beside the checkout');

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

/** All places of a value: of each list and object in it. */
function placesOf(value: unknown, out: [object: Record<string, unknown>, key: string][] = []) {
  if (typeof value !== 'object' || value === null) return out;
  for (const [key, inner] of Object.entries(value)) {
    out.push([value as Record<string, unknown>, key]);
    placesOf(inner, out);
  }
  return out;
}

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

function holds(name: string, inputs: readonly Input[], numRuns: number): void {
  const whole = told(map(name, inputs));
  const pick = fc.nat({ max: Math.max(inputs.length - 1, 0) });
  const how = fc.constantFrom<Hurt>('drop', 'retype');
  fc.assert(
    fc.property(pick, how, fc.nat(), fc.constantFrom(...OTHERS), (at, kind, where, other) => {
      const one = inputs[at];
      if (one === undefined) return;
      const changed = inputs.map((input, index) =>
        index === at
          ? ({ ...input, record: hurt(input.record, kind, where, other) } as Input)
          : input,
      );
      const drafts = map(name, changed);
      expect(map(name, changed)).toEqual(drafts);
      for (const draft of drafts) fitDraft(draft);
      // What the others tell they tell as well where the record is not there at all.
      const left = told(drafts);
      const without = told(
        map(
          name,
          inputs.filter((_input, index) => index !== at),
        ),
      );
      for (const key of without)
        expect(left, `${key} after ${JSON.stringify(changed[at])}`).toContain(key);
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

const SAMPLES = { claude: CLAUDE, gemini: GEMINI, opencode: OPENCODE };
describe.each(Object.entries(SAMPLES))('a hand-made session of %s', (name, inputs) => {
  it('survives any hurt to one record, and is mapped the same each time', () => {
    holds(name, inputs, 200);
  });
});

const BODY = /^\d+-(logs|traces)\.json$/;

/** The records of a captured run; those of no interest to the mappers are left out for speed. */
function captured(dir: string): readonly Input[] {
  const inputs: Input[] = [];
  const files = fs.readdirSync(dir, { recursive: true }).map(String).sort();
  for (const name of files) {
    const file = path.join(dir, name);
    if (/^(projects|sessions|gemini-tmp)\/.*\.jsonl$/.test(name) || name === 'plugin-events.jsonl')
      for (const line of fs.readFileSync(file, 'utf8').split('\n').filter(Boolean)) {
        const record: unknown = JSON.parse(line);
        inputs.push({ channel: 'line', file: name, record: asPlugin(record) });
      }
    if (/^hooks\/.*\.json$/.test(name))
      inputs.push({ channel: 'hook', record: JSON.parse(fs.readFileSync(file, 'utf8')) });
    if (!name.startsWith('otlp/') || !BODY.test(path.basename(name))) continue;
    const body = JSON.parse(fs.readFileSync(file, 'utf8'));
    const logs = name.includes('-logs');
    for (const group of body[logs ? 'resourceLogs' : 'resourceSpans'])
      for (const scope of group[logs ? 'scopeLogs' : 'scopeSpans'])
        for (const record of scope[logs ? 'logRecords' : 'spans'])
          if (telling(record)) inputs.push({ channel: logs ? 'log' : 'span', record });
  }
  return inputs;
}

/** Events and spans of which a mapper takes something. */
const TELLING =
  /tool_|user_prompt|api_re|api_err|assistant|claude_code\.(tool|llm)|"tool_call"|codex\.(tool|sandbox|network|user|guardian)|call_id/;
const telling = (record: { name?: string }): boolean =>
  TELLING.test(record.name ?? JSON.stringify(record).slice(0, 1500));

/** The capture's own plugin wrote another envelope than ours. */
function asPlugin(record: unknown): unknown {
  if (typeof record !== 'object' || record === null || !('hook' in record)) return record;
  const { at, event } = record as { at?: string; event?: unknown };
  return { at: Date.parse(at ?? ''), event };
}

describe.skipIf(!there)('what the CLIs sent', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-hurt-'));
  beforeAll(() => void execFileSync('tar', ['xJf', archive, '-C', dir]));
  afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

  it.each([
    ['claude', 'allowlist-json', 10],
    ['claude', 'default-flags-json', 8],
    ['codex', 'ww-json', 4],
    ['gemini', 'yolo-http', 6],
    ['opencode', 'run-auto', 6],
  ] as const)('%s %s survives any hurt to one record', (name, variant, numRuns) => {
    const inputs = captured(path.join(dir, 'captures', name, variant));
    expect(inputs.length).toBeGreaterThan(50);
    holds(name, inputs, numRuns);
  });
});
