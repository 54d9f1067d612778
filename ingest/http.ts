/**
 * `POST /v1/frames`: ingest without a broker. The answer 200 means that the frame is in the table,
 * and that its sender may forget it. Bad events are no fault of the request: they are parked.
 */
import { createHash } from 'node:crypto';
import type { FastifyInstance, FastifyReply } from 'fastify';
import {
  type Clock,
  FRAME_BYTES_MAX,
  type Log,
  type Meter,
  type Store,
  StoreError,
} from '#schemas';
import type { Ingest } from './loop.ts';
import type { Batch, Summary } from './outcome.ts';

export const FRAME_CONTENT_TYPE = 'application/x-telltale-frame';
/** Room for the frame's header line. */
const HEADER_ROOM = 4096;
/** How long a request waits for a store that is away before it is told to come again. */
const PATIENCE_MS = 10_000;
const RETRY_AFTER_SECONDS = '1';
/** Requests at work or waiting; with the body limit this bounds the memory. */
export const REQUESTS_MAX = 16;

export interface FramesDeps {
  readonly store: Store;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly ingest: Ingest;
  readonly patienceMs?: number;
}

/** Same bytes, same name: a frame that is sent again has the same tokens. */
function batchOf(bytes: Buffer, traceparent: string | undefined): Batch {
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 32);
  const name = `http/${hash}`;
  return { name, frames: [{ bytes, origin: name, traceparent }], via: 'http' };
}

/**
 * Takes frames one after the other; each resolves when all of it is stored or parked, and rejects
 * with a `StoreError` when the store does not take it within `patienceMs`.
 */
export function createFrameIntake(
  ingest: Ingest,
  clock: Clock,
  patienceMs = PATIENCE_MS,
): (frame: Buffer, traceparent?: string) => Promise<Summary> {
  /** A frame whose insert may still land: it is settled before anything else is written. */
  let unsettled: Batch | undefined;
  let turn: Promise<unknown> = Promise.resolve();

  async function settle(batch: Batch, signal: AbortSignal): Promise<Summary> {
    if (unsettled !== undefined && unsettled.name !== batch.name)
      await ingest.take(unsettled, signal);
    unsettled = batch;
    const summary = await ingest.take(batch, signal);
    unsettled = undefined;
    return summary;
  }

  async function patiently(batch: Batch): Promise<Summary> {
    const late = new AbortController();
    const endWait = clock.every(patienceMs, () => late.abort());
    try {
      return await settle(batch, late.signal);
    } finally {
      endWait();
    }
  }

  return (frame, traceparent) => {
    const batch = batchOf(frame, traceparent);
    const mine = turn.then(() => patiently(batch));
    turn = mine.catch(() => {});
    return mine;
  };
}

/** Serves the route on `app`. */
export function registerFrames(app: FastifyInstance, deps: FramesDeps): void {
  const { log, meter } = deps;
  const take = createFrameIntake(deps.ingest, deps.clock, deps.patienceMs);
  let waiting = 0;

  function busy(reply: FastifyReply, why: string) {
    meter.count('telltale.ingest.http_busy', 1);
    return reply.code(503).header('retry-after', RETRY_AFTER_SECONDS).send({ error: why });
  }

  // Encapsulated, so that the content types of this route stay its own.
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    const bodyLimit = FRAME_BYTES_MAX + HEADER_ROOM;
    scope.addContentTypeParser(
      FRAME_CONTENT_TYPE,
      { parseAs: 'buffer', bodyLimit },
      (_request, body, done) => done(null, body),
    );
    scope.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
      const code = error.statusCode ?? 500;
      if (code >= 500) log.error('ingest.http_failed', { error: error.message });
      const hint = code === 415 ? ` Send ${FRAME_CONTENT_TYPE}.` : '';
      return reply.code(code).send({ error: `${error.message}.${hint}` });
    });
    scope.post('/v1/frames', {
      bodyLimit,
      onRequest: async (_request, reply) => {
        if (waiting >= REQUESTS_MAX) return busy(reply, 'too many requests at once');
        waiting++;
        reply.raw.once('close', () => waiting--);
      },
      handler: async (request, reply) => {
        if (!Buffer.isBuffer(request.body))
          return reply.code(415).send({ error: `send a frame as ${FRAME_CONTENT_TYPE}` });
        try {
          const { traceparent } = request.headers;
          return await take(
            request.body,
            typeof traceparent === 'string' ? traceparent : undefined,
          );
        } catch (error) {
          if (!(error instanceof StoreError)) throw error;
          log.warn('ingest.http_not_stored', { code: error.fault.code });
          return busy(reply, `the store can't take it now (${error.fault.code})`);
        }
      },
    });
  });
}
