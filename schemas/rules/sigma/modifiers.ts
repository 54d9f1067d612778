/** Sigma's value modifiers, in the order in which a rule names them. */
import { type Place, quoted, refuse } from '../faults.ts';
import { endsOpen, startsOpen, type Token } from './pattern.ts';
import {
  type Comparison,
  encodeBase64,
  encodeWide,
  expandPlaceholders,
  type Placeholders,
  permuteDashes,
  type Relation,
  TIME_PARTS,
  type TimePart,
  type Value,
} from './value.ts';

/** Modifiers of the whole list of values: how they are linked, and whether the item is negated. */
export const LIST_MODIFIERS: ReadonlySet<string> = new Set(['all', 'neq']);

interface Context {
  readonly placeholders: Placeholders;
  /** The modifiers that were applied already. */
  readonly before: readonly string[];
}
type Modifier = (value: Value, name: string, context: Context) => Value;
type TextValue = Extract<Value, { type: 'text' }>;

const CALLED: Readonly<Record<Value['type'], string>> = {
  text: 'a text',
  regex: 'a regular expression',
  number: 'a number',
  compare: 'a comparison',
  time: 'a part of a time',
  flag: 'true or false',
  exists: 'a test of existence',
  cidr: 'a network',
  field: 'a reference to a field',
  null: 'null',
};

const cannot = (value: Value, name: string, why = ''): never =>
  refuse('modifier', value.place, `${name} can’t be applied to ${CALLED[value.type]}${why}`);

function only(value: Value, name: string, { before }: Context): void {
  if (before.length > 0)
    cannot(value, name, ` that ${before.at(-1)} has changed: it has to be the first modifier`);
}

/** A number in a place where texts are looked for counts as its digits, as they are written. */
const asText = (value: Value): Value =>
  value.type === 'number'
    ? {
        type: 'text',
        place: value.place,
        source: value.source,
        alternatives: [[{ type: 'text', text: value.source }]],
        cased: false,
      }
    : value;

function mapTokens(
  value: Value,
  name: string,
  change: (tokens: readonly Token[], value: TextValue) => readonly (readonly Token[])[],
): Value {
  if (value.type !== 'text') return cannot(value, name);
  return { ...value, alternatives: value.alternatives.flatMap((one) => change(one, value)) };
}

function anchoredRegex(source: string, relation: Relation): string {
  if (relation === 'startswith') return `^(?:${source})`;
  return relation === 'endswith' ? `(?:${source})$` : source;
}

const open =
  (relation: Relation): Modifier =>
  (given, name) => {
    const value = asText(given);
    if (value.type === 'field') return { ...value, relation };
    if (value.type === 'regex') return { ...value, source: anchoredRegex(value.source, relation) };
    return mapTokens(value, name, (tokens) => {
      const front = relation === 'startswith' ? tokens : startsOpen(tokens);
      return [relation === 'endswith' ? front : endsOpen(front)];
    });
  };

const wide: Modifier = (value, name) =>
  mapTokens(value, name, (tokens) => [encodeWide(tokens, name as 'wide', value.place)]);

const base64: Modifier = (value, name) =>
  mapTokens(value, name, (tokens) => encodeBase64(tokens, name === 'base64offset', value.place));

const flag =
  (flags: Readonly<Record<string, true>>): Modifier =>
  (value, name) =>
    value.type === 'regex'
      ? { ...value, flags: { ...value.flags, ...flags } }
      : cannot(value, name, ': it belongs behind re');

const compare: Modifier = (value, name) => {
  if (value.type === 'time') return { ...value, how: name as Comparison };
  if (value.type !== 'number') return cannot(value, name, ': it needs a number');
  return { type: 'compare', place: value.place, how: name as Comparison, number: value.number };
};

const timePart: Modifier = (value, name, context) => {
  only(value, name, context);
  if (value.type !== 'number' || !Number.isInteger(value.number))
    return cannot(value, name, ': it needs a whole number');
  const part = name as TimePart;
  return { type: 'time', place: value.place, part, how: 'equals', number: value.number };
};

const re: Modifier = (value, name, context) => {
  only(value, name, context);
  if (value.type !== 'text' && value.type !== 'number') return cannot(value, name);
  return { type: 'regex', place: value.place, source: value.source, flags: {} };
};

const plainText = (value: Value, name: string): string => {
  const [tokens = []] = value.type === 'text' ? value.alternatives : cannot(value, name);
  return tokens
    .map((token) =>
      token.type === 'text' ? token.text : cannot(value, name, ' that has wildcards in it'),
    )
    .join('');
};

const MODIFIERS: Readonly<Record<string, Modifier>> = {
  contains: open('contains'),
  startswith: open('startswith'),
  endswith: open('endswith'),
  cased: (value, name) => (value.type === 'text' ? { ...value, cased: true } : cannot(value, name)),
  exists: (value, name, context) => {
    only(value, name, context);
    if (value.type !== 'flag') return cannot(value, name, ': it needs true or false');
    return { type: 'exists', place: value.place, exists: value.flag };
  },
  windash: (value, name) => mapTokens(value, name, (tokens) => [permuteDashes(tokens)]),
  base64,
  base64offset: base64,
  wide,
  utf16: wide,
  utf16le: wide,
  utf16be: wide,
  re,
  i: flag({ ignoreCase: true }),
  m: flag({ multiline: true }),
  s: flag({ dotAll: true }),
  cidr: (value, name, context) => {
    only(value, name, context);
    return { type: 'cidr', place: value.place, network: plainText(value, name) };
  },
  lt: compare,
  lte: compare,
  gt: compare,
  gte: compare,
  fieldref: (value, name) => ({
    type: 'field',
    place: value.place,
    field: plainText(value, name),
    relation: 'equals',
  }),
  expand: (value, name, { placeholders }) =>
    mapTokens(value, name, (tokens) => expandPlaceholders(tokens, placeholders, value.place)),
  ...Object.fromEntries(TIME_PARTS.map((part) => [part, timePart])),
};

/** Refuses a modifier that the specification does not have. */
export function checkModifier(name: string, place: Place): void {
  if (!Object.hasOwn(MODIFIERS, name) && !LIST_MODIFIERS.has(name))
    refuse('modifier', place, `Sigma 2.1 has no modifier ${quoted(name)}`);
}

/** Applies the value modifiers in their order; those of the whole list are the caller's. */
export function applyModifiers(
  value: Value,
  names: readonly string[],
  placeholders: Placeholders,
): Value {
  const own = names.filter((name) => !LIST_MODIFIERS.has(name));
  return own.reduce(
    (given, name, index) =>
      (MODIFIERS[name] as Modifier)(given, name, { placeholders, before: own.slice(0, index) }),
    value,
  );
}
