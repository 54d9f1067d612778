/**
 * The query service on a Fastify instance. It has no accounts yet and serves loopback only, so two
 * things stand between it and a web page that the user happens to open: the Host header must name
 * this machine (DNS rebinding), and GraphQL takes JSON posts only, which a page of another origin
 * can't send without leave (CSRF); no leave is ever given (CORS is off).
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { REQUEST_BYTES_MAX } from './graphql/limits.ts';
import { createGraphQL } from './graphql/service.ts';
import { registerRoutes } from './http.ts';
import type { QueryDeps } from './run.ts';

const LOOPBACK_NAMES: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]']);

/** Whether a Host header names this machine itself; the port does not matter. */
export function isLoopbackHost(host: string | undefined): boolean {
  const name = /^(\[[0-9a-fA-F:]+\]|[^:]+)(?::\d{1,5})?$/.exec(host ?? '')?.[1];
  return name !== undefined && LOOPBACK_NAMES.has(name.toLowerCase());
}

async function checkHost(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  if (isLoopbackHost(request.headers.host)) return undefined;
  const message = 'this service answers to localhost, 127.0.0.1 and [::1] only';
  return reply.code(421).send({ error: { code: 'WRONG_HOST', message } });
}

async function checkJson(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const type = request.headers['content-type'] ?? '';
  if (/^application\/json\s*(?:;|$)/i.test(type)) return undefined;
  const message = 'send application/json';
  return reply.code(415).send({ error: { code: 'WRONG_CONTENT_TYPE', message } });
}

/** Mounts `/graphql` and the plain routes for one tenant; nothing else on `app` is touched. */
export async function registerQuery(app: FastifyInstance, deps: QueryDeps): Promise<void> {
  const yoga = createGraphQL(deps);
  await app.register(async (scope) => {
    scope.addHook('onRequest', checkHost);
    registerRoutes(scope, deps);
    scope.route({
      url: yoga.graphqlEndpoint,
      method: 'POST',
      bodyLimit: REQUEST_BYTES_MAX,
      onRequest: checkJson,
      handler: (request, reply) => yoga.handleNodeRequestAndResponse(request, reply, {}),
    });
  });
}
