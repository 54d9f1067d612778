/** The small server beside a service: `/healthz`, `/readyz`, `/metrics`. */
import type { AddressInfo } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import type { Log, Part } from '#schemas';
import { isLoopbackHost } from '../../query/access/guard.ts';
import type { Health, Report } from './health.ts';
import type { HealthAddress } from './settings.ts';

const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
const LOOPBACK: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '::1']);
const UNAVAILABLE = 503;

/** Mounts the two questions on `app`, where nobody needs a right to ask them. */
export function registerProbes(app: FastifyInstance, health: Health): void {
  const probe = (url: string, ask: () => Promise<Report>) =>
    app.get(url, async (_request, reply) => {
      const report = await ask();
      reply.header('cache-control', 'no-store');
      return reply.code(report.status === 'pass' ? 200 : UNAVAILABLE).send(report);
    });
  probe('/healthz', health.live);
  probe('/readyz', health.ready);
}

export interface HealthServerOptions {
  readonly at: HealthAddress;
  readonly health: Health;
  /** Prometheus' text; absent: there is none. */
  readonly scrape: (() => Promise<string>) | undefined;
  readonly log: Log;
}

export interface HealthServer extends Part {
  /** Where it serves, after `start`. */
  readonly url: string;
}

/**
 * A server of its own, so that what is asked of it needs no token and is in no journal, and so that
 * it can be bound where orchestrator and Prometheus are and nobody else. Nothing that was recorded
 * is in any answer.
 */
export function createHealthServer(options: HealthServerOptions): HealthServer {
  const { at, health, scrape, log } = options;
  const app = Fastify({ logger: false, forceCloseConnections: true });
  let url = '';
  // No page that is open on this machine may read it under another name.
  if (LOOPBACK.has(at.host))
    app.addHook('onRequest', async (request, reply) => {
      if (isLoopbackHost(request.headers.host)) return undefined;
      return reply.code(421).send({ error: 'this server answers to localhost only' });
    });
  registerProbes(app, health);
  app.get('/metrics', async (_request, reply) => {
    if (scrape === undefined) return reply.code(404).send({ error: 'OTEL_SDK_DISABLED is set' });
    // The gauges of the checks are as old as the scrape.
    await Promise.all([health.ready(), health.live()]);
    return reply.type(METRICS_TYPE).send(await scrape());
  });
  return {
    async start() {
      await app.listen(at);
      const { address, family, port } = app.server.address() as AddressInfo;
      url = `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
      log.info('health.serving', { url });
    },
    stop: () => app.close(),
    get url() {
      return url;
    },
  };
}
