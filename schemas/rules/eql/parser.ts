/**
 * Whole EQL queries:
 *
 *     query     (sequence | sample | event) (`|` pipe)*
 *     event     (`any` | name | string) `where` condition
 *     sequence  `sequence` by? (`with` `maxspan` `=` time)? step+ (`until` step)?
 *     sample    `sample` by? step+
 *     step      (`[` | `![`) event `]` by? (`with` `runs` `=` number)?
 *     by        `by` field (`,` field)*
 *     pipe      `head` number | `tail` number
 *
 * What other dialects have beyond that is refused by name.
 */
import type {
  EqlQuery,
  EventFilter,
  FieldNode,
  Parsed,
  Pipe,
  Position,
  SampleQuery,
  SequenceQuery,
  Step,
} from './ast.ts';
import { Cursor, EqlError } from './cursor.ts';
import { parseCondition, parseField } from './expression.ts';
import { tokenize } from './lexer.ts';

/** `with runs=n` takes 1 to 100, as in Elasticsearch. */
export const RUNS_MAX = 100;
/** Steps of one sequence, each run counted. */
export const STEPS_MAX = 256;
/** Filters of one sample, as in Elasticsearch. */
export const SAMPLE_FILTERS_MAX = 5;
/** Join fields of one step, those of the whole query included. */
export const BY_FIELDS_MAX = 16;
const PIPES_MAX = 8;
/** What a `tail` holds back stays in memory. */
const PIPE_COUNT_MAX = 10_000;
/** A century: longer than any history, and far below what 64 bits of nanoseconds hold. */
const MAXSPAN_NS_MAX = 100n * 365n * 86_400_000_000_000n;

/** Elasticsearch's time units, in nanoseconds. */
const UNITS: Readonly<Record<string, bigint>> = {
  d: 86_400_000_000_000n,
  h: 3_600_000_000_000n,
  m: 60_000_000_000n,
  s: 1_000_000_000n,
  ms: 1_000_000n,
  micros: 1_000n,
  nanos: 1n,
};
/** Pipes that the original EQL has and Elasticsearch has not. */
const OTHER_PIPES = new Set(['count', 'filter', 'sort', 'unique', 'unique_count']);

/**
 * Parses one EQL query.
 *
 * @param text any text
 * @returns the query, or the first fault with its line and column; never throws
 */
export function parseEql(text: string): Parsed<EqlQuery> {
  const tokens = tokenize(text);
  if (!tokens.ok) return tokens;
  try {
    return { ok: true, value: parseQuery(new Cursor(tokens.value)) };
  } catch (error) {
    if (!(error instanceof EqlError)) throw error;
    return { ok: false, fault: { ...error.at, message: error.message } };
  }
}

function parseQuery(cursor: Cursor): EqlQuery {
  const body = parseBody(cursor);
  const pipes: Pipe[] = [];
  while (cursor.takeSign('|')) {
    if (pipes.length === PIPES_MAX) cursor.fail(`at most ${PIPES_MAX} pipes are allowed`);
    pipes.push(parsePipe(cursor));
  }
  if (cursor.peek().type !== 'end') {
    cursor.fail(body.kind === 'event' ? 'expected "and", "or" or "|"' : 'expected "[" or "|"');
  }
  return { body, pipes };
}

function parseBody(cursor: Cursor): EqlQuery['body'] {
  if (cursor.isWord('join')) cursor.fail('"join" is not part of the Elasticsearch dialect');
  if (cursor.isWord('sequence')) return parseSequence(cursor);
  if (cursor.isWord('sample')) return parseSample(cursor);
  return { kind: 'event', filter: parseFilter(cursor) };
}

function parseFilter(cursor: Cursor): EventFilter {
  const token = cursor.peek();
  const any = cursor.isWord('any');
  const named = token.type === 'string' || (token.type === 'name' && cursor.isName());
  if (token.type === 'escaped') cursor.fail('a category is escaped by double quotes');
  if (!any && !named) cursor.fail('expected an event category or "any"');
  if (token.tilde) cursor.fail('an event category takes no "~"');
  cursor.next();
  cursor.expectWord('where', 'after the event category');
  const condition = parseCondition(cursor);
  return { category: any ? undefined : token.text, condition, at: token.at };
}

function parseBy(cursor: Cursor): FieldNode[] {
  if (!cursor.takeWord('by')) return [];
  const fields = [parseField(cursor)];
  while (cursor.takeSign(',')) {
    if (fields.length === BY_FIELDS_MAX) cursor.fail(`at most ${BY_FIELDS_MAX} join fields`);
    fields.push(parseField(cursor));
  }
  return fields;
}

function parseStep(cursor: Cursor): Step {
  const { at } = cursor.peek();
  const missing = cursor.takeSign('![');
  if (!missing) cursor.expectSign('[', 'to begin a step');
  const filter = parseFilter(cursor);
  cursor.expectSign(']', 'or "and", "or" to go on with the step');
  if (cursor.isWord('fork')) cursor.fail('"fork" is not part of the Elasticsearch dialect');
  const by = parseBy(cursor);
  const runs = parseRuns(cursor);
  if (cursor.isWord('as')) cursor.fail('"as" is not part of the Elasticsearch dialect');
  return { filter, by, runs, missing, at };
}

function parseRuns(cursor: Cursor): number {
  if (!cursor.takeWord('with')) return 1;
  cursor.expectWord('runs', 'after "with"');
  cursor.expectSign('=', 'after "runs"');
  const token = cursor.peek();
  const runs = Number(token.text);
  if (token.type !== 'integer' || runs < 1 || runs > RUNS_MAX) {
    cursor.fail(`expected a number of runs from 1 to ${RUNS_MAX}`);
  }
  cursor.next();
  return runs;
}

function parseSteps(cursor: Cursor): Step[] {
  const steps: Step[] = [];
  let count = 0;
  while (cursor.isSign('[') || cursor.isSign('![')) {
    const step = parseStep(cursor);
    steps.push(step);
    count += step.runs;
    if (count > STEPS_MAX) throw new EqlError(step.at, `more than ${STEPS_MAX} steps`);
  }
  return steps;
}

function parseMaxspan(cursor: Cursor): bigint | undefined {
  if (!cursor.takeWord('with')) return undefined;
  cursor.expectWord('maxspan', 'after "with"');
  cursor.expectSign('=', 'after "maxspan"');
  const count = cursor.peek();
  if (count.type !== 'integer') cursor.fail('expected a whole number of time units');
  cursor.next();
  const unit = cursor.peek();
  const size = unit.type === 'name' && !unit.tilde ? UNITS[unit.text] : undefined;
  if (size === undefined) cursor.fail(`expected a time unit (${Object.keys(UNITS).join(', ')})`);
  cursor.next();
  const span = BigInt(count.text) * size;
  if (span <= 0n || span > MAXSPAN_NS_MAX) {
    throw new EqlError(count.at, 'maxspan must be longer than nothing and at most 100 years');
  }
  return span;
}

function parseSequence(cursor: Cursor): SequenceQuery {
  const { at } = cursor.next();
  const by = parseBy(cursor);
  const maxspanNs = parseMaxspan(cursor);
  if (cursor.isWord('by')) cursor.fail('"by" stands before "with maxspan"');
  const steps = parseSteps(cursor);
  if (steps.length === 0) cursor.fail('expected "[" to begin the first step');
  const until = cursor.takeWord('until') ? parseUntil(cursor) : undefined;
  const query: SequenceQuery = { kind: 'sequence', by, maxspanNs, steps, until, at };
  checkSequence(query);
  return query;
}

function parseUntil(cursor: Cursor): Step {
  const step = parseStep(cursor);
  if (step.missing) throw new EqlError(step.at, '"until" takes no missing event');
  if (step.runs !== 1) throw new EqlError(step.at, '"until" takes no "with runs"');
  return step;
}

function checkSequence(query: SequenceQuery): void {
  const { steps, until, at } = query;
  const count = steps.reduce((sum, step) => sum + step.runs, 0);
  if (count < 2) throw new EqlError(at, 'a sequence needs at least 2 steps');
  const missing = steps.find((step) => step.missing);
  if (steps.every((step) => step.missing)) {
    throw new EqlError(at, 'a sequence needs at least one step that is not a missing event');
  }
  if (missing !== undefined && query.maxspanNs === undefined) {
    throw new EqlError(missing.at, 'a missing event needs "with maxspan" on the sequence');
  }
  checkKeys(query.by, until === undefined ? steps : [...steps, until]);
}

/** All steps join on equally many fields. */
function checkKeys(by: readonly FieldNode[], steps: readonly Step[]): void {
  const wanted = steps[0]?.by.length ?? 0;
  for (const step of steps) {
    if (step.by.length !== wanted) {
      const counts = `${step.by.length}, the first step on ${wanted}`;
      throw new EqlError(step.at, `each step joins on equally many fields: here on ${counts}`);
    }
    if (by.length + wanted > BY_FIELDS_MAX) {
      throw new EqlError(step.at, `at most ${BY_FIELDS_MAX} join fields`);
    }
  }
}

function parseSample(cursor: Cursor): SampleQuery {
  const { at } = cursor.next();
  const by = parseBy(cursor);
  if (cursor.isWord('with')) cursor.fail('a sample takes no "with": expected "["');
  const filters = parseSteps(cursor);
  if (cursor.isWord('until')) cursor.fail('a sample takes no "until": expected "["');
  if (filters.length < 2 || filters.length > SAMPLE_FILTERS_MAX) {
    throw new EqlError(at, `a sample needs 2 to ${SAMPLE_FILTERS_MAX} filters`);
  }
  for (const { missing, runs, at: place } of filters) {
    if (missing) throw new EqlError(place, 'a sample takes no missing event');
    if (runs !== 1) throw new EqlError(place, 'a sample takes no "with runs"');
  }
  checkKeys(by, filters);
  if (by.length + (filters[0]?.by.length ?? 0) === 0) {
    throw new EqlError(at, 'a sample needs a join field: expected "by"');
  }
  return { kind: 'sample', by, filters, at };
}

function parsePipe(cursor: Cursor): Pipe {
  const token = cursor.peek();
  const { at, text } = token as { at: Position; text: string };
  if (token.type === 'name' && OTHER_PIPES.has(text)) {
    cursor.fail('Elasticsearch EQL has the pipes "head" and "tail" only');
  }
  const name = (['head', 'tail'] as const).find((one) => cursor.takeWord(one));
  if (name === undefined) return cursor.fail('expected the pipe "head" or "tail"');
  const count = cursor.peek();
  const value = Number(count.text);
  if (count.type !== 'integer' || value < 1 || value > PIPE_COUNT_MAX) {
    cursor.fail(`expected how many, from 1 to ${PIPE_COUNT_MAX}`);
  }
  cursor.next();
  return { name, count: value, at };
}
