/** The telemetry of a recorder or a shipper: apart from that of services, whose servers it need not load. */
import { type Clock, type Log, NO_TRACER } from '#schemas';
import { UsageError } from '../process/lifecycle.ts';
import { createMeter } from '../process/meter.ts';
import type { Telemetry } from './open.ts';
import { telemetrySettings } from './settings.ts';

export type RecorderTelemetry = Pick<Telemetry, 'log' | 'meter' | 'tracer' | 'stop'>;

/**
 * What a recorder or a shipper tells. In its environment `OTEL_*` are for the program that it
 * records, so it tells of itself only where `TELLTALE_TELEMETRY=otlp` says so besides.
 */
export async function observeCollector(
  log: Log,
  clock: Clock,
  env: NodeJS.ProcessEnv = process.env,
): Promise<RecorderTelemetry> {
  const asked = env.TELLTALE_TELEMETRY ?? '';
  if (asked === '' || asked === 'none')
    return { log, meter: createMeter(), tracer: NO_TRACER, stop: async () => {} };
  if (asked !== 'otlp') throw new UsageError(`TELLTALE_TELEMETRY=${asked}: give otlp or none`);
  const settings = telemetrySettings(undefined, env);
  const { openTelemetry } = await import('./open.ts');
  return openTelemetry({ service: 'collector', settings, log, level: 'info', clock });
}
