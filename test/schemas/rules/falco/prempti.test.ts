/**
 * Prempti's default rules as they are: each compiles, fires on its example and not on its near miss,
 * gives the verdicts of Prempti's own end-to-end tests, and is as loud as its README says.
 */
import fs from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Rule, sigmaViews, type TelltaleEvent } from '#schemas';
import { testExamples } from '../../../../deploy/rules/examples.ts';
import { readRuleFolder } from '../../../../deploy/rules/folder.ts';
import { good } from '../rules.ts';
import { bash, call, matched, ruleOf, write } from './rules.ts';

const ROOT = path.resolve(import.meta.dirname, '../../../..');
const FOLDER = path.join(ROOT, 'deploy/rules/prempti');
const BENIGN = path.resolve(ROOT, '../shared/detection/trajectories/benign.jsonl');
const CASES = path.join(ROOT, 'test/fixtures/falco/e2e_cases.json');

const { rules, faults, warnings } = readRuleFolder(FOLDER);

interface Case {
  readonly agent: string;
  readonly test: string;
  readonly tool: string;
  readonly input: { readonly command?: string };
  readonly expected: 'allow' | 'ask' | 'deny';
}
const cases: readonly Case[] = JSON.parse(fs.readFileSync(CASES, 'utf8'));

/** One case of Codex's suite is about a call of Claude's, as its name says; its `agent` does not. */
const agentOf = ({ agent, test }: Case): string =>
  test.endsWith('_for_claude') || agent === 'claude_code' ? 'claude' : agent;

const eventOf = (one: Case): TelltaleEvent => {
  const { tool, input } = one;
  return call({
    agent: agentOf(one),
    tool,
    arguments: JSON.stringify(input),
    cwd: '/tmp/myproject',
    ...(input.command === undefined ? {} : { command: input.command }),
  });
};

/** What Prempti makes of rules that hold: their tags say it, and to deny goes before to ask. */
function verdict(of: readonly Rule[], event: TelltaleEvent): Case['expected'] {
  const names = new Set(matched(of, event));
  const tags = of.filter(({ meta }) => names.has(meta.title)).flatMap(({ meta }) => meta.tags);
  if (tags.includes('coding_agent_deny')) return 'deny';
  return tags.includes('coding_agent_ask') ? 'ask' : 'allow';
}

describe('the rules', () => {
  it('compile, all of them', () => {
    expect(faults).toEqual([]);
    expect(warnings).toEqual([]);
    expect(rules).toHaveLength(60);
    for (const { meta } of rules) {
      expect(meta.license).toBe('Apache-2.0');
      expect(['critical', 'medium', 'low']).toContain(meta.level);
      expect(meta.description?.length).toBeGreaterThan(40);
    }
  });

  it('fire on their examples and not on their near misses', () => {
    const report = testExamples(FOLDER, rules);
    expect(report).toEqual({ passed: 120, covered: 60, faults: [] });
  });

  it('lose nothing by being looked up', () => {
    const anchors = rules.flatMap(({ matcher }) =>
      matcher.type === 'event' ? (matcher.test.anchors ?? []) : [],
    );
    expect(anchors.length).toBeGreaterThan(200);
    const texts = anchors.map(({ text }) => text);
    const word = fc.constantFrom(
      ...texts,
      ' ',
      '; ',
      'curl ',
      'AGENTS.md',
      '/.claude/settings.json',
    );
    const words = fc.array(word, { maxLength: 6 }).map((some) => some.join(''));
    fc.assert(
      fc.property(words, (text) => {
        for (const event of [bash(text), bash(text.toUpperCase()), write(text, text)]) {
          const views = sigmaViews(event).filter(({ source }) => source?.category === 'tool.call');
          const slowly = rules.filter(
            ({ matcher }) =>
              matcher.type === 'event' && views.some(({ fields }) => matcher.test.matches(fields)),
          );
          expect(matched(rules, event)).toEqual(slowly.map(({ meta }) => meta.title));
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe("Prempti's end-to-end cases", () => {
  /**
   * Those that come out otherwise: Prempti runs the cases against small rules of its own, by which
   * `rm -rf` is denied; the default rules ask. Its project lies in /tmp, and they ask about that too.
   */
  const OTHERWISE: ReadonlyMap<string, string> = new Map([
    ['deny_rm_rf', 'ask'],
    ['agent_pid_matches_test_process', 'ask'],
    ['deny_rm_rf_variant', 'ask'],
    ['guardrails_default_action_defer_still_denies_matched_rule', 'ask'],
    ['deny_has_append_output', 'ask'],
    ['allow_write_inside_cwd', 'ask'],
    ['allow_edit_inside_cwd', 'ask'],
    ['allow_relative_path_inside_cwd', 'ask'],
  ]);

  it.each(cases)('$test by the default rules', (one) => {
    expect(verdict(rules, eventOf(one))).toBe(OTHERWISE.get(one.test) ?? one.expected);
  });

  const tagged = (name: string, verdict: string, condition: string) =>
    ruleOf(condition, `source: coding_agent\ntags: [coding_agent_${verdict}]`).replace(
      'r\n',
      `${name}\n`,
    );
  const own = good(
    [
      tagged('rm', 'deny', 'tool.name = Bash and tool.input_command contains "rm -rf"'),
      tagged('etc', 'deny', 'tool.name exists and tool.real_file_path pmatch (/etc)'),
      tagged('ssh', 'deny', 'tool.real_file_path contains "/.ssh/"'),
      tagged(
        'cwd',
        'ask',
        'tool.name in (Write, Edit) and not tool.real_file_path startswith val(agent.real_cwd_prefix)',
      ),
      tagged('codex', 'deny', 'agent.name = codex and tool.input_command contains "marker"'),
    ].join('\n'),
  );

  it.each(cases)('$test by rules that say what the cases are about', (one) => {
    expect(verdict(own, eventOf(one))).toBe(one.expected);
  });
});

describe.skipIf(!fs.existsSync(BENIGN))('over the benign sessions', () => {
  /** Each command counts as one of a shell tool, whatever its agent calls that tool. */
  const linesOf = () =>
    fs
      .readFileSync(BENIGN, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { kind: string; session: string; command?: string })
      .filter(({ kind, command }) => kind === 'tool_call' && command);

  it('fire as often as the README says', () => {
    const counts = new Map<string, number>();
    for (const { command } of linesOf())
      for (const title of matched(rules, bash(command ?? '')))
        counts.set(title, (counts.get(title) ?? 0) + 1);
    const said = fs
      .readFileSync(path.join(FOLDER, 'README.md'), 'utf8')
      .split('\n')
      .map((line) => /^\| (Ask .*|Deny .*) \| \w+ \| (\d+) \|/.exec(line))
      .flatMap((found) => (found === null ? [] : [[found[1], Number(found[2])]]));
    expect(Object.fromEntries(counts)).toEqual(Object.fromEntries(said));
  });
});
