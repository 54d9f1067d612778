/**
 * What a user says is secret, beside the rules: whole fields, places within a call's JSON, and
 * expressions of their own.
 */
import { RE2JS } from 're2js';
import { jsonIn, jsonShape } from '../json.ts';
import type { Finding } from './rules.ts';

export interface Configured {
  /** Fields, or entries of map fields as `attrs.NAME`. */
  readonly fields: readonly string[];
  /** Places in JSON, steps joined by dots; `*` is any one step, `**` any number of them. */
  readonly paths: readonly string[];
  readonly expressions: readonly { readonly id: string; readonly regex: string }[];
}

export const NOTHING_CONFIGURED: Configured = { fields: [], paths: [], expressions: [] };

const DEPTH_MAX = 64;

/** All texts and numbers below a value. */
function leaves(value: unknown, out: Set<string>, depth = 0): void {
  if (typeof value === 'string' || typeof value === 'number') out.add(JSON.stringify(value));
  else if (typeof value === 'object' && value !== null && depth < DEPTH_MAX)
    for (const item of Object.values(value)) leaves(item, out, depth + 1);
}

/** How many members a value's objects have. */
function membersOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const items = Object.values(value);
  const inner = items.reduce((sum: number, item) => sum + membersOf(item), 0);
  return inner + (Array.isArray(value) ? 0 : items.length);
}

function walk(value: unknown, steps: readonly string[], out: Set<string>, depth: number): void {
  const [step, ...rest] = steps;
  if (step === undefined) leaves(value, out);
  else if (typeof value === 'object' && value !== null && depth < DEPTH_MAX) {
    if (step === '**') walk(value, rest, out, depth + 1);
    for (const [name, item] of Object.entries(value)) {
      if (step === '**') walk(item, steps, out, depth + 1);
      else if (step === '*' || step === name) walk(item, rest, out, depth + 1);
    }
  }
}

/**
 * The secrets at `paths` in a text of JSON, wherever they stand in it; none where it is no JSON.
 * A value that is written with other escapes than usual can't be found: then all is secret, as it is
 * where a member is written twice, of which a parser keeps one, or is nested too deep to be walked.
 */
export function atPaths(text: string, paths: readonly string[]): Finding[] {
  if (paths.length === 0 || !/^\s*[{[]/.test(text)) return [];
  const value = jsonIn(text);
  if (value === undefined) return [];
  const { depth, members } = jsonShape(text);
  const whole = { rule: 'path', start: 0, end: text.length };
  if (depth > DEPTH_MAX || members !== membersOf(value)) return [whole];
  const wanted = new Set<string>();
  for (const path of paths) walk(value, path.split('.'), wanted, 0);
  const found: Finding[] = [];
  for (const written of wanted) {
    const secret = written.startsWith('"') ? written.slice(1, -1) : written;
    if (secret === '') continue;
    let at = text.indexOf(written);
    if (at < 0) return [whole];
    for (; at >= 0; at = text.indexOf(written, at + written.length)) {
      const start = text.indexOf(secret, at);
      found.push({ rule: 'path', start, end: start + secret.length });
    }
  }
  return found;
}

/** Finds what users' own expressions match: their first group, or all. */
export function createExpressions(
  expressions: Configured['expressions'],
): (text: string) => Finding[] {
  const compiled = expressions.map(({ id, regex }) => ({ id, regex: RE2JS.compile(regex) }));
  return (text) =>
    compiled.flatMap(({ id, regex }) => {
      if (!regex.test(text)) return [];
      const found: Finding[] = [];
      const matcher = regex.matcher(text);
      while (matcher.find()) {
        const group = matcher.groupCount() > 0 && (matcher.group(1) ?? '') !== '' ? 1 : 0;
        const [start, end] = [matcher.start(group), matcher.end(group)];
        if (end > start) found.push({ rule: id, start, end });
      }
      return found;
    });
}
