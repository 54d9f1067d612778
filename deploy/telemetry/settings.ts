/** What a service tells of itself and where: OpenTelemetry's own variables, and `--health`. */
import { UsageError } from '../process/lifecycle.ts';

export const SIGNALS = ['traces', 'metrics', 'logs'] as const;
export type Signal = (typeof SIGNALS)[number];

export interface TelemetrySettings {
  /** What goes out over OTLP; the exporters read where, and how, from the same variables. */
  readonly otlp: ReadonlySet<Signal>;
  /** Between two exports of metrics. */
  readonly metricsEveryMs: number;
  /** Whether there is a Prometheus endpoint: where there is a health server. */
  readonly prometheus: boolean;
}

export interface HealthAddress {
  readonly host: string;
  readonly port: number;
}

/** For `parseArgs`. */
export const HEALTH_FLAG = { health: { type: 'string' } } as const;

const LOOPBACK = '127.0.0.1';
/** The specification's default. */
const METRICS_EVERY_MS = 60_000;
const ADDRESS = /^(?:(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):)?(\d{1,5})$/;

/**
 * Where the health server listens: `[HOST:]PORT`, on loopback where no host is given; undefined
 * where neither the flag nor `TELLTALE_HEALTH` is set. Throws a `UsageError` otherwise.
 */
export function healthAddress(
  flag: string | undefined,
  env: NodeJS.ProcessEnv = process.env,
): HealthAddress | undefined {
  const text = flag ?? env.TELLTALE_HEALTH;
  if (text === undefined || text === '') return undefined;
  const [, host = LOOPBACK, digits] = ADDRESS.exec(text) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65_535)
    throw new UsageError(`--health ${text}: give PORT or HOST:PORT, as in 127.0.0.1:9464`);
  return { host: host.replace(/^\[|\]$/g, ''), port };
}

const set = (text: string | undefined) => text !== undefined && text !== '';

function goesOut(signal: Signal, env: NodeJS.ProcessEnv): boolean {
  const name = signal.toUpperCase();
  const exporter = env[`OTEL_${name}_EXPORTER`];
  const somewhere =
    set(env.OTEL_EXPORTER_OTLP_ENDPOINT) || set(env[`OTEL_EXPORTER_OTLP_${name}_ENDPOINT`]);
  if (!set(exporter)) return somewhere;
  const words = (exporter as string).split(',').map((word) => word.trim());
  const strange = words.find((word) => !['otlp', 'none', 'prometheus'].includes(word));
  if (strange !== undefined)
    throw new UsageError(`OTEL_${name}_EXPORTER=${exporter}: telltale knows otlp and none`);
  if (words.includes('otlp') && !somewhere)
    throw new UsageError(`OTEL_${name}_EXPORTER=otlp: set OTEL_EXPORTER_OTLP_ENDPOINT as well`);
  return words.includes('otlp');
}

/** Reads the standard variables. Throws a `UsageError` for one that asks for what is not there. */
export function telemetrySettings(
  health: HealthAddress | undefined,
  env: NodeJS.ProcessEnv = process.env,
): TelemetrySettings {
  const off = env.OTEL_SDK_DISABLED?.toLowerCase() === 'true';
  const protocol = env.OTEL_EXPORTER_OTLP_PROTOCOL;
  if (!off && protocol === 'grpc')
    throw new UsageError('OTEL_EXPORTER_OTLP_PROTOCOL=grpc: telltale sends OTLP over HTTP');
  const every = env.OTEL_METRIC_EXPORT_INTERVAL;
  if (set(every) && !/^[1-9]\d{0,8}$/.test(every as string))
    throw new UsageError(`OTEL_METRIC_EXPORT_INTERVAL=${every}: give milliseconds`);
  return {
    otlp: new Set(off ? [] : SIGNALS.filter((signal) => goesOut(signal, env))),
    metricsEveryMs: set(every) ? Number(every) : METRICS_EVERY_MS,
    prometheus: !off && health !== undefined,
  };
}
