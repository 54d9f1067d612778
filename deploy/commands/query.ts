import { parseArgs } from 'node:util';
import Fastify from 'fastify';
import { registerQuery } from '../../query/server.ts';
import { createClock } from '../process/clock.ts';
import { runParts, UsageError } from '../process/lifecycle.ts';
import { serviceLog } from '../process/log.ts';
import { createMeter } from '../process/meter.ts';
import { DEFAULT_PORT, logLevel, portOf, storeUrl, tenant } from '../settings.ts';
import { openStore } from '../stores/open.ts';

/** `telltale query`: GraphQL over a store, on loopback, until SIGINT or SIGTERM. */
export async function query(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      store: { type: 'string' },
      port: { type: 'string' },
      tenant: { type: 'string' },
    },
  });
  const url = values.store ?? storeUrl();
  if (url === undefined) throw new UsageError('give --store URL (or TELLTALE_STORE)');
  const log = serviceLog('query', logLevel());
  const store = await openStore(url, { log });
  const app = Fastify({ logger: false, forceCloseConnections: true });
  const shared = { store, log, meter: createMeter(), clock: createClock() };
  await registerQuery(app, { ...shared, tenant: values.tenant ?? tenant() });
  const port = portOf(values.port, DEFAULT_PORT);
  const start = async () => {
    const at = await app.listen({ host: '127.0.0.1', port });
    process.stdout.write(`telltale query serves ${at}/graphql\n`);
  };
  await runParts([{ start, stop: () => app.close() }], log).finally(() => store.close());
  return 0;
}
