/** A parsed query, compiled for the engine that all rules share. */
import {
  type EventMatcher,
  type Matcher,
  STREAM_LIMITS,
  type StreamMatcher,
  type StreamState,
} from '../rule.ts';
import type { FieldView } from '../values.ts';
import { anchorsOf, needOfCondition } from './anchors.ts';
import type {
  EqlFault,
  EqlQuery,
  EventFilter,
  FieldNode,
  Parsed,
  SampleQuery,
  SequenceQuery,
  Step,
} from './ast.ts';
import { compileCondition, fieldType, type Scope } from './condition.ts';
import { EqlError } from './cursor.ts';
import { canHold, decide, isTrue } from './decide.ts';
import { compileKey, keyTexts } from './key.ts';
import type { FieldType } from './operand.ts';
import { createPipes, END_OF_TIME_NS, type SavedPipe } from './pipes.ts';
import { openSample } from './sample.ts';
import { openSequence, planSequence, type Stage } from './sequence.ts';
import { type Category, EQL_SOURCE, findCategory, typeOfField } from './taxonomy.ts';

export interface CompiledQuery {
  readonly matcher: Matcher;
  /** Fields and categories that no event of ours has: the query compiles, and they stay empty. */
  readonly unknown: readonly EqlFault[];
}

/** What the narrower categories look at. */
const CATEGORY_FIELDS = ['kind', 'net_op'];

function compileTest(filter: EventFilter, scope: Scope, category: Category | undefined) {
  const asked = new Set<string>(CATEGORY_FIELDS);
  const typeOf: Scope['typeOf'] = (field) => {
    asked.add(field);
    return scope.typeOf(field);
  };
  const { condition } = filter;
  const holds = compileCondition(condition, { ...scope, typeOf });
  const narrow = category?.test;
  const anchors = anchorsOf(condition);
  const need = needOfCondition(condition);
  const wanted = category?.name ?? filter.category;
  return {
    logsource: wanted === undefined ? EQL_SOURCE : { ...EQL_SOURCE, category: wanted },
    matches: narrow === undefined ? holds : (fields: FieldView) => narrow(fields) && holds(fields),
    ...(anchors === undefined ? {} : { anchors }),
    ...(need === undefined ? {} : { need }),
    fields: [...asked],
    ...(narrow === undefined && isTrue(condition) ? { always: true as const } : {}),
  };
}

/** Filters are the same test where they are, but for their places, the same text. */
const identityOf = ({ category, condition }: EventFilter): string =>
  JSON.stringify([category, condition], (name, value) => (name === 'at' ? undefined : value));

function compileFilter(filter: EventFilter, scope: Scope): EventMatcher {
  const { category: name } = filter;
  const category = name === undefined ? undefined : findCategory(name);
  const test = compileTest(filter, scope, category);
  if (name !== undefined && category === undefined) {
    scope.unknown(`no event has the category ${JSON.stringify(name)}`, filter.at);
  }
  const silent: Scope = { ...scope, unknown: () => {} };
  const at = (kind: string): EventMatcher | undefined => {
    if (category?.kind !== undefined && category.kind !== kind) return undefined;
    const condition = decide(filter.condition, kind);
    if (!canHold(condition)) return undefined;
    const known = category?.kind === undefined ? category : { name: category.name };
    return compileTest({ ...filter, condition }, silent, known);
  };
  // Other types than those of our events may give the same text another meaning.
  const identity = scope.typeOf === typeOfField ? { identity: identityOf(filter) } : {};
  return { ...test, ...identity, pivot: { field: 'kind', at } };
}

/** The join fields of one step: the query's, then its own. */
function joinFields(by: readonly FieldNode[], step: Step, scope: Scope): FieldNode[] {
  const fields = [...by, ...step.by];
  for (const field of fields) {
    const { type, list } = fieldType(field, scope);
    if (list && type !== 'any') {
      throw new EqlError(field.at, `events can't be joined by ${field.name}: it is a list`);
    }
  }
  return fields;
}

const namesOf = (fields: readonly FieldNode[]): string[] => fields.map(({ name }) => name);
const unique = (names: readonly (readonly string[])[]): string[] => [...new Set(names.flat())];

function compileSequence(query: SequenceQuery, pipes: EqlQuery['pipes'], scope: Scope): Matcher {
  const steps = query.until === undefined ? query.steps : [...query.steps, query.until];
  const inputs = steps.map((step) => compileFilter(step.filter, scope));
  const keys = steps.map((step) => joinFields(query.by, step, scope));
  const stages = steps.map((step, input): Stage => {
    return { input, missing: step.missing, keyOf: compileKey(keys[input] ?? []) };
  });
  const plan = planSequence({
    stages: query.steps.flatMap((step, input) => Array(step.runs).fill(stages[input])),
    until: query.until === undefined ? undefined : stages[stages.length - 1],
    maxspanNs: query.maxspanNs,
    pipes,
  });
  const groupBy = keys.map(namesOf);
  const stream: StreamMatcher = {
    inputs,
    opens: query.steps.findIndex(({ missing }) => !missing),
    required: query.steps.flatMap(({ missing }, input) => (missing ? [] : [input])),
    // A pipe counts matches for ever.
    ...(query.maxspanNs === undefined || pipes.length > 0 ? {} : { windowNs: query.maxspanNs }),
    fields: unique(groupBy),
    groupBy,
    open: (limits = STREAM_LIMITS, saved) => openSequence(plan, limits, saved),
  };
  return { type: 'stream', stream };
}

function compileSample(query: SampleQuery, pipes: EqlQuery['pipes'], scope: Scope): Matcher {
  const keys = query.filters.map((step) => joinFields(query.by, step, scope));
  const groupBy = keys.map(namesOf);
  const plan = { filters: keys.map(compileKey), pipes };
  const stream: StreamMatcher = {
    inputs: query.filters.map((step) => compileFilter(step.filter, scope)),
    required: query.filters.map((_, input) => input),
    fields: unique(groupBy),
    groupBy,
    open: (limits = STREAM_LIMITS, saved) => openSample(plan, limits, saved),
  };
  return { type: 'stream', stream };
}

/** The state of an event query with pipes: each event is a match, and the pipes count. */
function openEvents(pipes: EqlQuery['pipes'], saved: unknown): StreamState {
  const chain = createPipes(pipes, saved as readonly SavedPipe[] | undefined);
  return {
    feed: ({ timeNs, id }, hits) =>
      hits.length === 0 ? [] : chain.push([{ timeNs, key: keyTexts('[]'), events: [id] }]),
    advance: (timeNs) => (timeNs < END_OF_TIME_NS ? [] : chain.end()),
    save: () => chain.save(),
    stats: () => ({ groups: 0, events: chain.held(), evicted: 0 }),
    get size() {
      return chain.held();
    },
  };
}

function compileEvents(filter: EventFilter, pipes: EqlQuery['pipes'], scope: Scope): Matcher {
  const test = compileFilter(filter, scope);
  if (pipes.length === 0) return { type: 'event', test };
  const open: StreamMatcher['open'] = (_limits, saved) => openEvents(pipes, saved);
  return { type: 'stream', stream: { inputs: [test], fields: [], groupBy: [[]], open } };
}

/**
 * Compiles a parsed query.
 *
 * @param typeOf the types of fields; those of our events where it is left out
 * @returns the matcher, or the first fault with its line and column; never throws
 */
export function compileQuery(
  query: EqlQuery,
  typeOf: (name: string) => FieldType | undefined = typeOfField,
): Parsed<CompiledQuery> {
  const unknown: EqlFault[] = [];
  const scope: Scope = {
    typeOf,
    unknown: (message, at) => unknown.push({ ...at, message }),
  };
  const { body, pipes } = query;
  try {
    const matcher =
      body.kind === 'sequence'
        ? compileSequence(body, pipes, scope)
        : body.kind === 'sample'
          ? compileSample(body, pipes, scope)
          : compileEvents(body.filter, pipes, scope);
    return { ok: true, value: { matcher, unknown } };
  } catch (error) {
    if (!(error instanceof EqlError)) throw error;
    return { ok: false, fault: { ...error.at, message: error.message } };
  }
}
