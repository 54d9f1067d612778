/** Rules in Falco's language and tool calls for them. */
import { createRuleSet, type Rule, type RuleSet, sigmaViews, type TelltaleEvent } from '#schemas';
import { load } from '../rules.ts';

/** A rule around a condition; what it is made of besides can be given, as lines of YAML. */
export const ruleOf = (condition: string, more = 'source: coding_agent'): string =>
  [
    `- rule: r`,
    `desc: d`,
    `output: o`,
    `priority: WARNING`,
    `condition: ${JSON.stringify(condition)}`,
    ...more.split('\n'),
  ].join('\n  ');

export const call = (fields: Readonly<Record<string, unknown>>): TelltaleEvent =>
  ({ kind: 'tool.call', agent: 'claude', cwd: '/home/dev/app', ...fields }) as TelltaleEvent;

export const bash = (command: string): TelltaleEvent =>
  call({ tool: 'Bash', command, arguments: JSON.stringify({ command }) });
export const write = (path: string, content = 'x'): TelltaleEvent =>
  call({ tool: 'Write', arguments: JSON.stringify({ file_path: path, content }) });

const sets = new WeakMap<readonly Rule[], RuleSet>();

/** The names of the rules that hold for an event. */
export function matched(rules: readonly Rule[], event: TelltaleEvent): readonly string[] {
  const one = { id: 'e', timeNs: 0n, views: sigmaViews(event) };
  const set = sets.get(rules) ?? createRuleSet(rules);
  sets.set(rules, set);
  return set.evaluate(one).matched.map(({ meta }) => meta.title);
}

/** Whether a rule with this condition holds; `before` are definitions that it may refer to. */
export function holds(condition: string, event: TelltaleEvent, before = ''): boolean {
  const { rules, faults } = load(`${before}\n${ruleOf(condition)}`);
  if (faults.length > 0) throw new Error(JSON.stringify(faults));
  return matched(rules, event).length > 0;
}
