/**
 * Which columns a page of events needs: those of the fields that are asked for. A row has some
 * ninety narrow columns, and reading and parsing all of them is most of a page's cost.
 */
import {
  type FragmentDefinitionNode,
  type GraphQLResolveInfo,
  Kind,
  type SelectionSetNode,
} from 'graphql';
import { ALL_FIELDS } from '#schemas';
import { CONTENT, NARROW } from '../plan.ts';
import { COLUMN_OF } from './names.ts';

/** What an event is told apart, ordered and found again by. */
const ALWAYS = ['session_id', 'stream_id', 'seq', 'kind', 'ts'];
/** Fields of ours that are made of any of a kind's fields. */
const OF_ALL = new Set(['summary']);
/** Where a page holds its events. */
const NODES = new Set(['nodes', 'node', 'edges']);

type Fragments = Readonly<Record<string, FragmentDefinitionNode>>;

function collect(
  set: SelectionSetNode,
  fragments: Fragments,
  inEvent: boolean,
  into: Set<string>,
): void {
  for (const node of set.selections) {
    if (node.kind === Kind.FIELD) {
      const name = node.name.value;
      if (inEvent) into.add(name);
      else if (NODES.has(name) && node.selectionSet !== undefined)
        collect(node.selectionSet, fragments, name !== 'edges', into);
      continue;
    }
    const fragment = node.kind === Kind.INLINE_FRAGMENT ? node : fragments[node.name.value];
    if (fragment !== undefined) collect(fragment.selectionSet, fragments, inEvent, into);
  }
}

/** The columns for the page that a resolver is asked for, in the order of the table. */
export function columnsFor(info: Pick<GraphQLResolveInfo, 'fieldNodes' | 'fragments'>): string[] {
  const asked = new Set<string>();
  for (const { selectionSet } of info.fieldNodes)
    if (selectionSet !== undefined) collect(selectionSet, info.fragments, false, asked);
  if ([...asked].some((name) => OF_ALL.has(name))) return [...NARROW];
  const wanted = new Set([...ALWAYS, ...[...asked].flatMap((name) => COLUMN_OF.get(name) ?? [])]);
  return Object.keys(ALL_FIELDS).filter((name) => wanted.has(name) && !CONTENT.includes(name));
}
