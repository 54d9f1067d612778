/** One value of a detection, its modifiers applied, as a test of an event. */
import { compileCidr } from '../cidr.ts';
import { type Place, quoted, refuse } from '../faults.ts';
import { compileRegex } from '../regex.ts';
import type { Anchor } from '../rule.ts';
import {
  type FieldValue,
  type FieldView,
  fold,
  numberOf,
  type Scalar,
  textsIn,
} from '../values.ts';
import { type Expression, type Leaf, or } from './expression.ts';
import { anchorOf, compilePattern, endsOpen, foldTokens, startsOpen } from './pattern.ts';
import type { Comparison, Relation, TimePart, Value } from './value.ts';

const COST = { exists: 1, text: 2, pattern: 4, number: 3, regex: 50, keyword: 100 } as const;

type TextValue = Extract<Value, { type: 'text' }>;
type Test = (text: string) => boolean;

const leaf = (
  cost: number,
  matches: (fields: FieldView) => boolean,
  anchors?: readonly Anchor[],
): Leaf => ({ op: 'test', cost, matches, ...(anchors === undefined ? {} : { anchors }) });

/** A test of the field's texts as they are: case counts. */
const ofTexts = (field: string, test: Test) => (fields: FieldView) =>
  textsIn(fields.get(field)).some(test);
const ofFolded = (field: string, test: Test) => (fields: FieldView) =>
  fields.folded(field).some(test);

function textLeaf(field: string, value: TextValue): Expression {
  return or(
    value.alternatives.map((tokens) => {
      const anchor = anchorOf(field, tokens);
      const cost = tokens.length > 3 ? COST.pattern : COST.text;
      const anchors = anchor === undefined ? undefined : [anchor];
      if (value.cased) return leaf(cost, ofTexts(field, compilePattern(tokens)), anchors);
      return leaf(cost, ofFolded(field, compilePattern(foldTokens(tokens))), anchors);
    }),
  );
}

/**
 * Sigma's expressions are Perl's: there `$` also stands before a newline that ends the text, so
 * that `\\.pth$` is not got around by one. RE2's own `$` is the very end. Where `m` is set the two
 * mean the same.
 */
function perlDollar(source: string): string {
  if (/\(\?[a-zA-Z]*m/.test(source)) return source;
  return source.replace(/\\[\s\S]|\[\^?\]?(?:\[:\^?\w+:\]|\\[\s\S]|[^\]\\])*\]|\$/g, (part) =>
    part === '$' ? '(?:\\n?\\z)' : part,
  );
}

function regexTest(value: Extract<Value, { type: 'regex' }>): Test {
  const { source, flags } = value;
  const regex = compileRegex(flags.multiline ? source : perlDollar(source), flags);
  return regex.ok ? regex.pattern.test : refuse('regex', value.place, regex.reason);
}

const entriesOf = (value: FieldValue | undefined): readonly Scalar[] =>
  value === undefined ? [] : typeof value === 'object' && value !== null ? value : [value];

const COMPARE: Readonly<Record<Comparison | 'equals', (a: number, b: number) => boolean>> = {
  lt: (a, b) => a < b,
  lte: (a, b) => a <= b,
  gt: (a, b) => a > b,
  gte: (a, b) => a >= b,
  equals: (a, b) => a === b,
};

const ISO = /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})|$)/;
/** Times of ours: nanoseconds since 1970 as 19 digits, read as UTC. */
const NANOSECONDS = /^[1-8]\d{18}$/;
const DAY_MS = 86_400_000;

/** The number of the ISO 8601 week that a day belongs to. */
function isoWeek(year: number, month: number, day: number): number {
  const date = Date.UTC(year, month - 1, day);
  const thursday = date + (4 - (new Date(date).getUTCDay() || 7)) * DAY_MS;
  const start = Date.UTC(new Date(thursday).getUTCFullYear(), 0, 1);
  return Math.floor((thursday - start) / (7 * DAY_MS)) + 1;
}

/**
 * A part of a time, as it is written: the specification converts no zones and no formats. Read are
 * ISO 8601 and our own nanoseconds; of anything else there is no part.
 */
function timePart(value: Scalar, part: TimePart): number | undefined {
  let text = String(value);
  if (NANOSECONDS.test(text)) text = new Date(Number(BigInt(text) / 1_000_000n)).toISOString();
  const found = ISO.exec(text);
  if (found === null) return undefined;
  const [year = 0, month = 0, day = 0, hour, minute] = found
    .slice(1)
    .map((digits) => (digits === undefined ? undefined : Number(digits)));
  if (part === 'week') return isoWeek(year, month, day);
  return { year, month, day, hour, minute }[part];
}

const RELATION: Readonly<Record<Relation, (a: string, b: string) => boolean>> = {
  equals: (a, b) => a === b,
  startswith: (a, b) => a.startsWith(b),
  endswith: (a, b) => a.endsWith(b),
  contains: (a, b) => a.includes(b),
};

function numberLeaf(field: string, number: number, source: string): Expression {
  // A text counts as the number where it is written like it, not where it has the same worth: all
  // values are texts to Sigma.
  const texts = new Set([fold(source), String(number)]);
  const anchors = [...texts].map((text): Anchor => ({ field, how: 'equals', text }));
  const holds = (fields: FieldView) =>
    fields.folded(field).some((text) => texts.has(text)) ||
    entriesOf(fields.get(field)).some((entry) => entry === number);
  return leaf(COST.number, holds, anchors);
}

/** Says of the tests of an expression which fields they read. */
function reading(expression: Expression, fields: readonly string[]): Expression {
  if (expression.op === 'test') return { ...expression, fields };
  if (expression.op === 'not') return { op: 'not', of: reading(expression.of, fields) };
  return { op: expression.op, of: expression.of.map((one) => reading(one, fields)) };
}

/** The test of one value of `field`. */
export const fieldLeaf = (field: string, value: Value): Expression =>
  reading(valueLeaf(field, value), value.type === 'field' ? [field, value.field] : [field]);

function valueLeaf(field: string, value: Value): Expression {
  const any = (test: (entry: Scalar) => boolean) => (fields: FieldView) =>
    entriesOf(fields.get(field)).some(test);
  switch (value.type) {
    case 'text':
      return textLeaf(field, value);
    case 'regex':
      return leaf(COST.regex, ofTexts(field, regexTest(value)));
    case 'number':
      return numberLeaf(field, value.number, value.source);
    case 'flag':
      return textLeaf(field, { ...value, ...flagText(value.flag) });
    case 'compare': {
      const compare = COMPARE[value.how];
      return leaf(
        COST.number,
        any((entry) => holdsFor(numberOf(entry), compare, value.number)),
      );
    }
    case 'time': {
      const compare = COMPARE[value.how];
      const { part, number } = value;
      return leaf(
        COST.pattern,
        any((entry) => holdsFor(timePart(entry, part), compare, number)),
      );
    }
    case 'exists':
      return leaf(COST.exists, (fields) => (fields.get(field) !== undefined) === value.exists);
    case 'null':
      return leaf(COST.exists, (fields) => (fields.get(field) ?? null) === null);
    case 'cidr': {
      const cidr = compileCidr(value.network);
      if (!cidr.ok) return refuse('value', value.place, cidr.reason);
      return leaf(COST.pattern, ofTexts(field, cidr.contains));
    }
    case 'field': {
      const related = RELATION[value.relation];
      return leaf(COST.text, (fields) =>
        fields.folded(field).some((a) => fields.folded(value.field).some((b) => related(a, b))),
      );
    }
  }
}

const holdsFor = (
  value: number | undefined,
  compare: (a: number, b: number) => boolean,
  wanted: number,
): boolean => value !== undefined && compare(value, wanted);

const flagText = (flag: boolean): Omit<TextValue, 'place'> => ({
  type: 'text',
  source: String(flag),
  alternatives: [[{ type: 'text', text: String(flag) }]],
  cased: false,
});

const ofAnyField = (test: Test, folded: boolean) => (fields: FieldView) =>
  fields
    .names()
    .some((name) => (folded ? fields.folded(name) : textsIn(fields.get(name))).some(test));

/** The test of one keyword: it stands somewhere in the value of some field. */
export function keywordLeaf(value: Value, place: Place): Expression {
  switch (value.type) {
    case 'text':
      return or(
        value.alternatives.map((given) => {
          const tokens = endsOpen(startsOpen(given));
          const test = compilePattern(value.cased ? tokens : foldTokens(tokens));
          const anchor = anchorOf('', tokens);
          const anchors = anchor === undefined ? undefined : [anchor];
          return leaf(COST.keyword, ofAnyField(test, !value.cased), anchors);
        }),
      );
    case 'number':
    case 'flag': {
      const source = value.type === 'number' ? value.source : String(value.flag);
      const tokens = [{ type: 'text', text: source } as const];
      return keywordLeaf(
        { place, type: 'text', source, alternatives: [tokens], cased: false },
        place,
      );
    }
    case 'regex':
      return leaf(COST.keyword + COST.regex, ofAnyField(regexTest(value), false));
    default:
      return refuse(
        'value',
        place,
        `a keyword has to be a text or a number, not ${quoted(value.type)}`,
      );
  }
}
