import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Log } from '#schemas';
import { createKafkaCluster, type KafkaCluster } from '../../deploy/kafka/cluster.ts';
import { kafkaJarsDir } from '../../deploy/kafka/jars.ts';
import type { ListenerSecurity } from '../../deploy/kafka/properties.ts';

const CACHE = fileURLToPath(new URL('../../.cache', import.meta.url));

export interface TemporaryCluster {
  readonly brokers: string[];
  readonly cluster: KafkaCluster;
  /** Stops the brokers and deletes their data. */
  close(): Promise<void>;
}

/** The project's cached jars. The first call on a machine downloads them (43 MB). */
export function testJarsDir(): Promise<string> {
  return kafkaJarsDir(CACHE);
}

/**
 * Starts a cluster in a folder of its own that is deleted in the end, also when it fails.
 * @throws KafkaFault
 */
export async function openTemporaryCluster(
  brokers: number,
  security?: ListenerSecurity,
): Promise<TemporaryCluster> {
  const dir = await mkdtemp(path.join(tmpdir(), 'telltale-kafka-'));
  const remove = () => rm(dir, { recursive: true, force: true });
  const jarsDir = await testJarsDir();
  const cluster = createKafkaCluster({
    ...{ dir, brokers, jarsDir, log: consoleLog },
    ...(security === undefined ? {} : { security }),
  });
  try {
    const bootstrap = await cluster.start();
    return {
      brokers: bootstrap,
      cluster,
      async close() {
        await cluster.stop();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Downloads and trouble are worth a line in a test's output; the rest is not. */
const consoleLog: Log = {
  debug: () => {},
  info(event, fields) {
    if (event.startsWith('kafka.download')) console.warn(event, fields ?? '');
  },
  warn: (event, fields) => console.warn(event, fields ?? ''),
  error: (event, fields) => console.error(event, fields ?? ''),
};
