/** Whole rules against the answers of the reference implementation. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { createRuleSet, loadRules, type RuleEvent, recordView } from '#schemas';
import { FIXTURES, hasShared, readLines, ruleFiles, SHARED, SHIPPED } from '../rules.ts';

type Matches = Readonly<Record<string, readonly string[]>>;

function toEvent({ cat, src: _src, id, ...fields }: Record<string, unknown>): RuleEvent {
  const view = recordView(fields as Record<string, string>);
  const source = cat === undefined ? {} : { source: { product: 'linux', category: String(cat) } };
  return { id: String(id), timeNs: 0n, views: [{ ...source, fields: view }] };
}

/** Which events each rule matches, by the name of its file. */
function matchesOf(
  files: readonly { file: string; text: string }[],
  events: readonly Record<string, unknown>[],
  wanted: Matches,
): Matches {
  const names = new Set(Object.keys(wanted).map((file) => path.basename(file)));
  const loaded = loadRules(files.filter(({ file }) => names.has(path.basename(file))));
  expect(loaded.faults).toEqual([]);
  const set = createRuleSet(loaded.rules);
  const found = new Map<string, string[]>(Object.keys(wanted).map((file) => [file, []]));
  const byName = new Map(Object.keys(wanted).map((file) => [path.basename(file), file]));
  for (const event of events.map(toEvent))
    for (const { meta } of set.evaluate(event).matched)
      found.get(byName.get(path.basename(meta.file)) as string)?.push(event.id);
  return Object.fromEntries(found);
}

const expected = JSON.parse(fs.readFileSync(path.join(FIXTURES, 'expected.json'), 'utf8')) as {
  events: Matches;
  keywords: Matches;
};
const files = [...ruleFiles(FIXTURES), ...ruleFiles(SHIPPED)];

describe('SigmaHQ’s Linux rules', () => {
  it('match the events that pySigma says, on fields', () => {
    const events = readLines(path.join(FIXTURES, 'events.ndjson'));
    expect(Object.values(expected.events).flat().length).toBeGreaterThan(400);
    expect(matchesOf(files, events, expected.events)).toEqual(expected.events);
  });

  it('match the events that pySigma says, by keywords and in auditd’s records', () => {
    const events = readLines(path.join(FIXTURES, 'keyword-events.ndjson'));
    expect(Object.values(expected.keywords).flat().length).toBeGreaterThan(300);
    expect(matchesOf(files, events, expected.keywords)).toEqual(expected.keywords);
  });

  it.skipIf(!hasShared('all conformance events'))('match all events of the full set', () => {
    const { rules } = JSON.parse(
      fs.readFileSync(path.join(SHARED, 'conformance/expected.json'), 'utf8'),
    ) as { rules: readonly { path: string; matches: readonly string[] }[] };
    const wanted = Object.fromEntries(rules.map((rule) => [rule.path, rule.matches]));
    const events = readLines(path.join(SHARED, 'conformance/events.jsonl'));
    expect(matchesOf(ruleFiles(path.join(SHARED, 'rules')), events, wanted)).toEqual(wanted);
  });

  it.skipIf(!hasShared('all Linux rules'))('compile, but for the obsolete ones', () => {
    const all = ruleFiles(path.join(SHARED, 'rules'));
    const { rules, faults } = loadRules(all);
    expect(all).toHaveLength(255);
    expect(rules).toHaveLength(249);
    expect(faults.map(({ file, code }) => `${path.basename(file)} ${code}`)).toEqual([
      'lnx_auditd_cve_2021_3156_sudo_buffer_overflow.yml obsolete',
      'lnx_auditd_cve_2021_3156_sudo_buffer_overflow_brutforce.yml obsolete',
      'lnx_auditd_cve_2021_4034.yml obsolete',
      'lnx_auditd_debugfs_usage.yml obsolete',
      'lnx_auth_susp_failed_logons_single_source.yml obsolete',
      'lnx_shell_priv_esc_prep.yml obsolete',
    ]);
  });
});

interface Case {
  readonly detection: unknown;
  readonly events?: readonly Record<string, string>[];
  readonly expected?: readonly boolean[];
  readonly refused?: string;
}

describe('random detections', () => {
  const cases = readLines(path.join(FIXTURES, 'oracle.ndjson')) as unknown as readonly Case[];
  const compile = (one: Case) =>
    loadRules([
      {
        file: 'case.yml',
        text: JSON.stringify({
          title: 't',
          logsource: { category: 't' },
          detection: one.detection,
        }),
      },
    ]);

  it('are refused where pySigma refuses them', () => {
    const refused = cases.filter((one) => one.refused !== undefined);
    expect(refused.length).toBeGreaterThan(50);
    const accepted = refused.filter((one) => compile(one).faults.length === 0);
    expect(accepted).toEqual([]);
  });

  it('decide as pySigma does', () => {
    const decided = cases.filter((one) => one.expected !== undefined);
    expect(decided.length).toBeGreaterThan(300);
    for (const one of decided) {
      const { rules, faults } = compile(one);
      expect(faults).toEqual([]);
      const set = createRuleSet(rules);
      const got = one.events?.map(
        (fields) => set.evaluate({ views: [{ fields: recordView(fields) }] }).matched.length > 0,
      );
      expect(got, JSON.stringify(one.detection)).toEqual(one.expected);
    }
  });
});
