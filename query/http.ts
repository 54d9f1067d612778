/**
 * Plain routes beside GraphQL, for the command line:
 *
 *     GET /v1/sessions?first=N          {sessions: [{id, agent, host, user, startedNs, endedNs}]}
 *     GET /v1/sessions/:id/story        SessionData of timeline/story.ts; `:id` may be `latest`
 *     GET /v1/sessions/:id/export       all that is stored of it, as NDJSON: see export/evidence.ts
 */
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { QueryError, STATUS } from './errors.ts';
import { createExports } from './export/evidence.ts';
import { createLoads, findSession } from './load.ts';
import { pageSize } from './plan.ts';
import { type SessionRow, sessionHead } from './render.ts';
import { createRunner, type QueryDeps, type Runner } from './run.ts';
import { sessionsPlan } from './session-plan.ts';
import type { SessionData } from './timeline/story.ts';

/** The story's data as JSON text, event by event, so that it never stands in memory twice. */
function* storyText({ events, ...head }: SessionData): Generator<string> {
  yield `${JSON.stringify(head).slice(0, -1)},"events":[`;
  let first = true;
  for (const event of events) {
    yield `${first ? '' : ',\n'}${JSON.stringify(event)}`;
    first = false;
  }
  yield ']}\n';
}

function answerFault(deps: QueryDeps, error: unknown, reply: FastifyReply): FastifyReply {
  if (error instanceof QueryError)
    return reply
      .code(STATUS[error.code])
      .send({ error: { code: error.code, message: error.message } });
  deps.meter.count('query_errors_total', 1);
  deps.log.error('query.failed', { error: error instanceof Error ? error.message : String(error) });
  const message = 'Unexpected error.';
  return reply.code(500).send({ error: { code: 'INTERNAL_SERVER_ERROR', message } });
}

/** Aborted when the caller goes away before it is answered. */
function signalOf(request: FastifyRequest, reply: FastifyReply): AbortSignal {
  const abort = new AbortController();
  request.raw.once('close', () => {
    if (!reply.raw.writableEnded && request.raw.destroyed && reply.raw.destroyed) abort.abort();
  });
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) abort.abort();
  });
  return abort.signal;
}

/** Mounts the routes. */
export function registerRoutes(app: FastifyInstance, deps: QueryDeps): void {
  const route = (
    url: string,
    answer: (run: Runner, request: FastifyRequest, reply: FastifyReply) => Promise<unknown>,
  ) =>
    app.get(url, async (request, reply) => {
      try {
        return await answer(createRunner(deps, signalOf(request, reply)), request, reply);
      } catch (error) {
        return answerFault(deps, error, reply);
      }
    });

  route('/v1/sessions', async (run, request) => {
    const { first } = request.query as { first?: string };
    const size = pageSize(first === undefined ? undefined : Number(first));
    const rows = await run.rows<SessionRow>(sessionsPlan(run.tenant, size));
    return { sessions: rows.slice(0, size).map(sessionHead) };
  });

  route('/v1/sessions/:id/story', async (run, request, reply) => {
    const { id } = request.params as { id: string };
    const head = await findSession(run, id);
    if (head === undefined)
      return reply.code(404).send({ error: { code: 'NOT_FOUND', message: 'no such session' } });
    const data = await createLoads(run).data(head);
    return reply.type('application/json; charset=utf-8').send(Readable.from(storyText(data)));
  });

  route('/v1/sessions/:id/export', createExports());
}
