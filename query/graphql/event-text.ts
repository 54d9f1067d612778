/**
 * A page of events as JSON text, written from the store's columns: byte for byte what graphql-js and
 * `JSON.stringify` give of the same selection, for a quarter of the time. A page of 500 events is
 * 10,000 values, and each would be a property, a resolver's call, a check and a member of an object.
 *
 * What is not a column (content, summaries, annotations) is not written here: `canWrite` says so,
 * and such a document is executed as all others are. So is one in whose page something is amiss, so
 * that errors have one source.
 */
import {
  type DirectiveNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLSchema,
  isAbstractType,
  isNonNullType,
  isObjectType,
  Kind,
  type SelectionSetNode,
  valueFromASTUntyped,
} from 'graphql';
import { ALL_FIELDS, eventId, fieldReader, REGISTRY } from '#schemas';
import { eventCursor } from '../cursor.ts';
import { CONTENT } from '../plan.ts';
import { timeText } from '../render.ts';
import { roleOf } from '../timeline/view.ts';
import type { ColumnPage } from '../timeline-page.ts';
import { COLUMN_OF, typeNameOf } from './names.ts';

/** A value that can't be written as it should be: a kind of a newer version, a field that is missing. */
export class Unwritable extends Error {
  override readonly name = 'Unwritable';
}

/** What selections are read with. */
export interface Selecting {
  readonly schema: GraphQLSchema;
  readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>;
  readonly variables: Readonly<Record<string, unknown>>;
}

const NODE = new Set(['id', 'role', '__typename']);
const EDGE = new Set(['cursor', 'node', '__typename']);

const isPlain = (name: string): boolean => {
  const column = COLUMN_OF.get(name);
  return column !== undefined && !CONTENT.includes(column);
};

/** Whether all that a selection of `nodes` or of `edges` asks for can be written. */
export function canWrite(
  node: FieldNode,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
): boolean {
  const good = (set: SelectionSetNode | undefined, inEdge: boolean): boolean =>
    set === undefined ||
    set.selections.every((one) => {
      if (one.kind === Kind.INLINE_FRAGMENT) return good(one.selectionSet, inEdge);
      if (one.kind === Kind.FRAGMENT_SPREAD)
        return good(fragments.get(one.name.value)?.selectionSet, inEdge);
      const name = one.name.value;
      if (inEdge) return EDGE.has(name) && good(one.selectionSet, name !== 'node');
      // Of an entry of a map, the fields are looked at where they are written.
      return NODE.has(name) || isPlain(name);
    });
  return good(node.selectionSet, node.name.value === 'edges');
}

/** Characters that stand for themselves in JSON. */
const PLAIN = /^[ !#-[\]-\ud7ff\ue000-\uffff]*$/;

/** A text as `JSON.stringify` writes it. */
const quote = (text: string): string => (PLAIN.test(text) ? `"${text}"` : JSON.stringify(text));

/** A field of a selection, by its name in the answer, with all selections that stand there. */
interface Chosen {
  readonly name: string;
  readonly sets: SelectionSetNode[];
}

function isIncluded(directives: readonly DirectiveNode[] | undefined, { variables }: Selecting) {
  return (directives ?? []).every(({ name, arguments: given }) => {
    const condition = given?.find((one) => one.name.value === 'if')?.value;
    const value = condition && valueFromASTUntyped(condition, { ...variables });
    if (typeof value !== 'boolean') throw new Unwritable();
    return value === (name.value === 'include');
  });
}

/** The fields that a selection means for an object of a type, in the order in which they are named. */
function choose(
  sets: readonly SelectionSetNode[],
  type: string,
  by: Selecting,
): ReadonlyMap<string, Chosen> {
  const chosen = new Map<string, Chosen>();
  const applies = (condition: string | undefined): boolean => {
    if (condition === undefined || condition === type) return true;
    const [on, own] = [by.schema.getType(condition), by.schema.getType(type)];
    return isAbstractType(on) && isObjectType(own) && by.schema.isSubType(on, own);
  };
  const walk = (set: SelectionSetNode): void => {
    for (const one of set.selections) {
      if (!isIncluded(one.directives, by)) continue;
      if (one.kind !== Kind.FIELD) {
        const fragment = one.kind === Kind.INLINE_FRAGMENT ? one : by.fragments.get(one.name.value);
        if (fragment !== undefined && applies(fragment.typeCondition?.name.value))
          walk(fragment.selectionSet);
        continue;
      }
      const key = one.alias?.value ?? one.name.value;
      const known = chosen.get(key) ?? { name: one.name.value, sets: [] };
      chosen.set(key, known);
      if (one.selectionSet !== undefined) known.sets.push(one.selectionSet);
    }
  };
  for (const set of sets) walk(set);
  return chosen;
}

/** Writes what stands at a row of the columns. */
type Write = (row: number) => string;

/** `{"a":…,"b":…}` of the fields that are chosen. */
function writeObject(chosen: ReadonlyMap<string, Chosen>, member: (field: Chosen) => Write): Write {
  const members = [...chosen].map(
    ([key, field], at) => [`${at === 0 ? '{' : ','}"${key}":`, member(field)] as const,
  );
  if (members.length === 0) return () => '{}';
  return (row) => {
    let text = '';
    for (const [before, write] of members) text += before + write(row);
    return `${text}}`;
  };
}

/** A value of a column as its type in the schema is written. */
function textOf(value: unknown, time: boolean, entry: (value: unknown) => string): string {
  if (typeof value === 'string') return quote(time ? timeText(value) : value);
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
  if (typeof value === 'boolean') return String(value);
  if (Array.isArray(value)) return `[${value.map((item) => quote(String(item))).join(',')}]`;
  if (typeof value !== 'object' || value === null) throw new Unwritable();
  return entry(value);
}

/** The entries of a map: a list of objects with a name and a value. */
function writeEntries(sets: readonly SelectionSetNode[], by: Selecting): (map: unknown) => string {
  const chosen = choose(sets, 'Entry', by);
  return (map) => {
    const entries = Object.entries(map as object).map(([name, value]) => {
      const of: Readonly<Record<string, string>> = { name, value, __typename: 'Entry' };
      return writeObject(
        chosen,
        ({ name }) =>
          () =>
            quote(of[name] as string),
      )(0);
    });
    return `[${entries.join(',')}]`;
  };
}

function writeColumn(kind: string, field: Chosen, by: Selecting, page: ColumnPage): Write {
  const column = COLUMN_OF.get(field.name) as string;
  const type = by.schema.getType(typeNameOf(kind));
  const reader = fieldReader(kind, column);
  const spec = isObjectType(type) ? type.getFields()[field.name] : undefined;
  if (spec === undefined) throw new Unwritable();
  const needed = isNonNullType(spec.type);
  const values = page.columns[reader?.key ?? ''];
  const time = ALL_FIELDS[column]?.shape === 'time';
  const entries = writeEntries(field.sets, by);
  const write = (stored: unknown): string => {
    const value = reader?.read(stored);
    if (value !== undefined) return textOf(value, time, entries);
    if (needed) throw new Unwritable();
    return 'null';
  };
  // Most columns have the same value in many rows.
  let [last, text] = [values?.[0], ''];
  return (row) => {
    const stored = values?.[row];
    if (text === '' || stored !== last) [last, text] = [stored, write(stored)];
    return text;
  };
}

function writeEvent(
  sets: readonly SelectionSetNode[],
  kind: string,
  by: Selecting,
  page: ColumnPage,
): Write {
  // What a kind of a newer version has is not known here.
  if (!REGISTRY.has(kind)) throw new Unwritable();
  const [streams = [], numbers = []] = [page.columns.stream_id, page.columns.seq];
  return writeObject(choose(sets, typeNameOf(kind), by), (field) => {
    if (field.name === '__typename') return constant(typeNameOf(kind));
    if (field.name === 'role') return constant(roleOf({ kind }));
    if (field.name === 'id')
      return (row) =>
        quote(eventId({ stream_id: String(streams[row]), seq: Number(numbers[row]) }));
    return writeColumn(kind, field, by, page);
  });
}

const constant = (text: string): Write => {
  const quoted = quote(text);
  return () => quoted;
};

/** Writes events by kind; how each kind is written is worked out at its first. */
function writeEvents(sets: readonly SelectionSetNode[], by: Selecting, page: ColumnPage): Write {
  const kinds = page.columns.kind ?? [];
  const known = new Map<unknown, Write>();
  return (row) => {
    const kind = kinds[row];
    let write = known.get(kind);
    if (write === undefined) {
      write = writeEvent(sets, String(kind), by, page);
      known.set(kind, write);
    }
    return write(row);
  };
}

/** `nodes` or `edges` of a page, as their selections mean. Throws `Unwritable`. */
export function writePage(fields: readonly FieldNode[], by: Selecting, page: ColumnPage): string {
  const sets = fields.flatMap(({ selectionSet }) => selectionSet ?? []);
  if (fields[0]?.name.value === 'nodes') {
    const write = writeEvents(sets, by, page);
    return `[${page.order.map((row) => write(row)).join(',')}]`;
  }
  const places = new Map(page.order.map((row, at) => [row, at]));
  const write = writeObject(choose(sets, 'EventEdge', by), (field) => {
    if (field.name === '__typename') return constant('EventEdge');
    if (field.name === 'node') return writeEvents(field.sets, by, page);
    return (row) => quote(eventCursor(page.place(places.get(row) as number)));
  });
  return `[${page.order.map((row) => write(row)).join(',')}]`;
}
