/** A stock GraphQL client, urql, with nothing of ours between it and the service. */
import { Client, fetchExchange, gql, type OperationResult, subscriptionExchange } from '@urql/core';
import { createClient } from 'graphql-sse';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Listening, listen } from './listening.ts';
import { insertEvents, SESSION, STREAM, stampStream } from './seed.ts';
import { openTestStore, type TestStore } from './service.ts';

let test: TestStore;
let service: Listening;
let client: Client;
beforeAll(async () => {
  test = await openTestStore();
  await insertEvents(test.store, stampStream());
  service = await listen(test.store);
  const sse = createClient({ url: `${service.url}/graphql` });
  client = new Client({
    url: `${service.url}/graphql`,
    preferGetMethod: false,
    exchanges: [
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query, variables }) => ({
          subscribe: (sink) => ({
            unsubscribe: sse.subscribe(
              { query: query ?? '', variables: (variables ?? {}) as Record<string, unknown> },
              sink as never,
            ),
          }),
        }),
      }),
    ],
  });
});
afterAll(async () => {
  await service.close();
  await test.close();
});

interface Paged {
  readonly session: {
    readonly timeline: {
      readonly edges: readonly { readonly node: { readonly __typename: string } }[];
      readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string };
    };
  };
}

describe('urql', () => {
  it('reads a timeline by pages and its types', async () => {
    const page = gql`query ($after: String) { session(id: "${SESSION}") {
      timeline(first: 5, after: $after) {
        edges { node { __typename id ... on ExecEvent { argv } } }
        pageInfo { hasNextPage endCursor } } } }`;
    const seen: string[] = [];
    for (let after: string | null = null; ; ) {
      const answer: OperationResult<Paged> = await client.query<Paged>(page, { after }).toPromise();
      expect(answer.error).toBeUndefined();
      const { edges, pageInfo }: Paged['session']['timeline'] = (answer.data as Paged).session
        .timeline;
      seen.push(...edges.map((edge) => edge.node.__typename));
      if (!pageInfo.hasNextPage) break;
      after = pageInfo.endCursor;
    }
    expect(seen).toHaveLength(16);
    expect(seen[0]).toBe('SessionOpenEvent');
    const types = await client.query(gql`{ __schema { types { name } } }`, {}).toPromise();
    expect(types.data.__schema.types.length).toBeGreaterThan(50);
  });

  it('sees errors with their codes', async () => {
    const wrong = gql`{ session(id: "nope") { id } }`;
    const { error } = await client.query(wrong, {}).toPromise();
    expect(error?.graphQLErrors[0]?.extensions.code).toBe('BAD_USER_INPUT');
  });

  it('follows a session over SSE', async () => {
    const live = gql`subscription { sessionEvents(id: "${SESSION}", filter: { kinds: ["net"] }) { nodes { id } } }`;
    const ids = await new Promise<string[]>((resolve, reject) => {
      const { unsubscribe } = client.subscription(live, {}).subscribe(({ data, error }) => {
        if (error !== undefined) reject(error);
        else resolve(data.sessionEvents.nodes.map(({ id }: { id: string }) => id));
        setTimeout(unsubscribe);
      });
    });
    expect(ids).toEqual([`${STREAM}-9`]);
  });
});
