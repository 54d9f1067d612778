/**
 * Many rules put together: each event is put to the tests of all of them at once. A test that
 * several rules share (a rule, and a correlation that refers to it) is run once an event.
 */
import { type Candidates, createCandidates } from './candidates.ts';
import type { EventMatcher, Hit, Rule } from './rule.ts';
import { coversSource, type FieldView, type Logsource, type RuleEvent } from './values.ts';

/** What an event means to a rule set; both lists are empty for nearly every event. */
export interface Evaluation {
  /** Rules of one event that hold and alert. */
  readonly matched: readonly Rule[];
  /** Rules of many events of which an input holds; hits ascend by input. */
  readonly hits: readonly { readonly rule: Rule; readonly hits: readonly Hit[] }[];
}

export interface RuleSet {
  readonly rules: readonly Rule[];
  evaluate(event: RuleEvent): Evaluation;
}

/** Where a test is used: by a rule of one event, or as an input of a rule of many. */
interface Use {
  readonly rule: number;
  readonly input?: number;
}

interface Tests {
  readonly tests: readonly EventMatcher[];
  /** By the place of the test. */
  readonly uses: readonly (readonly Use[])[];
}

function testsOf(rules: readonly Rule[]): Tests {
  const places = new Map<EventMatcher, Use[]>();
  const use = (test: EventMatcher, of: Use) => {
    const uses = places.get(test) ?? [];
    places.set(test, uses);
    uses.push(of);
  };
  rules.forEach(({ matcher, alerts }, rule) => {
    if (matcher.type === 'event') {
      if (alerts) use(matcher.test, { rule });
    } else
      matcher.stream.inputs.forEach((test, input) => {
        use(test, { rule, input });
      });
  });
  return { tests: [...places.keys()], uses: [...places.values()] };
}

const NOTHING: Evaluation = { matched: [], hits: [] };
/** Log sources are few; an event whose source is made up does not fill the memory. */
const SOURCES_MAX = 1000;

const sourceKey = (source: Logsource | undefined): string =>
  source === undefined
    ? ''
    : `${source.product ?? ''}\n${source.category ?? ''}\n${source.service ?? ''}`;

/** The uses of the tests that held, put together by rule. */
function collect(
  rules: readonly Rule[],
  { uses }: Tests,
  held: ReadonlyMap<number, FieldView>,
): Evaluation {
  const matched: number[] = [];
  const hits = new Map<number, Hit[]>();
  for (const [test, fields] of held)
    for (const { rule, input } of uses[test] as readonly Use[]) {
      if (input === undefined) matched.push(rule);
      else {
        const list = hits.get(rule) ?? [];
        hits.set(rule, list);
        list.push({ input, fields });
      }
    }
  return {
    matched: matched.sort((a, b) => a - b).map((rule) => rules[rule] as Rule),
    hits: [...hits]
      .sort(([a], [b]) => a - b)
      .map(([rule, list]) => ({
        rule: rules[rule] as Rule,
        hits: list.sort((a, b) => a.input - b.input),
      })),
  };
}

/** Puts rules together. Where two views of an event pass one test, the first view counts. */
export function createRuleSet(rules: readonly Rule[]): RuleSet {
  const all = testsOf(rules);
  const bySource = new Map<string, Candidates>();
  /** The sources of a taxonomy are the same few objects for all events. */
  const known = new WeakMap<Logsource, Candidates>();
  function candidatesFor(source: Logsource | undefined): Candidates {
    const found = source === undefined ? undefined : known.get(source);
    if (found !== undefined) return found;
    const candidates = candidatesByWords(source);
    if (source !== undefined) known.set(source, candidates);
    return candidates;
  }
  function candidatesByWords(source: Logsource | undefined): Candidates {
    const key = sourceKey(source);
    let candidates = bySource.get(key);
    if (candidates === undefined) {
      const ids = all.tests.flatMap(({ logsource }, id) =>
        coversSource(logsource, source) ? [id] : [],
      );
      candidates = createCandidates(
        ids.map((id) => all.tests[id] as EventMatcher),
        ids,
      );
      if (bySource.size >= SOURCES_MAX) bySource.clear();
      bySource.set(key, candidates);
    }
    return candidates;
  }
  return {
    rules,
    evaluate: ({ views }) => {
      let held: Map<number, FieldView> | undefined;
      for (const { source, fields } of views)
        for (const id of candidatesFor(source)(fields))
          if (!held?.has(id) && (all.tests[id] as EventMatcher).matches(fields)) {
            held ??= new Map();
            held.set(id, fields);
          }
      return held === undefined ? NOTHING : collect(rules, all, held);
    },
  };
}
