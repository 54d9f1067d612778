/** Annotations and saved searches: versions beside the record, by whom, and who may. */

import Fastify, { type FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Draft, JOURNAL_AGENTS, SCHEMA_VERSION, type TelltaleEvent } from '#schemas';
import { createStamper, type StampedEvent } from '../../collector/stamp.ts';
import type { JournalDraft, Journals } from '../../query/access/journal.ts';
import { caseworkSession } from '../../query/access/journal.ts';
import type { Viewer } from '../../query/access/viewer.ts';
import { annotationsOf, versionOf } from '../../query/casework/record.ts';
import { registerQuery } from '../../query/server.ts';
import { fakeClock, fakeLog, fakeMeter, fakeRandom } from '../fakes/ports.ts';
import { accessOfMany, viewer } from './access.ts';
import { insertEvents, SESSION, STREAM, stampStream, TENANT } from './seed.ts';
import { type Answer, openTestStore, type TestStore } from './service.ts';

const CASEWORK_STREAM = '0193a5e0-0000-7000-8000-0000000000e1';
const EVENTS = [`${STREAM}-6`, `${STREAM}-8`];

/** A journal as the real one makes it: a chained stream; its rows come into the table when we say. */
function createJournal() {
  const stamper = createStamper(
    {
      tenant: TENANT,
      session_id: caseworkSession(TENANT),
      stream_id: CASEWORK_STREAM,
      agent: JOURNAL_AGENTS[1],
      host: 'box',
      user: 'telltale',
    },
    fakeClock(),
    fakeRandom('journal'),
  );
  let at = 1_764_000_100_000_000_000n;
  const waiting: StampedEvent[] = [];
  const own = { source: 'query', assurance: 'verified' } as const;
  waiting.push(
    stamper.stamp({
      kind: 'session.open',
      ts: String(at),
      ...own,
      schema_version: SCHEMA_VERSION,
      command_args: ['telltale'],
    } as Draft),
  );
  const journals: Journals = () => ({
    failing: false,
    append: async (draft: JournalDraft) => {
      if (draft.kind === 'access') return { id: 'x-0', session: 'x', ts: '0' };
      at += 1_000_000n;
      const one = stamper.stamp({ ...draft, ts: String(at), ...own } as Draft);
      waiting.push(one);
      const { stream_id, seq, session_id } = one.event;
      return { id: `${stream_id}-${seq}`, session: session_id, ts: String(at) };
    },
  });
  return { journals, take: () => waiting.splice(0) };
}

const VIEWERS: Readonly<Record<string, Viewer>> = {
  kim: viewer(TENANT, ['investigator'], ['content'], 'kim'),
  lee: viewer(TENANT, ['investigator'], ['content'], 'lee'),
  ada: viewer(TENANT, ['admin'], ['content'], 'ada'),
  vic: viewer(TENANT, ['viewer'], ['content'], 'vic'),
  bo: viewer(TENANT, ['investigator'], [], 'bo'),
  eve: viewer('globex', ['admin'], ['content'], 'eve'),
};

let test: TestStore;
let app: FastifyInstance;
let stored: readonly TelltaleEvent[];
const journal = createJournal();
const log = fakeLog();
beforeAll(async () => {
  test = await openTestStore();
  const events = stampStream();
  stored = events.map(({ event }) => event);
  await insertEvents(test.store, events);
  app = Fastify();
  await registerQuery(app, {
    store: test.store,
    log,
    meter: fakeMeter(),
    clock: fakeClock(),
    ...accessOfMany(VIEWERS, TENANT),
    journals: journal.journals,
  });
});
afterAll(async () => {
  await app.close();
  await test.close();
});

async function ask(who: string, query: string, variables: object = {}): Promise<Answer> {
  const answer = await app.inject({
    method: 'POST',
    url: '/graphql',
    headers: {
      host: 'localhost',
      'content-type': 'application/json',
      authorization: `Bearer ${who}`,
    },
    payload: { query, variables },
  });
  return answer.json() as Answer;
}

const codeOf = (answer: Answer) => answer.errors?.[0]?.extensions?.code;

const FIELDS = `id type version author createdAt editedAt withdrawnAt sessionId eventIds tag note
  history { version action author eventId tag note }`;
const ANNOTATE = `mutation ($input: AnnotationInput!) { annotate(input: $input) { ${FIELDS} } }`;
const EDIT = `mutation ($id: ID!, $version: Long!, $change: AnnotationChange!) {
  editAnnotation(id: $id, version: $version, change: $change) { ${FIELDS} } }`;
const WITHDRAW = `mutation ($id: ID!, $version: Long!, $reason: String) {
  withdrawAnnotation(id: $id, version: $version, reason: $reason) { ${FIELDS} } }`;
const READ = `query ($withdrawn: Boolean) { session(id: "${SESSION}") {
  annotations(withdrawn: $withdrawn) { ${FIELDS} }
  timeline(first: 100) { nodes { id annotations { id note } } } } }`;

/** What a session's readers see; once from memory of the service, once from the table. */
async function everyWay(check: () => Promise<void>): Promise<void> {
  await check();
  const rows = journal.take();
  if (rows.length > 0) await insertEvents(test.store, rows);
  await check();
}

describe('an annotation', () => {
  it('is read back on its session and its events, with its history, by author', async () => {
    const made = await ask('kim', ANNOTATE, {
      input: { type: 'note', sessionId: SESSION, eventIds: EVENTS, note: 'first contact <b>' },
    });
    expect(made.errors).toBeUndefined();
    const { id, version, author } = made.data?.annotate ?? {};
    expect({ version, author }).toEqual({ version: 1, author: 'kim' });
    await everyWay(async () => {
      const { data, errors } = await ask('lee', READ);
      expect(errors).toBeUndefined();
      expect(data?.session.annotations).toEqual([made.data?.annotate]);
      const marked = data?.session.timeline.nodes.filter(
        (node: { annotations: unknown[] }) => node.annotations.length > 0,
      );
      expect(marked.map((node: { id: string }) => node.id)).toEqual(EVENTS);
    });
    const edited = await ask('kim', EDIT, { id, version: 1, change: { note: 'second thoughts' } });
    expect(edited.errors).toBeUndefined();
    expect(edited.data?.editAnnotation).toMatchObject({ version: 2, note: 'second thoughts' });
    const gone = await ask('kim', WITHDRAW, { id, version: 2, reason: 'wrong host' });
    expect(gone.data?.withdrawAnnotation.withdrawnAt).toMatch(/^2025/);
    await everyWay(async () => {
      expect((await ask('lee', READ)).data?.session.annotations).toEqual([]);
      const all = await ask('lee', READ, { withdrawn: true });
      const [one] = all.data?.session.annotations ?? [];
      expect(one.note).toBe('second thoughts');
      expect(one.history.map((each: object) => ({ ...each, eventId: '' }))).toEqual([
        {
          version: 1,
          action: 'create',
          author: 'kim',
          eventId: '',
          tag: null,
          note: 'first contact <b>',
        },
        {
          version: 2,
          action: 'edit',
          author: 'kim',
          eventId: '',
          tag: null,
          note: 'second thoughts',
        },
        {
          version: 3,
          action: 'withdraw',
          author: 'kim',
          eventId: '',
          tag: null,
          note: 'wrong host',
        },
      ]);
      // Each word is an event like any other, found by its id.
      const event = one.history[0].eventId;
      const found = await ask('ada', `{ event(id: "${event}") { __typename kind } }`);
      expect(found.data?.event?.kind ?? 'not in the table yet').toMatch(/^annotation|not in/);
    });
  });

  it('of every type, on a session or its events', async () => {
    const inputs = [
      { type: 'pin', sessionId: SESSION },
      { type: 'tag', sessionId: SESSION, eventIds: [EVENTS[0]], tag: 'exfil' },
      { type: 'link', sessionId: SESSION, eventIds: EVENTS, note: 'causes' },
    ];
    for (const input of inputs)
      expect((await ask('lee', ANNOTATE, { input })).errors).toBeUndefined();
    await everyWay(async () => {
      const { data } = await ask('kim', READ);
      const seen = data?.session.annotations.map((one: { type: string; tag: string }) => one.type);
      expect(seen).toEqual(['pin', 'tag', 'link']);
    });
  });

  it('never changes what was recorded', async () => {
    const answer = await app.inject({
      url: `/v1/sessions/${SESSION}/events?format=ndjson`,
      headers: { host: 'localhost', authorization: 'Bearer kim' },
    });
    const lines = answer.body
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toEqual(stored);
  });

  it('says what is wrong with it, and does not overwrite another’s change', async () => {
    const other = `${STREAM}-4000`;
    for (const input of [
      { type: 'star', sessionId: SESSION },
      { type: 'search', sessionId: SESSION },
      { type: 'note', sessionId: SESSION },
      { type: 'tag', sessionId: SESSION, tag: '' },
      { type: 'link', sessionId: SESSION, eventIds: [EVENTS[0]] },
      { type: 'pin', sessionId: SESSION, eventIds: [other] },
      { type: 'pin', sessionId: SESSION, eventIds: [EVENTS[0], EVENTS[0]] },
      { type: 'pin', sessionId: 'x' },
      { type: 'pin', sessionId: SESSION, eventIds: ["x' OR 1=1"] },
      { type: 'note', sessionId: SESSION, note: 'x'.repeat(20_000) },
      { type: 'note', sessionId: SESSION, note: 'a\ud800b' },
    ])
      expect(
        codeOf(await ask('kim', ANNOTATE, { input })),
        JSON.stringify(input).slice(0, 90),
      ).toBe('BAD_USER_INPUT');
    const made = await ask('kim', ANNOTATE, { input: { type: 'pin', sessionId: SESSION } });
    const { id } = made.data?.annotate ?? {};
    const change = { note: 'mine' };
    expect(codeOf(await ask('kim', EDIT, { id, version: 7, change }))).toBe('BAD_USER_INPUT');
    expect(codeOf(await ask('lee', EDIT, { id, version: 1, change }))).toBe('FORBIDDEN');
    expect((await ask('ada', EDIT, { id, version: 1, change })).errors).toBeUndefined();
    const nobody = '0193a5e0-0000-7000-8000-00000000dead';
    expect(codeOf(await ask('kim', EDIT, { id: nobody, version: 1, change }))).toBe('NOT_FOUND');
  });

  it('needs the role to be written and the scope to be read, within its tenant', async () => {
    const input = { type: 'pin', sessionId: SESSION };
    expect(codeOf(await ask('vic', ANNOTATE, { input }))).toBe('FORBIDDEN');
    expect(codeOf(await ask('bo', ANNOTATE, { input }))).toBe('FORBIDDEN');
    expect((await ask('vic', READ)).data?.session.annotations.length).toBeGreaterThan(0);
    expect((await ask('bo', READ)).data?.session.annotations).toEqual([]);
    expect(
      (await ask('eve', `{ session(id: "${SESSION}") { id } savedSearches { id } }`)).data,
    ).toEqual({
      session: null,
      savedSearches: [],
    });
  });
});

describe('a saved search', () => {
  it('is given back as it was saved, and changed as an annotation is', async () => {
    const SAVE = `mutation ($input: SavedSearchInput!) { saveSearch(input: $input) { id version name document variables author } }`;
    const input = {
      name: 'denied hosts',
      document: 'query ($n: Int) { sessions(first: $n) { nodes { id } } }',
      variables: '{"n":5}',
    };
    const made = await ask('kim', SAVE, { input });
    expect(made.errors).toBeUndefined();
    const { id } = made.data?.saveSearch ?? {};
    expect(made.data?.saveSearch).toMatchObject({ ...input, author: 'kim', version: 1 });
    const EDIT_SEARCH = `mutation ($id: ID!, $version: Long!, $input: SavedSearchInput!) { editSearch(id: $id, version: $version, input: $input) { version name document } }`;
    const edited = await ask('kim', EDIT_SEARCH, { id, version: 1, input: { name: 'by n' } });
    expect(edited.data?.editSearch).toEqual({ version: 2, name: 'by n', document: input.document });
    await everyWay(async () => {
      const list = await ask('vic', '{ savedSearches { id name version history { action } } }');
      expect(list.data?.savedSearches).toEqual([
        { id, name: 'by n', version: 2, history: [{ action: 'create' }, { action: 'edit' }] },
      ]);
    });
    for (const wrong of [
      { name: 'x', document: '{' },
      { name: 'x', document: '{ nothing }' },
      { name: 'x', document: 'mutation { annotate(input: {type: "pin", sessionId: "x"}) { id } }' },
      { ...input, variables: '[1]' },
      { ...input, name: '' },
      { document: input.document },
      { name: 'x' },
    ])
      expect(codeOf(await ask('kim', SAVE, { input: wrong }))).toBe('BAD_USER_INPUT');
    expect(codeOf(await ask('kim', EDIT, { id, version: 2, change: {} }))).toBe('BAD_USER_INPUT');
    expect((await ask('kim', WITHDRAW, { id, version: 2 })).errors).toBeUndefined();
    expect((await ask('vic', '{ savedSearches { id } }')).data?.savedSearches).toEqual([]);
    expect(log.lines).toEqual([]);
  });
});

describe('versions', () => {
  it('are put together in any order, each event once', () => {
    const said = (seq: number, action: string, version: number) =>
      versionOf({
        actor: 'kim',
        ts: String(1_764_000_000_000_000_000n + BigInt(seq)),
        stream_id: STREAM,
        seq,
        attrs: { annotation_id: 'a', type: 'note', action, version: String(version) },
      });
    const list = [said(2, 'edit', 2), said(1, 'create', 1), said(2, 'edit', 2)];
    const [one, ...others] = annotationsOf(list.filter((each) => each !== undefined));
    expect(others).toEqual([]);
    expect(one?.history.map(({ version }) => version)).toEqual([1, 2]);
    expect(versionOf({ actor: 'x', ts: '1', stream_id: STREAM, seq: 1 })).toBeUndefined();
  });
});
