/** What a service tells of itself, put together: meter, tracer, log, and what it wraps. */
import { randomUUID } from 'node:crypto';
import { DiagLogLevel, diag } from '@opentelemetry/api';
import type { FastifyInstance } from 'fastify';
import { type Clock, type Log, type Meter, NO_TRACER, type Store, type Tracer } from '#schemas';
import { createMeter } from '../process/meter.ts';
import { observeRequests } from './http.ts';
import { tracedLog } from './logs.ts';
import { watchProcess } from './process.ts';
import type { ServiceName } from './services.ts';
import type { TelemetrySettings } from './settings.ts';
import { observeStore } from './store.ts';
import { createTracer } from './tracer.ts';
import { VERSION } from './version.ts';
import { zeroCounters } from './zero.ts';

export interface Telemetry {
  readonly meter: Meter;
  readonly tracer: Tracer;
  /** The log that was given, with trace ids, and over OTLP. */
  readonly log: Log;
  /** The same store, observed. */
  store(store: Store): Store;
  /** Observes the requests of an instance. */
  requests(app: FastifyInstance): void;
  /** Prometheus' text; undefined where nobody may ask for it. */
  readonly scrape: (() => Promise<string>) | undefined;
  /** Sends what is left; never holds a service up for long. */
  stop(): Promise<void>;
}

interface Options {
  readonly service: ServiceName;
  readonly settings: TelemetrySettings;
  readonly log: Log;
  /** The least level that goes out over OTLP. */
  readonly level: string;
  readonly clock: Clock;
}

/** Nothing is told: no SDK is loaded, and nothing is wrapped. */
export const silentTelemetry = (log: Log): Telemetry => ({
  meter: createMeter(),
  tracer: NO_TRACER,
  log,
  store: (store) => store,
  requests: () => {},
  scrape: undefined,
  stop: async () => {},
});

/** Troubles of the exporters: nothing of the service is lost, and each is said once in a while. */
function reportTroubles(log: Log): void {
  const warn = (message: string) => log.warn('telemetry.export', { error: message.slice(0, 300) });
  const nothing = () => {};
  diag.setLogger(
    { error: warn, warn, info: nothing, debug: nothing, verbose: nothing },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}

/** Opens what the settings ask for; with nothing asked for it costs nothing. */
export async function openTelemetry(options: Options): Promise<Telemetry> {
  const { service, settings, log, clock } = options;
  if (settings.otlp.size === 0 && !settings.prometheus) return silentTelemetry(log);
  const { openSdk } = await import('./sdk.ts');
  if (settings.otlp.size > 0) reportTroubles(log);
  const sdk = openSdk({ ...settings, service, version: VERSION, instance: randomUUID() });
  const meter = createMeter(sdk.instruments);
  zeroCounters(meter, service);
  const watch = watchProcess(meter);
  const { scrape } = sdk;
  const tracer = sdk.tracer === undefined ? NO_TRACER : createTracer(sdk.tracer, sdk.contexts);
  return {
    meter,
    tracer,
    log: tracedLog(log, options.level, sdk.contexts, sdk.logger),
    store: (store) => observeStore(store, { meter, tracer, clock }),
    requests: (app) =>
      observeRequests(app, { meter, clock, contexts: sdk.contexts, tracer: sdk.tracer }),
    // What a scrape finds is of its own time.
    scrape: scrape && (() => Promise.resolve(watch.look()).then(scrape)),
    async stop() {
      watch.look();
      watch.stop();
      await sdk.stop();
    },
  };
}
