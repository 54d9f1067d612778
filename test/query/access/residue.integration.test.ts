/**
 * One tenant's queries fail, time out and hit limits in mid-result while another's succeed, on the
 * embedded engine, which by itself gives what is left of a failed query's output to the next one.
 */
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { QueryLimits, Sql, Store } from '#schemas';
import { viewer } from '../access.ts';
import { insertEvents, OTHER_TENANT, SESSION, stampStream, TENANT } from '../seed.ts';
import { openTestStore, type Service, serve, type TestStore } from '../service.ts';

const ROUNDS = 20;
const LEAK = /globex/i;

/** How a statement of the other tenant is made to end badly: by its limits, or in its midst. */
const ENDS = ['rows', 'time', 'memory', 'throw', 'abort'] as const;
type End = (typeof ENDS)[number];

const WORSE: Partial<Record<End, Partial<QueryLimits>>> = {
  rows: { rowsMax: 20 },
  time: { timeMs: 1 },
  memory: { memoryBytesMax: 1_000_000 },
};

/** The same store, but statements of the other tenant end as `next` says. */
function failing(store: Store, next: () => End): Store {
  const bent = (sql: Sql, limits: QueryLimits, signal?: AbortSignal) => {
    const end = next();
    const text =
      end === 'throw'
        ? `SELECT *, throwIf(rowNumberInAllBlocks() >= 300) AS thrown FROM (${sql.text}) SETTINGS max_block_size = 100`
        : sql.text;
    const abort = new AbortController();
    if (end === 'abort') setTimeout(() => abort.abort(), 2);
    const signals = [abort.signal, ...(signal === undefined ? [] : [signal])];
    const one = { ...sql, text: text.replace(/ SETTINGS max_block_size = 100$/, '') };
    return [one, { ...limits, ...WORSE[end] }, AbortSignal.any(signals)] as const;
  };
  return {
    ...store,
    query: (sql, limits, signal) => store.query(...bent(sql, limits, signal)),
    stream: (sql, limits, signal) => store.stream(...bent(sql, limits, signal)),
  };
}

let test: TestStore;
let ours: Service;
let theirs: Service;
let turn = 0;
beforeAll(async () => {
  test = await openTestStore();
  await insertEvents(test.store, stampStream({ mark: ' mark-of-acme', host: 'acme-box' }));
  const drafts = Array.from({ length: 3000 }, (_, i) => ({
    kind: 'prompt' as const,
    ts: String(1_764_000_000_000_000_000n + BigInt(i)),
    source: 'otlp',
    assurance: 'reported' as const,
    prompt: `secret-of-globex ${'x'.repeat(300)} ${i}`,
  }));
  await insertEvents(test.store, stampStream({ tenant: OTHER_TENANT, host: 'globex-box', drafts }));
  ours = await serve(test.store);
  theirs = await serve(
    failing(test.store, () => ENDS[turn++ % ENDS.length] as End),
    OTHER_TENANT,
  );
});
afterAll(async () => {
  await ours.app.close();
  await theirs.app.close();
  await test.close();
});

const PAGE = `{ session(id: "${SESSION}") { timeline(first: 1000) { nodes { id summary host ... on PromptEvent { prompt } } } } }`;
const WHOLE = `{ session(id: "${SESSION}") { toolCalls { id command } findings { text } } }`;
const LIST = '{ sessions { nodes { id host } } }';

describe('a tenant whose queries fail', () => {
  it('leaves nothing of its own in the answers of another, whatever way they end', async () => {
    const wanted = new Map<string, string>();
    for (const query of [PAGE, WHOLE, LIST])
      wanted.set(query, JSON.stringify(await ours.ask(query)));
    const ends = { failed: 0, answered: 0 };
    let clean = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const bad = [PAGE, WHOLE, LIST].map(async (query) => {
        const { errors } = await theirs.ask(query);
        if (errors === undefined) ends.answered++;
        else ends.failed++;
      });
      const good = [PAGE, WHOLE, LIST].map(async (query) => {
        const text = JSON.stringify(await ours.ask(query));
        expect(text).not.toMatch(LEAK);
        expect(text).toBe(wanted.get(query));
        clean++;
      });
      await Promise.all([...bad, ...good]);
    }
    expect(clean).toBe(ROUNDS * 3);
    expect(ends.failed).toBeGreaterThan(ROUNDS);
    expect(turn).toBeGreaterThan(ENDS.length * 10);
  }, 60_000);

  it('is told which limit it was, and not in the engine’s words', async () => {
    const messages = new Set<string>();
    for (let i = 0; i < 15; i++)
      for (const error of (await theirs.ask(PAGE)).errors ?? []) {
        messages.add(error.extensions?.code ?? '');
        expect(error.message).not.toMatch(/DB::Exception|SELECT|throwIf/);
      }
    expect([...messages]).toContain('QUERY_LIMIT_REACHED');
  });
});

describe('a request whose caller has gone', () => {
  it('ends in the engine, is counted, and is written down as cancelled', async () => {
    const slow: Store = {
      ...test.store,
      query: (sql, limits, signal) => {
        const text = 'SELECT max(sipHash64(number)) AS id FROM numbers(90000000000)';
        const one = { text, params: {} };
        return test.store.query(sql.text.includes('streams') ? one : sql, limits, signal);
      },
    };
    const service = await serve(slow, viewer(TENANT));
    await service.app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = service.app.server.address() as AddressInfo;
    const body = JSON.stringify({ query: LIST });
    const headers = { 'content-type': 'application/json', 'content-length': body.length };
    const request = http.request({
      host: '127.0.0.1',
      port,
      path: '/graphql',
      method: 'POST',
      headers,
    });
    request.on('error', () => {});
    request.end(body);
    const running = async () => {
      const text =
        "SELECT count() AS n FROM system.processes WHERE query LIKE '%sipHash64(number)%' AND query NOT LIKE '%system.processes%'";
      const limits = { timeMs: 5_000, memoryBytesMax: 1e8, rowsMax: 10 };
      const [row] = await test.store.query<{ n: string }>({ text, params: {} }, limits);
      return Number(row?.n);
    };
    await expect.poll(running, { timeout: 5_000 }).toBe(1);
    const before = performance.now();
    request.destroy();
    await expect.poll(running, { timeout: 5_000, interval: 20 }).toBe(0);
    // By itself it would have run to its limit of five seconds.
    expect(performance.now() - before).toBeLessThan(3_000);
    await expect.poll(() => service.journal.entries.at(-1)?.draft.attrs?.fields).toBe('sessions');
    expect(service.journal.entries.at(-1)?.draft).toMatchObject({ outcome: 'cancelled' });
    await expect
      .poll(() => service.meter.counts.get('telltale.query.abandoned'))
      .toBeGreaterThan(0);
    await service.app.close();
  }, 30_000);
});
