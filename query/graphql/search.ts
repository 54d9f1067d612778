/** Search over the texts of all sessions. */
import { type FieldNode, type GraphQLResolveInfo, Kind, type SelectionSetNode } from 'graphql';
import { isUuid } from '../cursor.ts';
import { badInput } from '../errors.ts';
import { PAGE_MAX, pageSize } from '../plan.ts';
import { type Hit, type HitPage, searchPage } from '../search/find.ts';
import { SEARCH_FIELDS, SEARCH_MODES, SNIPPET_CHARACTERS, searchOf } from '../search/plan.ts';
import { builder, costs } from './builder.ts';
import { columnsFor } from './columns.ts';
import { EventRef } from './events.ts';
import { camelCase } from './names.ts';
import { PageInfo } from './page.ts';

const SEARCH_COST = 200;

const HitRef = builder.objectRef<Hit>('SearchHit').implement({
  description: 'One event with the text that was searched for, and where in it.',
  fields: (t) => ({
    event: t.field({ type: EventRef, resolve: ({ event }) => event }),
    field: t.string({
      description: 'The field that holds it, as the event has it; argvLine is argv with blanks.',
      resolve: ({ column }) => camelCase(column),
    }),
    offset: t.field({
      type: 'Long',
      description: 'Where it begins in the field, in characters (code points) from 0.',
      resolve: ({ offset }) => offset,
    }),
    length: t.field({ type: 'Long', resolve: ({ length }) => length }),
    snippet: t.exposeString('snippet', {
      description: `The text around it, at most ${SNIPPET_CHARACTERS} characters. It may hold anything: escape it to show it.`,
    }),
    snippetOffset: t.field({
      type: 'Long',
      description: 'Where the snippet begins in the field.',
      resolve: ({ snippetOffset }) => snippetOffset,
    }),
  }),
});

const HitEdgeRef = builder.objectRef<HitPage['edges'][number]>('SearchEdge').implement({
  fields: (t) => ({
    cursor: t.exposeString('cursor'),
    node: t.field({ type: HitRef, resolve: ({ node }) => node }),
  }),
});

const HitPageRef = builder.objectRef<HitPage>('SearchConnection').implement({
  description: 'Hits, newest first.',
  fields: (t) => ({
    edges: t.field({ type: [HitEdgeRef], resolve: ({ edges }) => [...edges] }),
    nodes: t.field({ type: [HitRef], resolve: ({ edges }) => edges.map(({ node }) => node) }),
    pageInfo: t.field({ type: PageInfo, resolve: (page) => page }),
    searchedFrom: t.field({
      type: 'Time',
      nullable: true,
      description:
        'Given where the page ended because it took too long: what is older has not been looked through yet, and the next page begins there.',
      resolve: ({ searchedFrom }) => searchedFrom ?? null,
    }),
  }),
});

const SearchFilterInput = builder.inputType('SearchFilter', {
  description: 'All that is given must hold.',
  fields: (t) => ({
    kinds: t.stringList({ description: 'Event kinds, such as "exec".' }),
    session: t.id(),
    agent: t.string(),
    machine: t.string({ description: 'The host that the session ran on.' }),
    user: t.string(),
    from: t.field({ type: 'Time', description: 'Happened at or after.' }),
    before: t.field({ type: 'Time', description: 'Happened before.' }),
  }),
});

/** All selections of a field with this name, wherever they stand. */
function selectionsOf(
  set: SelectionSetNode,
  info: Pick<GraphQLResolveInfo, 'fragments'>,
  name: string,
): SelectionSetNode[] {
  return set.selections.flatMap((node) => {
    if (node.kind === Kind.FIELD && node.name.value === name)
      return node.selectionSet === undefined ? [] : [node.selectionSet];
    const inner =
      node.kind === Kind.FRAGMENT_SPREAD
        ? info.fragments[node.name.value]?.selectionSet
        : node.selectionSet;
    return inner === undefined ? [] : selectionsOf(inner, info, name);
  });
}

/** The columns that the events of a page of hits are asked for. */
function eventColumns(info: Pick<GraphQLResolveInfo, 'fieldNodes' | 'fragments'>): string[] {
  const events = info.fieldNodes.flatMap(({ selectionSet }) =>
    selectionSet === undefined ? [] : selectionsOf(selectionSet, info, 'event'),
  );
  const field = (name: string, selectionSet: SelectionSetNode): FieldNode => ({
    kind: Kind.FIELD,
    name: { kind: Kind.NAME, value: name },
    selectionSet,
  });
  const selections = events.map((set) => field('node', set));
  return columnsFor({
    fieldNodes: [field('hits', { kind: Kind.SELECTION_SET, selections })],
    fragments: info.fragments,
  });
}

builder.queryField('search', (t) =>
  t.field({
    type: HitPageRef,
    description:
      'Texts of all sessions, newest hit first. Needs the scope content. Commands have an index over words, which serves `words` and, where words that are whole can be told from the query, `substring` and `regex`; all else is read through, newest first, for some seconds a page.',
    ...costs(SEARCH_COST),
    args: {
      query: t.arg.string({ required: true }),
      mode: t.arg.string({
        description: `${SEARCH_MODES.join(', ')}. words (what is taken where nothing is said): all of them, in any order, without regard to case. substring: without regard to the case of ASCII letters. regex: RE2; (?i) for any case.`,
      }),
      in: t.arg.stringList({
        description: `What is searched: ${Object.keys(SEARCH_FIELDS).join(', ')}; commands where nothing is said.`,
      }),
      first: t.arg.int({ description: `At most ${PAGE_MAX}.` }),
      after: t.arg.string({ description: 'The cursor that the page begins after.' }),
      filter: t.arg({ type: SearchFilterInput }),
    },
    resolve: (_root, args, { run }, info) => {
      const filter = args.filter ?? {};
      if (typeof filter.session === 'string' && !isUuid(filter.session))
        throw badInput('session: not a UUID');
      const search = searchOf(args.query, args.mode ?? 'words', args.in, filter);
      return searchPage(run, search, pageSize(args.first), args.after, eventColumns(info));
    },
  }),
);
