/**
 * The query service on a Fastify instance: the guard, then the routes. GraphQL takes JSON posts
 * only, which a page of another origin can't send without leave (CSRF); no leave is ever given
 * (CORS is off).
 */
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { TileFetch } from '#schemas';
import { createGate, type GateDeps } from './access/gate.ts';
import { type GuardSettings, passedOf, registerGuard } from './access/guard.ts';
import { type ArgumentPolicy, sha256 } from './access/operation.ts';
import { createCasework } from './casework/book.ts';
import { QueryError } from './errors.ts';
import { registerExplorer } from './graphql/explorer.ts';
import { REQUEST_BYTES_MAX } from './graphql/limits.ts';
import { createGraphQL } from './graphql/service.ts';
import { registerRoutes } from './http.ts';
import { createLiveHub } from './live/hub.ts';
import { createSealedLog } from './sealed.ts';

export interface QueryDeps extends GateDeps, GuardSettings {
  /** Whether the schema may be asked for; it may where nothing is said. */
  readonly introspection?: boolean;
  /** Whether GraphiQL is served; it loads its program from elsewhere. Off where nothing is said. */
  readonly explorer?: boolean;
  /** The files of the transparency log, where it is at hand. */
  readonly tlog?: TileFetch;
  /** What the journal says of arguments; `plain` where nothing is said. */
  readonly arguments?: ArgumentPolicy;
}

async function checkJson(request: FastifyRequest): Promise<void> {
  const type = request.headers['content-type'] ?? '';
  if (!/^application\/json\s*(?:;|$)/i.test(type))
    throw new QueryError('WRONG_CONTENT_TYPE', 'send application/json');
}

/** Mounts `/graphql` and the plain routes; nothing else on `app` is touched. */
export async function registerQuery(app: FastifyInstance, deps: QueryDeps): Promise<void> {
  const gate = createGate(deps);
  const live = createLiveHub(deps);
  app.addHook('preClose', () => live.stop());
  const yoga = createGraphQL({
    gate,
    log: deps.log,
    meter: deps.meter,
    arguments: deps.arguments ?? 'plain',
    introspection: deps.introspection ?? true,
    live,
    casework: createCasework(deps.clock),
    sealed: deps.tlog && createSealedLog(deps.tlog, deps.clock),
  });

  async function graphql(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const passed = passedOf(request);
    const { query } = (request.body ?? {}) as { query?: unknown };
    if (typeof query === 'string')
      passed.access.describe({ details: { document_sha256: sha256(query) } });
    const response = await yoga.handleNodeRequestAndResponse(request, reply, passed);
    reply.code(response.status);
    for (const [name, value] of response.headers) reply.header(name, value);
    const live = response.headers.get('content-type')?.startsWith('text/event-stream');
    // As bytes: Node writes a long text to a socket in several times what encoding it takes.
    if (!live || response.body === null) return Buffer.from(await response.text());
    return reply.send(Readable.fromWeb(response.body as ReadableStream));
  }

  if (deps.explorer) registerExplorer(app);
  await app.register(async (scope) => {
    await registerGuard(scope, gate, deps, deps);
    registerRoutes(scope);
    scope.route({
      url: yoga.graphqlEndpoint,
      method: 'POST',
      bodyLimit: REQUEST_BYTES_MAX,
      onRequest: checkJson,
      handler: graphql,
    });
  });
}
