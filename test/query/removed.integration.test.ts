/** A session that retention removed is a tombstone, wherever it is asked for, and no loss. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { insertEvents, OTHER_TENANT, SESSION, STREAM, stampStream, TENANT } from './seed.ts';
import { openTestStore, type Service, serve, type TestStore } from './service.ts';

const GONE = '0193a5e0-0000-7000-8000-0000000000f1';
const CUT = '0193a5e0-0000-7000-8000-0000000000f2';
const LOST = '0193a5e0-0000-7000-8000-0000000000f3';
const streamOf = (session: string) => session.replace(/f(\d)$/, 'e$1');

let test: TestStore;
let service: Service;
let other: Service;

async function bury(tenant: string, session: string, lastSeq: number): Promise<void> {
  const row = {
    tenant,
    session_id: session,
    stream_id: streamOf(session),
    last_seq: lastSeq,
    events: lastSeq + 1,
    first_ts: '2025-10-01 10:00:00.000000000',
    last_ts: '2025-10-01 11:00:00.000000000',
    policy: 'standard-2026',
    policy_days: 30,
    actor: 'keeper',
    removed_at: '2025-11-01 00:00:00.000',
  };
  const lines = Buffer.from(`${JSON.stringify(row)}\n`);
  for (const dedupToken of [`${session}-1`, `${session}-2`])
    await test.store.insert({
      table: 'telltale.removals',
      lines,
      rows: 1,
      dedupToken,
      timeMs: 20_000,
    });
}

beforeAll(async () => {
  test = await openTestStore();
  await insertEvents(test.store, stampStream());
  await bury(TENANT, GONE, 41);
  // Removed, and then a late event came: its first ten numbers went by policy.
  const early = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  for (const [session, last] of [
    [CUT, 9],
    [LOST, 4],
  ] as const) {
    const cut = { session, stream: streamOf(session), lost: early };
    await insertEvents(test.store, stampStream(cut));
    await bury(TENANT, session, last);
  }
  service = await serve(test.store);
  other = await serve(test.store, OTHER_TENANT);
});
afterAll(async () => {
  await service.app.close();
  await other.app.close();
  await test.close();
});

const ASK = `query ($id: ID!) { session(id: $id) { id startedAt removal { policy days by at events streams { streamId lastSeq events } }
  completeness { verdict streams { streamId } } findings { kind text } timeline { nodes { id } } } }`;

describe('a session that retention removed', () => {
  it('is told by its tombstone', async () => {
    const { data, errors } = await service.ask(ASK, { id: GONE });
    expect(errors).toBeUndefined();
    expect(data?.session).toEqual({
      id: GONE,
      startedAt: '2025-10-01T10:00:00.000000000Z',
      removal: {
        policy: 'standard-2026',
        days: 30,
        by: 'keeper',
        at: '2025-11-01T00:00:00.000000000Z',
        events: 42,
        streams: [{ streamId: streamOf(GONE), lastSeq: 41, events: 42 }],
      },
      completeness: { verdict: 'removed', streams: [] },
      findings: [
        {
          kind: 'removed',
          text: 'retention removed 42 events by the policy standard-2026, after 30 days: nothing of this is lost',
        },
      ],
      timeline: { nodes: [] },
    });
    const triage = await service.ask(
      'query ($id: ID!) { triage(session: $id) { session { removal { policy } } calls { focus } findings { finding { kind } } coverage { verdict } } }',
      { id: GONE },
    );
    expect(triage.errors).toBeUndefined();
    expect(triage.data?.triage).toMatchObject({
      session: { removal: { policy: 'standard-2026' } },
      calls: [],
      findings: [{ finding: { kind: 'removed' } }],
    });
  });

  it('has what came late beside its tombstone; more than that is missing is a loss', async () => {
    const kinds = async (id: string) => {
      const { session } = (await service.ask(ASK, { id })).data ?? {};
      const found = session.findings.map(({ kind }: { kind: string }) => kind);
      return [
        session.completeness.verdict,
        found.includes('removed'),
        found.includes('incomplete'),
      ];
    };
    expect(await kinds(CUT)).toEqual(['removed', true, false]);
    expect(await kinds(LOST)).toEqual(['incomplete', false, true]);
    const there = (await service.ask(ASK, { id: SESSION })).data?.session;
    expect([there.removal, there.completeness.verdict]).toEqual([null, 'complete']);
    expect(there.completeness.streams).toEqual([{ streamId: STREAM }]);
  });

  it('stands in a list of its own, in pages, for its tenant alone', async () => {
    const list = `query ($after: String) { sessions(first: 2, after: $after, filter: { removed: true }) {
      nodes { id removal { events } } pageInfo { hasNextPage endCursor } } }`;
    const first = (await service.ask(list)).data?.sessions;
    const second = (await service.ask(list, { after: first.pageInfo.endCursor })).data?.sessions;
    expect([...first.nodes, ...second.nodes]).toEqual([
      { id: LOST, removal: { events: 5 } },
      { id: CUT, removal: { events: 10 } },
      { id: GONE, removal: { events: 42 } },
    ]);
    expect(second.pageInfo.hasNextPage).toBe(false);
    const bad = '{ sessions(filter: { removed: true, agent: "x" }) { nodes { id } } }';
    expect((await service.ask(bad)).errors?.[0]?.extensions?.code).toBe('BAD_USER_INPUT');
    expect((await other.ask(list)).data?.sessions.nodes).toEqual([]);
    expect((await other.ask(ASK, { id: GONE })).data?.session).toBeNull();
    const all = (await service.ask('{ sessions { nodes { id } } }')).data?.sessions.nodes;
    expect(all.map(({ id }: { id: string }) => id)).not.toContain(GONE);
  });
});
