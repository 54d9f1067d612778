import { mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Log } from '#schemas';
import { KafkaFault } from './fault.ts';
import type { Guard } from './guard.ts';
import { run, tail } from './run.ts';

const POM = new URL('./pom.xml', import.meta.url);
const JAVA_MAJOR_MIN = 17;
const JAVA_VERSION_MS = 30_000;
const DOWNLOAD_MS = 10 * 60_000;
const USE_ANOTHER = 'Or point KAFKA_BROKERS at a broker that runs already.';

/** The version of Apache Kafka that `pom.xml` names; it is written nowhere else. */
export async function kafkaVersion(): Promise<string> {
  const version = /<kafka\.version>([\w.-]+)</.exec(await readFile(POM, 'utf8'))?.[1];
  if (version === undefined) throw new Error('deploy/kafka/pom.xml names no <kafka.version>.');
  return version;
}

/** Where the project keeps the jars below a cache folder: `<cacheDir>/kafka/<version>/lib`. */
export async function kafkaJarsDir(cacheDir: string): Promise<string> {
  return path.join(cacheDir, 'kafka', await kafkaVersion(), 'lib');
}

/** The Java to run: that of JAVA_HOME, as Maven does it, or the first in PATH. */
export function defaultJava(): string {
  const home = process.env.JAVA_HOME;
  return home ? path.join(home, 'bin', 'java') : 'java';
}

/**
 * Checks that `java` runs and is new enough for Kafka 4.
 * @throws KafkaFault `java_missing` or `java_old`
 */
export async function checkJava(java: string): Promise<void> {
  const next =
    `Install Java ${JAVA_MAJOR_MIN} or newer (Debian: openjdk-17-jre-headless), ` +
    `or set JAVA_HOME to one. ${USE_ANOTHER}`;
  const result = await run(java, ['-version'], { timeMs: JAVA_VERSION_MS }).catch((error) => {
    throw new KafkaFault('java_missing', `Kafka needs Java, and ${java} did not run. ${next}`, {
      cause: error,
    });
  });
  // `version "17.0.15"`, `version "21-ea"`, and before Java 9 `version "1.8.0_402"`.
  const found = /version "(?:1\.)?(\d+)/.exec(result.output)?.[1];
  if (result.code !== 0 || found === undefined) {
    throw new KafkaFault(
      'java_missing',
      `${java} -version gave no version (code ${result.code}). ${next}\n${tail(result.output)}`,
    );
  }
  if (Number(found) < JAVA_MAJOR_MIN) {
    throw new KafkaFault('java_old', `Kafka needs Java 17, and ${java} is Java ${found}. ${next}`);
  }
}

export interface JarsOptions {
  /** Absolute; made when missing. */
  readonly jarsDir: string;
  readonly log: Log;
  /** Default: `mvn` in PATH. Used only when the jars are not there yet. */
  readonly mvn?: string | undefined;
  readonly guard?: Guard | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Sees to it that `jarsDir` holds the broker's jars, downloading them once with Maven. The folder
 * appears by one rename, so it is whole or not there, and two processes may do this at once: both
 * download, the first to finish wins, the other takes what is there.
 * @throws KafkaFault `maven_missing`, `download_failed`, or `bad_options` for a foreign folder
 */
export async function ensureJars(options: JarsOptions): Promise<void> {
  const { jarsDir, log } = options;
  if (await hasJars(jarsDir)) return;
  const parent = path.dirname(jarsDir);
  await mkdir(parent, { recursive: true });
  const temporary = await mkdtemp(path.join(parent, '.download-'));
  const startedAt = performance.now();
  log.info('kafka.download_started', { jarsDir });
  try {
    await download(temporary, options);
    const lib = path.join(temporary, 'lib');
    await rename(lib, jarsDir).catch(async (error: NodeJS.ErrnoException) => {
      // ENOTEMPTY (Linux) or EEXIST (macOS): another process was faster.
      if (!(await hasJars(jarsDir))) throw error;
    });
    log.info('kafka.download_done', { ms: Math.round(performance.now() - startedAt) });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function hasJars(jarsDir: string): Promise<boolean> {
  const names = await readdir(jarsDir).catch(() => undefined);
  if (names === undefined || names.length === 0) return false;
  const wanted = `kafka_2.13-${await kafkaVersion()}.jar`;
  if (names.includes(wanted)) return true;
  throw new KafkaFault(
    'bad_options',
    `${jarsDir} is not empty and has no ${wanted}. Delete that folder, or give another jarsDir.`,
  );
}

async function download(temporary: string, options: JarsOptions): Promise<void> {
  const mvn = options.mvn ?? 'mvn';
  const args = [
    ...['-q', '-B', '-C', '-f', fileURLToPath(POM), 'dependency:copy-dependencies'],
    ...[`-DoutputDirectory=${path.join(temporary, 'lib')}`, '-DincludeScope=runtime'],
  ];
  const { guard, signal } = options;
  const result = await run(mvn, args, { timeMs: DOWNLOAD_MS, guard, signal }).catch((error) => {
    throw new KafkaFault(
      'maven_missing',
      `The broker's jars are not in ${options.jarsDir} yet, and ${mvn}, which fetches them, ` +
        `did not run. Install Maven (Debian: maven). ${USE_ANOTHER}`,
      { cause: error },
    );
  });
  if (result.code === 0 && (await hasJars(path.join(temporary, 'lib')))) return;
  throw new KafkaFault(
    'download_failed',
    `Maven could not fetch the broker's jars (code ${result.code}). Check the network and the ` +
      `mirror in ~/.m2/settings.xml, then try again. ${USE_ANOTHER}\n${tail(result.output)}`,
  );
}
