/** Reads what the learned baseline is set to: a small YAML file, every field of which is checked. */
import fs from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { ALERT_LEVELS, type AlertLevel } from '#schemas';
import type { BaselineRule } from '../../ingest/detect/baseline.ts';
import { UsageError } from '../process/lifecycle.ts';

/** The one that ships with the product; beside this file in the source and in dist/ alike. */
export const SHIPPED_BASELINE = path.join(import.meta.dirname, 'baseline.yaml');

const WINDOW_MAX = 1_000;
const BITS_MAX = 64;
const COUNT_MAX = 1e9;

const TEXTS = ['id', 'title', 'author', 'license'] as const;
const FIELDS = new Set<string>([
  ...[...TEXTS, 'level', 'tags', 'distrusts'],
  ...['window_steps', 'threshold_bits', 'steps_min', 'sessions_min'],
]);

const isLevel = (value: unknown): value is AlertLevel =>
  (ALERT_LEVELS as readonly unknown[]).includes(value);

/** The settings in `text`, which is named `file` in faults. Throws `UsageError` that lists them. */
export function parseBaseline(text: string, file: string): BaselineRule {
  const faults: string[] = [];
  let data: unknown;
  try {
    data = parse(text);
  } catch (error) {
    throw new UsageError(`${file}: ${String(error)}`);
  }
  if (typeof data !== 'object' || data === null || Array.isArray(data))
    throw new UsageError(`${file}: give a map of settings`);
  const map = data as Readonly<Record<string, unknown>>;
  const fault = (name: string, what: string) => void faults.push(`${file}: ${name}: ${what}`);
  const get = (name: string): unknown => (Object.hasOwn(map, name) ? map[name] : undefined);
  const words = (name: string): string => {
    const value = get(name);
    if (typeof value !== 'string' || value === '') fault(name, 'give a text');
    return String(value);
  };
  const number = (name: string, least: number, most: number, whole: boolean): number => {
    const value = Number(get(name));
    const good = value >= least && value <= most && (!whole || Number.isInteger(value));
    if (typeof get(name) !== 'number' || !good)
      fault(name, `give a ${whole ? 'whole ' : ''}number from ${least} to ${most}`);
    return value;
  };
  const list = <T>(name: string, what: string, is: (value: unknown) => value is T): T[] => {
    const value = get(name);
    if (Array.isArray(value) && value.every(is)) return value;
    fault(name, `give a list of ${what}`);
    return [];
  };
  for (const name of Object.keys(map))
    if (!FIELDS.has(name)) fault(name, 'there is no such setting');
  const level = get('level');
  if (!isLevel(level)) fault('level', `give one of ${ALERT_LEVELS.join(', ')}`);
  const [id, title, author, license] = TEXTS.map(words) as [string, string, string, string];
  const isText = (value: unknown): value is string => typeof value === 'string';
  const rule: BaselineRule = {
    rule: {
      ...{ id, title, author, license, level: level as AlertLevel },
      tags: list('tags', 'texts', isText),
    },
    windowSteps: number('window_steps', 1, WINDOW_MAX, true),
    thresholdBits: number('threshold_bits', 0, BITS_MAX, false),
    stepsMin: number('steps_min', 0, COUNT_MAX, true),
    sessionsMin: number('sessions_min', 0, COUNT_MAX, true),
    distrusts: list('distrusts', `levels (${ALERT_LEVELS.join(', ')})`, isLevel),
  };
  if (faults.length > 0) throw new UsageError(faults.join('\n  '));
  return rule;
}

/** The settings of a file. Throws `UsageError`. */
export function readBaseline(file: string): BaselineRule {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`${file}: ${(error as Error).message}`);
  }
  return parseBaseline(text, file);
}
