/**
 * A tenant sees no byte of another's, whatever it asks: every field of the schema, every argument
 * with values of its own and of the other's, over two tenants that use the same ids.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Store } from '#schemas';
import { caseworkSession } from '../../query/access/journal.ts';
import { everyField } from './every-field.ts';
import {
  insertAlert,
  insertDead,
  insertEvents,
  OTHER_TENANT,
  SESSION,
  STREAM,
  stampStream,
  TENANT,
} from './seed.ts';
import { openTestStore, type Service, serve, type TestStore } from './service.ts';

const THEIR_SESSION = '0193a5e0-0000-7000-8000-0000000000ff';
const THEIR_STREAM = '0193a5e0-0000-7000-8000-0000000000fe';
const CASE_STREAM = '0193a5e0-0000-7000-8000-0000000000c1';

async function seed(store: Store, tenant: string, own: string | undefined): Promise<void> {
  const mark = ` mark-of-${tenant}`;
  const shared = { tenant, mark, host: `${tenant}-box`, agent: `${tenant}-agent` };
  await insertEvents(store, stampStream({ ...shared, lost: [4] }));
  if (own !== undefined)
    await insertEvents(store, stampStream({ ...shared, session: own, stream: THEIR_STREAM }));
  await insertDead(store, { tenant, seq: 4, reason: 'conflict', detail: `detail${mark}` });
  await insertAlert(store, tenant, `reason${mark}`);
  const whole = { tenant, session_id: SESSION, actor: `kim-of-${tenant}` };
  const numbers = { stream_id: STREAM, last_seq: 4, events: 4, policy_days: 30 };
  const times = { first_ts: '2025-11-24 16:00:00', last_ts: '2025-11-24 16:00:01' };
  for (const [table, row] of [
    ['holds', { ...whole, action: 'placed', reason: `reason${mark}` }],
    ['removals', { ...whole, ...numbers, ...times, policy: `policy${mark}` }],
  ] as const) {
    const lines = Buffer.from(`${JSON.stringify(row)}\n`);
    const one = { table: `telltale.${table}`, lines, rows: 1, timeMs: 20_000 };
    await store.insert({ ...one, dedupToken: `${table}-${tenant}` });
  }
  const note = {
    kind: 'annotation' as const,
    ts: '1764000000000000005',
    source: 'query',
    assurance: 'verified' as const,
    actor: `kim-of-${tenant}`,
    note: `note${mark}`,
    tag: `tag-of-${tenant}`,
    refs: [`${STREAM}-3`],
    attrs: { type: 'note', session: SESSION },
  };
  const access = { ...note, kind: 'access' as const, operation: `look${mark}` };
  const { note: _note, tag: _tag, refs: _refs, ...bare } = access;
  const book = { ...shared, session: caseworkSession(tenant), stream: CASE_STREAM };
  await insertEvents(
    store,
    stampStream({ ...book, agent: 'telltale-casework', drafts: [note, bare] }),
  );
}

let test: TestStore;
let ours: Service;
let theirs: Service;
beforeAll(async () => {
  test = await openTestStore();
  await seed(test.store, TENANT, undefined);
  await seed(test.store, OTHER_TENANT, THEIR_SESSION);
  ours = await serve(test.store, TENANT);
  theirs = await serve(test.store, OTHER_TENANT);
});
afterAll(async () => {
  await ours.app.close();
  await theirs.app.close();
  await test.close();
});

/** Values for arguments: of ours first, so that something is found, and of theirs by their ids. */
const values = (argument: string, parent: string, field: string): readonly string[] => {
  const q = (text: string) => JSON.stringify(text);
  const event = [q(`${STREAM}-3`), q(`${THEIR_STREAM}-3`)];
  if (argument === 'id' && parent === 'Query' && field === 'event') return event;
  switch (argument) {
    case 'id':
    case 'session':
    case 'sessionId':
      return [q(SESSION), q(THEIR_SESSION), q(caseworkSession(OTHER_TENANT))];
    case 'from':
      return [q('2025-11-20T00:00:00Z')];
    case 'to':
    case 'before':
      return parent === 'Session' ? [] : [q('2025-11-30T00:00:00Z')];
    case 'rules':
      return [q('')];
    case 'processOf':
      return [q(`${STREAM}-6`), q(`${THEIR_STREAM}-6`)];
    case 'streamId':
      return [q(STREAM), q(THEIR_STREAM)];
    case 'toolCallId':
    case 'ids':
      return [q('call_1')];
    case 'turnId':
      return [q('turn_1')];
    case 'kinds':
      return [q('exec'), q('annotation'), q('access')];
    case 'path':
      return [q('/w/')];
    case 'type':
      return [q('host')];
    case 'text':
    case 'value':
    case 'query':
      return [q('mark'), q('192.0.2.7'), q('echo'), q('example.com')];
    default:
      return [];
  }
};
/** A query's own words come back in messages; they are no leak. */
const told = (answer: object) => JSON.stringify(answer).toLowerCase();

describe('every field and argument', () => {
  it('shows a tenant its own and no byte of the other’s', async () => {
    const asked = everyField(values);
    expect(asked.length).toBeGreaterThan(150);
    const answered = new Set<string>();
    const failed = new Map<string, string>();
    let own = 0;
    for (const [index, { what, query, fields, tried }] of asked.entries())
      for (const [who, other, service] of [
        [TENANT, OTHER_TENANT, ours],
        [OTHER_TENANT, TENANT, theirs],
      ] as const) {
        // Both ways round now and then; one way for all.
        if (who === OTHER_TENANT && (tried || index % 4 !== 0)) continue;
        const answer = await service.ask(query);
        const text = told(answer);
        expect(text.includes(other), `${what} as ${who}: ${query}\n${text}`).toBe(false);
        if (who === TENANT) {
          expect(told(answer.data ?? {}), what).not.toContain(THEIR_STREAM);
          if (text.includes(who)) own++;
        }
        if (answer.errors === undefined) for (const field of fields) answered.add(field);
        else failed.set(what, answer.errors[0]?.message ?? '');
      }
    // A test that asks for nothing would pass as well: most of what is asked for is answered, and much
    // of that holds the asking tenant's own mark.
    const all = new Set(asked.flatMap(({ fields }) => fields));
    const never = [...all].filter((field) => !answered.has(field));
    expect(
      never.length / all.size,
      `${never.join(' ')}\n${JSON.stringify([...failed], null, 1)}`,
    ).toBeLessThan(0.1);
    expect(own).toBeGreaterThan(40);
    for (const { log } of [ours, theirs])
      expect(log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  }, 120_000);

  it('finds a leak: the same queries over a store that forgets the tenant show it', async () => {
    const leaky: Store = {
      ...test.store,
      query: (sql, limits, signal) => {
        const text = sql.text.replaceAll('tenant = {tenant:String}', "tenant != ''");
        return test.store.query({ ...sql, text }, limits, signal);
      },
      columns: (sql, limits, signal) => {
        const text = sql.text.replaceAll('tenant = {tenant:String}', "tenant != ''");
        return test.store.columns({ ...sql, text }, limits, signal);
      },
      stream: (sql, limits, signal) => {
        const text = sql.text.replaceAll('tenant = {tenant:String}', "tenant != ''");
        return test.store.stream({ ...sql, text }, limits, signal);
      },
    };
    const service = await serve(leaky, TENANT);
    let leaks = 0;
    for (const { query } of everyField(values).slice(0, 40))
      if (told(await service.ask(query)).includes(OTHER_TENANT)) leaks++;
    expect(leaks).toBeGreaterThan(5);
    await service.app.close();
  }, 60_000);
});
