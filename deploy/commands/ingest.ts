import { parseArgs } from 'node:util';
import { createConsumer } from '../../ingest/consume.ts';
import { createIngest } from '../../ingest/loop.ts';
import { createClock, systemRandom } from '../process/clock.ts';
import { runParts, UsageError } from '../process/lifecycle.ts';
import { serviceLog } from '../process/log.ts';
import { createMeter } from '../process/meter.ts';
import { brokers, logLevel, storeUrl } from '../settings.ts';
import { openStore } from '../stores/open.ts';

export const DEFAULT_GROUP = 'telltale-ingest';

/** `telltale ingest`: the worker, until SIGINT or SIGTERM. */
export async function ingest(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      kafka: { type: 'string' },
      store: { type: 'string' },
      group: { type: 'string', default: DEFAULT_GROUP },
    },
  });
  const list = values.kafka ?? brokers();
  const url = values.store ?? storeUrl();
  const faults = [
    ...(list === undefined ? ['--kafka HOST:PORT,… (or KAFKA_BROKERS)'] : []),
    ...(url === undefined ? ['--store URL (or TELLTALE_STORE)'] : []),
  ];
  if (list === undefined || url === undefined) throw new UsageError(`give ${faults.join(' and ')}`);
  const log = serviceLog('ingest', logLevel());
  const store = await openStore(url, { log });
  const shared = { store, log, meter: createMeter(), clock: createClock(), random: systemRandom };
  const consumer = createConsumer({
    ...shared,
    ingest: createIngest(shared),
    brokers: list.split(','),
    groupId: values.group,
  });
  try {
    await runParts([consumer], log, consumer.failed);
  } finally {
    await store.close();
  }
  return 0;
}
