import http from 'node:http';
import { expect, it } from 'vitest';
import { closeWeb, createWeb } from '../../../deploy/process/web.ts';

/** A request on a connection that stays open; resolves to status, or to why there is none. */
const ask = (url: string, agent: http.Agent) =>
  new Promise<number | string>((resolve) => {
    http
      .get(url, { agent }, (response) => {
        response.resume().on('end', () => resolve(response.statusCode ?? 0));
      })
      .on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
  });

it('answers what is under way, lets idle connections go, and cuts off what takes too long', async () => {
  const app = createWeb();
  const [free, arrived]: [(() => void)[], string[]] = [[], []];
  app.addHook('onRequest', async ({ url }) => {
    arrived.push(url);
  });
  app.get('/slow', () => new Promise((resolve) => free.push(() => resolve('done'))));
  app.get('/never', () => new Promise(() => {}));
  app.get('/', async () => 'here');
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  const agent = new http.Agent({ keepAlive: true });
  expect(await ask(url, agent)).toBe(200);
  const slow = ask(`${url}/slow`, agent);
  const never = ask(`${url}/never`, agent);
  while (free.length === 0 || !arrived.includes('/never'))
    await new Promise((resolve) => setTimeout(resolve, 5));
  const began = performance.now();
  const closed = closeWeb(app, 1_000);
  setTimeout(() => free[0]?.(), 100);
  expect(await slow).toBe(200);
  expect(await ask(url, new http.Agent())).toBe('ECONNREFUSED');
  expect(performance.now() - began).toBeLessThan(1_000);
  expect(await never).toBe('ECONNRESET');
  await closed;
  expect(performance.now() - began).toBeLessThan(5_000);
  agent.destroy();
});

it('does not wait where nothing is under way', async () => {
  const app = createWeb();
  app.get('/', async () => 'here');
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  const agent = new http.Agent({ keepAlive: true });
  expect(await ask(url, agent)).toBe(200);
  const began = performance.now();
  await closeWeb(app);
  expect(performance.now() - began).toBeLessThan(1_000);
  agent.destroy();
});
