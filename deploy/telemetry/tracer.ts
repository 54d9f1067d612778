/** The `Tracer` port over OpenTelemetry, and the two forms in which a span goes from process to process. */
import {
  type Context,
  type ContextManager,
  type Link,
  type Tracer as OtelTracer,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { parseTraceParent } from '@opentelemetry/core';
import { type SpanStart, StoreError, type Tracer } from '#schemas';

const KINDS = {
  internal: SpanKind.INTERNAL,
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
} as const;

/** As many as the SDK keeps of one span. */
export const LINKS_MAX = 128;
/** W3C Trace Context, version 00: anything longer is not one. */
const TRACEPARENT_LENGTH = 55;

/** `00-<trace id>-<span id>-<flags>` (W3C Trace Context, section 3.2). */
export const traceparentOf = ({ traceId, spanId, traceFlags }: SpanContext): string =>
  `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;

/**
 * Spans of others are linked and never parents: whoever sends may say what he likes, and a trace
 * that he names must not be the one that our work is filed under or sampled by.
 */
export function linksOf(texts: readonly (string | undefined)[]): Link[] {
  const links: Link[] = [];
  for (const text of new Set(texts)) {
    if (text === undefined || text.length !== TRACEPARENT_LENGTH) continue;
    const context = parseTraceParent(text);
    if (context !== null) links.push({ context: { ...context, isRemote: true } });
    if (links.length === LINKS_MAX) break;
  }
  return links;
}

/** A closed word for what went wrong; the message stays in the log. */
const errorType = (error: unknown): string =>
  error instanceof StoreError ? error.fault.code : error instanceof Error ? error.name : 'unknown';

export function createTracer(otel: OtelTracer, contexts: ContextManager): Tracer {
  function start({ name, kind = 'internal', attributes, links }: SpanStart, parent: Context) {
    const options = {
      kind: KINDS[kind],
      ...(attributes === undefined ? {} : { attributes }),
      ...(links === undefined ? {} : { links: linksOf(links) }),
    };
    return otel.startSpan(name, options, parent);
  }

  return {
    async span(what, work) {
      const parent = contexts.active();
      const span = start(what, parent);
      try {
        return await contexts.with(trace.setSpan(parent, span), work);
      } catch (error) {
        span.setAttribute('error.type', errorType(error));
        span.setStatus({ code: SpanStatusCode.ERROR });
        throw error;
      } finally {
        span.end();
      }
    },
    traceparent() {
      const context = trace.getSpanContext(contexts.active());
      return context === undefined ? undefined : traceparentOf(context);
    },
  };
}
