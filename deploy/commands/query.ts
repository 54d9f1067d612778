import path from 'node:path';
import { parseArgs } from 'node:util';
import { registerQuery } from '../../query/server.ts';
import { tokenLine } from '../access/credentials.ts';
import { accessDir } from '../access/local.ts';
import { openAccess, tokensFile } from '../access/open.ts';
import { ACCESS_FLAGS, type AccessSettings, accessSettings } from '../access/settings.ts';
import { readTokens } from '../access/token-file.ts';
import { tlogFetch } from '../evidence/tlog.ts';
import { createClock, systemRandom } from '../process/clock.ts';
import { runParts, UsageError } from '../process/lifecycle.ts';
import { closeWeb, createWeb } from '../process/web.ts';
import { DEFAULT_PORT, dataDir, portOf, storeUrl, tenant } from '../settings.ts';
import { openServing } from '../stores/serving.ts';
import { diskCheck, storeChecks } from '../telemetry/checks.ts';
import { registerProbes } from '../telemetry/serve.ts';
import { healthOf, healthPart, observeService } from '../telemetry/service.ts';
import { HEALTH_FLAG } from '../telemetry/settings.ts';
import { SERVE_FLAGS, serveTls } from '../tls.ts';

const LOOPBACK = new Set(['localhost', '127.0.0.1', '::1']);

/** Throws where others could connect and nobody could ever be let in. */
function checkHost(host: string, tokens: string, access: AccessSettings): void {
  if (LOOPBACK.has(host) || access.oidc !== undefined) return;
  if (readTokens(tokens).some(({ revoked }) => revoked === undefined)) return;
  throw new UsageError(
    `--host ${host}: beyond this machine accounts are needed: --oidc-issuer URL, or a token in ${tokens} ("telltale token create --file ${tokens}")`,
  );
}

/** `telltale query`: GraphQL over a store until SIGINT or SIGTERM; on loopback unless told. */
export async function query(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      store: { type: 'string' },
      host: { type: 'string', default: '127.0.0.1' },
      port: { type: 'string' },
      tenant: { type: 'string' },
      data: { type: 'string' },
      tlog: { type: 'string' },
      ...HEALTH_FLAG,
      ...ACCESS_FLAGS,
      ...SERVE_FLAGS,
    },
  });
  const url = values.store ?? storeUrl();
  if (url === undefined) throw new UsageError('give --store URL (or TELLTALE_STORE)');
  const settings = accessSettings(values);
  const dir = accessDir(path.resolve(values.data ?? dataDir()));
  const { host } = values;
  checkHost(host, settings.tokens ?? tokensFile(dir), settings);
  const port = portOf(values.port, DEFAULT_PORT);
  const tls = serveTls(values);
  const clock = createClock();
  const observed = await observeService('query', values.health, clock);
  const { log, telemetry } = observed;
  const store = telemetry.store(await openServing(url, log));
  const app = createWeb(tls);
  if (!LOOPBACK.has(host) && !('https' in tls)) log.warn('query.without_tls', { host });
  const ports = { store, log, meter: telemetry.meter, clock, random: systemRandom };
  const loopback = LOOPBACK.has(host);
  const access = openAccess(
    { ...settings, dir, tenant: values.tenant ?? tenant(), loopback },
    ports,
  );
  const health = healthOf(observed, [...storeChecks(store), diskCheck(dir)], clock);
  telemetry.requests(app);
  registerProbes(app, health);
  const tlog = values.tlog === undefined ? {} : { tlog: tlogFetch(new URL(values.tlog)) };
  await registerQuery(app, { ...access.deps, ...tlog });
  const start = async () => {
    const at = await app.listen({ host, port });
    access.publish(at);
    process.stdout.write(`telltale query serves ${at}/graphql\n`);
    if (access.token !== undefined)
      process.stdout.write(tokenLine(access.token, values.data ?? dataDir()));
  };
  const stop = async () => {
    await closeWeb(app);
    await access.stop();
  };
  const web = { start, stop };
  await runParts([healthPart(observed, health), web], log).finally(() => store.close());
  return 0;
}
