import path from 'node:path';
import { parseArgs } from 'node:util';
import {
  parseVerifierKey,
  SIGNATURE_COSIGNATURE_V1,
  SIGNATURE_ED25519,
  type VerifierKey,
} from '#schemas';
import { openLogFiles } from '../../ingest/seal/files.ts';
import { openKeys } from '../../ingest/seal/key.ts';
import { registerWitness } from '../../ingest/seal/serve.ts';
import { createWitness } from '../../ingest/seal/witness.ts';
import { createClock, systemRandom } from '../process/clock.ts';
import { runParts, UsageError } from '../process/lifecycle.ts';
import { lockDir } from '../process/lock.ts';
import { closeWeb, createWeb } from '../process/web.ts';
import { portOf } from '../settings.ts';
import { diskCheck } from '../telemetry/checks.ts';
import { healthOf, healthPart, observeService } from '../telemetry/service.ts';
import { HEALTH_FLAG } from '../telemetry/settings.ts';

export const WITNESS_PORT = 4562;
export const WITNESS_KEY_FILE = 'witness.key';

function logKeyOf(text: string): VerifierKey {
  const key = parseVerifierKey(text);
  if (!key.ok) throw new UsageError(`--log ${text}: ${key.what}`);
  if (key.value.type !== SIGNATURE_ED25519)
    throw new UsageError(`--log ${text}: it is no log’s key (type 1, Ed25519)`);
  return key.value;
}

function logKeysOf(texts: readonly string[]): VerifierKey[] {
  const keys = texts.map(logKeyOf);
  // Two keys of one name are a log whose key is being changed.
  const doubled = keys.find(({ text }, i) => keys.findIndex((one) => one.text === text) !== i);
  if (doubled !== undefined) throw new UsageError(`--log: ${doubled.name} is given twice`);
  return keys;
}

/**
 * `telltale witness`: cosigns the tree heads of the logs that it is told of, until SIGINT or
 * SIGTERM. It is of use only where whoever runs the log can't reach its directory.
 */
export async function witness(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      dir: { type: 'string' },
      host: { type: 'string', default: '127.0.0.1' },
      port: { type: 'string' },
      name: { type: 'string' },
      log: { type: 'string', multiple: true, default: [] },
      ...HEALTH_FLAG,
    },
  });
  if (values.dir === undefined) throw new UsageError('give --dir DIR');
  const logs = logKeysOf(values.log);
  const port = portOf(values.port, WITNESS_PORT);
  const dir = path.resolve(values.dir);
  const unlock = lockDir(dir);
  try {
    const clock = createClock();
    const observed = await observeService('witness', values.health, clock);
    const { log, telemetry } = observed;
    const files = await openLogFiles(dir);
    const nameOfNew = `telltale.invalid/witness/${Buffer.from(systemRandom.bytes(8)).toString('hex')}`;
    const type = SIGNATURE_COSIGNATURE_V1;
    const [key, ...previous] = await openKeys(files, systemRandom, {
      ...{ file: WITNESS_KEY_FILE, type, nameOfNew },
      name: values.name,
    });
    const ports = { log, meter: telemetry.meter, clock };
    const service = await createWitness({ ...ports, files, key, previous, logs });
    const app = createWeb();
    telemetry.requests(app);
    registerWitness(app, { witness: service, log });
    const start = async () => {
      const at = await app.listen({ host: values.host, port });
      process.stdout.write(`telltale witness serves ${at}\nwitness key: ${key.verifier.text}\n`);
    };
    const health = healthPart(observed, healthOf(observed, [diskCheck(dir)], clock));
    await runParts([health, { start, stop: () => closeWeb(app) }], log);
  } finally {
    unlock();
  }
  return 0;
}
