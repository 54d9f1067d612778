/**
 * What telemetry costs: one call of the meter, one span, one observed insert; off, and on.
 *     node --conditions=telltale-source --import tsx test/bench/telemetry.ts
 */
import { type Meter, NO_TRACER, type Store, type Tracer } from '#schemas';
import { createClock } from '../../deploy/process/clock.ts';
import { createMeter } from '../../deploy/process/meter.ts';
import { openTelemetry } from '../../deploy/telemetry/open.ts';
import { observeStore } from '../../deploy/telemetry/store.ts';
import { fakeLog } from '../fakes/ports.ts';

const CALLS = 200_000;
const clock = createClock();
const store = { insert: async () => {} } as unknown as Store;
const insert = {
  ...{ table: 'telltale.events', lines: new Uint8Array(), rows: 1, dedupToken: '', timeMs: 1 },
};

/** Microseconds of processor time for one call; the first tenth is for the compiler. */
async function cost(work: () => unknown): Promise<number> {
  for (let i = 0; i < CALLS / 10; i++) await work();
  const start = process.cpuUsage();
  for (let i = 0; i < CALLS; i++) await work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / CALLS;
}

async function measure(name: string, meter: Meter, tracer: Tracer, over: Store): Promise<void> {
  const idle = await cost(() => undefined);
  const count = await cost(() => meter.count('telltale.ingest.retries', 1, { code: 'busy' }));
  const span = await cost(() => tracer.span({ name: 'x', attributes: { a: 1 } }, async () => {}));
  const plain = await cost(() => store.insert(insert));
  const observed = await cost(() => over.insert(insert));
  const cells = [count - idle, span - idle, observed - plain].map((one) => one.toFixed(2));
  process.stdout.write(`${name.padEnd(28)} ${cells.map((one) => one.padStart(8)).join(' ')}\n`);
}

process.stdout.write('microseconds of processor       count     span  observed insert\n');
await measure('off', createMeter(), NO_TRACER, store);
const settings = { otlp: new Set(['traces'] as const), metricsEveryMs: 1e9, prometheus: true };
const on = await openTelemetry({
  ...{ service: 'ingest' as const, settings, log: fakeLog(), level: 'info', clock },
});
await measure('on', on.meter, on.tracer, observeStore(store, { ...on, clock }));
process.exit(0);
