/** Log lines with the trace that they belong to, and the same lines as OpenTelemetry log records. */
import { type ContextManager, trace } from '@opentelemetry/api';
import { type Logger, SeverityNumber } from '@opentelemetry/api-logs';
import type { Log, LogFields } from '#schemas';

const LEVELS = {
  debug: SeverityNumber.DEBUG,
  info: SeverityNumber.INFO,
  warn: SeverityNumber.WARN,
  error: SeverityNumber.ERROR,
} as const;
type Level = keyof typeof LEVELS;

/** Attributes of a record: what is undefined is left out, and texts are cut. */
const TEXT_CHARACTERS_MAX = 2_000;
function attributesOf(fields: LogFields): Record<string, string | number | boolean> {
  const out: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(fields))
    if (value !== undefined)
      out[name] = typeof value === 'string' ? value.slice(0, TEXT_CHARACTERS_MAX) : value;
  return out;
}

/** Puts `trace_id` and `span_id` on each line of `log`, and gives each line to `logger` as well. */
export function tracedLog(
  log: Log,
  level: string,
  contexts: ContextManager,
  logger: Logger | undefined,
): Log {
  const least = Object.hasOwn(LEVELS, level) ? LEVELS[level as Level] : SeverityNumber.INFO;
  const at =
    (name: Level) =>
    (event: string, fields: LogFields = {}): void => {
      const context = contexts.active();
      const span = trace.getSpanContext(context);
      const ids = span === undefined ? {} : { trace_id: span.traceId, span_id: span.spanId };
      log[name](event, { ...fields, ...ids });
      if (logger === undefined || LEVELS[name] < least) return;
      logger.emit({
        eventName: event,
        body: event,
        severityNumber: LEVELS[name],
        severityText: name.toUpperCase(),
        attributes: attributesOf(fields),
        context,
      });
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}
