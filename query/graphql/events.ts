/**
 * Events as GraphQL types, made from the registry: the interface `Event` (the envelope) and one
 * object type per kind. The registry's fields are data, so types of fields can't be known to the
 * compiler here: all casts of `query/` stay in this file.
 */
import { defaultFieldResolver } from 'graphql';
import { ENVELOPE, type Field, REGISTRY } from '#schemas';
import { loadContent, loadSummaries, SUMMARY_CHARACTERS_MAX } from '../content.ts';
import { idOf } from '../render.ts';
import { type FlatEvent, roleOf } from '../timeline/view.ts';
import { builder, type Context, costs } from './builder.ts';
import { camelCase, typeNameOf } from './names.ts';

const CONTENT_COST = 10;
/** What a list or map is taken to hold, for costs. */
const ENTRIES_COST = 2;

/** The type of an event whose kind this version does not know. */
const UNKNOWN_TYPE = 'UnknownEvent';

const Entry = builder.objectRef<readonly [string, string]>('Entry').implement({
  description: 'One entry of a map; names may be anything.',
  fields: (t) => ({
    name: t.string({ resolve: ([name]) => name }),
    value: t.string({ resolve: ([, value]) => value }),
  }),
});

const SCALARS = {
  text: 'String',
  keyword: 'String',
  uuid: 'ID',
  hex: 'String',
  time: 'Time',
  uint: 'Long',
  int: 'Long',
  flag: 'Boolean',
} as const;

export function describe(field: Field): string {
  const values = field.values === undefined ? '' : ` One of: ${field.values.join(', ')}.`;
  const otel = field.otel === undefined ? '' : ` OpenTelemetry: ${field.otel}.`;
  return `${field.doc}${values}${otel}`;
}

/** Envelope fields that every kind requires. */
const ALWAYS = new Set(
  Object.keys(ENVELOPE).filter((name) =>
    [...REGISTRY.values()].every(({ required }) => required.has(name)),
  ),
);

const fieldOf = (event: FlatEvent, name: string): unknown =>
  (event as unknown as Readonly<Record<string, unknown>>)[name];

type AnyFields = {
  field: (options: object) => never;
  loadable: (options: object) => never;
};

function contentField(t: AnyFields, name: string, field: Field) {
  return t.loadable({
    type: 'String',
    nullable: true,
    description: `${describe(field)} Read only when asked for.`,
    ...costs(CONTENT_COST),
    loaderOptions: { cacheKeyFn: idOf },
    load: (events: readonly FlatEvent[], { run }: Context) => loadContent(run, events, name),
    resolve: (event: FlatEvent) => event,
  });
}

function plainField(t: AnyFields, name: string, field: Field, required: boolean) {
  const shared = { description: describe(field), nullable: !required };
  if (field.shape === 'map')
    return t.field({
      ...shared,
      type: [Entry],
      ...costs(1, ENTRIES_COST),
      resolve: (event: FlatEvent) => {
        const map = fieldOf(event, name);
        return map === undefined ? null : Object.entries(map as object);
      },
    });
  // A name that is the same in both worlds needs no resolver: compiled execution reads the property
  // in place, and calling one for each field of each event was most of what a page cost.
  const resolve =
    camelCase(name) === name
      ? defaultFieldResolver
      : (event: FlatEvent) => fieldOf(event, name) ?? null;
  return t.field({
    ...shared,
    type: field.shape === 'list' ? ['String'] : SCALARS[field.shape],
    resolve,
  });
}

function fieldsOf(
  t: unknown,
  fields: Readonly<Record<string, Field>>,
  required: ReadonlySet<string>,
) {
  const any = t as AnyFields;
  return Object.fromEntries(
    Object.entries(fields).map(([name, field]) => [
      camelCase(name),
      field.body
        ? contentField(any, name, field)
        : plainField(any, name, field, required.has(name)),
    ]),
  );
}

export const EventRef = builder.interfaceRef<FlatEvent>('Event').implement({
  description: 'What happened: the fields that every event has.',
  resolveType: (event) => (REGISTRY.has(event.kind) ? typeNameOf(event.kind) : UNKNOWN_TYPE),
  fields: (t) => ({
    id: t.id({ description: 'Stream and number: "STREAM-SEQ".', resolve: idOf }),
    role: t.string({
      description: 'What the kind is to the timeline: conversation, call, result, effect …',
      resolve: roleOf,
    }),
    summary: t.loadable({
      type: 'String',
      description: `What happened in one line of at most ${SUMMARY_CHARACTERS_MAX} characters. It may hold anything: escape it to show it.`,
      ...costs(2),
      loaderOptions: { cacheKeyFn: idOf },
      load: (events: FlatEvent[], { run }) => loadSummaries(run, events),
      resolve: (event) => event as never,
    }),
    ...(fieldsOf(t, ENVELOPE, ALWAYS) as Record<string, never>),
  }),
});

for (const spec of REGISTRY.values()) {
  const own = Object.fromEntries(spec.own.map((name) => [name, spec.fields[name] as Field]));
  builder.objectRef<FlatEvent>(typeNameOf(spec.kind)).implement({
    description: spec.doc,
    interfaces: [EventRef],
    fields: (t) => fieldsOf(t, own, spec.required) as Record<string, never>,
  });
}

builder.objectRef<FlatEvent>(UNKNOWN_TYPE).implement({
  description: 'An event of a kind that a newer version wrote: its envelope.',
  interfaces: [EventRef],
  fields: () => ({}),
});
