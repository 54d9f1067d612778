/**
 * Pages of events that leave as text. A document that asks for nothing but columns of its timelines'
 * events is executed in another form: `nodes` and `edges` are leaves there, whose value is the text that
 * `event-text.ts` writes. The document that was sent is the one that is parsed, validated, counted,
 * limited and journaled; nobody can ask for the leaves, since the schema that he is validated
 * against has none.
 */
import {
  type DocumentNode,
  type ExecutionArgs,
  extendSchema,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLNamedType,
  type GraphQLResolveInfo,
  type GraphQLSchema,
  getNamedType,
  isInterfaceType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
  parse,
  type SelectionSetNode,
  valueFromASTUntyped,
} from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { ColumnPage } from '../timeline-page.ts';
import type { Context } from './builder.ts';
import { canWrite, Unwritable, writePage } from './event-text.ts';

/** A value that is JSON already. */
class JsonText {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

const CONNECTION = 'EventConnection';
/** Fields of it, and the leaves that stand for them. */
const LEAVES: Readonly<Record<string, string>> = { nodes: 'nodesText', edges: 'edgesText' };
const LEAF_TYPES = `scalar JsonText extend type ${CONNECTION} { nodesText: JsonText! edgesText: JsonText! }`;
/** The field as it was sent, on the field that stands for it. */
const SENT = Symbol('the field as it was sent');

type Info = Pick<GraphQLResolveInfo, 'fieldNodes' | 'fragments'>;
type Fragments = ReadonlyMap<string, FragmentDefinitionNode>;
type Standing = FieldNode & { readonly [SENT]?: FieldNode };

const sent = (node: FieldNode): FieldNode => (node as Standing)[SENT] ?? node;

/** What a document's execution in text is handed, as a part of its context. */
export interface PageTexts {
  /** What a resolver is asked for, in the words that were sent. */
  asAsked(info: Info): Info;
  /** Throws `Unwritable`, and notes it. */
  write(fields: readonly FieldNode[], page: ColumnPage): JsonText;
}

interface Form {
  readonly document: DocumentNode;
  readonly fragments: Fragments;
  readonly defaults: Readonly<Record<string, unknown>>;
}

/** The document with leaves in it; undefined where it has no page that can be one. */
function formOf(schema: GraphQLSchema, document: DocumentNode): Form | undefined {
  const operations = document.definitions.filter(
    (one): one is OperationDefinitionNode => one.kind === Kind.OPERATION_DEFINITION,
  );
  const [operation, another] = operations;
  if (operation?.operation !== OperationTypeNode.QUERY || another !== undefined) return undefined;
  const fragments = new Map(
    document.definitions.flatMap((one) =>
      one.kind === Kind.FRAGMENT_DEFINITION ? [[one.name.value, one] as const] : [],
    ),
  );
  const found = { leaves: 0, others: 0 };
  function field(node: FieldNode, type: GraphQLNamedType | undefined): FieldNode {
    const leaf = type?.name === CONNECTION ? LEAVES[node.name.value] : undefined;
    if (leaf !== undefined) {
      found[canWrite(node, fragments) ? 'leaves' : 'others']++;
      const { selectionSet: _, ...rest } = node;
      const alias = node.alias ?? node.name;
      return { ...rest, alias, name: { ...node.name, value: leaf }, [SENT]: node } as FieldNode;
    }
    if (node.selectionSet === undefined) return node;
    const own = isObjectType(type) || isInterfaceType(type) ? type.getFields() : undefined;
    const of = own?.[node.name.value]?.type;
    const selectionSet = leaved(node.selectionSet, of && getNamedType(of));
    return { ...node, selectionSet, [SENT]: node } as FieldNode;
  }
  function leaved(set: SelectionSetNode, type: GraphQLNamedType | undefined): SelectionSetNode {
    const on = (condition: string | undefined) =>
      condition === undefined ? type : schema.getType(condition);
    const selections = set.selections.map((one) => {
      if (one.kind === Kind.FIELD) return field(one, type);
      if (one.kind === Kind.FRAGMENT_SPREAD) return one;
      const selectionSet = leaved(one.selectionSet, on(one.typeCondition?.name.value));
      return { ...one, selectionSet };
    });
    return { ...set, selections };
  }
  const definitions = document.definitions.map((one) => {
    if (one.kind === Kind.OPERATION_DEFINITION)
      return { ...one, selectionSet: leaved(one.selectionSet, schema.getQueryType() ?? undefined) };
    if (one.kind !== Kind.FRAGMENT_DEFINITION) return one;
    const type = schema.getType(one.typeCondition.name.value);
    return { ...one, selectionSet: leaved(one.selectionSet, type) };
  });
  if (found.leaves === 0 || found.others > 0) return undefined;
  const defaults = (operation.variableDefinitions ?? []).flatMap(({ variable, defaultValue }) =>
    defaultValue === undefined
      ? []
      : [[variable.name.value, valueFromASTUntyped(defaultValue)] as const],
  );
  return {
    document: { ...document, definitions },
    fragments,
    defaults: Object.fromEntries(defaults),
  };
}

/** The schema with the leaves. */
function leafSchema(schema: GraphQLSchema): GraphQLSchema {
  const extended = extendSchema(schema, parse(LEAF_TYPES));
  const type = extended.getType(CONNECTION);
  if (!isObjectType(type)) throw new Error(`no type ${CONNECTION}`);
  for (const leaf of Object.values(LEAVES))
    (type.getFields()[leaf] as { resolve?: unknown }).resolve = (
      page: ColumnPage,
      _args: object,
      { texts }: Context,
      info: Info,
    ) => texts?.write(info.fieldNodes, page);
  return extended;
}

/** A result as `JSON.stringify` writes it, with texts in their places. */
function stringify(value: unknown): string {
  if (value instanceof JsonText) return value.text;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(stringify).join(',')}]`;
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined && typeof member !== 'function')
    .map(([name, member]) => `${JSON.stringify(name)}:${stringify(member)}`);
  return `{${members.join(',')}}`;
}

const stringifyResult = (result: Readonly<Record<string, unknown>>): string => {
  const { stringify: _, data, ...rest } = result;
  // Errors have a form of their own.
  const others = Object.entries(rest)
    .map(([name, member]) => [name, JSON.stringify(member)] as const)
    .filter(([, text]) => text !== undefined)
    .map(([name, text]) => `${JSON.stringify(name)}:${text}`);
  return `{${[...(data === undefined ? [] : [`"data":${stringify(data)}`]), ...others].join(',')}}`;
};

/**
 * Executes documents in text where they can be, by whatever execution stands before it. Where a page can't be
 * written after all, the document is executed as it was sent.
 */
export function usePageText(schema: GraphQLSchema): Plugin {
  const withLeaves = leafSchema(schema);
  const forms = new WeakMap<DocumentNode, { readonly form: Form | undefined }>();

  function formFor(document: DocumentNode): Form | undefined {
    let known = forms.get(document);
    if (known === undefined) {
      known = { form: formOf(schema, document) };
      forms.set(document, known);
    }
    return known.form;
  }

  return {
    onExecute: ({ args, executeFn, setExecuteFn }) => {
      const form = formFor(args.document);
      if (form === undefined) return;
      setExecuteFn(async (all: ExecutionArgs) => {
        const { fragments, defaults, document } = form;
        const variables = { ...defaults, ...(all.variableValues ?? {}) };
        let failed = false;
        const texts: PageTexts = {
          asAsked: ({ fieldNodes }) => ({
            fieldNodes: fieldNodes.map(sent),
            fragments: Object.fromEntries(fragments),
          }),
          write(fields, page) {
            try {
              return new JsonText(
                writePage(fields.map(sent), { schema, fragments, variables }, page),
              );
            } catch (error) {
              if (error instanceof Unwritable) failed = true;
              throw error;
            }
          },
        };
        const contextValue = { ...(all.contextValue as object), texts };
        const result = await executeFn({ ...all, schema: withLeaves, document, contextValue });
        if (failed) return executeFn(all);
        (result as { stringify?: unknown }).stringify = stringifyResult;
        return result;
      });
    },
  };
}
