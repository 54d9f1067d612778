/**
 * Queries for every field and every argument of the schema, made by introspection: a field that is
 * added tomorrow is asked for as well.
 */
import {
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLObjectType,
  getNamedType,
  getNullableType,
  isInputObjectType,
  isInterfaceType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
} from 'graphql';
import { schema } from '../../query/graphql/schema.ts';

type Field = GraphQLField<unknown, unknown>;
/** Values for an argument by its name, each as it stands in a document. */
export type Candidates = (argument: string, parent: string, field: string) => readonly string[];

export interface Asked {
  /** `Type.field`, and the argument where one is tried. */
  readonly what: string;
  readonly query: string;
  readonly fields: readonly string[];
  /** Whether a value of an argument is tried. */
  readonly tried: boolean;
}

const PAGE = 5;
/** Values of one argument that are tried: one's own, and another's. */
const VALUES_MAX = 2;
/** Arguments that a field can't do without though the schema does not say so. */
const NEEDED = new Set(['Query.triage.session', 'Query.activity.from']);
/** Fields that find nothing by the values at hand: types behind them have other ways. */
const NO_WAY = new Set(['Query.annotation', 'Query.event', 'Query.alert']);

function literal(
  name: string,
  type: GraphQLInputType,
  at: readonly [parent: string, field: string],
  of: Candidates,
): string[] {
  const bare = getNullableType(type);
  if (isListType(bare)) return literal(name, bare.ofType, at, of).map((one) => `[${one}]`);
  if (isInputObjectType(bare)) {
    const fields = Object.values(bare.getFields());
    const required = fields.filter((field) => isNonNullType(field.type));
    const fixed = required.map((f) => `${f.name}: ${literal(f.name, f.type, at, of)[0]}`);
    const each = fields.flatMap((field) =>
      literal(field.name, field.type, at, of).map((one) => `${field.name}: ${one}`),
    );
    return each.map((one) => {
      const [key] = one.split(':');
      return `{ ${[one, ...fixed.filter((text) => !text.startsWith(`${key}:`))].join(', ')} }`;
    });
  }
  const named = of(name, ...at);
  if (named.length > 0) return named.slice(0, VALUES_MAX);
  switch (getNamedType(bare).name) {
    case 'Int':
    case 'Long':
      return [String(PAGE)];
    case 'Boolean':
      return ['true', 'false'];
    case 'Time':
      return ['"2020-01-01T00:00:00Z"', '"2030-01-01T00:00:00Z"'];
    default:
      return ['"x"'];
  }
}

const isRequired = (argument: GraphQLArgument) =>
  isNonNullType(argument.type) && argument.defaultValue === undefined;

/** A field with its required arguments, and with one that is tried. */
function called(field: Field, parent: string, of: Candidates, tried?: string): string {
  const args = field.args.flatMap((argument) => {
    if (tried?.startsWith(`${argument.name}:`)) return [];
    if (argument.name === 'first' && !tried?.startsWith('last')) return [`first: ${PAGE}`];
    return isRequired(argument) || NEEDED.has(`${parent}.${field.name}.${argument.name}`)
      ? [`${argument.name}: ${literal(argument.name, argument.type, [parent, field.name], of)[0]}`]
      : [];
  });
  const all = [...args, ...(tried === undefined ? [] : [tried])];
  return all.length === 0 ? field.name : `${field.name}(${all.join(', ')})`;
}

/** All leaves of a type that need nothing else. */
function leaves(type: GraphQLObjectType): string[] {
  return Object.values(type.getFields())
    .filter((field) => isLeafType(getNamedType(field.type)) && !field.args.some(isRequired))
    .map(({ name }) => name);
}

function selection(field: Field): string {
  const type = getNamedType(field.type);
  if (isLeafType(type)) return '';
  if (isObjectType(type)) {
    const own = leaves(type);
    const edges = type.getFields().nodes;
    const inside = edges === undefined ? '' : ` nodes${selection(edges)}`;
    return ` { __typename ${own.join(' ')}${inside} }`;
  }
  return ' { __typename }';
}

interface Way {
  readonly type: GraphQLObjectType;
  /** Puts a selection at its place in a query. */
  readonly wrap: (inside: string) => string;
}

/** The shortest way from the query to each object type. */
function ways(of: Candidates): Way[] {
  const root = schema.getQueryType() as GraphQLObjectType;
  const found = new Map<string, Way>([[root.name, { type: root, wrap: (text) => `{ ${text} }` }]]);
  for (const { type, wrap } of found.values())
    for (const field of Object.values(type.getFields())) {
      if (NO_WAY.has(`${type.name}.${field.name}`)) continue;
      const to = getNamedType(field.type);
      const targets = isInterfaceType(to)
        ? schema.getPossibleTypes(to)
        : isObjectType(to)
          ? [to]
          : [];
      for (const target of targets) {
        if (found.has(target.name)) continue;
        const on = isInterfaceType(to) ? `... on ${target.name} ` : '';
        const call = called(field, type.name, of);
        const into = (text: string) =>
          wrap(on === '' ? `${call} { ${text} }` : `${call} { ${on}{ ${text} } }`);
        found.set(target.name, { type: target, wrap: into });
      }
    }
  return [...found.values()];
}

/** One query for each type with all its fields, and one for each value of each argument. */
export function everyField(of: Candidates): Asked[] {
  return ways(of).flatMap(({ type, wrap }) => {
    const fields = Object.values(type.getFields());
    const one = (field: Field): Asked => ({
      what: `${type.name}.${field.name}`,
      query: wrap(`${called(field, type.name, of)}${selection(field)}`),
      fields: [`${type.name}.${field.name}`],
      tried: false,
    });
    const plain = fields.filter(({ type: to }) => isLeafType(getNamedType(to)));
    const together: Asked = {
      what: type.name,
      query: wrap(`__typename ${plain.map((f) => called(f, type.name, of)).join(' ')}`),
      fields: plain.map(({ name }) => `${type.name}.${name}`),
      tried: false,
    };
    const tried = fields.flatMap((field) =>
      field.args.flatMap((argument) =>
        literal(argument.name, argument.type, [type.name, field.name], of).map((value) => ({
          what: `${type.name}.${field.name}(${argument.name})`,
          query: wrap(
            `${called(field, type.name, of, `${argument.name}: ${value}`)}${selection(field)}`,
          ),
          fields: [`${type.name}.${field.name}`],
          tried: true,
        })),
      ),
    );
    const rest = fields.filter(({ type: to }) => !isLeafType(getNamedType(to)));
    return [together, ...rest.map(one), ...tried];
  });
}
