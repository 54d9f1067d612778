/**
 * Hostile texts in every argument of every field, found by introspection, and in every text that the
 * store holds: no piece of them is ever in a statement's text, and no answer is an error of ours.
 */
import fs from 'node:fs';
import path from 'node:path';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Draft, REGISTRY } from '#schemas';
import { schema } from '../../query/graphql/schema.ts';
import { registerQuery } from '../../query/server.ts';
import { fakeClock, fakeMeter } from '../fakes/ports.ts';
import { accessOf, viewer } from './access.ts';
import { sitesOf } from './arguments.ts';
import { recording } from './measured.ts';
import {
  insertAlert,
  insertEvents,
  SESSION,
  STREAM,
  stampStream,
  storyDrafts,
  TENANT,
} from './seed.ts';
import { openTestStore, type Service, serve, type TestStore } from './service.ts';

/** In every hostile text, and in no text of ours. */
const MARK = 'zQxMark';
const HOSTILE: readonly string[] = [
  `${MARK}' OR 1=1 -- \\' UNION ALL SELECT * FROM telltale.events /*`,
  `${MARK}"\`;$$ DROP TABLE telltale.events; {tenant:String} \${process.exit()} \u2018\u2019`,
  `${MARK}\0\n\r\t\b\x1b[31m\u202e\ufeff🦊e\u0301 %_\\%{{}}[[]](?:(a+)+)$`,
  `${MARK}\ud800 lone`,
];
const LONG = `${MARK}'${'x'.repeat(120_000)}`;
const NUMBERS: readonly unknown[] = [-1, 2 ** 31 - 1];

/** What a field needs to be reached; names are those of arguments. */
const KNOWN = {
  id: SESSION,
  session: SESSION,
  sessionId: SESSION,
  type: 'note',
  name: 'x',
  document: '{ sessions { nodes { id } } }',
  rules: 'title: x',
  from: '2025-11-24T00:00:00Z',
  to: '2025-11-25T00:00:00Z',
  version: 1,
  change: {},
  input: { type: 'note', sessionId: SESSION, note: 'x' },
};

let test: TestStore;
let service: Service;
let recorded: ReturnType<typeof recording>;
/** The same with a clock that jumps when it is slept on, so that a live view is over at once. */
let brief: FastifyInstance;

/** Every kind, each text field of it hostile. */
function hostileDrafts(): Draft[] {
  const closed = (values: readonly string[] | undefined) => values !== undefined;
  return [...REGISTRY.values()]
    .filter(({ role }) => role !== 'protocol')
    .flatMap(({ kind, own, fields, samples }, i) => {
      const texts = own.filter((name) => {
        const field = fields[name];
        return field !== undefined && /^(text|keyword)$/.test(field.shape) && !closed(field.values);
      });
      const hostile = HOSTILE.filter((text) => text.isWellFormed());
      return {
        ts: String(1_764_000_000_000_000_000n + BigInt(i + 1) * 1_000_000n),
        source: 'otlp',
        assurance: 'reported',
        turn_id: hostile[0],
        tool_call_id: hostile[1],
        kind,
        ...samples[0],
        ...Object.fromEntries(texts.map((name, j) => [name, hostile[j % hostile.length]])),
      } as unknown as Draft;
    });
}

beforeAll(async () => {
  test = await openTestStore();
  await insertEvents(
    test.store,
    stampStream({ drafts: [...storyDrafts(), ...hostileDrafts()], mark: ` ${HOSTILE[0]}` }),
  );
  await insertAlert(test.store);
  recorded = recording(test.store);
  service = await serve(recorded.store);
  brief = Fastify();
  const clock = fakeClock();
  const jumping = { ...clock, sleep: async () => clock.advance(4_000_000) };
  const ports = { store: recorded.store, log: service.log, meter: fakeMeter(), clock: jumping };
  await registerQuery(brief, { ...ports, ...accessOf(viewer(TENANT)) });
});
afterAll(async () => {
  await service.app.close();
  await brief.close();
  await test.close();
});

/** Asserts on all that was sent to the store since the last look. */
function checkStatements(what: string): number {
  const statements = recorded.take();
  for (const { text } of statements)
    if (text.includes(MARK)) expect.fail(`${what}: in a statement's text: ${text.slice(0, 300)}`);
  return statements.length;
}

const OURS = 'INTERNAL_SERVER_ERROR';
/** What the service said to itself since it was last asked. */
const said = () => JSON.stringify(service.log.lines.splice(0));

async function send(document: string, variables: object, subscription: boolean) {
  const answer = await (subscription ? brief : service.app).inject({
    method: 'POST',
    url: '/graphql',
    headers: {
      host: 'localhost',
      'content-type': 'application/json',
      ...(subscription ? { accept: 'text/event-stream' } : {}),
    },
    payload: JSON.stringify({ query: document, variables }),
  });
  return { status: answer.statusCode, body: answer.body };
}

describe('a hostile text', () => {
  const sites = sitesOf(schema, KNOWN);
  const queries = sites.filter(({ operation }) => operation !== 'subscription');

  it('can be put into arguments of many fields', () => {
    expect(sites.length).toBeGreaterThan(60);
    const names = sites.map(({ name }) => name);
    for (const known of [
      'Query.sessions(after)',
      'Session.timeline(filter.text)',
      'Session.timeline(filter.kinds[])',
      'Mutation.annotate(input.note)',
      'Subscription.sessionEvents(filter.path)',
    ])
      expect(names).toContain(known);
  });

  it('in an argument stays a value, and is never an error of ours', async () => {
    let statements = 0;
    const faults: string[] = [];
    for (const site of queries) {
      const values = /^(String|ID|Time)$/.test(site.scalar) ? HOSTILE : NUMBERS;
      for (const value of values) {
        const { status, body } = await send(site.document, site.put(value), false);
        const what = `${site.name} = ${JSON.stringify(value)}`;
        if (body.includes(OURS) || status >= 500) faults.push(`${what}: ${said()}`);
        statements += checkStatements(what);
      }
    }
    expect(faults).toEqual([]);
    expect(statements).toBeGreaterThan(queries.length);
  }, 60_000);

  it('in a subscription as well', async () => {
    for (const site of sites.filter(({ operation }) => operation === 'subscription')) {
      const texts = /^(String|ID|Time)$/.test(site.scalar) ? HOSTILE.slice(0, 2) : [];
      for (const value of texts) {
        const { body } = await send(site.document, site.put(value), true);
        expect(body, site.name).not.toContain(OURS);
        checkStatements(site.name);
      }
    }
  }, 60_000);

  it('of great length is refused or searched for, and nothing else', async () => {
    for (const site of queries.filter(({ scalar }) => scalar === 'String' || scalar === 'ID')) {
      const { status, body } = await send(site.document, site.put(LONG), false);
      expect(body.includes(OURS), site.name).toBe(false);
      expect(status, site.name).toBeLessThan(500);
      checkStatements(site.name);
    }
    const huge = { first: 1, after: `${MARK}${'x'.repeat(1024 ** 2)}` };
    const query =
      'query ($first: Int, $after: String) { sessions(first: $first, after: $after) { nodes { id } } }';
    expect((await send(query, huge, false)).status).toBe(413);
  }, 60_000);

  it('in what the store holds is never in a statement', async () => {
    const dir = path.join(import.meta.dirname, 'cases');
    for (const name of fs.readdirSync(dir).filter((file) => file.endsWith('.graphql'))) {
      const { body } = await send(fs.readFileSync(path.join(dir, name), 'utf8'), {}, false);
      expect(body.includes(OURS) ? `${name}: ${said()}` : '').toBe('');
      expect(checkStatements(name), name).toBeGreaterThan(0);
    }
    const everything = '/v1/sessions/latest';
    for (const url of [
      `${everything}/story`,
      ...['ndjson', 'csv', 'ocsf'].map((f) => `${everything}/events?format=${f}`),
    ]) {
      const answer = await service.app.inject({ url, headers: { host: 'localhost' } });
      expect(answer.statusCode).toBe(200);
      expect(answer.body).toContain(MARK);
      checkStatements(url);
    }
    const wrong = encodeURIComponent(HOSTILE[2] as string);
    for (const name of [
      'text',
      'path',
      'host',
      'kinds',
      'turnId',
      'processOf',
      'from',
      'pid',
      wrong,
    ]) {
      const url = `/v1/sessions/${SESSION}/events?format=csv&${name}=${wrong}`;
      const answer = await service.app.inject({ url, headers: { host: 'localhost' } });
      expect(answer.statusCode, name).toBeLessThan(500);
      checkStatements(name);
    }
    const event = await send(`{ event(id: "${STREAM}-1") { id } }`, {}, false);
    expect(event.status).toBe(200);
  });
});
