/** Requests to a Fastify instance: how long each took, and a span around what it does. */
import { type ContextManager, SpanKind, type Tracer, trace } from '@opentelemetry/api';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type Clock, HTTP_ROUTES, HTTP_STATUSES, labelOf, METRICS, type Meter } from '#schemas';
import { linksOf } from './tracer.ts';

const METHODS = METRICS['http.server.request.duration'].labels['http.request.method'];

interface Deps {
  readonly meter: Meter;
  readonly clock: Clock;
  readonly contexts: ContextManager;
  /** Absent: requests have no spans. */
  readonly tracer: Tracer | undefined;
}

const header = (request: FastifyRequest) => {
  const value = request.headers.traceparent;
  return typeof value === 'string' ? value : undefined;
};

/** Observes all routes that are mounted on `app`, before or after. */
export function observeRequests(app: FastifyInstance, deps: Deps): void {
  const { meter, clock, contexts, tracer } = deps;
  app.addHook('onRequest', (request, reply, done) => {
    const startNs = clock.monotonicNs();
    const method = labelOf(METHODS, request.method);
    // The pattern, never the path: a path is whatever somebody asks for.
    const route = labelOf(HTTP_ROUTES, request.routeOptions.url ?? '');
    const attributes = { 'http.request.method': method, 'http.route': route } as const;
    const links = linksOf([header(request)]);
    const span = tracer?.startSpan(
      `${method} ${route}`,
      { kind: SpanKind.SERVER, attributes, links },
      contexts.active(),
    );
    reply.raw.once('close', () => {
      const status = reply.raw.writableFinished ? reply.statusCode : CLIENT_GONE;
      meter.record('http.server.request.duration', Number(clock.monotonicNs() - startNs) / 1e9, {
        ...attributes,
        'http.response.status_code': labelOf(HTTP_STATUSES, String(status)),
      });
      span?.setAttribute('http.response.status_code', status);
      if (status >= 500) span?.setAttribute('error.type', String(status));
      span?.end();
    });
    if (span === undefined) done();
    else contexts.with(trace.setSpan(contexts.active(), span), done);
  });
}

/** As nginx has it: the caller went away before the answer was out. */
const CLIENT_GONE = 499;
