/** The service's outer wall, on a store that only remembers what it was asked. */
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type Row, type Sql, type Store, StoreError, type StoreFaultCode } from '#schemas';
import { isLoopbackHost } from '../../query/access/guard.ts';
import { columnsOf } from '../fakes/ports.ts';
import { type Service, serve } from './service.ts';

type Answering = (sql: Sql, signal?: AbortSignal) => Promise<readonly Row[]>;

function storeWith(answer: Answering): Store {
  const nothing = async () => {};
  return {
    query: ((sql: Sql, _limits: unknown, signal?: AbortSignal) => answer(sql, signal)) as never,
    columns: async (sql: Sql, _limits: unknown, signal?: AbortSignal) =>
      columnsOf((await answer(sql, signal)) as readonly Row[]),
    stream: async function* (sql: Sql, _limits: unknown, signal?: AbortSignal) {
      yield await answer(sql, signal);
    } as never,
    insert: nothing,
    command: nothing,
    ping: nothing,
    close: nothing,
  };
}

const services: Service[] = [];
async function open(answer: Answering = async () => []): Promise<Service> {
  const service = await serve(storeWith(answer));
  services.push(service);
  return service;
}
afterEach(async () => {
  for (const service of services.splice(0)) await service.app.close();
});

const QUERY = '{ sessions { nodes { id } } }';
const JSON_TYPE = { 'content-type': 'application/json' };

describe('Host', () => {
  it('must name this machine', async () => {
    for (const host of ['localhost', 'LOCALHOST:4560', '127.0.0.1:80', '[::1]', '[::1]:4560'])
      expect(isLoopbackHost(host), host).toBe(true);
    for (const host of [
      undefined,
      '',
      'evil.example',
      'localhost.evil.example',
      '127.0.0.1.evil.example:4560',
      'localhost:4560:1',
      'evil.example#localhost',
      '0.0.0.0',
      '[::2]',
    ])
      expect(isLoopbackHost(host), host).toBe(false);
  });

  it('is checked on every route, before anything is read', async () => {
    let asked = 0;
    const { app } = await open(async () => {
      asked++;
      return [];
    });
    const headers = { host: 'evil.example', ...JSON_TYPE };
    const post = { method: 'POST' as const, url: '/graphql', payload: { query: QUERY } };
    for (const request of [
      post,
      { method: 'GET' as const, url: '/v1/sessions' },
      { method: 'GET' as const, url: '/v1/sessions/latest/story' },
    ])
      expect((await app.inject({ ...request, headers })).statusCode).toBe(421);
    expect(asked).toBe(0);
  });
});

describe('/graphql', () => {
  it('takes JSON posts only, and lets no other origin in', async () => {
    const { app } = await open();
    const headers = { host: 'localhost', origin: 'http://evil.example' };
    const payload = JSON.stringify({ query: QUERY });
    const post = (type: string) =>
      app.inject({
        method: 'POST',
        url: '/graphql',
        headers: { ...headers, 'content-type': type },
        payload,
      });
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx'])
      expect((await post(type)).statusCode, type).toBe(415);
    const good = await post('application/json; charset=utf-8');
    expect(good.statusCode).toBe(200);
    expect(good.headers['access-control-allow-origin']).toBeUndefined();
    const query = encodeURIComponent(QUERY);
    expect((await app.inject({ url: `/graphql?query=${query}`, headers })).statusCode).toBe(404);
    const options = await app.inject({ method: 'OPTIONS', url: '/graphql', headers });
    expect(options.statusCode).toBe(404);
  });

  it('limits words and bytes of a request', async () => {
    const service = await open();
    const long = `{ sessions { nodes { ${'id '.repeat(5000)} } } }`;
    expect((await service.ask(long)).errors?.[0]?.message).toContain('token');
    const { statusCode } = await service.app.inject({
      method: 'POST',
      url: '/graphql',
      headers: { host: 'localhost', ...JSON_TYPE },
      payload: { query: QUERY, variables: { x: 'x'.repeat(300_000) } },
    });
    expect(statusCode).toBe(413);
  });

  it('refuses too large a query before it asks the store', async () => {
    let asked = 0;
    const service = await open(async () => {
      asked++;
      return [];
    });
    const query = `query ($n: Int) { sessions(first: $n) { nodes { timeline(first: $n) { nodes { id } } } } }`;
    const answer = await service.ask(query, { n: 1000 });
    expect(answer.errors?.[0]?.extensions?.code).toBe('REQUEST_TOO_LARGE');
    expect(answer.data ?? null).toBeNull();
    expect(asked).toBe(0);
  });

  it('answers wrong arguments with a code and words', async () => {
    const service = await open();
    for (const query of [
      '{ session(id: "nope") { id } }',
      '{ event(id: "nope") { id } }',
      '{ sessions(first: 0) { nodes { id } } }',
      '{ sessions(filter: { startedFrom: "yesterday" }) { nodes { id } } }',
      '{ nothing }',
    ]) {
      const [error] = (await service.ask(query)).errors ?? [];
      expect([query, error?.extensions?.code]).toEqual([
        query,
        query === '{ nothing }' ? 'GRAPHQL_VALIDATION_FAILED' : 'BAD_USER_INPUT',
      ]);
    }
    expect(service.log.lines).toEqual([]);
  });
});

describe('faults', () => {
  const SECRET = 'SELECT secret FROM telltale.events at /srv/secret.ts:1';
  const failing = (code: StoreFaultCode) =>
    open(async () => {
      throw new StoreError({ code, message: SECRET });
    });
  const CODES = {
    limit: 'QUERY_LIMIT_REACHED',
    busy: 'STORE_UNAVAILABLE',
    unreachable: 'STORE_UNAVAILABLE',
    unknown: 'STORE_UNAVAILABLE',
    closed: 'STORE_UNAVAILABLE',
    refused: 'INTERNAL_SERVER_ERROR',
  } as const;

  it('of the store are told by a code, without its words', async () => {
    for (const [fault, code] of Object.entries(CODES)) {
      const service = await failing(fault as StoreFaultCode);
      const answer = await service.ask(QUERY);
      expect(answer.errors?.[0]?.extensions?.code).toBe(code);
      const routes = await service.app.inject({
        url: '/v1/sessions',
        headers: { host: 'localhost' },
      });
      expect(routes.json().error.code).toBe(code);
      expect(routes.statusCode).toBe(fault === 'refused' ? 500 : 503);
      expect(JSON.stringify(answer) + routes.payload).not.toMatch(/secret|SELECT/);
      expect(JSON.stringify(service.log.lines)).toContain('secret');
      expect(service.meter.counts.get('telltale.query.store_faults')).toBe(2);
    }
  });

  it('of ours are masked, and logged', async () => {
    const service = await open(async () => {
      throw new TypeError(SECRET);
    });
    const answer = await service.ask(QUERY);
    expect(answer.errors).toMatchObject([
      { message: 'Unexpected error.', extensions: { code: 'INTERNAL_SERVER_ERROR' } },
    ]);
    expect(JSON.stringify(answer)).not.toMatch(/secret/);
    expect(service.log.lines).toMatchObject([{ level: 'error', event: 'query.failed' }]);
  });
});

describe('a caller who goes away', () => {
  it.each(['/graphql', '/v1/sessions'])('stops the store’s query: %s', async (url) => {
    let began = () => {};
    const asked = new Promise<void>((resolve) => {
      began = resolve;
    });
    let stopped = () => {};
    const aborted = new Promise<void>((resolve) => {
      stopped = resolve;
    });
    const { app } = await open(
      (_sql, signal) =>
        new Promise((_resolve, reject) => {
          began();
          signal?.addEventListener('abort', () => {
            stopped();
            reject(new StoreError({ code: 'limit', message: 'cancelled' }));
          });
        }),
    );
    await app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = app.server.address() as AddressInfo;
    const graphql = url === '/graphql';
    const request = http.request({
      port,
      path: url,
      method: graphql ? 'POST' : 'GET',
      headers: graphql ? JSON_TYPE : {},
    });
    request.on('error', () => {});
    request.end(graphql ? JSON.stringify({ query: QUERY }) : undefined);
    await asked;
    request.destroy();
    await aborted;
  });
});
