/**
 * A folder of rules: documents of all languages, with the references between them resolved. Each
 * document is compiled or refused on its own; a rule that needs a refused one is refused with it.
 */
import { at, type ListNode, type MapNode, readNodes, type Warning } from './document.ts';
import { compileEql } from './eql/compile.ts';
import { compileFalco } from './falco/compile.ts';
import { type Fault, type Outcome, outcome, quoted } from './faults.ts';
import type { Rule } from './rule.ts';
import { type Correlation, readCorrelation } from './sigma/correlation.ts';
import { linkSigma } from './sigma/link.ts';
import { type Detection, type Filter, readDetection, readFilter } from './sigma/rule.ts';
import type { Placeholders } from './sigma/value.ts';

export interface RuleFile {
  /** As it is to stand in faults. */
  readonly file: string;
  readonly text: string;
  /** SPDX id of the licence of the folder that it is from, for rules that name none themselves. */
  readonly license?: string;
}

export interface LoadOptions {
  /** What `%name%` stands for where a rule says `expand`. */
  readonly placeholders?: Placeholders;
}

export interface Loaded {
  readonly rules: readonly Rule[];
  /** Why documents were refused. */
  readonly faults: readonly Fault[];
  readonly warnings: readonly Warning[];
}

type Compiled = { readonly type: 'eql'; readonly rule: Rule } | Detection | Correlation | Filter;

/** Compiles one document by what it has: one of EQL's bodies, a correlation, a filter, a detection. */
function compile(map: MapNode, placeholders: Placeholders): Compiled {
  const has = (key: string) => at(map, key) !== undefined;
  const language = at(map, 'language')?.value;
  const eql = language?.type === 'scalar' && language.value === 'eql';
  if (eql || ['query', 'threshold', 'first_seen'].some(has))
    return { type: 'eql', rule: compileEql(map) };
  if (has('correlation')) return readCorrelation(map);
  if (has('filter')) return readFilter(map, placeholders);
  return readDetection(map, placeholders);
}

/** The words by which other documents may refer to this one. */
function namesOf(map: MapNode): readonly string[] {
  return ['id', 'name'].flatMap((key) => {
    const value = at(map, key)?.value;
    return value?.type === 'scalar' && typeof value.value === 'string' ? [value.value] : [];
  });
}

/** Ids are what alerts and correlations know a rule by: two of the same are one too many. */
function withoutTwins(rules: readonly Rule[], faults: Fault[]): readonly Rule[] {
  const first = new Map<string, Rule>();
  return rules.filter((rule) => {
    const { id, file, line, column } = rule.meta;
    const other = first.get(id);
    if (other === undefined) {
      first.set(id, rule);
      return true;
    }
    const reason = `the id ${quoted(id)} is taken by ${other.meta.file}:${other.meta.line}`;
    faults.push({ file, line, column, code: 'reference', reason });
    return false;
  });
}

/** Gives rules that name no licence the one of their folder: an alert has to say it. */
function licensed(files: readonly RuleFile[]): (rule: Rule) => Rule {
  const byFile = new Map(files.map(({ file, license }) => [file, license]));
  return (rule) => {
    const license = rule.meta.license ?? byFile.get(rule.meta.file);
    return license === undefined ? rule : { ...rule, meta: { ...rule.meta, license } };
  };
}

/** Loads rule files; what can't be compiled is left out and told. Never throws. */
export function loadRules(files: readonly RuleFile[], options: LoadOptions = {}): Loaded {
  const placeholders = options.placeholders ?? new Map();
  const faults: Fault[] = [];
  const refused = new Set<string>();
  const compiled: Compiled[] = [];
  /** A list is a file of Falco's; all of them together are one program. */
  const lists: ListNode[] = [];
  for (const { file, text } of files)
    for (const document of readNodes(text, file)) {
      if (!document.ok) {
        faults.push(document.fault);
        continue;
      }
      const { value } = document;
      if (value.type === 'list') {
        lists.push(value);
        continue;
      }
      const result: Outcome<Compiled> = outcome(() => compile(value, placeholders));
      if (result.ok) compiled.push(result.value);
      else {
        faults.push(result.fault);
        for (const name of namesOf(value)) refused.add(name);
      }
    }
  const ofType = <T extends Compiled['type']>(type: T) =>
    compiled.filter((one): one is Extract<Compiled, { type: T }> => one.type === type);
  const linked = linkSigma({
    detections: ofType('detection'),
    correlations: ofType('correlation'),
    filters: ofType('filter'),
    refused,
  });
  const falco = compileFalco(lists);
  faults.push(...linked.faults, ...falco.faults);
  const all = [...linked.rules, ...ofType('eql').map(({ rule }) => rule), ...falco.rules];
  const rules = withoutTwins(all, faults).map(licensed(files));
  return {
    rules,
    faults,
    warnings: [...linked.warnings, ...rules.flatMap(({ warnings }) => warnings)],
  };
}
