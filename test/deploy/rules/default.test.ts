/**
 * The rules that ship: each compiles without a warning, fires on its examples and on nothing in its
 * near misses, and stays quiet over sessions in which nothing bad happened.
 */
import fs from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Rule, RuleEvent } from '#schemas';
import { createEventReader } from '../../../deploy/rules/events.ts';
import { testExamples } from '../../../deploy/rules/examples.ts';
import { readRuleFolder } from '../../../deploy/rules/folder.ts';
import { matchAll } from '../../../deploy/rules/match.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const FOLDER = path.join(ROOT, 'deploy/rules/default');
const BENIGN = path.resolve(ROOT, '../shared/detection/trajectories/benign.jsonl');
const loaded = readRuleFolder(FOLDER);
/** The README's table: sequence, title, level, kind, and how often it fired over benign sessions. */
const table = fs
  .readFileSync(path.join(FOLDER, 'README.md'), 'utf8')
  .split('\n')
  .filter((line) => /^\| (AT-|EGRESS)/.test(line))
  .map((line) => line.split('|').map((cell) => cell.trim()));
const sequences = Array.from(
  { length: 40 },
  (_, index) => `at-${String(index + 1).padStart(3, '0')}`,
);

describe('the default rules', () => {
  it('compile, and nothing about them is doubtful', () => {
    expect(loaded.faults).toEqual([]);
    expect(loaded.warnings).toEqual([]);
  });

  it('cover the sequences', () => {
    const names = new Set(loaded.rules.map(({ meta }) => path.basename(meta.file).slice(0, 6)));
    expect(sequences.filter((name) => !names.has(name))).toEqual([]);
  });

  it('say who wrote them, under which licence, and when they are wrong', () => {
    for (const { meta } of loaded.rules) {
      expect(meta.license, meta.file).toBe('Apache-2.0');
      expect(meta.author, meta.file).toBe('Telltale');
      expect(meta.level, meta.file).toBeDefined();
      expect(meta.falsepositives.length, meta.file).toBeGreaterThan(0);
      expect(meta.description?.length, meta.file).toBeGreaterThan(40);
      expect(
        meta.tags.some((tag) => tag.startsWith('attack.')),
        meta.file,
      ).toBe(true);
    }
  });

  it('are those of the README', () => {
    const listed = table.map(([, sequence, title, level]) => `${sequence} ${title} ${level}`);
    const there = loaded.rules.map(({ meta }) => {
      const sequence = path
        .basename(meta.file)
        .match(/^at-\d+|^[^.]+/)?.[0]
        .toUpperCase();
      return `${sequence} ${meta.title} ${meta.level}`;
    });
    expect(listed).toEqual(there);
  });

  it('fire on their examples and not on their near misses', () => {
    const report = testExamples(FOLDER, loaded.rules);
    expect(report.faults).toEqual([]);
    expect(report.covered).toBe(loaded.rules.length);
    expect(report.passed).toBeGreaterThanOrEqual(2 * loaded.rules.length);
  });
});

interface Line {
  readonly kind: 'tool_call' | 'exec' | 'model_turn' | 'file_write';
  readonly session: string;
  readonly tool?: string;
  readonly command?: string;
  readonly path?: string;
}

/** What our collector would have recorded: an agent runs a command as a script of a shell. */
function asEvent({ kind, session, tool, command, path: file }: Line): object {
  const shared = { session_id: session, stream_id: session, tenant: 'benign', agent: 'agent' };
  if (kind === 'tool_call') {
    // What the session does not tell is left out: two unknown commands are not the same one.
    const known = command !== undefined && command !== '';
    const given = known ? { command, arguments: JSON.stringify({ command }) } : {};
    return { ...shared, kind: 'tool.call', tool, ...given };
  }
  if (kind === 'exec') {
    return { ...shared, kind: 'exec', exe: '/bin/bash', argv: ['bash', '-c', command ?? ''] };
  }
  if (kind === 'file_write') return { ...shared, kind: 'file', file_op: 'write', file_path: file };
  return { ...shared, kind: 'model.turn', phase: 'message' };
}

describe.skipIf(!fs.existsSync(BENIGN))('over the benign sessions', () => {
  const alerts = new Map<Rule, number>();
  let sessions = 0;

  beforeAll(() => {
    const lines = fs.readFileSync(BENIGN, 'utf8').trim().split('\n');
    const all = lines.map((line) => JSON.parse(line) as Line);
    const names = [...new Set(all.map(({ session }) => session))];
    sessions = names.length;
    // Sessions one after the other, five seconds between two events.
    const reader = createEventReader(5_000_000_000n);
    const events: RuleEvent[] = names
      .flatMap((name) => all.filter(({ session }) => session === name))
      .map((line, index) => reader.read(asEvent(line), index + 1));
    for (const { rule } of matchAll(loaded.rules, events)) {
      alerts.set(rule, (alerts.get(rule) ?? 0) + 1);
    }
    const counts = [...alerts].map(([{ meta }, count]) => `${meta.title}: ${count}`);
    console.log(`${sessions} sessions, ${events.length} events; ${counts.join('; ') || 'quiet'}`);
  });

  it('fire as often as the README says', () => {
    const said = new Map(table.map(([, , title, , , count]) => [title, Number(count)]));
    for (const rule of loaded.rules) {
      expect(alerts.get(rule) ?? 0, rule.meta.title).toBe(said.get(rule.meta.title));
    }
  });

  it('give at most one high or critical alert per 20 sessions', () => {
    const loud = [...alerts]
      .filter(([{ meta }]) => meta.level === 'high' || meta.level === 'critical')
      .reduce((sum, [, count]) => sum + count, 0);
    expect(sessions).toBeGreaterThanOrEqual(20);
    expect(loud).toBeLessThanOrEqual(Math.floor(sessions / 20));
  });
});
