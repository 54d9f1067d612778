/**
 * What the journal says of a GraphQL operation: enough to tell who looked at what, and nothing that
 * is secret. Numbers, ids, times and words of ours are written down; of any other text, which may
 * be the very secret that an investigator searches for, only its length.
 */
import { createHash } from 'node:crypto';
import {
  type DocumentNode,
  type FieldNode,
  Kind,
  type OperationDefinitionNode,
  type ValueNode,
  visit,
} from 'graphql';
import { parseEventId, REGISTRY } from '#schemas';
import { isUuid } from '../cursor.ts';
import { parseTime } from '../render.ts';
import type { Asked } from './access.ts';

/** `plain`: as above. `full`: texts as well, cut to `TEXT_CHARACTERS_MAX`. */
export const ARGUMENT_POLICIES = ['plain', 'full'] as const;
export type ArgumentPolicy = (typeof ARGUMENT_POLICIES)[number];

const ENTRIES_MAX = 50;
const TEXT_CHARACTERS_MAX = 256;
const NAME_CHARACTERS_MAX = 100;
const FIELDS_MAX = 30;
/** Entries of one list that are written down. */
const LIST_MAX = 20;

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

const isPlain = (text: string): boolean =>
  text === 'latest' ||
  isUuid(text) ||
  parseEventId(text) !== undefined ||
  parseTime(text) !== undefined ||
  REGISTRY.has(text);

function textOf(text: string, policy: ArgumentPolicy): string {
  if (isPlain(text)) return text;
  if (policy === 'full') return text.slice(0, TEXT_CHARACTERS_MAX).toWellFormed();
  return `text of ${text.length} characters`;
}

/** A value as it may be written down. */
function told(value: unknown, policy: ArgumentPolicy): unknown {
  if (typeof value === 'string') return textOf(value, policy);
  if (Array.isArray(value)) return value.slice(0, LIST_MAX).map((item) => told(item, policy));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .slice(0, LIST_MAX)
      .map(([name, item]) => [name, told(item, policy)]),
  );
}

function givenValue(node: ValueNode, variables: Readonly<Record<string, unknown>>): unknown {
  switch (node.kind) {
    case Kind.VARIABLE:
      return variables[node.name.value];
    case Kind.NULL:
      return null;
    case Kind.INT:
    case Kind.FLOAT:
      return Number(node.value);
    case Kind.LIST:
      return node.values.map((item) => givenValue(item, variables));
    case Kind.OBJECT:
      return Object.fromEntries(
        node.fields.map(({ name, value }) => [name.value, givenValue(value, variables)]),
      );
    default:
      return node.value;
  }
}

/** Describes a parsed operation with the variables that it is asked with. */
export function describeOperation(
  document: DocumentNode,
  variables: Readonly<Record<string, unknown>>,
  policy: ArgumentPolicy,
): Asked {
  const operation = document.definitions.find(
    (node): node is OperationDefinitionNode => node.kind === Kind.OPERATION_DEFINITION,
  );
  const name = operation?.name?.value.slice(0, NAME_CHARACTERS_MAX);
  const fields = operation?.selectionSet.selections.flatMap((node) =>
    node.kind === Kind.FIELD ? [node.name.value] : [],
  );
  const given: [string, unknown][] = [];
  const onField = ({ name: { value: field }, arguments: args = [] }: FieldNode) => {
    for (const argument of args) {
      if (given.length > ENTRIES_MAX) return;
      const value = givenValue(argument.value, variables);
      if (value !== undefined) given.push([`${field}.${argument.name.value}`, told(value, policy)]);
    }
  };
  visit(document, { Field: onField });
  const kind = operation?.operation ?? 'query';
  return {
    operation: `graphql ${kind}${name === undefined ? '' : ` ${name}`}`,
    details: {
      fields: [...new Set(fields)].slice(0, FIELDS_MAX).join(' '),
      ...(given.length === 0 ? {} : { arguments: JSON.stringify(given.slice(0, ENTRIES_MAX)) }),
    },
  };
}
