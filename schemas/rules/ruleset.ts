/**
 * Many rules put together: each event is put to the tests of all of them at once. A test that
 * several rules share (a rule, and a correlation that refers to it) is run once an event.
 */
import { type Candidates, createCandidates } from './candidates.ts';
import type { EventMatcher, Hit, Rule } from './rule.ts';
import {
  coversSource,
  type FieldView,
  type Logsource,
  type LogView,
  type RuleEvent,
} from './values.ts';

/** What an event means to a rule set; both lists are empty for nearly every event. */
export interface Evaluation {
  /** Rules of one event that hold and alert. */
  readonly matched: readonly Rule[];
  /** Rules of many events of which an input holds; hits ascend by input. */
  readonly hits: readonly { readonly rule: Rule; readonly hits: readonly Hit[] }[];
}

export interface RuleSet {
  readonly rules: readonly Rule[];
  evaluate(event: Pick<RuleEvent, 'views'>): Evaluation;
}

/** Where a test is used: by a rule of one event, or as an input of a rule of many. */
interface Use {
  readonly rule: Rule;
  /** The rule's place in the set. */
  readonly number: number;
  readonly input?: number;
}

interface Tests {
  readonly tests: readonly EventMatcher[];
  /** By the place of the test. */
  readonly uses: readonly (readonly Use[])[];
}

function testsOf(rules: readonly Rule[]): Tests {
  const tests: EventMatcher[] = [];
  const uses: Use[][] = [];
  const places = new Map<EventMatcher | string, number>();
  const use = (test: EventMatcher, of: Use) => {
    const name = test.identity ?? test;
    const place = places.get(name) ?? tests.length;
    if (place === tests.length) {
      places.set(name, place);
      tests.push(test);
      uses.push([]);
    }
    (uses[place] as Use[]).push(of);
  };
  rules.forEach((rule, number) => {
    const { matcher, alerts } = rule;
    if (matcher.type === 'event') {
      if (alerts) use(matcher.test, { rule, number });
    } else
      matcher.stream.inputs.forEach((test, input) => {
        use(test, { rule, number, input });
      });
  });
  return { tests, uses };
}

const NOTHING: Evaluation = { matched: [], hits: [] };
/** Log sources and kinds are few; an event that makes up its own does not fill the memory. */
const SELECTIONS_MAX = 1000;

const sourceKey = (source: Logsource | undefined): string =>
  source === undefined
    ? ''
    : `${source.product ?? ''}\n${source.category ?? ''}\n${source.service ?? ''}`;

/** Tests that may hold for the views of one log source, or for those with one value there. */
interface Selection {
  readonly candidates: Candidates;
  /** By the number of the test. */
  readonly tests: readonly (EventMatcher | undefined)[];
  /** The field by whose value fewer tests are left. */
  readonly pivot: string | undefined;
  /** The selections for its values; undefined where no test is left. */
  readonly byValue: Map<string, Selection | undefined>;
}

/** A selection of tests; undefined where there is none to run. */
function select(tests: readonly (EventMatcher | undefined)[]): Selection | undefined {
  const ids = tests.flatMap((test, id) => (test === undefined ? [] : [id]));
  if (ids.length === 0) return undefined;
  const some = ids.map((id) => tests[id] as EventMatcher);
  const pivot = some.find((test) => test.pivot !== undefined)?.pivot?.field;
  // Where there is a pivot, the index over all its values is hardly ever asked for.
  let index: Candidates | undefined;
  const candidates: Candidates = (fields) => {
    index ??= createCandidates(some, ids);
    return index(fields);
  };
  return { candidates, tests, pivot, byValue: new Map() };
}

/** The tests that are left where the pivot has this value. */
function narrow({ tests, pivot, byValue }: Selection, value: string): Selection | undefined {
  const known = byValue.get(value);
  if (known !== undefined || byValue.has(value)) return known;
  const selection = select(
    tests.map((test) => (test?.pivot?.field === pivot ? test?.pivot?.at(value) : test)),
  );
  // Values are the event's own words.
  if (byValue.size >= SELECTIONS_MAX) byValue.clear();
  byValue.set(value, selection);
  return selection;
}

/** Finds the selection for a view. */
function createSelector(tests: readonly EventMatcher[]) {
  const bySource = new Map<string, Selection | undefined>();
  /** The sources of a taxonomy are the same few objects for all events. */
  const known = new WeakMap<Logsource, { readonly selection: Selection | undefined }>();

  function byWords(source: Logsource | undefined): Selection | undefined {
    const key = sourceKey(source);
    if (bySource.has(key)) return bySource.get(key);
    const selection = select(
      tests.map((test) => (coversSource(test.logsource, source) ? test : undefined)),
    );
    if (bySource.size >= SELECTIONS_MAX) bySource.clear();
    bySource.set(key, selection);
    return selection;
  }

  function ofSource(source: Logsource | undefined): Selection | undefined {
    if (source === undefined) return byWords(source);
    const there = known.get(source);
    if (there !== undefined) return there.selection;
    const selection = byWords(source);
    known.set(source, { selection });
    return selection;
  }

  return ({ source, fields }: LogView): Selection | undefined => {
    let selection = ofSource(source);
    while (selection?.pivot !== undefined) {
      const value = fields.get(selection.pivot);
      if (typeof value !== 'string') break;
      selection = narrow(selection, value);
    }
    return selection;
  };
}

/** The tests that held, and the view of each. */
interface Held {
  readonly test: number;
  readonly fields: FieldView;
}

interface Found {
  readonly rule: Rule;
  readonly number: number;
  readonly hits: Hit[];
}

/** The uses of the tests that held, put together by rule. An event has few, so lists do. */
function collect({ uses }: Tests, held: readonly Held[]): Evaluation {
  const matched: Use[] = [];
  const hits: Found[] = [];
  for (const { test, fields } of held)
    for (const use of uses[test] as readonly Use[]) {
      const { rule, number, input } = use;
      if (input === undefined) matched.push(use);
      else {
        const found = hits.find((one) => one.number === number);
        if (found === undefined) hits.push({ rule, number, hits: [{ input, fields }] });
        else found.hits.push({ input, fields });
      }
    }
  if (matched.length > 1) matched.sort((a, b) => a.number - b.number);
  if (hits.length > 1) hits.sort((a, b) => a.number - b.number);
  for (const one of hits) if (one.hits.length > 1) one.hits.sort((a, b) => a.input - b.input);
  return { matched: matched.map(({ rule }) => rule), hits };
}

/** Puts rules together. Where two views of an event pass one test, the first view counts. */
export function createRuleSet(rules: readonly Rule[]): RuleSet {
  const all = testsOf(rules);
  const selectionOf = createSelector(all.tests);
  const holds = (held: readonly Held[] | undefined, id: number): boolean =>
    held?.some(({ test }) => test === id) === true;
  return {
    rules,
    evaluate: ({ views }) => {
      let held: Held[] | undefined;
      for (const view of views) {
        const selection = selectionOf(view);
        if (selection === undefined) continue;
        const { fields } = view;
        for (const id of selection.candidates(fields))
          if (selection.tests[id]?.matches(fields) && !holds(held, id)) {
            held ??= [];
            held.push({ test: id, fields });
          }
      }
      return held === undefined ? NOTHING : collect(all, held);
    },
  };
}
