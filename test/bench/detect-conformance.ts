/**
 * How far the rule languages agree with their reference implementations, as counts: SigmaHQ's Linux
 * rules over events (pySigma), correlations, EQL (the original engine). The tests of
 * `test/schemas/rules/` hold the same answers one by one.
 */
import fs from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { createRuleSet, loadRules, type Rule, type RuleEvent, recordView } from '#schemas';
import { find, type PlainEvent } from '../schemas/rules/eql/run.ts';
import {
  event,
  FIXTURES,
  type Fields,
  fire,
  good,
  readLines,
  ruleFiles,
  SHARED,
  SHIPPED,
} from '../schemas/rules/rules.ts';

/** How many of how many came out as the reference has them. */
export interface Agreed {
  readonly agreed: number;
  readonly of: number;
}

type Matches = Readonly<Record<string, readonly string[]>>;
type Lines = readonly Record<string, unknown>[];

const readJson = <T>(...name: string[]): T =>
  JSON.parse(fs.readFileSync(path.join(...name), 'utf8')) as T;

function asEvent({ cat, src: _src, id, ...fields }: Record<string, unknown>): RuleEvent {
  const view = recordView(fields as Record<string, string>);
  const source = cat === undefined ? {} : { source: { product: 'linux', category: String(cat) } };
  return { id: String(id), timeNs: 0n, views: [{ ...source, fields: view }] };
}

/** A pair is a rule and an event: whether the rule matches it has to be as expected. */
function pairs(rules: readonly Rule[], lines: Lines, expected: Matches): Agreed {
  const wanted = new Map(
    Object.entries(expected).map(([file, ids]) => [path.basename(file), new Set(ids)]),
  );
  const asked = rules.filter(({ meta }) => wanted.has(path.basename(meta.file)));
  const set = createRuleSet(asked);
  let agreed = 0;
  for (const one of lines) {
    const seen = asEvent(one);
    const matched = new Set(set.evaluate(seen).matched);
    for (const rule of asked)
      if (matched.has(rule) === wanted.get(path.basename(rule.meta.file))?.has(seen.id)) agreed++;
  }
  return { agreed, of: wanted.size * lines.length };
}

/** Rule and event pairs of the fixtures, by fields and by keywords; and of the full set where it is. */
export function sigmaPairs(): Readonly<Record<'fields' | 'keywords' | 'full', Agreed | undefined>> {
  const { rules } = loadRules([...ruleFiles(FIXTURES), ...ruleFiles(SHIPPED)]);
  const { events, keywords } = readJson<{ events: Matches; keywords: Matches }>(
    FIXTURES,
    'expected.json',
  );
  const fields = pairs(rules, readLines(path.join(FIXTURES, 'events.ndjson')), events);
  const words = pairs(rules, readLines(path.join(FIXTURES, 'keyword-events.ndjson')), keywords);
  if (!fs.existsSync(SHARED)) return { fields, keywords: words, full: undefined };
  const answers = readJson<{ rules: readonly { path: string; matches: readonly string[] }[] }>(
    SHARED,
    'conformance/expected.json',
  );
  const all = loadRules(ruleFiles(path.join(SHARED, 'rules'))).rules;
  const lines = readLines(path.join(SHARED, 'conformance/events.jsonl'));
  const wanted = Object.fromEntries(answers.rules.map((rule) => [rule.path, rule.matches]));
  return { fields, keywords: words, full: pairs(all, lines, wanted) };
}

interface Golden {
  readonly base_rules: readonly { readonly name: string }[];
  readonly streams: Readonly<Record<string, readonly (Fields & { id: string; ts: number })[]>>;
  readonly cases: readonly {
    readonly id: string;
    readonly stream: string;
    readonly correlation: { readonly rules: readonly string[] };
    readonly fires: readonly unknown[];
  }[];
}

export function correlationCases(): Agreed {
  const { base_rules, streams, cases } = readJson<Golden>(FIXTURES, 'correlations.json');
  const agreed = cases.filter(({ id, stream, correlation, fires }) => {
    const used = base_rules.filter(({ name }) => correlation.rules.includes(name));
    const documents = [...used, { title: id, correlation }].map((one) => JSON.stringify(one));
    const events = (streams[stream] ?? []).map(({ id: name, ts, ...fields }) =>
      event(fields as Fields, { id: name, ms: ts }),
    );
    const fired = fire(createRuleSet(good(documents.join('\n---\n'))), events);
    return isDeepStrictEqual(
      fired.map((firing) => [firing.events.at(-1), firing.key]),
      fires,
    );
  });
  return { agreed: agreed.length, of: cases.length };
}

interface EqlCases {
  readonly streams: Readonly<Record<string, readonly PlainEvent[]>>;
  readonly cases: readonly {
    readonly stream: string;
    readonly query: string;
    readonly expected: readonly (readonly number[])[];
  }[];
}

export function eqlCases(): Agreed {
  const { streams, cases } = readJson<EqlCases>(FIXTURES, '../eql/cases.json');
  const agreed = cases.filter(({ stream, query, expected }) =>
    isDeepStrictEqual(find(query, streams[stream] ?? []), expected),
  );
  return { agreed: agreed.length, of: cases.length };
}

/** SigmaHQ's Linux rules: how many compile, and why each of the others does not. */
export function linuxRules() {
  if (!fs.existsSync(SHARED)) return undefined;
  const files = ruleFiles(path.join(SHARED, 'rules'));
  const { rules, faults } = loadRules(files);
  const refused = faults.map(
    ({ file, line, code, reason }) => `${path.basename(file)}:${line} ${code}: ${reason}`,
  );
  return { files: files.length, compiled: rules.length, refused };
}
