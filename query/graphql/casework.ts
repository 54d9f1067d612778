/** Casework: annotations on sessions and their events, and saved searches. See `query/casework/`. */
import { GraphQLError, parse, validate } from 'graphql';
import {
  ANNOTATION_TYPES,
  type Annotation,
  type AnnotationType,
  type Version,
} from '../casework/record.ts';
import { badInput } from '../errors.ts';
import { idOf } from '../render.ts';
import type { FlatEvent } from '../timeline/view.ts';
import { builder, type Context, costs, needs } from './builder.ts';
import { EventRef } from './events.ts';
import { SessionRef } from './sessions.ts';

const READ_COST = 20;
const NAME_CHARACTERS_MAX = 200;
const DOCUMENT_CHARACTERS_MAX = 65_536;
const TOKENS_MAX = 4000;
/** What an event or a session usually has of them, for costs. */
const USUAL = 3;

const VersionRef = builder.objectRef<Version>('AnnotationVersion').implement({
  description: 'One word on an annotation: an event of the casework journal.',
  fields: (t) => ({
    version: t.field({ type: 'Long', resolve: ({ version }) => version }),
    action: t.exposeString('action', { description: 'create, edit or withdraw.' }),
    author: t.exposeString('author'),
    at: t.field({ type: 'Time', resolve: ({ at }) => at }),
    eventId: t.exposeID('eventId', {
      description: 'The event that says so: it is chained, sealed and exported like any other.',
    }),
    eventIds: t.idList({ resolve: ({ refs }) => [...refs] }),
    tag: t.string({ nullable: true, resolve: ({ tag }) => tag ?? null }),
    note: t.string({
      nullable: true,
      description: 'Of a withdrawal: why.',
      resolve: ({ note }) => note ?? null,
    }),
  }),
});

/** What both have: who and when, and all that was said before. */
const AnnotationRef = builder.objectRef<Annotation>('Annotation').implement({
  description:
    'What an investigator says of a session or of events in it. It stands beside them; an edit is a new version, and nothing is overwritten.',
  fields: (t) => ({
    id: t.exposeID('id'),
    type: t.exposeString('type', { description: ANNOTATION_TYPES.slice(0, 4).join(', ') }),
    version: t.field({
      type: 'Long',
      description: 'To be given back with the next change.',
      resolve: ({ history }) => history.at(-1)?.version ?? 0,
    }),
    author: t.string({ resolve: ({ first }) => first.author }),
    createdAt: t.field({ type: 'Time', resolve: ({ first }) => first.at }),
    editedAt: t.field({
      type: 'Time',
      nullable: true,
      resolve: ({ current, first }) => (current === first ? null : current.at),
    }),
    withdrawnAt: t.field({
      type: 'Time',
      nullable: true,
      resolve: ({ withdrawn }) => withdrawn?.at ?? null,
    }),
    sessionId: t.id({ nullable: true, resolve: ({ sessionId }) => sessionId ?? null }),
    eventIds: t.idList({
      description: 'Empty where it is about the session as a whole.',
      resolve: ({ current }) => [...current.refs],
    }),
    tag: t.string({ nullable: true, resolve: ({ current }) => current.tag ?? null }),
    note: t.string({
      nullable: true,
      description: 'It may hold anything: escape it to show it.',
      resolve: ({ current }) => current.note ?? null,
    }),
    history: t.field({
      type: [VersionRef],
      description: 'The oldest first.',
      ...costs(1, USUAL),
      resolve: ({ history }) => [...history],
    }),
  }),
});

const SavedSearchRef = builder.objectRef<Annotation>('SavedSearch').implement({
  description:
    'A GraphQL query that somebody keeps. It is given back as it was saved, and never run by itself.',
  fields: (t) => ({
    id: t.exposeID('id'),
    version: t.field({ type: 'Long', resolve: ({ history }) => history.at(-1)?.version ?? 0 }),
    name: t.string({ resolve: ({ current }) => current.name ?? '' }),
    document: t.string({ resolve: ({ current }) => current.document ?? '' }),
    variables: t.string({
      nullable: true,
      description: 'JSON.',
      resolve: ({ current }) => current.variables ?? null,
    }),
    author: t.string({ resolve: ({ first }) => first.author }),
    createdAt: t.field({ type: 'Time', resolve: ({ first }) => first.at }),
    withdrawnAt: t.field({
      type: 'Time',
      nullable: true,
      resolve: ({ withdrawn }) => withdrawn?.at ?? null,
    }),
    history: t.field({
      type: [VersionRef],
      ...costs(1, USUAL),
      resolve: ({ history }) => [...history],
    }),
  }),
});

const WITHDRAWN = 'Whether withdrawn ones are told as well.';
const standing = (all: readonly Annotation[], withdrawn: boolean | null | undefined) =>
  all.filter((one) => withdrawn === true || one.withdrawn === undefined);

builder.objectFields(SessionRef, (t) => ({
  annotations: t.field({
    type: [AnnotationRef],
    description: 'On the session and on its events, the oldest first. They need the scope content.',
    ...costs(READ_COST, USUAL),
    args: { withdrawn: t.arg.boolean({ description: WITHDRAWN }) },
    resolve: async ({ id }, { withdrawn }, { casebook }) =>
      standing(await casebook.ofSession(id), withdrawn),
  }),
}));

/** The annotations of each event; a session's are read once. */
async function ofEvents(events: readonly FlatEvent[], { casebook }: Context) {
  const sessions = [...new Set(events.map(({ session_id }) => session_id))];
  const all = await Promise.all(sessions.map((session) => casebook.ofSession(session)));
  const byEvent = new Map<string, Annotation[]>();
  for (const one of standing(all.flat(), false))
    for (const id of one.current.refs) byEvent.set(id, [...(byEvent.get(id) ?? []), one]);
  return events.map((event) => byEvent.get(idOf(event)) ?? []);
}

builder.interfaceFields(EventRef, (t) => ({
  annotations: t.loadableList({
    type: AnnotationRef,
    description: 'What investigators say of it.',
    ...costs(2, USUAL),
    loaderOptions: { cacheKeyFn: idOf },
    load: (events: FlatEvent[], context) => ofEvents(events, context),
    resolve: (event) => event as never,
  }),
}));

builder.queryFields((t) => ({
  annotation: t.field({
    type: AnnotationRef,
    description: 'One annotation, with its history, also when it was withdrawn.',
    ...costs(READ_COST),
    args: { id: t.arg.id({ required: true }) },
    resolve: (_root, { id }, { casebook }) => casebook.one(String(id)),
  }),
  savedSearches: t.field({
    type: [SavedSearchRef],
    ...costs(READ_COST, USUAL),
    args: { withdrawn: t.arg.boolean({ description: WITHDRAWN }) },
    resolve: async (_root, { withdrawn }, { casebook }) =>
      standing(await casebook.searches(), withdrawn),
  }),
}));

/** Throws `QueryError` where this is not one query that the schema can answer. */
function checkDocument(document: string | undefined, info: { schema: never }): void {
  if (document === undefined) return;
  if (document.length > DOCUMENT_CHARACTERS_MAX)
    throw badInput(`document: at most ${DOCUMENT_CHARACTERS_MAX} characters`);
  try {
    const parsed = parse(document, { maxTokens: TOKENS_MAX });
    const [fault] = validate(info.schema, parsed);
    if (fault !== undefined) throw fault;
    const operations = parsed.definitions.filter((node) => node.kind === 'OperationDefinition');
    if (operations.length === 1 && operations[0]?.operation === 'query') return;
  } catch (error) {
    if (!(error instanceof GraphQLError)) throw error;
    throw badInput(`document: ${error.message}`);
  }
  throw badInput('document: one query, and nothing else');
}

function checkVariables(variables: string | undefined): void {
  if (variables === undefined) return;
  if (variables.length > DOCUMENT_CHARACTERS_MAX)
    throw badInput(`variables: at most ${DOCUMENT_CHARACTERS_MAX} characters`);
  let value: unknown;
  try {
    value = JSON.parse(variables);
  } catch {
    throw badInput('variables: not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badInput('variables: a JSON object');
}

interface SearchInput {
  readonly name?: string | null | undefined;
  readonly document?: string | null | undefined;
  readonly variables?: string | null | undefined;
}

function searchOf(input: SearchInput, info: unknown) {
  const name = input.name ?? undefined;
  const document = input.document ?? undefined;
  const variables = input.variables ?? undefined;
  if (name !== undefined && (name === '' || name.length > NAME_CHARACTERS_MAX))
    throw badInput(`name: from 1 to ${NAME_CHARACTERS_MAX} characters`);
  for (const [field, text] of Object.entries({ name, document, variables }))
    if (text?.isWellFormed() === false) throw badInput(`${field}: holds a lone surrogate`);
  checkDocument(document, info as { schema: never });
  checkVariables(variables);
  return { name, document, variables };
}

const AnnotationInput = builder.inputType('AnnotationInput', {
  fields: (t) => ({
    type: t.string({ required: true, description: 'pin, tag, note or link.' }),
    sessionId: t.id({ required: true }),
    eventIds: t.idList({ description: 'None: it is about the session. A link needs two or more.' }),
    tag: t.string(),
    note: t.string(),
  }),
});

const AnnotationChange = builder.inputType('AnnotationChange', {
  description: 'What is not given stays as it is.',
  fields: (t) => ({ eventIds: t.idList(), tag: t.string(), note: t.string() }),
});

const SavedSearchInput = builder.inputType('SavedSearchInput', {
  fields: (t) => ({
    name: t.string(),
    document: t.string({ description: 'One query of this schema.' }),
    variables: t.string({ description: 'A JSON object.' }),
  }),
});

function typeOf(text: string): AnnotationType {
  const found = ANNOTATION_TYPES.slice(0, 4).find((known) => known === text);
  if (found === undefined) throw badInput('type: pin, tag, note or link');
  return found;
}

const VERSION = 'The version that you have seen; another since then is an error, not overwritten.';
const INVESTIGATOR = { extensions: { cost: READ_COST, ...needs('investigator').extensions } };

builder.mutationType({ description: 'Casework only: what was recorded is never changed.' });
builder.mutationFields((t) => ({
  annotate: t.field({
    type: AnnotationRef,
    ...INVESTIGATOR,
    args: { input: t.arg({ type: AnnotationInput, required: true }) },
    resolve: (_root, { input }, { casebook }) =>
      casebook.create(typeOf(input.type), String(input.sessionId), {
        refs: (input.eventIds ?? []).map(String),
        tag: input.tag ?? undefined,
        note: input.note ?? undefined,
      }),
  }),
  editAnnotation: t.field({
    type: AnnotationRef,
    ...INVESTIGATOR,
    args: {
      id: t.arg.id({ required: true }),
      version: t.arg({ type: 'Long', required: true, description: VERSION }),
      change: t.arg({ type: AnnotationChange, required: true }),
    },
    resolve: (_root, { id, version, change }, { casebook }) =>
      casebook.edit(String(id), version, {
        search: false,
        ...(change.eventIds == null ? {} : { refs: change.eventIds.map(String) }),
        tag: change.tag ?? undefined,
        note: change.note ?? undefined,
      }),
  }),
  withdrawAnnotation: t.field({
    type: AnnotationRef,
    description: 'Takes an annotation or a saved search out of sight; its history stays.',
    ...INVESTIGATOR,
    args: {
      id: t.arg.id({ required: true }),
      version: t.arg({ type: 'Long', required: true, description: VERSION }),
      reason: t.arg.string(),
    },
    resolve: (_root, { id, version, reason }, { casebook }) =>
      casebook.withdraw(String(id), version, reason ?? undefined),
  }),
  saveSearch: t.field({
    type: SavedSearchRef,
    ...INVESTIGATOR,
    args: { input: t.arg({ type: SavedSearchInput, required: true }) },
    resolve: (_root, { input }, { casebook }, info) => {
      const search = searchOf(input, info);
      if (search.name === undefined) throw badInput('name: a saved search needs one');
      if (search.document === undefined) throw badInput('document: a saved search needs one');
      return casebook.create('search', undefined, { refs: [], ...search });
    },
  }),
  editSearch: t.field({
    type: SavedSearchRef,
    ...INVESTIGATOR,
    args: {
      id: t.arg.id({ required: true }),
      version: t.arg({ type: 'Long', required: true, description: VERSION }),
      input: t.arg({ type: SavedSearchInput, required: true }),
    },
    resolve: (_root, { id, version, input }, { casebook }, info) =>
      casebook.edit(String(id), version, { search: true, ...searchOf(input, info) }),
  }),
}));
