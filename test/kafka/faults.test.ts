import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createKafkaCluster, type KafkaClusterOptions } from '../../deploy/kafka/cluster.ts';
import { KafkaFault, type KafkaFaultCode } from '../../deploy/kafka/fault.ts';
import { ensureJars, kafkaJarsDir, kafkaVersion } from '../../deploy/kafka/jars.ts';
import { isPortFree, pickPorts } from '../../deploy/kafka/ports.ts';
import { requireKafka, skipOrThrow } from './broker.ts';
import { processesWith } from './processes.ts';
import { testJarsDir } from './temporary.ts';

const SLOW_MS = 120_000;
const nothing = () => {};
const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'telltale-kafka-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe('a machine that lacks something', () => {
  it('says which Java it needs when there is none', async () => {
    const fault = await faultOf({ java: path.join(dir, 'no-java') });
    expectFault(fault, 'java_missing', /Install Java 17 or newer/);
    expect(fault.machineLacks).toBe(true);
  });

  it.each([
    ['openjdk version "11.0.2" 2019-01-15', 11],
    ['java version "1.8.0_402"', 8],
  ])('says that a Java is too old: %s', async (line, major) => {
    const java = await program('old-java', `console.error('${line}')`);
    expectFault(await faultOf({ java }), 'java_old', new RegExp(`is Java ${major}\\.`));
  });

  it('takes a Java of tomorrow, and then says that Maven is missing', async () => {
    const java = await program('new-java', `console.error('openjdk version "21-ea" 2023-09-19')`);
    const fault = await faultOf({ java, mvn: path.join(dir, 'no-mvn') });
    expectFault(fault, 'maven_missing', /Install Maven/);
  });

  it('shows what Maven said when it fails, and leaves nothing half-done', async () => {
    const java = await program('good-java', `console.error('openjdk version "17.0.1"')`);
    const mvn = await program('bad-mvn', `console.log('unknown host'); process.exit(1)`);
    const jarsDir = path.join(dir, 'cache', 'lib');
    const fault = await faultOf({ java, mvn, jarsDir });
    expectFault(fault, 'download_failed', /settings\.xml.*unknown host/s);
    expect(await readdir(path.dirname(jarsDir))).toEqual([]);
  });
});

describe('options that cannot work', () => {
  it('names all of them at once', () => {
    const bad = { dir: 'a,b', jarsDir: 'c:d', brokers: 0, basePort: 70_000 };
    const make = () => createKafkaCluster({ ...bad, log });
    expect(make).toThrow(/brokers is 0.*basePort is 70000.*dir has a comma.*jarsDir has a ":"/);
  });

  it('refuses a jars folder that holds something else', async () => {
    const jarsDir = path.join(dir, 'foreign');
    await mkdir(jarsDir);
    await writeFile(path.join(jarsDir, 'letter.txt'), 'dear reader');
    const refused = ensureJars({ jarsDir, log });
    await expect(refused).rejects.toMatchObject({ code: 'bad_options' });
    expect(await readFile(path.join(jarsDir, 'letter.txt'), 'utf8')).toBe('dear reader');
  });
});

describe('ports', () => {
  it('are different, free, and below what the kernel gives to clients', async () => {
    const ports = await pickPorts(18);
    expect(new Set(ports).size).toBe(18);
    expect(Math.max(...ports)).toBeLessThan(32_768);
    expect(await Promise.all(ports.map(isPortFree))).toEqual(ports.map(() => true));
  });

  it('are consecutive from a base, and a taken one is named', async () => {
    const [base] = await pickPorts(1);
    const taken = await listen((base ?? 0) + 2);
    try {
      expect(await pickPorts(2, base)).toEqual([base, (base ?? 0) + 1]);
      await expect(pickPorts(4, base)).rejects.toMatchObject({
        code: 'port_taken',
        message: expect.stringContaining(`Port ${(base ?? 0) + 2} `),
      });
    } finally {
      taken.close();
    }
  });
});

describe('skipping', () => {
  it('is for a machine that lacks something, and never under CI', () => {
    const said = vi.spyOn(console, 'warn').mockImplementation(nothing);
    expect(skipOrThrow('No Java.', true, {})).toEqual({ skip: 'No Java.' });
    expect(said).toHaveBeenCalledWith('SKIPPED: these tests need Kafka. No Java.');
    said.mockRestore();
    expect(() => skipOrThrow('No Java.', true, { CI: 'true' })).toThrow('No Java.');
    expect(() => skipOrThrow('The broker died.', false, {})).toThrow('The broker died.');
  });
});

// The jars are there once the shared broker is: `requireKafka` has fetched them.
const kafka = await requireKafka();

describe.skipIf('skip' in kafka)('with the real jars', () => {
  it('two downloads at once both end with whole jars', { timeout: SLOW_MS }, async () => {
    const jarsDir = await kafkaJarsDir(path.join(dir, 'twice'));
    await Promise.all([ensureJars({ jarsDir, log }), ensureJars({ jarsDir, log })]);
    expect(await readdir(path.dirname(jarsDir))).toEqual(['lib']);
    const jars = await readdir(jarsDir);
    expect(jars).toContain(`kafka_2.13-${await kafkaVersion()}.jar`);
    expect(jars.sort()).toEqual((await readdir(await testJarsDir())).sort());
  });

  it('a broker that dies at once is reported with the cause from its log', async () => {
    const home = path.join(dir, 'broken');
    const cluster = createKafkaCluster({
      dir: home,
      brokers: 1,
      jarsDir: await testJarsDir(),
      log,
    });
    const logs = path.join(home, '1', 'logs');
    await mkdir(logs, { recursive: true });
    await writeFile(path.join(logs, 'meta.properties'), 'version=1\nnode.id=7\ncluster.id=x\n');
    const fault = await cluster.start().catch((error) => error);
    expectFault(fault, 'broker_died', /ended \(code 1\).*out\.log/);
    expect(fault.message).toMatch(/ ERROR .*Stored node id 7 doesn't match/s);
    expect(fault.machineLacks).toBe(false);
    expect(processesWith(home)).toEqual([]);
  });

  it('a port lost between choice and use is replaced', { timeout: SLOW_MS }, async () => {
    const home = path.join(dir, 'robbed');
    const warnings: unknown[] = [];
    const cluster = createKafkaCluster({
      dir: home,
      brokers: 1,
      jarsDir: await testJarsDir(),
      log: { ...log, warn: (event, fields) => warnings.push({ event, ...fields }) },
    });
    const start = cluster.start();
    // The settings are written once the ports are chosen, well before the broker listens.
    const settings = path.join(home, '1', 'server.properties');
    const text = () => readFile(settings, 'utf8').catch(() => '');
    await expect.poll(text, { interval: 10, timeout: 20_000 }).toMatch(/listeners=/);
    const port = Number(/PLAINTEXT:\/\/127\.0\.0\.1:(\d+)/.exec(await text())?.[1]);
    const robber = await listen(port);
    try {
      const [broker] = await start;
      expect(broker).not.toBe(`127.0.0.1:${port}`);
      expect(warnings).toEqual([{ event: 'kafka.port_lost', port, attempt: 1 }]);
    } finally {
      robber.close();
      await cluster.stop();
    }
  });

  it('data of a larger cluster is not touched', async () => {
    const home = path.join(dir, 'three');
    await mkdir(home);
    await writeFile(path.join(home, 'cluster.json'), '{"clusterId":"abc","brokers":3}');
    const fault = await faultOf({ dir: home, jarsDir: await testJarsDir() });
    expectFault(fault, 'dir_mismatch', /holds a cluster of 3 brokers, not of 1/);
    expect(await readdir(home)).toEqual(['cluster.json']);
  });
});

async function faultOf(options: Partial<KafkaClusterOptions>): Promise<KafkaFault> {
  const defaults = { dir: path.join(dir, 'home'), brokers: 1, jarsDir: path.join(dir, 'jars') };
  const cluster = createKafkaCluster({ ...defaults, log, ...options });
  return cluster.start().then(
    () => Promise.reject(new Error('It started.')),
    (error) => error,
  );
}

function expectFault(fault: unknown, code: KafkaFaultCode, message: RegExp): void {
  expect(fault).toBeInstanceOf(KafkaFault);
  expect(fault).toMatchObject({ code, message: expect.stringMatching(message) });
}

/** A program of one line, in the place of `java` or `mvn`. */
async function program(name: string, line: string): Promise<string> {
  const file = path.join(dir, name);
  await writeFile(file, `#!${process.execPath}\n${line};\n`);
  await chmod(file, 0o755);
  return file;
}

function listen(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
