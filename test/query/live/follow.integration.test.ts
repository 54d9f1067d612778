/** Live views over real HTTP, with the stock client of graphql-sse and with bare requests. */
import { createClient } from 'graphql-sse';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventId } from '#schemas';
import type { StampedEvent } from '../../../collector/stamp.ts';
import { QueryError } from '../../../query/errors.ts';
import { eventLooks } from '../../../query/live/events.ts';
import type { Runner } from '../../../query/run.ts';
import { runnerFor } from '../access.ts';
import { type Listening, listen } from '../listening.ts';
import {
  insertAlert,
  insertEvents,
  SESSION,
  STREAM,
  stampStream,
  storyDrafts,
  TENANT,
} from '../seed.ts';
import { openTestStore, type TestStore } from '../service.ts';

let test: TestStore;
let service: Listening;
beforeAll(async () => {
  test = await openTestStore();
  service = await listen(test.store);
});
afterAll(async () => {
  await service.close();
  await test.close();
});

let inserts = 0;
/** Inserts rows with a stamp of our choice, as a slow insert would have. */
async function insertStamped(events: readonly StampedEvent[], agoMs: number): Promise<void> {
  const stamp = new Date(Date.now() - agoMs).toISOString().replace('T', ' ').slice(0, 23);
  const lines = events.map(
    ({ bytes }) => `${Buffer.from(bytes).toString().slice(0, -1)},"ingested_at":"${stamp}"}\n`,
  );
  await test.store.insert({
    table: 'telltale.events',
    lines: Buffer.from(lines.join('')),
    rows: events.length,
    dedupToken: `stamped-${inserts++}`,
    timeMs: 30_000,
  });
}

const LIVE = `subscription ($id: ID!, $after: String, $backlog: Boolean, $filter: EventFilter) {
  sessionEvents(id: $id, after: $after, backlog: $backlog, filter: $filter) {
    cursor nodes { id kind ts ... on PromptEvent { prompt } }
  }
}`;

interface Message {
  readonly cursor: string;
  readonly nodes: readonly { id: string; kind: string; ts: string; prompt?: string }[];
}

/** Follows until `enough` of what came is there; gives the messages. */
async function follow(
  variables: Record<string, unknown>,
  enough: (ids: readonly string[]) => boolean,
  during: () => Promise<void> = async () => {},
): Promise<Message[]> {
  const client = createClient({ url: `${service.url}/graphql`, retryAttempts: 0 });
  const results = client.iterate<{ sessionEvents: Message }>({ query: LIVE, variables });
  const work = during();
  const got: Message[] = [];
  for await (const { data, errors } of results) {
    expect(errors).toBeUndefined();
    got.push(data?.sessionEvents as Message);
    if (enough(got.flatMap(({ nodes }) => nodes.map(({ id }) => id)))) break;
  }
  await work;
  client.dispose();
  return got;
}

const idsOf = (messages: readonly Message[]) =>
  messages.flatMap(({ nodes }) => nodes.map(({ id }) => id));
const sorted = (ids: readonly string[]) => [...ids].sort();
const names = (events: readonly StampedEvent[]) => events.map(({ event }) => eventId(event));

describe('the events of a session', () => {
  const events = stampStream({ drafts: [...storyDrafts(), ...storyDrafts(' again')] });
  const parts = [0, 1, 2, 3, 4, 5].map((part) => events.filter((_, i) => i % 6 === part));
  const [first, second, third, late, fifth, sixth] = parts as [
    StampedEvent[],
    StampedEvent[],
    StampedEvent[],
    StampedEvent[],
    StampedEvent[],
    StampedEvent[],
  ];
  let cursor = '';

  it('come with what is stored and with what comes in, in order within a message', async () => {
    await insertEvents(test.store, first);
    const due = [...first, ...second, ...third];
    const messages = await follow(
      { id: SESSION },
      (ids) => ids.length >= due.length,
      async () => {
        await insertEvents(test.store, second);
        await insertEvents(test.store, third);
      },
    );
    expect(sorted(idsOf(messages))).toEqual(sorted(names(due)));
    for (const { nodes } of messages)
      expect(nodes.map(({ ts }) => ts)).toEqual(nodes.map(({ ts }) => ts).toSorted());
    expect(messages.flatMap(({ nodes }) => nodes).find((e) => e.kind === 'prompt')?.prompt).toBe(
      'make a file',
    );
    cursor = messages.at(-1)?.cursor ?? '';
  });

  it('go on from a cursor, with rows that were stamped before it and could not be read then', async () => {
    await insertStamped(late, 60_000);
    await insertEvents(test.store, fifth);
    const due = [...late, ...fifth];
    const messages = await follow(
      { id: SESSION, after: cursor },
      (ids) => ids.length >= due.length,
    );
    expect(sorted(idsOf(messages))).toEqual(sorted(names(due)));
    cursor = messages.at(-1)?.cursor ?? '';
    const rest = follow({ id: SESSION, after: cursor }, (ids) => ids.length >= sixth.length);
    await insertEvents(test.store, sixth);
    expect(sorted(idsOf(await rest))).toEqual(sorted(names(sixth)));
  });

  it('can be narrowed as a timeline can, also to a process, or begin with what comes next', async () => {
    const process = `${STREAM}-8`;
    const all = await service.ask(
      `{ session(id: "${SESSION}") { timeline(filter: { processOf: "${process}" }) { nodes { id } } } }`,
    );
    const due = all.data?.session.timeline.nodes.map(({ id }: { id: string }) => id);
    expect(due.length).toBeGreaterThan(2);
    const messages = await follow(
      { id: SESSION, filter: { processOf: process } },
      (ids) => ids.length >= due.length,
    );
    expect(sorted(idsOf(messages))).toEqual(sorted(due));
    const stream = '0193a5e0-0000-7000-8000-0000000000a9';
    const more = stampStream({ stream });
    const next = await follow(
      { id: SESSION, backlog: false, filter: { kinds: ['exec'] } },
      (ids) => ids.length >= 2,
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 300));
        await insertEvents(test.store, more);
      },
    );
    expect(sorted(idsOf(next))).toEqual(
      sorted(names(more.filter(({ event }) => event.kind === 'exec'))),
    );
  });

  it('refuses a session that is not there, a bad cursor, and what it may not cost', async () => {
    for (const variables of [{ id: STREAM }, { id: SESSION, after: 'x' }, { id: 'x' }]) {
      const answer = await service.ask(LIVE, variables);
      expect(answer.errors?.[0]?.extensions?.code).toBe('BAD_USER_INPUT');
    }
  });
});

/** A bare request; gives the text as it comes. */
async function open(headers: Record<string, string>, query: string, variables: object = {}) {
  const abort = new AbortController();
  const answer = await fetch(`${service.url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'text/event-stream', ...headers },
    body: JSON.stringify({ query, variables }),
    signal: abort.signal,
  });
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
  let text = '';
  const until = async (enough: (text: string) => boolean) => {
    while (!enough(text)) {
      const { value, done } = await reader.read();
      if (done) break;
      text += Buffer.from(value).toString();
    }
    return text;
  };
  return { answer, until, leave: () => abort.abort() };
}

const views = () => service.meter.counts.get('telltale.query.live_views') ?? 0;
async function settled(count: number): Promise<void> {
  for (let i = 0; i < 100 && views() !== count; i++)
    await new Promise((resolve) => setTimeout(resolve, 20));
  expect(views()).toBe(count);
}

describe('a look', () => {
  it('that failed half way finds the same when it is taken again', async () => {
    const run = runnerFor(test.store, TENANT);
    let broken = true;
    const failing: Runner = {
      ...run,
      stream: (sql, limits) => {
        if (!broken) return run.stream(sql, limits);
        broken = false;
        throw new QueryError('STORE_UNAVAILABLE', 'away');
      },
    };
    const looks = eventLooks(failing, {
      session: SESSION,
      filter: { pid: 50 },
      columns: ['session_id', 'stream_id', 'seq', 'kind', 'ts', 'pid'],
      backlog: true,
    });
    await expect(looks()).rejects.toThrow('away');
    expect((await looks()).message?.nodes.length).toBeGreaterThan(3);
  });
});

describe('a stream', () => {
  it('tells an error as its one message', async () => {
    const view = await open({}, LIVE, { id: SESSION, after: 'x' });
    expect(await view.until(() => false)).toMatch(
      /event: next\ndata: \{"errors":.*BAD_USER_INPUT.*\n\nevent: complete/,
    );
  });

  it('has ids that a browser sends back, and goes on behind the last one', async () => {
    const view = await open({}, LIVE, { id: SESSION });
    expect(view.answer.headers.get('content-type')).toContain('text/event-stream');
    const text = await view.until((all) => all.includes('\n\nid: ') || all.includes('data: {'));
    const id = /^id: (\S+)$/m.exec(text)?.[1] ?? '';
    expect(text).toMatch(/^:\n\nid: \S+\nevent: next\ndata: \{"data":/);
    view.leave();
    await settled(0);
    const stream = '0193a5e0-0000-7000-8000-0000000000aa';
    await insertEvents(test.store, stampStream({ stream }).slice(0, 1));
    const again = await open({ 'last-event-id': id }, LIVE, { id: SESSION });
    const rest = await again.until((all) => all.includes('data: {'));
    expect([...rest.matchAll(/"id":"([^"]+)"/g)].map((match) => match[1])).toEqual([`${stream}-0`]);
    again.leave();
    await settled(0);
  });

  it('ends when its reader goes, and asks the store no more', async () => {
    const view = await open({}, LIVE, { id: SESSION });
    await view.until((all) => all.includes('data: {'));
    expect(views()).toBe(1);
    view.leave();
    await settled(0);
    expect(service.log.lines).toEqual([]);
  });

  it('tells an alert once, also when it is stored again', async () => {
    const query = `subscription { alertsRaised(backlog: true, filter: { levels: ["high"] }) { cursor nodes { fingerprint title } } }`;
    await insertAlert(test.store);
    const view = await open({}, query);
    const text = await view.until((all) => all.includes('data: {'));
    expect(text).toContain('A made-up rule');
    const id = /^id: (\S+)$/m.exec(text)?.[1] ?? '';
    view.leave();
    await insertAlert(test.store);
    await insertAlert(test.store, 'globex');
    const again = await open({ 'last-event-id': id }, query);
    await new Promise((resolve) => setTimeout(resolve, 400));
    again.leave();
    expect(await again.until(() => false).catch(() => ':\n\n')).toMatch(/^(:\n\n)*$/);
    await settled(0);
  });

  it('completes when the service stops', async () => {
    const other = await listen(test.store);
    const answer = await fetch(`${other.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
      body: JSON.stringify({ query: LIVE, variables: { id: SESSION, backlog: false } }),
    });
    const text = answer.text();
    await new Promise((resolve) => setTimeout(resolve, 200));
    await other.close();
    expect(await text).toMatch(/event: complete\ndata:\n\n$/);
  });
});
