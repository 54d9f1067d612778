/**
 * Ingest over HTTP as `telltale up` serves it, over a store in another process, so that the store
 * can stall while ingest does not:
 *     frames-main.ts STORE_URL PORT
 */
import type { AddressInfo } from 'node:net';
import Fastify from 'fastify';
import { createClock, systemRandom } from '../../deploy/process/clock.ts';
import { serviceLog } from '../../deploy/process/log.ts';
import { createMeter } from '../../deploy/process/meter.ts';
import { openStore } from '../../deploy/stores/open.ts';
import { registerFrames } from '../../ingest/http.ts';
import { createIngest } from '../../ingest/loop.ts';

const [url = '', port = '0'] = process.argv.slice(2);
const log = serviceLog('frames', 'info');
const store = await openStore(url, { log });
const shared = { store, log, meter: createMeter(), clock: createClock() };
const app = Fastify({ logger: false, forceCloseConnections: true });
registerFrames(app, { ...shared, ingest: createIngest({ ...shared, random: systemRandom }) });
await app.listen({ host: '127.0.0.1', port: Number(port) });
process.stdout.write(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}\n`);
process.on('SIGTERM', () => {
  void app
    .close()
    .then(() => store.close())
    .then(() => process.exit(0));
});
