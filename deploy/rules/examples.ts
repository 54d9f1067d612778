/**
 * The examples that a rule carries: beside `x.yml` the file `x.examples.ndjson`, a line each
 *
 *     {"match": true, "why": "…", "events": [{…}, …]}       it fires over these events
 *     {"match": false, "why": "…", "events": [{…}, …]}      a near miss: it does not
 *
 * with `"rule": "<id or name>"` where the file has several rules that alert. A rule needs one
 * example of each sort. Events without a time are one second apart.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Rule } from '#schemas';
import { createEventReader, EventError } from './events.ts';
import { EXAMPLES_SUFFIX } from './folder.ts';
import { matchAll } from './match.ts';

const STEP_NS = 1_000_000_000n;

interface Example {
  readonly rule?: string;
  readonly match: boolean;
  readonly why: string;
  readonly events: readonly unknown[];
  readonly place: string;
}

export interface ExampleReport {
  /** Examples that came out as they say. */
  readonly passed: number;
  /** Rules that alert and have at least one example of each sort. */
  readonly covered: number;
  /** What is wrong, a line each: `file:line: what`. */
  readonly faults: readonly string[];
}

function readExample(line: string, place: string): Example {
  const value = JSON.parse(line) as Partial<Example>;
  const { match, events, why, rule } = value;
  if (typeof match !== 'boolean') throw new EventError('"match" has to be true or false');
  if (!Array.isArray(events) || events.length === 0)
    throw new EventError('"events" has to be a list of events');
  if (rule !== undefined && typeof rule !== 'string') throw new EventError('"rule" is no text');
  return { match, events, why: String(why ?? ''), place, ...(rule === undefined ? {} : { rule }) };
}

/** Runs one example against its rule, a correlation with all that it refers to; undefined: good. */
function run(example: Example, target: Rule): string | undefined {
  const reader = createEventReader(STEP_NS);
  const events = example.events.map((event, index) => reader.read(event, index + 1));
  const fired = matchAll([target], events).length > 0;
  if (fired === example.match) return undefined;
  const what = fired ? 'fires, and should not' : 'does not fire, and should';
  return `${example.place}: ${target.meta.id} ${what}: ${example.why}`;
}

/** What the example lines of one rule file show. */
function testFile(file: string, text: string, own: readonly Rule[]) {
  const faults: string[] = [];
  const shown = new Map<Rule, Set<boolean>>();
  let passed = 0;
  text.split('\n').forEach((line, index) => {
    if (line.trim() === '') return;
    const place = `${file}:${index + 1}`;
    try {
      const example = readExample(line, place);
      const named = own.filter(
        ({ meta }) =>
          example.rule === undefined || meta.id === example.rule || meta.name === example.rule,
      );
      const [target, ...more] = named;
      if (target === undefined) throw new EventError('is for no rule of its file that alerts');
      if (more.length > 0) throw new EventError('has to say which of the rules it is for: "rule"');
      const fault = run(example, target);
      if (fault === undefined) passed++;
      else faults.push(fault);
      shown.set(target, (shown.get(target) ?? new Set()).add(example.match));
    } catch (error) {
      if (!(error instanceof EventError) && !(error instanceof SyntaxError)) throw error;
      faults.push(`${place}: ${error.message}`);
    }
  });
  return { passed, faults, shown };
}

/** Runs the examples of all rules that alert; `root` is the folder that they were read from. */
export function testExamples(root: string, rules: readonly Rule[]): ExampleReport {
  const folder = fs.statSync(root).isFile() ? path.dirname(root) : root;
  const alerting = rules.filter(({ alerts }) => alerts);
  const files = [...new Set(alerting.map(({ meta }) => meta.file))];
  const faults: string[] = [];
  let passed = 0;
  let covered = 0;
  for (const file of files) {
    const own = alerting.filter(({ meta }) => meta.file === file);
    const name = file.replace(/\.ya?ml$/, EXAMPLES_SUFFIX);
    const full = path.join(folder, name);
    const text = fs.existsSync(full) ? fs.readFileSync(full, 'utf8') : '';
    const result = testFile(name, text, own);
    passed += result.passed;
    faults.push(...result.faults);
    for (const rule of own) {
      const sorts = result.shown.get(rule) ?? new Set();
      if (sorts.size === 2) covered++;
      else {
        const missing = [true, false].filter((match) => !sorts.has(match));
        const words = missing.map((match) => (match ? 'a hit' : 'a near miss')).join(' and ');
        faults.push(`${name}: ${rule.meta.id} (${rule.meta.title}) has no example of ${words}`);
      }
    }
  }
  return { passed, covered, faults };
}
