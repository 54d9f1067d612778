/** Pages of a timeline: together the whole, in order, whatever their size and however many ties. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Draft, eventId } from '#schemas';
import { byTime } from '../../query/timeline/view.ts';
import { insertEvents, stampStream } from './seed.ts';
import { openTestStore, type Service, serve, type TestStore } from './service.ts';

const SESSION = '0193a5e0-0000-7000-8000-0000000000cc';
const BASE_NS = 1_764_000_000_000_000_000n;
/** Three days, so that the pages cross partitions. */
const DAY_NS = 86_400_000_000_000n;
const EVENTS = 60;

const draft = (i: number): Draft =>
  ({
    kind: 'file',
    // A few times only: most events tie with several others.
    ts: String(BASE_NS + BigInt(i % 3) * DAY_NS + BigInt(i % 4)),
    source: 'seccomp',
    assurance: 'observed',
    pid: 1,
    file_op: 'create',
    file_path: `/f/${i}`,
  }) as Draft;

let test: TestStore;
let service: Service;
let ids: string[];
beforeAll(async () => {
  test = await openTestStore();
  const drafts = Array.from({ length: EVENTS }, (_, i) => draft(i));
  // Two streams with the same times and numbers: ties down to the stream's id.
  const streams = ['0193a5e0-0000-7000-8000-0000000000c2', 'f193a5e0-0000-7000-8000-0000000000c1'];
  const events = streams.flatMap((stream) => stampStream({ session: SESSION, stream, drafts }));
  await insertEvents(test.store, events);
  ids = events
    .map(({ event }) => event)
    .sort(byTime)
    .map(eventId);
  service = await serve(test.store);
});
afterAll(async () => {
  await service.app.close();
  await test.close();
});

const PAGE = `query ($first: Int, $after: String, $filter: EventFilter) {
  session(id: "${SESSION}") {
    timeline(first: $first, after: $after, filter: $filter) {
      edges { cursor node { id } }
      pageInfo { hasNextPage endCursor }
    }
  }
}`;

async function pages(first: number, filter: object = {}): Promise<string[][]> {
  const out: string[][] = [];
  for (let after: string | null = null; ; ) {
    const answer = await service.ask(PAGE, { first, after, filter });
    expect(answer.errors).toBeUndefined();
    const { edges, pageInfo } = answer.data?.session.timeline ?? {};
    out.push(edges.map((edge: { node: { id: string } }) => edge.node.id));
    expect(pageInfo.endCursor).toBe(edges.at(-1)?.cursor ?? null);
    if (!pageInfo.hasNextPage) return out;
    after = pageInfo.endCursor;
  }
}

describe('timeline pages', () => {
  it('are the whole timeline in its order, at any size', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 7, max: 140 }), async (first) => {
        const all = await pages(first);
        expect(all.flat()).toEqual(ids);
        for (const page of all.slice(0, -1)) expect(page).toHaveLength(first);
      }),
      { numRuns: 8, examples: [[ids.length], [ids.length - 1], [ids.length + 1]] },
    );
  });

  it('of one event each lose none of a filtered timeline', async () => {
    const path = '/f/7';
    const found = (await pages(1, { path })).flat();
    expect(found).toHaveLength(2);
    expect(found).toEqual(ids.filter((id) => found.includes(id)));
  });

  it('go on from any cursor with exactly what follows', async () => {
    const answer = await service.ask(PAGE, { first: ids.length });
    const edges: { cursor: string; node: { id: string } }[] =
      answer.data?.session.timeline.edges ?? [];
    for (const at of [0, 1, 17, 60, ids.length - 2, ids.length - 1]) {
      const next = await service.ask(PAGE, { first: 5, after: edges[at]?.cursor });
      const got = next.data?.session.timeline.edges.map((e: { node: { id: string } }) => e.node.id);
      expect(got).toEqual(ids.slice(at + 1, at + 6));
    }
  });

  it('refuse a cursor that is none, and a size below 1', async () => {
    const sessions = await service.ask('{ sessions { pageInfo { endCursor } } }');
    const other = sessions.data?.sessions.pageInfo.endCursor;
    for (const after of ['', 'x', 'djF8', other, 'A'.repeat(10_000)])
      expect((await service.ask(PAGE, { after })).errors?.[0]?.extensions?.code).toBe(
        'BAD_USER_INPUT',
      );
    for (const first of [0, -1])
      expect((await service.ask(PAGE, { first })).errors?.[0]?.extensions?.code).toBe(
        'BAD_USER_INPUT',
      );
  });
});
