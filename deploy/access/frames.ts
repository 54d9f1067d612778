/**
 * Frames come from whoever can connect, and a recorded agent can. None of them may hold what only the
 * service says: who read what, and what an investigator noted.
 */
import type { FastifyInstance } from 'fastify';
import { parseJson, REGISTRY, unframe } from '#schemas';

/** Kinds of the service's own, as they stand in a canonical line. */
const OWN = [...REGISTRY.values()]
  .filter(({ role }) => role === 'stored')
  .map(({ kind }) => Buffer.from(`"kind":"${kind}"`));

const mayHold = (bytes: Buffer): boolean => OWN.some((mark) => bytes.includes(mark));

/** Whether a line is an event of the service's own kinds; the same text may stand in a map. */
function isOwn(line: Uint8Array): boolean {
  const bytes = Buffer.from(line.buffer, line.byteOffset, line.byteLength);
  if (!mayHold(bytes)) return false;
  return REGISTRY.get((parseJson(bytes.toString()) as { kind: string }).kind)?.role === 'stored';
}

/**
 * Refuses frames that hold such an event, before they are queued: a frame that the queue has taken is
 * tried until it is stored. Called before the route of frames is mounted.
 */
export function refuseForeignFrames(app: FastifyInstance): void {
  app.addHook('preHandler', async (request, reply) => {
    const { body } = request;
    if (request.routeOptions.url !== '/v1/frames' || !Buffer.isBuffer(body)) return;
    if (!mayHold(body) || !unframe(body).good.some(({ bytes }) => isOwn(bytes))) return;
    const error = 'a collector can’t send what the query service records of itself';
    return reply.code(403).send({ error });
  });
}
