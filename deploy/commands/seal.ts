import path from 'node:path';
import { parseArgs } from 'node:util';
import {
  type Clock,
  type Log,
  type Meter,
  type Part,
  type Random,
  SIGNATURE_ED25519,
  type Store,
} from '#schemas';
import { type LogFiles, openLogFiles } from '../../ingest/seal/files.ts';
import { openKeys } from '../../ingest/seal/key.ts';
import { openLog } from '../../ingest/seal/log.ts';
import { createSealer, type Sealer } from '../../ingest/seal/sealer.ts';
import { LOG_PREFIX, registerLog } from '../../ingest/seal/serve.ts';
import {
  createWitnessClient,
  type Post,
  type WitnessAddress,
} from '../../ingest/seal/witnesses.ts';
import { isLoopbackHost } from '../../query/access/guard.ts';
import { witnessOf } from '../evidence/keys.ts';
import { createClock, systemRandom } from '../process/clock.ts';
import { runParts, UsageError } from '../process/lifecycle.ts';
import { lockDir } from '../process/lock.ts';
import { closeWeb, createWeb } from '../process/web.ts';
import { portOf, storeUrl } from '../settings.ts';
import { openStore } from '../stores/open.ts';
import { awaitSchema } from '../stores/serving.ts';
import { diskCheck, sealerChecks, storeChecks } from '../telemetry/checks.ts';
import { healthOf, healthPart, observeService } from '../telemetry/service.ts';
import { HEALTH_FLAG } from '../telemetry/settings.ts';
import { SERVE_FLAGS, serveTls } from '../tls.ts';

export const SEAL_PORT = 4561;
const LOOPBACK = new Set(['localhost', '127.0.0.1', '::1']);
export const LOG_KEY_FILE = 'log.key';
/** The longest answer of a witness that is read. */
const ANSWER_BYTES_MAX = 64 * 1024;

/** One POST; the answer is read up to a bound. Rejects where there is none in time. */
export const httpPost: Post = async (url, body, timeoutMs) => {
  const signal = AbortSignal.timeout(timeoutMs);
  const response = await fetch(url, { method: 'POST', body, signal, redirect: 'error' });
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw new Error(`answers more than ${ANSWER_BYTES_MAX} bytes`);
    chunks.push(Buffer.from(chunk));
  }
  return { status: response.status, body: Buffer.concat(chunks).toString() };
};

export interface SealOptions {
  readonly dir: string;
  /** The log's name; undefined takes the one that its key has, or makes one up for a new log. */
  readonly origin: string | undefined;
  readonly witnesses: readonly WitnessAddress[];
  readonly store: Store;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  readonly random: Random;
}

export interface Seal extends Part {
  readonly sealer: Sealer;
  readonly files: LogFiles;
  /** The log's key, as verifiers are told it. */
  readonly vkey: string;
}

/**
 * Opens the log in a directory, or begins one, and makes its sealer. Throws a UsageError where
 * another process has the directory, a LogError where it holds no good log.
 */
export async function openSeal(options: SealOptions): Promise<Seal> {
  const { dir, origin, witnesses, log, random } = options;
  const unlock = lockDir(dir);
  try {
    const files = await openLogFiles(dir);
    const nameOfNew = `telltale.invalid/${Buffer.from(random.bytes(8)).toString('hex')}`;
    const name = { name: origin, nameOfNew };
    const [key, ...previous] = await openKeys(files, random, {
      ...{ file: LOG_KEY_FILE, ...name },
      type: SIGNATURE_ED25519,
    });
    const writer = await openLog(files, key, previous);
    const shared = { ...options, files, read: files.read, post: httpPost };
    const clients = witnesses.map((address) => createWitnessClient(address, shared));
    const sealer = createSealer({ ...shared, writer, witnesses: clients });
    log.info('seal.opened', { dir, key: key.verifier.text, size: writer.head.size });
    const stop = async () => {
      await sealer.stop();
      unlock();
    };
    return { sealer, files, vkey: key.verifier.text, start: sealer.start, stop };
  } catch (error) {
    unlock();
    throw error;
  }
}

/** `telltale seal`: the transparency log over a cluster's store, until SIGINT or SIGTERM. */
export async function seal(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      store: { type: 'string' },
      dir: { type: 'string' },
      host: { type: 'string', default: '127.0.0.1' },
      port: { type: 'string' },
      origin: { type: 'string' },
      witness: { type: 'string', multiple: true, default: [] },
      ...SERVE_FLAGS,
      ...HEALTH_FLAG,
    },
  });
  const [url, dir] = [values.store ?? storeUrl(), values.dir];
  const faults = [
    ...(url === undefined ? ['--store URL (or TELLTALE_STORE)'] : []),
    ...(dir === undefined ? ['--dir DIR'] : []),
  ];
  if (url === undefined || dir === undefined) throw new UsageError(`give ${faults.join(' and ')}`);
  const witnesses = values.witness.map(witnessOf);
  const port = portOf(values.port, SEAL_PORT);
  const clock = createClock();
  const observed = await observeService('seal', values.health, clock);
  const { log, telemetry } = observed;
  const store = telemetry.store(await openStore(url, { log }));
  const shared = { store, log, meter: telemetry.meter, clock, random: systemRandom };
  const app = createWeb(serveTls(values));
  try {
    const origin = values.origin;
    const folder = path.resolve(dir);
    const part = await openSeal({ ...shared, dir: folder, origin, witnesses });
    telemetry.requests(app);
    // Beyond loopback there is no name that is this service's alone, and the log is read by anyone.
    const loopback = LOOPBACK.has(values.host);
    registerLog(app, part.files, loopback ? isLoopbackHost : () => true);
    const listen = async () => {
      const at = await app.listen({ host: values.host, port });
      process.stdout.write(`telltale seal serves ${at}${LOG_PREFIX}\nlog key: ${part.vkey}\n`);
    };
    const web: Part = { start: listen, stop: () => closeWeb(app) };
    const start = async () => {
      await awaitSchema(store, log);
      await part.start();
    };
    const checks = [
      ...storeChecks(store),
      ...sealerChecks(part.sealer, store, clock),
      diskCheck(folder),
    ];
    const health = healthPart(observed, healthOf(observed, checks, clock));
    await runParts([health, { start, stop: part.stop }, web], log, part.sealer.failed);
  } finally {
    await store.close();
  }
  return 0;
}
