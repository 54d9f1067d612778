/** Rules and events for tests: rules from text, events from plain objects. */
import fs from 'node:fs';
import path from 'node:path';
import {
  createRuleSet,
  type FieldValue,
  type Firing,
  type Loaded,
  type Logsource,
  loadRules,
  type Rule,
  type RuleEvent,
  type RuleSet,
  recordView,
} from '#schemas';

export const FIXTURES = path.resolve(import.meta.dirname, '../../fixtures/sigma');
export const SHIPPED = path.resolve(import.meta.dirname, '../../../deploy/rules/sigma');

/** A rule that reaches over sessions, and the one that it counts. */
export const SPREAD_RULES = `
title: The same secret in two sessions
id: spread
level: high
correlation:
  type: value_count
  rules: read
  group-by: [tenant]
  timespan: 60s
  condition: { field: session_id, gte: 2 }
---
title: A read
id: read
name: read
level: low
logsource: { product: telltale, category: file }
detection:
  selection: { file_op: read }
  condition: selection
`;

export type Fields = Readonly<Record<string, FieldValue>>;

export const load = (text: string): Loaded => loadRules([{ file: 'rule.yml', text }]);

/** The rules of a text, none of which may be refused. */
export function good(text: string): readonly Rule[] {
  const { rules, faults } = load(text);
  if (faults.length > 0) throw new Error(JSON.stringify(faults));
  return rules;
}

/** The reasons for which documents of a text are refused. */
export const refusals = (text: string): readonly string[] =>
  load(text).faults.map(({ code, line, reason }) => `${code} ${line} ${reason}`);

export const event = (
  fields: Fields,
  at: { id?: string; ms?: number; source?: Logsource } = {},
): RuleEvent => ({
  id: at.id ?? 'e',
  timeNs: BigInt(at.ms ?? 0) * 1_000_000n,
  views: [
    { fields: recordView(fields), ...(at.source === undefined ? {} : { source: at.source }) },
  ],
});

/** A detection rule around a detection, as JSON, which is YAML. */
export const ruleOf = (detection: unknown): string =>
  JSON.stringify({ title: 'rule', logsource: { category: 'test' }, detection });

/** Whether one rule of one event holds. */
export function holds(detection: unknown, fields: Fields): boolean {
  const set = createRuleSet(good(ruleOf(detection)));
  return set.evaluate(event(fields)).matched.length > 0;
}

/** Runs the stream rules of a set over events, each state taken through JSON at every step. */
export function fire(set: RuleSet, events: readonly RuleEvent[]): readonly Firing[] {
  const saved = new Map<Rule, string>();
  return events.flatMap((one) =>
    set.evaluate(one).hits.flatMap(({ rule, hits }) => {
      if (rule.matcher.type !== 'stream' || !rule.alerts) return [];
      const before = saved.get(rule);
      const state = rule.matcher.stream.open(
        undefined,
        before === undefined ? undefined : JSON.parse(before),
      );
      const firings = state.feed(one, hits);
      saved.set(rule, JSON.stringify(state.save()));
      return firings;
    }),
  );
}

/** Rule files of a folder and those below it. */
export function ruleFiles(dir: string): readonly { file: string; text: string }[] {
  return fs
    .readdirSync(dir, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.yml'))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort()
    .map((file) => ({ file: path.relative(dir, file), text: fs.readFileSync(file, 'utf8') }));
}

export const readLines = (file: string): readonly Record<string, unknown>[] =>
  fs
    .readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

/** The larger material beside the checkout; tests that need it are skipped without it, loudly. */
export const SHARED = path.resolve(import.meta.dirname, '../../../../shared/detection/sigma');
export function hasShared(what: string): boolean {
  const there = fs.existsSync(SHARED);
  if (!there) process.stderr.write(`SKIPPED: ${what}: there is no ../shared/detection/sigma\n`);
  return there;
}
