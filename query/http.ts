/**
 * Plain routes beside GraphQL, for the command line:
 *
 *     GET /v1/sessions?first=N          {sessions: [{id, agent, host, user, startedNs, endedNs}]}
 *         journal=1                     the service's own sessions instead, for admins
 *     GET /v1/sessions/:id/story        SessionData of timeline/story.ts; `:id` may be `latest`
 *     GET /v1/sessions/:id/export       all that is stored of it, as NDJSON: see export/evidence.ts
 *     GET /v1/sessions/:id/events       its timeline as NDJSON, CSV, Parquet, OCSF: see export/route.ts
 *     GET /v1/sessions/:id/removal      the tombstone of one that retention removed
 */
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { passedOf } from './access/guard.ts';
import { QueryError } from './errors.ts';
import { createExports } from './export/evidence.ts';
import { createEventExports } from './export/route.ts';
import { createLoads, findSession } from './load.ts';
import { pageSize } from './plan.ts';
import { type SessionRow, sessionHead } from './render.ts';
import { removalOf } from './retention.ts';
import type { Runner } from './run.ts';
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

/** Mounts the routes; the guard stands before each. */
export function registerRoutes(app: FastifyInstance): void {
  const route = (
    url: string,
    answer: (run: Runner, request: FastifyRequest, reply: FastifyReply) => Promise<unknown>,
  ) => app.get(url, (request, reply) => answer(passedOf(request).run, request, reply));

  route('/v1/sessions', async (run, request) => {
    const { first, journal } = request.query as { first?: string; journal?: string };
    const size = pageSize(first === undefined ? undefined : Number(first));
    const rows = await run.rows<SessionRow>(
      sessionsPlan(run.tenant, size, { journal: journal === '1' }),
    );
    return { sessions: rows.slice(0, size).map(sessionHead) };
  });

  route('/v1/sessions/:id/story', async (run, request, reply) => {
    const { id } = request.params as { id: string };
    const head = await findSession(run, id);
    if (head === undefined) throw new QueryError('NOT_FOUND', 'no such session');
    const data = await createLoads(run).data(head);
    return reply.type('application/json; charset=utf-8').send(Readable.from(storyText(data)));
  });

  route('/v1/sessions/:id/removal', async (run, request) => {
    const removal = await removalOf(run, (request.params as { id: string }).id);
    if (removal === undefined) throw new QueryError('NOT_FOUND', 'no session was removed there');
    return removal;
  });

  route('/v1/sessions/:id/export', createExports());
  route('/v1/sessions/:id/events', createEventExports());
}
