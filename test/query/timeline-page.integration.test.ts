/** A timeline walked by pages, forwards and backwards, whole or filtered, while events come in. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Draft, eventId, type TelltaleEvent } from '#schemas';
import type { StampedEvent } from '../../collector/stamp.ts';
import { buildProcesses } from '../../query/timeline/processes.ts';
import { byTime } from '../../query/timeline/view.ts';
import { insertEvents, stampStream } from './seed.ts';
import { openTestStore, type Service, serve, type TestStore } from './service.ts';

const SESSION = '0193a5e0-0000-7000-8000-0000000000cd';
const STREAMS = ['0193a5e0-0000-7000-8000-0000000000d2', 'f193a5e0-0000-7000-8000-0000000000d1'];
const BASE_NS = 1_764_000_000_000_000_000n;
const DAY_NS = 86_400_000_000_000n;

const observed = { source: 'seccomp', assurance: 'observed' } as const;
/** Ties in most times; pids that are used again; decisions; paths. */
function drafts(count: number): Draft[] {
  return Array.from({ length: count }, (_, i) => {
    const ts = String(BASE_NS + BigInt(i % 3) * DAY_NS + BigInt(i >> 2));
    const pid = 10 + (i % 7);
    if (i % 5 === 0)
      return { kind: 'exec', ts, ...observed, pid, ppid: 10 + ((i * 3) % 7), exe: `/bin/${i}` };
    if (i % 5 === 1) return { kind: 'exit', ts, ...observed, pid, exit_code: 0 };
    if (i % 5 === 2)
      return {
        kind: 'policy.decision',
        ts,
        source: 'otlp',
        assurance: 'reported',
        decision: ['allow', 'deny', 'ask'][i % 3],
        policy_type: 'command',
      };
    if (i % 5 === 3)
      return {
        kind: 'approval',
        ts,
        source: 'otlp',
        assurance: 'reported',
        decision: ['approved', 'denied', 'asked', 'cancelled'][i % 4],
      };
    return { kind: 'file', ts, ...observed, pid, file_op: 'create', file_path: `/f/${i % 6}/${i}` };
  }) as Draft[];
}

let test: TestStore;
let service: Service;
let stored: TelltaleEvent[] = [];
let late: StampedEvent[] = [];
beforeAll(async () => {
  test = await openTestStore();
  const all = STREAMS.flatMap((stream) =>
    stampStream({ session: SESSION, stream, drafts: drafts(60) }),
  );
  late = all.filter((_, i) => i % 4 === 1);
  const now = all.filter((one) => !late.includes(one));
  await insertEvents(test.store, now);
  stored = now.map(({ event }) => event);
  service = await serve(test.store);
});
afterAll(async () => {
  await service.app.close();
  await test.close();
});

const idsOf = (events: readonly TelltaleEvent[]) => events.toSorted(byTime).map(eventId);

const PAGE = `query ($first: Int, $after: String, $last: Int, $before: String, $filter: EventFilter) {
  session(id: "${SESSION}") {
    timeline(first: $first, after: $after, last: $last, before: $before, filter: $filter) {
      edges { cursor node { id } }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
}`;

interface Edge {
  readonly cursor: string;
  readonly node: { readonly id: string };
}
interface Page {
  readonly edges: readonly Edge[];
  readonly pageInfo: {
    readonly hasNextPage: boolean;
    readonly hasPreviousPage: boolean;
    readonly startCursor: string | null;
    readonly endCursor: string | null;
  };
}

async function page(args: object): Promise<Page> {
  const answer = await service.ask(PAGE, args);
  expect(answer.errors).toBeUndefined();
  return answer.data?.session.timeline as Page;
}

const names = ({ edges }: Page) => edges.map(({ node }) => node.id);

/** All pages of one direction; `between` runs before each but the first. */
async function walk(
  size: number,
  backwards: boolean,
  filter: object = {},
  between: () => Promise<void> = async () => {},
): Promise<string[]> {
  const out: string[] = [];
  for (let cursor: string | null = null; ; await between()) {
    const one: Page = await page(
      backwards ? { last: size, before: cursor, filter } : { first: size, after: cursor, filter },
    );
    if (backwards) out.unshift(...names(one));
    else out.push(...names(one));
    const { hasNextPage, hasPreviousPage, startCursor, endCursor } = one.pageInfo;
    if (!(backwards ? hasPreviousPage : hasNextPage)) return out;
    cursor = backwards ? startCursor : endCursor;
  }
}

/** A filter of the API, and the same as a test of an event. */
const FILTERS: readonly (readonly [object, (event: TelltaleEvent) => boolean])[] = [
  [{}, () => true],
  [{ kinds: ['exec', 'file'] }, ({ kind }) => kind === 'exec' || kind === 'file'],
  [{ assurances: ['reported'] }, ({ assurance }) => assurance === 'reported'],
  [
    { verdicts: ['deny', 'cancelled'] },
    (event) => 'decision' in event && /^(deny|denied|cancelled)$/.test(event.decision),
  ],
  [{ path: '/f/4/' }, (event) => event.kind === 'file' && event.file_path.startsWith('/f/4/')],
  [{ from: String(BASE_NS + DAY_NS) }, ({ ts }) => BigInt(ts) >= BASE_NS + DAY_NS],
];

describe('a walk', () => {
  it('forwards is one backwards, and both are the whole', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 9, max: 120 }),
        fc.constantFrom(...FILTERS),
        async (size, [filter, keeps]) => {
          const whole = idsOf(stored.filter(keeps));
          expect(await walk(size, false, filter)).toEqual(whole);
          expect(await walk(size, true, filter)).toEqual(whole);
        },
      ),
      { numRuns: 6 },
    );
  });

  it('knows what stands on both sides of any page, at any bounds', async () => {
    const whole = idsOf(stored);
    const { edges } = await page({ first: 500 });
    expect(edges).toHaveLength(whole.length);
    const place = fc.option(fc.nat(whole.length - 1), { nil: undefined });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: whole.length + 1 }),
        fc.boolean(),
        place,
        place,
        async (size, backwards, a, b) => {
          const from = a === undefined ? 0 : a + 1;
          const inside = whole.slice(from, Math.max(from, b ?? whole.length));
          const expected = backwards ? inside.slice(-size) : inside.slice(0, size);
          const got = await page({
            ...(backwards ? { last: size } : { first: size }),
            ...(a === undefined ? {} : { after: edges[a]?.cursor }),
            ...(b === undefined ? {} : { before: edges[b]?.cursor }),
          });
          expect(names(got)).toEqual(expected);
          const start = whole.indexOf(expected[0] ?? '');
          if (expected.length > 0)
            expect(got.pageInfo).toMatchObject({
              hasPreviousPage: start > 0,
              hasNextPage: start + expected.length < whole.length,
              startCursor: edges[start]?.cursor,
              endCursor: edges[start + expected.length - 1]?.cursor,
            });
          else {
            // Nothing lies between the bounds: what lies beyond them is told all the same.
            expect(got.pageInfo.hasPreviousPage).toBe(a !== undefined);
            expect(got.pageInfo.hasNextPage).toBe(b !== undefined);
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  it('refuses bounds that contradict each other, and cursors that are none', async () => {
    const wrong = [
      { first: 1, last: 1 },
      { last: 0 },
      { before: 'x' },
      { last: 1, before: 'djF8' },
    ];
    for (const args of wrong)
      expect((await service.ask(PAGE, args)).errors?.[0]?.extensions?.code).toBe('BAD_USER_INPUT');
  });
});

describe('the filter by process', () => {
  it('gives what a process and its descendants did, with pids that were used again', async () => {
    const tree = buildProcesses(stored);
    expect(tree.list.length).toBeGreaterThan(
      new Set(tree.list.map(({ streamId, pid }) => `${streamId} ${pid}`)).size,
    );
    const inside = (id: string, roots: ReadonlySet<string>): boolean => {
      for (let at = tree.of(id); at !== undefined; at = tree.byId.get(at.parentId ?? ''))
        if (roots.has(at.id)) return true;
      return false;
    };
    for (const { id } of tree.list.filter((_, i) => i % 5 === 0)) {
      const expected = idsOf(stored.filter((event) => inside(eventId(event), new Set([id]))));
      expect(await walk(50, false, { processOf: id })).toEqual(expected);
    }
    const pid = 12;
    const roots = new Set(tree.list.filter((one) => one.pid === pid).map(({ id }) => id));
    const expected = idsOf(stored.filter((event) => inside(eventId(event), roots)));
    expect(expected.length).toBeGreaterThan(10);
    expect(await walk(7, true, { pid })).toEqual(expected);
    expect(await walk(50, false, { pid, kinds: ['exit'] })).toEqual(
      expected.filter((id) => stored.some((e) => eventId(e) === id && e.kind === 'exit')),
    );
  });

  it('gives nothing of a process that is not there, and says what is no id', async () => {
    expect(await walk(50, false, { processOf: `${STREAMS[0]}-4000000` })).toEqual([]);
    const answer = await service.ask(PAGE, { filter: { processOf: "x' OR 1=1" } });
    expect(answer.errors?.[0]?.extensions?.code).toBe('BAD_USER_INPUT');
  });
});

describe('while events come in', () => {
  it('a walk loses and doubles nothing, and has those that came in ahead of it', async () => {
    const before = idsOf(stored);
    const chunks = Array.from({ length: 8 }, (_, i) => late.filter((_, j) => j % 8 === i));
    const between = async () => {
      const chunk = chunks.pop();
      if (chunk === undefined) return;
      await insertEvents(test.store, chunk);
      stored = [...stored, ...chunk.map(({ event }) => event)];
    };
    for (const backwards of [false, true]) {
      const half = chunks.length / (backwards ? 1 : 2);
      let steps = 0;
      const seen = await walk(11, backwards, {}, async () => {
        if (steps++ < half) await between();
      });
      const now = idsOf(stored);
      expect(new Set(seen).size).toBe(seen.length);
      expect(seen).toEqual(now.filter((id) => seen.includes(id)));
      expect(before.filter((id) => !seen.includes(id))).toEqual([]);
    }
    expect(await walk(100, false)).toEqual(idsOf(stored));
    expect(await walk(100, true)).toEqual(idsOf(stored));
  });
});
