/**
 * The embedded engine behind ClickHouse's HTTP interface, as a process of its own, so that several
 * workers share it and it can be stopped, killed and started again:
 *     store-main.ts DIR PORT
 * Prints its URL as the first line of standard output.
 */
import { startBridge } from '../deploy/stores/bridge.ts';

const [dir = '', port = '0'] = process.argv.slice(2);
const bridge = await startBridge(dir, { port: Number(port) });
process.stdout.write(`${bridge.url}\n`);
process.on('SIGTERM', () => {
  void bridge.close().then(() => process.exit(0));
});
