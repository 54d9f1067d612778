/** Pages that leave as text are what graphql-js gives of the same document, byte for byte. */
import { useGraphQlJit } from '@envelop/graphql-jit';
import fc from 'fast-check';
import {
  execute as executePlainly,
  type GraphQLObjectType,
  getNamedType,
  isObjectType,
  parse,
} from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ALL_FIELDS, canonical, type TelltaleEvent } from '#schemas';
import type { StampedEvent } from '../../collector/stamp.ts';
import type { Context } from '../../query/graphql/builder.ts';
import { usePageText } from '../../query/graphql/page-text.ts';
import { schema } from '../../query/graphql/schema.ts';
import { createLoads } from '../../query/load.ts';
import { CONTENT } from '../../query/plan.ts';
import { anyEvent, inStream, sampleEvents } from '../schemas/arbitraries.ts';
import { runnerFor, viewer } from './access.ts';
import { insertEvents, TENANT } from './seed.ts';
import { openTestStore, type TestStore } from './service.ts';

const KINDS = schema.getPossibleTypes(schema.getType('Event') as never) as GraphQLObjectType[];
const COUNT = 60;

let test: TestStore;
let stored: TelltaleEvent[] = [];
beforeAll(async () => {
  test = await openTestStore();
  const all = [...sampleEvents(), ...fc.sample(anyEvent, { numRuns: COUNT, seed: 11 })];
  stored = inStream(all);
  const lines = stored.map((event) => ({ event, bytes: Buffer.from(canonical(event)) }));
  await insertEvents(test.store, lines as unknown as StampedEvent[]);
});
afterAll(() => test.close());

interface Executed {
  readonly text: string;
  /** Whether pages were written as text. */
  readonly inText: boolean;
}

/** Executes as the service does, with or without texts, and writes the result out. */
async function execute(query: string, variables: object, withText: boolean, scopes: 'content'[]) {
  const run = runnerFor(test.store, viewer(TENANT, ['admin'], scopes));
  const context = { run, viewer: run.viewer, loads: createLoads(run) } as unknown as Context;
  type Execute = (args: object) => Promise<{ readonly stringify?: (result: object) => string }>;
  let executeFn: Execute = () => Promise.reject(new Error('nothing executes'));
  const args = { schema, document: parse(query), contextValue: context, variableValues: variables };
  let inText = false;
  const event = () => ({
    args,
    executeFn,
    setExecuteFn: (next: Execute) => {
      executeFn = next;
    },
  });
  // Compiled execution has the same members; their order is that of its own fragments.
  if (withText) useGraphQlJit().onExecute?.(event() as never);
  else executeFn = executePlainly as never;
  const plain = executeFn;
  if (withText) usePageText(schema).onExecute?.(event() as never);
  const result = await executeFn(args);
  inText = executeFn !== plain && result.stringify?.name === 'stringifyResult';
  const text = inText ? result.stringify?.(result) : JSON.stringify(result);
  return { text: String(text), inText } satisfies Executed;
}

/** Fields of a type, some under another name, some on a condition. */
function selection(type: GraphQLObjectType | 'Event', written: boolean): fc.Arbitrary<string> {
  const of = schema.getType(String(type)) as GraphQLObjectType;
  const wide = new Set(CONTENT);
  const names = Object.values(of.getFields())
    .filter(({ type }) => !isObjectType(getNamedType(type)) || getNamedType(type).name === 'Entry')
    .map(({ name, type }) => ({ name, inner: isObjectType(getNamedType(type)) }))
    .filter(({ name }) => name !== 'summary')
    .filter(({ name }) => !written || !wide.has(snake(name)));
  const condition = fc.constantFrom(
    '',
    '',
    '',
    '@include(if: $yes)',
    '@skip(if: $yes)',
    '@include(if: $no) @skip(if: $no)',
    '@skip(if: $no)',
  );
  const entry = fc.constantFrom('{ name value }', '{ value __typename }', '{ n: name name }');
  return fc
    .array(
      fc
        .tuple(
          fc.constantFrom(...names, { name: '__typename', inner: false }),
          condition,
          entry,
          fc.nat(9),
        )
        .map(([{ name, inner }, when, members, alias]) =>
          [
            alias === 0 ? `${String(type)}_${name}: ${name}` : name,
            when,
            inner ? members : '',
          ].join(' '),
        ),
      { minLength: 1, maxLength: 12 },
    )
    .map((fields) => fields.join(' '));
}

const snake = (name: string) =>
  Object.keys(ALL_FIELDS).find((one) => one.replaceAll('_', '') === name.toLowerCase()) ?? name;

const document = (written: boolean) =>
  fc
    .record({
      shared: selection('Event', written),
      named: selection('Event', written),
      on: fc
        .uniqueArray(fc.constantFrom(...KINDS), { maxLength: 6 })
        .chain((kinds) =>
          fc.tuple(
            ...kinds.map((kind) =>
              selection(kind, written).map((set) => `... on ${kind.name} { ${set} }`),
            ),
          ),
        ),
      edges: fc.boolean(),
      page: fc.constantFrom('first: 500', 'first: 7', 'last: 9', 'last: 400'),
      twice: fc.boolean(),
      yes: fc.option(fc.boolean(), { nil: undefined }),
    })
    .map(({ shared, named, on, edges, page, twice, yes }) => ({
      query: `query ($id: ID!, $yes: Boolean = true, $no: Boolean = false) { s: session(id: $id) { agent timeline(${page}) {
        ${edges ? `edges { cursor node { ${shared} ...Named } cursor __typename }` : `all: nodes { ${shared} ${on.join(' ')} ...Named }`}
        ${twice ? `nodes { id } nodes { seq ... on Event { id kind } ...Named }` : ''}
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } } fragment Named on Event { ${named} ${on.slice(0, 2).join(' ')} }`,
      variables: yes === undefined ? {} : { yes },
    }));

/** Where two texts part, so that a failure can be read. */
function differ(one: string, other: string): string {
  let at = 0;
  while (one[at] === other[at]) at++;
  return `${one.slice(at - 60, at + 60)} for ${other.slice(at - 60, at + 60)}`;
}

const id = () => String(stored[0]?.session_id);

describe('a page as text', () => {
  it('is what execution gives, for any selection of columns', async () => {
    await fc.assert(
      fc.asyncProperty(document(true), fc.boolean(), async ({ query, variables }, content) => {
        const scopes: 'content'[] = content ? ['content'] : [];
        const given = { id: id(), ...variables };
        const [told, wanted] = [
          await execute(query, given, true, scopes),
          await execute(query, given, false, scopes),
        ];
        expect(told.text === wanted.text || differ(told.text, wanted.text)).toBe(true);
        expect(told.inText).toBe(true);
        expect(wanted.text).not.toContain('"errors"');
      }),
      { numRuns: 30 },
    );
  }, 60_000);

  it('has every column of every kind, and each value as it is', async () => {
    const sets = KINDS.map((kind) => {
      const fields = Object.values(kind.getFields())
        .filter(
          ({ name }) => ALL_FIELDS[snake(name)] !== undefined && !CONTENT.includes(snake(name)),
        )
        .map(
          ({ name, type }) => `${name}${isObjectType(getNamedType(type)) ? ' { name value }' : ''}`,
        );
      return `... on ${kind.name} { ${fields.join(' ')} }`;
    });
    const query = `query ($id: ID!) { session(id: $id) { timeline(first: 1000) { nodes { id role ${sets.join(' ')} } } } }`;
    const told = await execute(query, { id: id() }, true, ['content']);
    expect(told).toEqual({
      ...(await execute(query, { id: id() }, false, ['content'])),
      inText: true,
    });
    expect(JSON.parse(told.text).data.session.timeline.nodes).toHaveLength(stored.length);
  }, 30_000);

  it('is not tried where content is asked for, or an operation that is no query', async () => {
    const nodes = (set: string) =>
      `query ($id: ID!) { session(id: $id) { timeline { nodes { ${set} } } } }`;
    for (const query of [
      nodes('id summary'),
      nodes('id ... on PromptEvent { prompt }'),
      nodes('annotations { id }'),
      'query ($id: ID!) { session(id: $id) { id } }',
    ])
      expect((await execute(query, { id: id() }, true, ['content'])).inText).toBe(false);
  });
});
