import { parseArgs } from 'node:util';
import type { Clock, KafkaSecurity, Log, Meter, Tracer } from '#schemas';
import { systemDisk } from '../../collector/disk.ts';
import { createShipper, openTransport } from '../../collector/ship.ts';
import { abandonedStreams, adoptSpool, SPOOL_DEFAULTS } from '../../collector/spool.ts';
import { KAFKA_FLAGS, kafkaSecurity } from '../kafka/security.ts';
import { createClock } from '../process/clock.ts';
import { terminalLog } from '../process/log.ts';
import { destination, integerOf, spoolDir } from '../settings.ts';
import { observeCollector } from '../telemetry/recorder.ts';

const WAIT_MS = 60_000;
const WAIT_MS_MAX = 24 * 3600 * 1000;

export interface LeftoverDeps {
  readonly log: Log;
  readonly clock: Clock;
  readonly meter: Meter;
  readonly tracer?: Tracer;
  readonly security?: KafkaSecurity;
}

/**
 * Ships the streams that earlier collectors left in `dir`, one after the other, each for at most
 * `waitMs`. Returns how many events were shipped and how many still wait.
 */
export async function shipLeftovers(dir: string, to: string, waitMs: number, deps: LeftoverDeps) {
  const total = { streams: 0, shipped: 0, waiting: 0 };
  const spools = { ...deps, disk: systemDisk };
  for (const stream of abandonedStreams(dir, systemDisk)) {
    const spool = adoptSpool(stream, { ...SPOOL_DEFAULTS, dir }, spools);
    if (spool === undefined) continue;
    const before = spool.pending;
    const transport = openTransport(to, deps.log, deps.security);
    const shipper = createShipper({ ...deps, spool, transport });
    shipper.start();
    await shipper.drain(waitMs);
    await shipper.stop();
    await transport.close();
    total.streams++;
    total.shipped += before - spool.pending;
    total.waiting += spool.pending;
    spool.close({ finished: true });
  }
  return total;
}

/** `telltale collect`: exit code 0 when nothing waits any more. */
export async function collect(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      to: { type: 'string' },
      spool: { type: 'string' },
      'wait-ms': { type: 'string' },
      ...KAFKA_FLAGS,
    },
  });
  const to = values.to ?? destination();
  const security = kafkaSecurity(values);
  const clock = createClock();
  const telemetry = await observeCollector(terminalLog(true), clock);
  const { log, meter, tracer } = telemetry;
  const deps = { log, clock, meter, tracer, security };
  const waitMs = integerOf('wait-ms', values['wait-ms'], WAIT_MS, WAIT_MS_MAX);
  const done = await shipLeftovers(values.spool ?? spoolDir(), to, waitMs, deps);
  await telemetry.stop();
  process.stdout.write(
    `${done.streams} streams, ${done.shipped} events shipped to ${to}, ${done.waiting} still wait\n`,
  );
  return done.waiting === 0 ? 0 : 1;
}
