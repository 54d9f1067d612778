/**
 * Rules for coding agents in Falco's language (source `coding_agent`) as rules over tool calls. What
 * a rule would print is not kept: an alert carries the rule and the event itself.
 */
import type { ListNode } from '../document.ts';
import { type Fault, outcome, quoted, refuse } from '../faults.ts';
import type { EventMatcher, Level, Rule, RuleMeta } from '../rule.ts';
import { type Compiled, compileCondition, type Scope } from './condition.ts';
import { type Definition, joined, type Library, readLibrary } from './library.ts';
import { ConditionError, parseCondition } from './parser.ts';
import { FIELDS_READ, TOOL_CALLS, toolCalls } from './taxonomy.ts';

/** Falco's priorities, the eight of syslog. */
const LEVELS: Readonly<Record<string, Level>> = {
  ...{ EMERGENCY: 'critical', ALERT: 'critical', CRITICAL: 'critical', ERROR: 'high' },
  ...{ WARNING: 'medium', NOTICE: 'low' },
  ...{ INFORMATIONAL: 'informational', INFO: 'informational', DEBUG: 'informational' },
};
const SOURCE = 'coding_agent';

/** How deep lists may stand in lists; the same for a list that stands in itself. */
const LIST_DEPTH_MAX = 16;
const LIST_ITEMS_MAX = 10_000;

function itemsOf(library: Library, name: string): readonly string[] | undefined {
  const open = (text: string, depth: number): readonly string[] => {
    const found = library.list.get(text);
    if (found === undefined) return [text];
    if (depth > LIST_DEPTH_MAX)
      throw new ConditionError(0, `lists stand in lists deeper than ${LIST_DEPTH_MAX}`, 'limit');
    const items: string[] = [];
    for (const item of found.parts.get('items')?.texts ?? []) {
      items.push(...open(item, depth + 1));
      if (items.length > LIST_ITEMS_MAX)
        throw new ConditionError(0, `a list has more than ${LIST_ITEMS_MAX} items`, 'limit');
    }
    return items;
  };
  return library.list.has(name) ? open(name, 0) : undefined;
}

/** Compiles the condition of a rule or a macro; throws a `Refusal`. */
function conditionOf({ parts, place }: Definition, scope: Scope): Compiled {
  const part = parts.get('condition');
  try {
    return compileCondition(parseCondition(joined(part)), scope);
  } catch (error) {
    if (!(error instanceof ConditionError)) throw error;
    // Folded text has lost its lines: the place is that of the condition, the character says more.
    const where = `condition, character ${error.at + 1}`;
    return refuse(error.code, part?.place ?? place, `${where}: ${error.message}`);
  }
}

/** Compiles all macros, each once, whether a rule uses it or not; one that needs itself can't be. */
function createScope(library: Library, faults: Fault[]): Scope {
  const known = new Map<string, Compiled | 'open' | 'refused'>();
  const compiled = (definition: Definition): Compiled | 'open' | 'refused' => {
    const before = known.get(definition.name);
    if (before !== undefined) return before;
    known.set(definition.name, 'open');
    const result = outcome(() => conditionOf(definition, scope));
    if (!result.ok) faults.push(result.fault);
    const after = result.ok ? result.value : 'refused';
    known.set(definition.name, after);
    return after;
  };
  const scope: Scope = {
    list: (name) => itemsOf(library, name),
    macro: (name, at) => {
      const definition = library.macro.get(name);
      const found = definition === undefined ? undefined : compiled(definition);
      if (typeof found === 'object') return found;
      const why = { open: 'refers to itself', refused: 'was refused', none: 'is not there' };
      const message = `the macro ${quoted(name)} ${why[found ?? 'none']}`;
      throw new ConditionError(at, message, 'reference');
    },
  };
  for (const definition of library.macro.values()) compiled(definition);
  return scope;
}

function metaOf({ name, place, parts }: Definition): RuleMeta {
  const priority = parts.get('priority');
  const level = LEVELS[joined(priority).toUpperCase()];
  if (level === undefined)
    return refuse('shape', priority?.place ?? place, `there is no priority ${joined(priority)}`);
  return {
    ...place,
    id: name,
    name,
    title: name,
    description: joined(parts.get('desc')).trim(),
    level,
    tags: parts.get('tags')?.texts ?? [],
    references: [],
    falsepositives: [],
    language: 'falco',
    logsource: TOOL_CALLS,
  };
}

function ruleOf(definition: Definition, scope: Scope): Rule {
  const { parts, place } = definition;
  const source = parts.get('source');
  if (joined(source) !== SOURCE) {
    const found = source === undefined ? 'system calls, as no source is given' : joined(source);
    refuse('field', source?.place ?? place, `only ${SOURCE} is known as a source, not ${found}`);
  }
  const meta = metaOf(definition);
  const { test, anchors } = conditionOf(definition, scope);
  const matcher: EventMatcher = {
    logsource: TOOL_CALLS,
    matches: (fields) => toolCalls(fields).some(test),
    fields: FIELDS_READ,
    ...(anchors === undefined ? {} : { anchors }),
  };
  return { meta, matcher: { type: 'event', test: matcher }, alerts: true, warnings: [] };
}

/**
 * Compiles the rules of files that belong together, in their order. What can't be compiled is left
 * out and told, once: a rule says that its macro was refused, the macro why. Never throws.
 */
export function compileFalco(files: readonly ListNode[]): {
  readonly rules: readonly Rule[];
  readonly faults: readonly Fault[];
} {
  const faults: Fault[] = [];
  const library = readLibrary(files, faults);
  const scope = createScope(library, faults);
  const rules = [...library.rule.values()].flatMap((definition) => {
    if (joined(definition.parts.get('enabled')) === 'false') return [];
    const result = outcome(() => ruleOf(definition, scope));
    if (!result.ok) faults.push(result.fault);
    return result.ok ? [result.value] : [];
  });
  return { rules, faults };
}
