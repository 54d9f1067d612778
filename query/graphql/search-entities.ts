/** Entities: where a value was seen, what is rare in a session, which sessions are like it. */
import { ENTITY_TYPES } from '#schemas';
import { findSession } from '../load.ts';
import { PAGE_DEFAULT, PAGE_MAX, pageSize } from '../plan.ts';
import type { Runner } from '../run.ts';
import {
  type Entity,
  entitiesByPrefix,
  findEntity,
  fleetSize,
  type SessionEntity,
  type Sighting,
  type Similar,
  sessionEntities,
  sightings,
  similarSessions,
} from '../search/entities.ts';
import { ENTITY_TYPE_NAMES, VALUES_MAX, type Weighted } from '../search/entity-plan.ts';
import { builder, costs } from './builder.ts';
import { connectionOf } from './page.ts';
import { SessionRef } from './sessions.ts';

const LOOKUP_COST = 20;
const LIST_COST = 200;
const SIMILAR_MAX = 50;
const SIMILAR_DEFAULT = 10;
const TYPES = `${Object.entries(ENTITY_TYPES)
  .map(([name, { doc }]) => `${name}: ${doc}`)
  .join(
    ' ',
  )} Any other name is looked up as a domain, too: all hosts below it. agent, machine, user: of sessions.`;
const SIZE = `At most ${PAGE_MAX}; ${PAGE_DEFAULT} where nothing is said.`;

/** The fleet's size is the same for all entities of one request. */
const fleets = new WeakMap<Runner, Promise<number>>();
function fleetOf(run: Runner): Promise<number> {
  const known = fleets.get(run) ?? fleetSize(run);
  fleets.set(run, known);
  return known;
}

const SightingRef = builder.objectRef<Sighting>('EntitySighting').implement({
  description: 'An entity in one session.',
  fields: (t) => ({
    session: t.field({ type: SessionRef, resolve: ({ session }) => session }),
    firstSeen: t.field({ type: 'Time', resolve: ({ firstNs }) => firstNs }),
    lastSeen: t.field({ type: 'Time', resolve: ({ lastNs }) => lastNs }),
  }),
});
const SightingConnection = connectionOf<Sighting>('EntitySighting', SightingRef as never);

const EntityRef = builder.objectRef<Entity>('Entity').implement({
  description: 'A value that sessions may have in common.',
  fields: (t) => ({
    type: t.exposeString('type'),
    value: t.exposeString('value'),
    sessionCount: t.field({
      type: 'Long',
      description: 'In how many sessions it is.',
      resolve: ({ sessions }) => sessions,
    }),
    rarity: t.float({
      description: 'Sessions with it, as a share of all sessions: near 0 is rare, 1 is everywhere.',
      resolve: async ({ sessions }, _args, { run }) => sessions / Math.max(await fleetOf(run), 1),
    }),
    firstSeen: t.field({ type: 'Time', resolve: ({ firstNs }) => firstNs }),
    lastSeen: t.field({ type: 'Time', resolve: ({ lastNs }) => lastNs }),
    sessions: t.field({
      type: SightingConnection,
      description: 'The sessions that it is in, by when it was first seen there, newest first.',
      ...costs(LOOKUP_COST),
      args: { first: t.arg.int({ description: SIZE }), after: t.arg.string() },
      resolve: (entity, { first, after }, { run }) =>
        sightings(run, entity, pageSize(first), after),
    }),
  }),
});
const EntityConnection = connectionOf<Entity>('Entity', EntityRef as never);

const SessionEntityRef = builder.objectRef<SessionEntity>('SessionEntity').implement({
  description: 'An entity of one session, beside what the fleet has of it.',
  fields: (t) => ({
    entity: t.field({ type: EntityRef, resolve: (one) => one }),
    firstSeen: t.field({
      type: 'Time',
      description: 'In this session.',
      resolve: ({ firstHereNs }) => firstHereNs,
    }),
    lastSeen: t.field({ type: 'Time', resolve: ({ lastHereNs }) => lastHereNs }),
  }),
});

const SharedRef = builder.objectRef<Weighted>('SharedEntity').implement({
  description: 'What two sessions have in common, and what it counts for.',
  fields: (t) => ({
    type: t.exposeString('type'),
    value: t.exposeString('value'),
    weight: t.exposeFloat('weight', { description: 'log(all sessions / sessions with it).' }),
  }),
});

const SimilarRef = builder.objectRef<Similar>('SimilarSession').implement({
  description: 'A session that shares rare entities with another.',
  fields: (t) => ({
    session: t.field({ type: SessionRef, resolve: ({ session }) => session }),
    score: t.exposeFloat('score', {
      description:
        'The weight of what both have, as a share of the weight of all that was compared: 0 to 1.',
    }),
    sharedCount: t.field({ type: 'Long', resolve: ({ entities }) => entities }),
    shared: t.field({
      type: [SharedRef],
      description: 'What both have, the heaviest first.',
      resolve: ({ shared }) => [...shared],
    }),
  }),
});

builder.queryFields((t) => ({
  entity: t.field({
    type: EntityRef,
    nullable: true,
    description: 'One entity; null where no session has it.',
    ...costs(LOOKUP_COST),
    args: {
      type: t.arg.string({ required: true, description: TYPES }),
      value: t.arg.string({ required: true, description: 'Exactly as it was seen.' }),
    },
    resolve: async (_root, { type, value }, { run }) =>
      (await findEntity(run, type, value)) ?? null,
  }),
  entities: t.field({
    type: EntityConnection,
    description: 'Values of one sort that begin with a prefix, in order.',
    ...costs(LIST_COST),
    args: {
      type: t.arg.string({
        required: true,
        description: ENTITY_TYPE_NAMES.join(', '),
      }),
      prefix: t.arg.string({ required: true }),
      first: t.arg.int({ description: SIZE }),
      after: t.arg.string(),
    },
    resolve: (_root, { type, prefix, first, after }, { run }) =>
      entitiesByPrefix(run, type, prefix, pageSize(first), after),
  }),
}));

builder.objectFields(SessionRef, (t) => ({
  entities: t.field({
    type: [SessionEntityRef],
    description: `The session’s entities, the rarest in the fleet first; of more than ${VALUES_MAX} the earliest are looked at.`,
    ...costs(LIST_COST),
    args: {
      types: t.arg.stringList({ description: `All where none is given. ${TYPES}` }),
      first: t.arg.int({ description: SIZE }),
    },
    resolve: async ({ id }, { types, first }, { run }) =>
      (await sessionEntities(run, id, types)).slice(0, pageSize(first)),
  }),
  similar: t.field({
    type: [SimilarRef],
    description:
      'Sessions that share the most of this one’s rare entities, the most alike first, with what they share.',
    ...costs(LIST_COST, SIMILAR_DEFAULT),
    args: { first: t.arg.int({ description: `At most ${SIMILAR_MAX}.` }) },
    resolve: async ({ id }, { first }, { run }) => {
      const head = await findSession(run, id);
      const size = Math.min(pageSize(first ?? SIMILAR_DEFAULT), SIMILAR_MAX);
      return head === undefined ? [] : [...(await similarSessions(run, head.id, size))];
    },
  }),
}));
