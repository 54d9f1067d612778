/** Connections as Relay has them: edges with cursors, and what stands on both sides of a page. */
import type { Known, Page } from '../render.ts';
import { builder } from './builder.ts';

const known = (value: Known | undefined) =>
  typeof value === 'function' ? value() : (value ?? false);

export const PageInfo = builder.objectRef<Page<unknown>>('PageInfo').implement({
  description: 'What stands on both sides of a page.',
  fields: (t) => ({
    hasNextPage: t.boolean({ resolve: ({ pageInfo }) => known(pageInfo.hasNextPage) }),
    hasPreviousPage: t.boolean({
      description: 'In a list that goes forward only: false.',
      resolve: ({ pageInfo }) => known(pageInfo.hasPreviousPage),
    }),
    startCursor: t.string({
      nullable: true,
      resolve: ({ edges, pageInfo }) => pageInfo.startCursor ?? edges[0]?.cursor ?? null,
    }),
    endCursor: t.string({ nullable: true, resolve: ({ pageInfo }) => pageInfo.endCursor }),
  }),
});

/** The connection type of a node type. */
export function connectionOf<T>(name: string, node: never) {
  type Edge = Page<T>['edges'][number];
  const EdgeRef = builder.objectRef<Edge>(`${name}Edge`).implement({
    fields: (t) => ({
      cursor: t.exposeString('cursor'),
      node: t.field({ type: node, resolve: (edge: Edge) => edge.node as never }),
    }),
  });
  return builder.objectRef<Page<T>>(`${name}Connection`).implement({
    fields: (t) => ({
      edges: t.field({ type: [EdgeRef], resolve: (page) => page.edges as Edge[] }),
      nodes: t.field({
        type: [node],
        resolve: (page) => page.edges.map((edge) => edge.node) as never,
      }),
      pageInfo: t.field({ type: PageInfo, resolve: (page) => page as Page<unknown> }),
    }),
  });
}
