/** The web server of a service, and how it ends: what was asked is answered, and nobody new is let in. */
import type { ServerOptions } from 'node:https';
import Fastify, { type FastifyInstance } from 'fastify';

/** How long answers that are under way may take; less than a part has to stop in. */
export const DRAIN_MS = 10_000;
/** A connection that has its answer is kept alive by Node, though nothing more may be asked on it. */
const IDLE_LOOK_MS = 50;

export function createWeb(tls: { readonly https?: ServerOptions } = {}): FastifyInstance {
  return Fastify({ logger: false, forceCloseConnections: 'idle', ...tls }) as FastifyInstance;
}

/**
 * Stops listening and resolves when what is under way has its answer, at the latest after `drainMs`, when
 * what is left is cut off. Whoever asks meanwhile on an open connection is told 503.
 */
export async function closeWeb(app: FastifyInstance, drainMs = DRAIN_MS): Promise<void> {
  const end = performance.now() + drainMs;
  const timer = setInterval(() => {
    if (performance.now() > end) app.server.closeAllConnections();
    else app.server.closeIdleConnections();
  }, IDLE_LOOK_MS);
  await app.close().finally(() => clearInterval(timer));
}
