/** Two tenants with the same ids in one store: nothing of one is ever in an answer of the other. */
import fs from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { insertDead, insertEvents, OTHER_TENANT, SESSION, stampStream } from './seed.ts';
import { openTestStore, type Service, serve, type TestStore } from './service.ts';

/** Stands in every text of its tenant. */
const OURS = ' mark-of-acme';
const THEIRS = ' mark-of-globex';
const ONLY_THEIRS = '0193a5e0-0000-7000-8000-0000000000ff';
const ONLY_STREAM = '0193a5e0-0000-7000-8000-0000000000fe';

let test: TestStore;
let ours: Service;
let theirs: Service;
beforeAll(async () => {
  test = await openTestStore();
  await insertEvents(test.store, stampStream({ mark: OURS, host: 'acme-box' }));
  const other = { tenant: OTHER_TENANT, mark: THEIRS, host: 'globex-box' };
  await insertEvents(test.store, stampStream({ ...other, lost: [4, 5] }));
  await insertEvents(
    test.store,
    stampStream({ ...other, session: ONLY_THEIRS, stream: ONLY_STREAM, shiftMs: 60_000 }),
  );
  await insertDead(test.store, { tenant: OTHER_TENANT, seq: 4, reason: 'conflict' });
  ours = await serve(test.store);
  theirs = await serve(test.store, OTHER_TENANT);
});
afterAll(async () => {
  await ours.app.close();
  await theirs.app.close();
  await test.close();
});

const CASES = path.join(import.meta.dirname, 'cases');
const queries = fs
  .readdirSync(CASES)
  .filter((name) => name.endsWith('.graphql'))
  .map((name) => fs.readFileSync(path.join(CASES, name), 'utf8'));

const FILTERED = `query ($filter: EventFilter) {
  session(id: "${SESSION}") { timeline(filter: $filter, first: 100) { nodes { id summary host tenant } } }
}`;

/** A string that tries to get out of wherever it is put. */
const hostile = fc.oneof(
  fc.string({ unit: fc.constantFrom("'", '\\', '"', '`', '\0', '\n', ';', '{', '}', '%', '_') }),
  fc.constantFrom(
    "' OR tenant != '",
    "') OR 1=1 --",
    '{tenant:String}',
    "\\' OR tenant = {tenant:String} OR '",
    '; DROP TABLE telltale.events',
    '*/ UNION ALL SELECT * FROM telltale.events /*',
    '%',
    '_',
    'globex',
  ),
);
const filters = fc.record(
  {
    toolCallId: fc.oneof(hostile, fc.constantFrom('call_1', 'call_2')),
    turnId: fc.oneof(hostile, fc.constant('turn_1')),
    text: fc.oneof(hostile, fc.constantFrom('mark', 'of-globex', 'of-acme', 'echo')),
    path: fc.oneof(hostile, fc.constantFrom('/w/', `/w/out${OURS}`, `/w/out${THEIRS}`)),
    host: fc.oneof(hostile, fc.constant('192.0.2.7')),
  },
  { requiredKeys: [] },
);
/** Each finds something in both tenants. */
const FINDING = [{}, { text: 'mark-of' }, { toolCallId: 'call_1' }, { path: '/w/' }] as const;

describe('tenants', () => {
  it('see their own session under the same id, in every query', async () => {
    for (const query of queries) {
      const [mine, other] = [await ours.ask(query), await theirs.ask(query)];
      for (const answer of [mine, other]) expect(answer.errors).toBeUndefined();
      expect(JSON.stringify(mine)).not.toMatch(/globex/);
      expect(JSON.stringify(other)).not.toMatch(/acme/);
    }
    const query = `{ session(id: "${SESSION}") { completeness { verdict } host deadLetters { seq } } }`;
    expect((await ours.ask(query)).data?.session).toEqual({
      completeness: { verdict: 'complete' },
      host: 'acme-box',
      deadLetters: [],
    });
    expect((await theirs.ask(query)).data?.session).toEqual({
      completeness: { verdict: 'incomplete' },
      host: 'globex-box',
      deadLetters: [{ seq: 4 }],
    });
  });

  it('can’t name what is another’s', async () => {
    const query = `{
      session(id: "${ONLY_THEIRS}") { id }
      event(id: "${ONLY_STREAM}-0") { id }
      sessions { nodes { id } }
      latest: session(id: "latest") { id }
    }`;
    expect((await ours.ask(query)).data).toEqual({
      session: null,
      event: null,
      sessions: { nodes: [{ id: SESSION }] },
      latest: { id: SESSION },
    });
    const headers = { host: 'localhost' };
    const url = `/v1/sessions/${ONLY_THEIRS}/story`;
    expect((await ours.app.inject({ url, headers })).statusCode).toBe(404);
    const story = await ours.app.inject({ url: `/v1/sessions/${SESSION}/story`, headers });
    expect(story.payload).toContain('acme');
    expect(story.payload).not.toContain('globex');
    expect(story.json().events).toHaveLength(16);
  });

  it('stay apart whatever a filter holds, and no filter is an error of ours', async () => {
    await fc.assert(
      fc.asyncProperty(filters, async (filter) => {
        const answer = await ours.ask(FILTERED, { filter });
        expect(answer.errors).toBeUndefined();
        const nodes: { tenant: string; host: string }[] = answer.data?.session.timeline.nodes;
        for (const node of nodes) expect([node.tenant, node.host]).toEqual(['acme', 'acme-box']);
        if (Object.keys(filter).length === 0) expect(nodes).toHaveLength(16);
      }),
      { numRuns: 30, examples: FINDING.map((filter) => [filter] as [object]) },
    );
    const still = await theirs.ask('{ sessions { nodes { id } } }');
    expect(still.data?.sessions.nodes).toHaveLength(2);
    expect(ours.log.lines).toEqual([]);
  });

  it('find exactly the text that they look for', async () => {
    const odd = String.raw`50%_off \ 'it''s' "q" {x:String} ;--`;
    const stream = '0193a5e0-0000-7000-8000-0000000000fd';
    const drafts = [`${odd}!`, odd.replace('%', 'x'), odd.replace('_', 'x')].map((prompt, i) => ({
      kind: 'prompt' as const,
      ts: `176400000000000000${i}`,
      source: 'otlp',
      assurance: 'reported' as const,
      prompt,
    }));
    const session = '0193a5e0-0000-7000-8000-0000000000fc';
    await insertEvents(test.store, stampStream({ session, stream, drafts, shiftMs: -1000 }));
    const query = `query ($text: String) { session(id: "${session}") {
      timeline(filter: { text: $text }) { nodes { ... on PromptEvent { prompt } } } } }`;
    const found = await ours.ask(query, { text: odd });
    expect(found.data?.session.timeline.nodes).toEqual([{ prompt: `${odd}!` }]);
  });
});
