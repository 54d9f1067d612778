/**
 * Every argument of every field of a schema, found by introspection: for each a document that reaches the
 * field, and for each place in the argument where a caller's text can stand, the variables that put it
 * there. Knows no field by name.
 */
import {
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLOutputType,
  type GraphQLSchema,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isListType,
  isNonNullType,
  isObjectType,
  type OperationTypeNode,
} from 'graphql';

/** Values that are right for arguments which must be given, by argument name. */
export type Known = Readonly<Record<string, unknown>>;

export interface Site {
  /** `Type.field(argument.path)`. */
  readonly name: string;
  readonly operation: 'query' | 'mutation' | 'subscription';
  readonly document: string;
  /** The variables with `value` in this place. */
  readonly put: (value: unknown) => Readonly<Record<string, unknown>>;
  /** The scalar that the place takes. */
  readonly scalar: string;
}

const DEPTH_MAX = 6;

/** Where scalars can stand in a value of a type, each with what builds the value around one. */
function* places(
  type: GraphQLInputType,
  known: Known,
  depth = 0,
): Generator<{ path: string; scalar: string; build: (value: unknown) => unknown }> {
  if (isNonNullType(type)) return yield* places(type.ofType, known, depth);
  if (isListType(type)) {
    for (const one of places(type.ofType, known, depth))
      yield { ...one, path: `${one.path}[]`, build: (value) => [one.build(value)] };
    return;
  }
  if (isInputObjectType(type)) {
    if (depth > DEPTH_MAX) return;
    const fields = Object.values(type.getFields());
    const needed = Object.fromEntries(
      fields
        .filter((field) => isNonNullType(field.type))
        .map(({ name }) => [name, known[name] ?? 'x']),
    );
    for (const field of fields)
      for (const one of places(field.type, known, depth + 1))
        yield {
          ...one,
          path: `.${field.name}${one.path}`,
          build: (value) => ({ ...needed, [field.name]: one.build(value) }),
        };
    return;
  }
  if (!isEnumType(type)) yield { path: '', scalar: type.name, build: (value) => value };
}

/** Selections that are enough for a field of a type: all scalars without arguments. */
function leaves(type: GraphQLOutputType): string {
  const named = getNamedType(type);
  if (!isObjectType(named) && !isInterfaceType(named)) return '';
  return ' { __typename }';
}

interface Step {
  readonly field: GraphQLField<unknown, unknown>;
  readonly text: string;
}

function* walk(
  schema: GraphQLSchema,
  operation: Site['operation'],
  known: Known,
): Generator<{ owner: string; path: readonly Step[] }> {
  const root = schema.getRootType(operation as OperationTypeNode);
  if (root === undefined || root === null) return;
  const seen = new Set<string>();
  const todo: { type: string; path: readonly Step[] }[] = [{ type: root.name, path: [] }];
  for (let at = todo.shift(); at !== undefined; at = todo.shift()) {
    const type = schema.getType(at.type);
    if (!isObjectType(type) && !isInterfaceType(type)) continue;
    for (const field of Object.values(type.getFields())) {
      const key = `${type.name}.${field.name}`;
      if (seen.has(key)) continue;
      seen.add(key);
      const needed = field.args
        .filter((argument) => isNonNullType(argument.type) && argument.defaultValue === undefined)
        .map(({ name }) => `${name}: ${JSON.stringify(known[name] ?? 'x')}`);
      const text = `${field.name}${needed.length === 0 ? '' : `(${needed.join(', ')})`}`;
      const path = [...at.path, { field, text }];
      if (field.args.length > 0) yield { owner: type.name, path };
      if (path.length < DEPTH_MAX) todo.push({ type: getNamedType(field.type).name, path });
    }
  }
}

/** All sites of a schema's operations. `known` gives what must be right for a field to be reached. */
export function sitesOf(schema: GraphQLSchema, known: Known): Site[] {
  const sites: Site[] = [];
  for (const operation of ['query', 'mutation', 'subscription'] as const)
    for (const { owner, path } of walk(schema, operation, known)) {
      const last = (path.at(-1) as Step).field;
      const given = Object.fromEntries(
        last.args
          .filter((argument) => isNonNullType(argument.type))
          .map(({ name }) => [name, known[name] ?? 'x']),
      );
      const declared = last.args.map(({ name, type }) => `$${name}: ${String(type)}`).join(', ');
      const passed = last.args.map(({ name }) => `${name}: $${name}`).join(', ');
      const inner = `${last.name}(${passed})${leaves(last.type)}`;
      const body = path
        .slice(0, -1)
        .reduceRight((below, { text }) => `${text} { ${below} }`, inner);
      const document = `${operation} (${declared}) { ${body} }`;
      for (const argument of last.args)
        for (const { path: inside, scalar, build } of places(argument.type, known))
          sites.push({
            name: `${owner}.${last.name}(${argument.name}${inside})`,
            operation,
            document,
            scalar,
            put: (value) => ({ ...given, [argument.name]: build(value) }),
          });
    }
  return sites;
}
