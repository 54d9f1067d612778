/**
 * An ingest worker as a process of its own, so that a test can kill it:
 *     worker.ts BROKERS TOPIC GROUP STORE_DIR
 */

import { createClock, systemRandom } from '../../deploy/process/clock.ts';
import { runParts } from '../../deploy/process/lifecycle.ts';
import { serviceLog } from '../../deploy/process/log.ts';
import { createMeter } from '../../deploy/process/meter.ts';
import { openStore } from '../../deploy/stores/open.ts';
import { createConsumer } from '../../ingest/consume.ts';
import { createIngest } from '../../ingest/loop.ts';

const [brokers = '', topic = '', groupId = '', dir = ''] = process.argv.slice(2);
const log = serviceLog('worker', 'debug');
const store = await openStore(`chdb:${dir}`, { log });
const shared = { store, log, meter: createMeter(), clock: createClock(), random: systemRandom };
const consumer = createConsumer({
  ...shared,
  ingest: createIngest(shared),
  brokers: brokers.split(','),
  groupId,
  topic,
});
await runParts([consumer], log, consumer.failed);
await store.close();
process.exit(0);
