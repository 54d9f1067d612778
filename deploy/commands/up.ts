import fs from 'node:fs';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { FastifyInstance } from 'fastify';
import type { Log, Part, Store } from '#schemas';
import { registerFrames } from '../../ingest/http.ts';
import { createIngest } from '../../ingest/loop.ts';
import { registerLog } from '../../ingest/seal/serve.ts';
import type { WitnessAddress } from '../../ingest/seal/witnesses.ts';
import { isLoopbackHost } from '../../query/access/guard.ts';
import { registerQuery } from '../../query/server.ts';
import { tokenLine } from '../access/credentials.ts';
import { refuseForeignFrames } from '../access/frames.ts';
import { accessDir } from '../access/local.ts';
import { type OpenAccess, openAccess } from '../access/open.ts';
import { ACCESS_FLAGS, type AccessSettings, accessSettings } from '../access/settings.ts';
import { witnessOf } from '../evidence/keys.ts';
import { type EndpointAddress, endpointAddress } from '../grafana/endpoint/address.ts';
import { registerEndpoint } from '../grafana/endpoint/serve.ts';
import { migrate } from '../migrate.ts';
import { createClock, systemRandom } from '../process/clock.ts';
import { runParts } from '../process/lifecycle.ts';
import { closeWeb, createWeb } from '../process/web.ts';
import { recorder } from '../retention/site.ts';
import { createSweeper } from '../retention/sweeper.ts';
import {
  createDetection,
  type Detection,
  type DetectionSettings,
  SHIPPED,
} from '../rules/detection.ts';
import { DEFAULT_PORT, dataDir, portOf, RULE_FLAGS, ruleSettings, tenant } from '../settings.ts';
import { openStore } from '../stores/open.ts';
import { diskCheck, sealerChecks, storeChecks } from '../telemetry/checks.ts';
import { registerProbes } from '../telemetry/serve.ts';
import {
  healthOf,
  healthPart,
  type Observed,
  observeService,
  silentService,
} from '../telemetry/service.ts';
import { HEALTH_FLAG } from '../telemetry/settings.ts';
import { tallied } from '../telemetry/tally.ts';
import { openSeal, type Seal } from './seal.ts';

export interface UpOptions {
  readonly data: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly tenant: string;
  readonly witnesses?: readonly WitnessAddress[];
  /** Rules to run over what comes in; absent: none. */
  readonly rules?: Omit<DetectionSettings, 'queryUrl' | 'fleetRules'>;
  /** Who may ask; absent: the local token alone. */
  readonly access?: AccessSettings;
  /** The file of a policy of retention; absent: nothing is ever removed. */
  readonly retention?: string;
  /** Where Grafana's data source is answered; absent: nowhere. */
  readonly grafana?: EndpointAddress;
  readonly log: Log;
  /** What it tells of itself, and where; absent: nothing beyond the log. */
  readonly observed?: Observed;
}

export interface Up extends Part {
  /** Where it serves, after `start`. */
  readonly url: string;
  /** The key of its transparency log, after `start`. */
  readonly logKey: string;
  /** The local token, after `start`: good while this runs. */
  readonly token: string;
  /** Where Grafana's data source is answered, after `start`; empty where it is not. */
  readonly grafanaUrl: string;
}

/**
 * Everything on this machine in one process: embedded store, ingest over HTTP, query over GraphQL.
 * It listens on loopback only. Whoever asks needs a token; frames are taken from whoever can
 * connect, because to record is no right to read.
 */
export function createUp(options: UpOptions): Up {
  const { log } = options;
  let store: Store | undefined;
  let app: FastifyInstance | undefined;
  let seal: Seal | undefined;
  let detection: Detection | undefined;
  let access: OpenAccess | undefined;
  let grafana: FastifyInstance | undefined;
  let sweeper: Part | undefined;
  const observed = options.observed ?? silentService('up', log);
  const { telemetry } = observed;
  let beside: Part | undefined;
  let url = '';
  let grafanaUrl = '';

  async function start(): Promise<void> {
    fs.mkdirSync(options.data, { recursive: true, mode: 0o700 });
    store = telemetry.store(await openStore(`chdb:${options.data}`, { log }));
    await migrate(store, { log });
    const { meter, tracer } = telemetry;
    const [clock, random] = [createClock(), systemRandom];
    const shared = { store, log, meter, tracer, clock, random };
    const dir = path.join(options.data, 'tlog');
    const witnesses = options.witnesses ?? [];
    seal = await openSeal({ ...shared, origin: undefined, dir, witnesses });
    const rules = { folders: [], ...options.rules, fleetRules: true, queryUrl: () => url };
    detection = createDetection(rules, shared);
    app = createWeb();
    telemetry.requests(app);
    const ingest = createIngest({ ...shared, detect: tallied(detection.detect, meter) });
    refuseForeignFrames(app);
    registerFrames(app, { ...shared, ingest });
    access = openAccess(
      {
        ...options.access,
        dir: accessDir(options.data),
        tenant: options.tenant,
        loopback: true,
      },
      shared,
    );
    const { files } = seal;
    await registerQuery(app, { ...access.deps, tlog: (path) => files.read(path) });
    registerLog(app, seal.files, isLoopbackHost);
    const { journals } = access.deps;
    if (options.retention !== undefined)
      sweeper = createSweeper({
        ...{ ...shared, actor: 'telltale up', file: options.retention },
        record: recorder(journals, 'telltale up'),
      });
    const checks = [
      ...storeChecks(store),
      ...sealerChecks(seal.sealer, store, clock),
      diskCheck(options.data),
    ];
    const health = healthOf(observed, checks, clock);
    registerProbes(app, health);
    beside = healthPart(observed, health);
    await beside.start();
    await seal.start();
    await detection.start();
    await sweeper?.start();
    await app.listen({ host: '127.0.0.1', port: options.port });
    url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
    access.publish(url);
    if (options.grafana !== undefined) {
      grafana = createWeb();
      await registerEndpoint(grafana, access.deps);
      grafanaUrl = await grafana.listen(options.grafana);
    }
  }

  async function stop(): Promise<void> {
    await sweeper?.stop();
    const webs = [grafana, app].flatMap((web) => web ?? []);
    await Promise.all(webs.map((web) => closeWeb(web)));
    await access?.stop();
    await detection?.stop();
    await seal?.stop();
    await store?.close();
    await beside?.stop();
    beside = undefined;
    grafana = undefined;
    sweeper = undefined;
    app = undefined;
    access = undefined;
    detection = undefined;
    seal = undefined;
    store = undefined;
  }

  return {
    start,
    stop,
    get url() {
      return url;
    },
    get logKey() {
      return seal?.vkey ?? '';
    },
    get token() {
      return access?.token ?? '';
    },
    get grafanaUrl() {
      return grafanaUrl;
    },
  };
}

/** `telltale up`: serves until SIGINT or SIGTERM. */
export async function up(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      data: { type: 'string' },
      port: { type: 'string' },
      tenant: { type: 'string' },
      grafana: { type: 'string' },
      retention: { type: 'string' },
      witness: { type: 'string', multiple: true, default: [] },
      ...HEALTH_FLAG,
      ...ACCESS_FLAGS,
      ...RULE_FLAGS,
    },
  });
  const observed = await observeService('up', values.health, createClock());
  const { log } = observed;
  const part = createUp({
    data: values.data ?? dataDir(),
    port: portOf(values.port, DEFAULT_PORT),
    tenant: values.tenant ?? tenant(),
    witnesses: values.witness.map(witnessOf),
    rules: ruleSettings(values, SHIPPED),
    access: accessSettings(values),
    log,
    observed,
    ...(values.retention === undefined ? {} : { retention: values.retention }),
    ...(values.grafana === undefined ? {} : { grafana: endpointAddress(values.grafana) }),
  });
  const start = async () => {
    await part.start();
    process.stdout.write(`telltale is up at ${part.url}, GraphQL at ${part.url}/graphql\n`);
    process.stdout.write(`transparency log: ${part.url}/tlog  key: ${part.logKey}\n`);
    process.stdout.write(tokenLine(part.token, values.data ?? dataDir()));
    if (part.grafanaUrl !== '')
      process.stdout.write(
        `Grafana's ClickHouse data source: ${part.grafanaUrl}, password: a token\n`,
      );
    process.stdout.write('record: telltale run -- COMMAND    look: telltale timeline latest\n');
  };
  await runParts([{ start, stop: part.stop }], log);
  return 0;
}
