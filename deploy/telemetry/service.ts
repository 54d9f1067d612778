/** The same beginning for every service: its log, its telemetry, and the server of its health. */
import type { Clock, Log, Part } from '#schemas';
import { serviceLog } from '../process/log.ts';
import { logLevel } from '../settings.ts';
import { type Check, createHealth, type Health } from './health.ts';
import { openTelemetry, silentTelemetry, type Telemetry } from './open.ts';
import { createHealthServer } from './serve.ts';
import type { ServiceName } from './services.ts';
import { type HealthAddress, healthAddress, telemetrySettings } from './settings.ts';

export interface Observed {
  readonly service: ServiceName;
  readonly telemetry: Telemetry;
  readonly log: Log;
  /** Where the health server is to listen; undefined: there is none. */
  readonly at: HealthAddress | undefined;
}

/** Reads the environment and the flag `--health`. Throws a `UsageError` where they can't be used. */
export async function observeService(
  service: ServiceName,
  flag: string | undefined,
  clock: Clock,
): Promise<Observed> {
  const at = healthAddress(flag);
  const level = logLevel();
  const log = serviceLog(service, level);
  const settings = telemetrySettings(at);
  const telemetry = await openTelemetry({ service, settings, log, level, clock });
  return { service, telemetry, log: telemetry.log, at };
}

/** A service that tells nothing beyond its log. */
export const silentService = (service: ServiceName, log: Log): Observed => ({
  ...{ service, log, at: undefined },
  telemetry: silentTelemetry(log),
});

/** The health of a service out of its checks. */
export const healthOf = (
  { service, telemetry, log }: Observed,
  checks: readonly Check[],
  clock: Clock,
): Health => createHealth({ service, checks, clock, log, meter: telemetry.meter });

/**
 * The health of a service that waits for its store as long as it takes: meanwhile it lives, so that
 * nobody starts it again for nothing, and is not ready. `become` gives it the checks that it has then.
 */
export function startingHealth(observed: Observed, clock: Clock) {
  const waiting: Check = { name: 'store', of: 'ready', look: async () => 'not_started' };
  let current = healthOf(observed, [waiting], clock);
  const health: Health = { ready: () => current.ready(), live: () => current.live() };
  return {
    health,
    become(checks: readonly Check[]) {
      current = healthOf(observed, checks, clock);
    },
  };
}

/**
 * Serves a service's health, where it was asked for, and sends what is left when it stops. Start it
 * first: it is stopped last, so that a service tells how it goes until it has gone.
 */
export function healthPart({ at, telemetry, log }: Observed, health: Health): Part {
  const { scrape } = telemetry;
  const server = at === undefined ? undefined : createHealthServer({ at, health, scrape, log });
  let started: Promise<void> | undefined;
  return {
    async start() {
      started ??= server?.start();
      await started;
    },
    async stop() {
      await server?.stop();
      await telemetry.stop();
    },
  };
}
