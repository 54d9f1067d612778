/**
 * What one request may ask for, counted before anything is read. Variables are counted as they are
 * given and page sizes as they are clamped, so that nothing is hidden in a variable.
 *
 *     cost(field) = own cost + size × cost of its selections
 *
 * `size` is the page size of a field with `first`, what another list usually holds, else 1. Of an
 * interface's selections only those of one type can apply, so the dearest type counts.
 */
import {
  type ASTNode,
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLObjectType,
  type GraphQLSchema,
  getNamedType,
  isAbstractType,
  isInterfaceType,
  isListType,
  isNonNullType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  type SelectionSetNode,
} from 'graphql';
import type { Role } from '../access/viewer.ts';
import { badInput, QueryError } from '../errors.ts';
import { PAGE_DEFAULT, PAGE_MAX } from '../plan.ts';

export const REQUEST_BYTES_MAX = 256 * 1024;
/** Words of a query document. */
export const TOKENS_MAX = 4000;
export const DEPTH_MAX = 14;
export const ALIASES_MAX = 30;
export const COST_MAX = 200_000;
/** How many selections are looked at, fragments written out; it bounds the counting itself. */
const VISITS_MAX = 50_000;
/**
 * A list without a page size is taken to hold so many: such lists share out the events of one
 * session, which has a limit of its own, so they do not multiply.
 */
const LIST_SIZE = 4;
const META = /^__/;

type Variables = Readonly<Record<string, unknown>>;

interface Walk {
  readonly schema: GraphQLSchema;
  readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>;
  readonly variables: Variables;
  /** Fields that need a role, as far as they were come by. */
  readonly roles: Map<string, Role>;
  visits: number;
}

/**
 * Throws `QueryError` for a text among variables that no store can take: one with half of a
 * surrogate pair. (In a document itself GraphQL has none.)
 */
export function checkTexts(variables: unknown, at = '$'): void {
  if (typeof variables === 'string') {
    if (!variables.isWellFormed()) throw badInput(`${at}: holds a lone surrogate`);
  } else if (typeof variables === 'object' && variables !== null)
    for (const [name, value] of Object.entries(variables))
      checkTexts(value, at === '$' ? `$${name.toWellFormed()}` : `${at}.${name.toWellFormed()}`);
}

const tooLarge = (what: string) => new QueryError('REQUEST_TOO_LARGE', what);

function isList(field: GraphQLField<unknown, unknown>): boolean {
  const type = isNonNullType(field.type) ? field.type.ofType : field.type;
  return isListType(type);
}

function numberOf(node: FieldNode, name: string, variables: Variables): number | undefined {
  const value = node.arguments?.find((argument) => argument.name.value === name)?.value;
  if (value?.kind === Kind.INT) return Number(value.value);
  if (value?.kind !== Kind.VARIABLE) return undefined;
  const given = variables[value.name.value];
  return typeof given === 'number' ? given : undefined;
}

function sizeOf(field: GraphQLField<unknown, unknown>, node: FieldNode, walk: Walk): number {
  const { listSize } = field.extensions;
  const usual = typeof listSize === 'number' ? listSize : undefined;
  if (field.args.some((argument) => argument.name === 'first')) {
    const first = numberOf(node, 'first', walk.variables);
    const last = numberOf(node, 'last', walk.variables);
    const size = Math.max(first ?? last ?? usual ?? PAGE_DEFAULT, last ?? 1);
    return Math.min(Math.max(size, 1), PAGE_MAX);
  }
  return usual ?? (isList(field) && !PAGED.has(field.name) ? LIST_SIZE : 1);
}

/** Lists within a page: the connection's `first` has counted them. */
const PAGED = new Set(['edges', 'nodes']);

function fieldCost(field: GraphQLField<unknown, unknown>, node: FieldNode, walk: Walk): number {
  const { role } = field.extensions;
  if (typeof role === 'string') walk.roles.set(field.name, role as Role);
  const own = typeof field.extensions.cost === 'number' ? field.extensions.cost : 1;
  if (node.selectionSet === undefined) return own;
  const inner = selectionCost(node.selectionSet, getNamedType(field.type), walk);
  return own + sizeOf(field, node, walk) * inner;
}

/** Whether a fragment on `condition` applies to an object of type `type`. */
function applies(schema: GraphQLSchema, condition: string | undefined, type: GraphQLObjectType) {
  if (condition === undefined || condition === type.name) return true;
  const on = schema.getType(condition);
  return on !== undefined && isAbstractType(on) && schema.isSubType(on, type);
}

function costFor(set: SelectionSetNode, type: GraphQLObjectType, walk: Walk): number {
  let sum = 0;
  for (const node of set.selections) {
    if (++walk.visits > VISITS_MAX) throw tooLarge('the query has too many selections');
    if (node.kind === Kind.FIELD) {
      const field = type.getFields()[node.name.value];
      sum += field === undefined ? 1 : fieldCost(field, node, walk);
      continue;
    }
    const fragment =
      node.kind === Kind.INLINE_FRAGMENT ? node : walk.fragments.get(node.name.value);
    if (fragment !== undefined && applies(walk.schema, fragment.typeCondition?.name.value, type))
      sum += costFor(fragment.selectionSet, type, walk);
  }
  return sum;
}

function selectionCost(set: SelectionSetNode, type: GraphQLNamedType, walk: Walk): number {
  if (isObjectType(type)) return costFor(set, type, walk);
  if (!isInterfaceType(type)) return 1;
  const named = new Set<string>();
  conditionsIn(set, walk, named);
  const types = walk.schema.getPossibleTypes(type);
  const other = types.find(({ name }) => !named.has(name));
  const counted = types.filter((each) => named.has(each.name) || each === other);
  return Math.max(...counted.map((each) => costFor(set, each, walk)));
}

/** Type names that fragments in a selection ask for; the other types all cost the same. */
function conditionsIn(set: SelectionSetNode, walk: Walk, into: Set<string>): void {
  for (const node of set.selections) {
    if (node.kind === Kind.FIELD) continue;
    if (++walk.visits > VISITS_MAX) throw tooLarge('the query has too many selections');
    const fragment =
      node.kind === Kind.INLINE_FRAGMENT ? node : walk.fragments.get(node.name.value);
    if (fragment === undefined) continue;
    if (fragment.typeCondition !== undefined) into.add(fragment.typeCondition.name.value);
    conditionsIn(fragment.selectionSet, walk, into);
  }
}

/** How deep fields stand, fragments written out, and how many have another name. */
function shape(set: SelectionSetNode, depth: number, walk: Walk, found: { aliases: number }): void {
  if (depth > DEPTH_MAX) throw tooLarge(`the query is deeper than ${DEPTH_MAX} fields`);
  for (const node of set.selections) {
    if (++walk.visits > VISITS_MAX) throw tooLarge('the query has too many selections');
    if (node.kind === Kind.FIELD) {
      if (node.alias !== undefined && ++found.aliases > ALIASES_MAX)
        throw tooLarge(`the query has more than ${ALIASES_MAX} aliases`);
      if (node.selectionSet !== undefined && !META.test(node.name.value))
        shape(node.selectionSet, depth + 1, walk, found);
      continue;
    }
    const fragment =
      node.kind === Kind.INLINE_FRAGMENT ? node : walk.fragments.get(node.name.value);
    if (fragment !== undefined) shape(fragment.selectionSet, depth, walk, found);
  }
}

const isOperation = (node: ASTNode): node is OperationDefinitionNode =>
  node.kind === Kind.OPERATION_DEFINITION;

/** What a request asks for, counted before it runs. */
export interface Request {
  readonly cost: number;
  /** Fields that need a role, by name. */
  readonly roles: ReadonlyMap<string, Role>;
}

/**
 * The cost of a valid document's operation, and the roles that it needs. Throws `QueryError` where
 * it is too deep, has too many aliases or costs more than `COST_MAX`; or has several operations,
 * since compiled execution is kept by document and would run the first of them again.
 */
export function examine(
  schema: GraphQLSchema,
  document: DocumentNode,
  variables: Variables,
): Request {
  const [operation, another] = document.definitions.filter(isOperation);
  if (operation === undefined || another !== undefined)
    throw new QueryError('BAD_USER_INPUT', 'send exactly one operation in a document');
  const fragments = new Map(
    document.definitions.flatMap((node) =>
      node.kind === Kind.FRAGMENT_DEFINITION ? [[node.name.value, node] as const] : [],
    ),
  );
  const given: Record<string, unknown> = { ...variables };
  const walk: Walk = { schema, fragments, variables: given, roles: new Map(), visits: 0 };
  shape(operation.selectionSet, 1, walk, { aliases: 0 });
  const root = schema.getRootType(operation.operation);
  const cost =
    root === undefined || root === null ? 0 : costFor(operation.selectionSet, root, walk);
  if (cost > COST_MAX)
    throw tooLarge(
      `the query may cost ${Math.round(cost)}; at most ${COST_MAX} is allowed: ask for smaller pages or fewer fields`,
    );
  return { cost, roles: walk.roles };
}
