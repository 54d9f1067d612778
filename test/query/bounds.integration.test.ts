/** A session's pages are held to the times that its streams have: no stored event may lie outside. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Draft, EVENTS_TABLE, eventId, STREAMS_TABLE, STREAMS_VIEW } from '#schemas';
import type { StampedEvent } from '../../collector/stamp.ts';
import { viewer } from './access.ts';
import { insertEvents, stampStream, TENANT } from './seed.ts';
import { openTestStore, serve, type TestStore } from './service.ts';

const DAY_MS = 86_400_000;
const PAGE = `query ($id: ID!) { session(id: $id) { startedAt timeline(first: 500) { nodes { id } } } }`;
const ROLES = ['viewer', 'admin'] as const;

let test: TestStore;
beforeAll(async () => {
  test = await openTestStore();
});
afterAll(() => test.close());

const uuid = (n: number) => `0193a5e0-0000-7000-8000-${String(n).padStart(12, '0')}`;
const idsOf = (events: readonly StampedEvent[]) => events.map(({ event }) => eventId(event)).sort();

async function shown(session: string, role: (typeof ROLES)[number] = 'viewer'): Promise<string[]> {
  const service = await serve(test.store, viewer(TENANT, [role]));
  const { data, errors } = await service.ask(PAGE, { id: session });
  await service.app.close();
  expect(errors).toBeUndefined();
  return data?.session.timeline.nodes.map(({ id }: { id: string }) => id).sort();
}

describe('the times that a page is held to', () => {
  it('take in what comes late, days before and behind all that was there', async () => {
    const session = uuid(1);
    const parts = [0, -3 * DAY_MS, 5 * DAY_MS, -9 * DAY_MS].map((shiftMs, n) =>
      stampStream({ session, stream: uuid(10 + n), shiftMs }),
    );
    const stored: StampedEvent[] = [];
    for (const part of parts) {
      await insertEvents(test.store, part);
      stored.push(...part);
      expect(await shown(session)).toEqual(idsOf(stored));
    }
  }, 30_000);

  it('are those of all streams, of one that is taken for a journal as well', async () => {
    const session = uuid(2);
    const recorded = stampStream({ session, stream: uuid(20) });
    // It holds nothing that was sensed and bears the journal's name, so it is in no list.
    const drafts: Draft[] = [];
    const unseen = { session, agent: 'telltale-access', drafts, shiftMs: -2 * DAY_MS };
    const posing = stampStream({ ...unseen, stream: uuid(21) });
    await insertEvents(test.store, [...recorded, ...posing]);
    for (const role of ROLES)
      expect(await shown(session, role)).toEqual(idsOf([...recorded, ...posing]));
    const alone = stampStream({ ...unseen, session: uuid(3), stream: uuid(30) });
    await insertEvents(test.store, alone);
    const service = await serve(test.store, viewer(TENANT, ['viewer']));
    expect((await service.ask(PAGE, { id: uuid(3) })).data).toEqual({ session: null });
    await service.app.close();
  }, 30_000);

  it('have the rows of an insert that broke off in the view, once it was tried again', async () => {
    const session = uuid(4);
    const before = stampStream({ session, stream: uuid(40) });
    const late = stampStream({ session, stream: uuid(41), shiftMs: 2 * DAY_MS });
    await insertEvents(test.store, before);
    const view = await test.store.query(
      { text: `SHOW CREATE TABLE ${STREAMS_VIEW}`, params: {} },
      { timeMs: 5000, memoryBytesMax: 1e9, rowsMax: 10 },
    );
    const statement = String(Object.values(view[0] as object)[0]);
    await test.store.command(`DROP TABLE ${STREAMS_VIEW}`);
    await test.store.command(
      `CREATE MATERIALIZED VIEW ${STREAMS_VIEW} TO ${STREAMS_TABLE} AS SELECT tenant, session_id, stream_id, min(ts) AS first_ts FROM ${EVENTS_TABLE} WHERE throwIf(1, 'broken off') = 0 GROUP BY tenant, session_id, stream_id`,
    );
    const lines = Buffer.concat(late.flatMap(({ bytes }) => [bytes, Buffer.from('\n')]));
    const insert = {
      table: EVENTS_TABLE,
      lines,
      rows: late.length,
      dedupToken: 'broken-off',
      timeMs: 30_000,
    };
    await expect(test.store.insert(insert)).rejects.toThrow('broken off');
    await test.store.command(`DROP TABLE ${STREAMS_VIEW}`);
    await test.store.command(statement);
    expect(await shown(session)).toEqual(idsOf(before));
    await test.store.insert(insert);
    expect(await shown(session)).toEqual(idsOf([...before, ...late]));
  }, 30_000);
});
