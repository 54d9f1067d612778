import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createKafkaCluster, type KafkaCluster } from '../../deploy/kafka/cluster.ts';
import { brokersOf, requireKafka, uniqueName } from './broker.ts';
import { client, createTopic, openProducer, readAll } from './client.ts';
import { childrenOf, listProcesses, processesWith } from './processes.ts';
import { testJarsDir } from './temporary.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const HOUR_MS = 3_600_000;
/** A broker that comes back waits for its old session to end, 9 s; a busy machine adds to that. */
const SLOW_MS = 120_000;
const nothing = () => {};
const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

const kafka = await requireKafka();

describe.skipIf('skip' in kafka)('the shared broker', () => {
  it('takes and gives back 6 MB, and stamps them with its own time', async () => {
    const shared = client(brokersOf(kafka));
    const topic = uniqueName('round-trip');
    await createTopic(shared, {
      topic,
      numPartitions: 2,
      configEntries: [
        { name: 'message.timestamp.type', value: 'LogAppendTime' },
        { name: 'max.message.bytes', value: String(16 * 1024 * 1024) },
      ],
    });
    const producer = await openProducer(shared);
    const before = Date.now();
    // Random, so that nothing on the way can make it small.
    const large = randomBytes(6 * 1024 * 1024);
    const yesterday = String(before - 24 * HOUR_MS);
    const [answer] = await producer.send({
      topic,
      acks: -1,
      messages: [{ partition: 1, key: 'session', value: large, timestamp: yesterday }],
    });
    await producer.disconnect();
    expect(answer).toMatchObject({ topicName: topic, partition: 1, errorCode: 0 });

    const [received] = await readAll(shared, topic, 1, 30_000);
    expect(received?.partition).toBe(1);
    expect(sha256(received?.value)).toBe(sha256(large));
    // A second of slack: the two sides may read different clocks when the broker is remote.
    expect(received?.timestamp).toBeGreaterThan(before - 1_000);
    expect(received?.timestamp).toBeLessThan(Date.now() + 1_000);
  });

  it('is the same one for whoever asks', async () => {
    expect(await requireKafka()).toEqual(kafka);
  });
});

describe.skipIf('skip' in kafka)('a cluster of one', () => {
  let dir: string;
  let cluster: KafkaCluster;
  beforeAll(async () => {
    // Kafka reads its settings as ISO 8859-1 with escapes: such a name goes wrong if nobody cares.
    dir = await mkdtemp(path.join(tmpdir(), 'telltale kafka=é\\-'));
    cluster = createKafkaCluster({ dir, brokers: 1, jarsDir: await testJarsDir(), log });
  });
  afterAll(async () => {
    await cluster.stop();
    await rm(dir, { recursive: true, force: true });
  });

  it('keeps its data over kill, restart, stop and start, and leaves no process', {
    timeout: SLOW_MS,
  }, async () => {
    const topic = uniqueName('kept');
    const childrenBefore = childrenOf(process.pid);
    const [one, same] = await Promise.all([cluster.start(), cluster.start()]);
    expect(same).toEqual(one);
    expect(cluster.bootstrap).toEqual(one);
    await createTopic(client(one), { topic, numPartitions: 1 });
    const producer = await openProducer(client(one));
    const message = { partition: 0, value: 'still here' };
    await producer.send({ topic, acks: -1, messages: [message] });
    await producer.disconnect();

    const [killed] = cluster.pids();
    await cluster.kill(1);
    expect(cluster.pids()).toEqual([]);
    expect(listProcesses().some(({ pid }) => pid === killed)).toBe(false);
    await expect(cluster.restart(2)).rejects.toMatchObject({ code: 'bad_options' });
    await cluster.restart(1);
    await expect(cluster.restart(1)).rejects.toThrow('Broker 1 is running');
    expect(await texts(cluster.bootstrap, topic)).toEqual(['still here']);

    await cluster.stop();
    await cluster.stop();
    expect(processesWith(dir)).toEqual([]);
    expect(childrenOf(process.pid)).toEqual(childrenBefore);

    await cluster.start();
    expect(await texts(cluster.bootstrap, topic)).toEqual(['still here']);
  });

  it('answers nothing while it is paused, and everything after', async () => {
    await cluster.start();
    const admin = client([...cluster.bootstrap]).admin();
    await admin.connect();
    cluster.pause(1);
    let answered = false;
    const topics = admin.listTopics().then((list) => {
      answered = true;
      return list;
    });
    await sleep(1_500);
    expect(answered).toBe(false);
    cluster.resume(1);
    expect(await topics).toContainEqual(expect.stringMatching(/^kept-/));
    await admin.disconnect();
  });

  it('stops while a broker is paused', async () => {
    await cluster.start();
    cluster.pause(1);
    await cluster.stop();
    expect(processesWith(dir)).toEqual([]);
  });

  it('can be stopped while it starts', async () => {
    const start = expect(cluster.start()).rejects.toMatchObject({ code: 'stopped' });
    await sleep(800);
    await cluster.stop();
    await start;
    expect(processesWith(dir)).toEqual([]);
  });
});

describe.skipIf('skip' in kafka)('a broker whose owner ends without a word', () => {
  it.each(['SIGKILL', 'SIGINT'] as const)(
    'ends with it: %s',
    { timeout: SLOW_MS },
    async (signal) => {
      const dir = await mkdtemp(path.join(tmpdir(), 'telltale-kafka-'));
      const owner = spawn(
        process.execPath,
        [
          ...['--conditions=telltale-source', '--import', 'tsx'],
          ...['test/kafka/start-and-wait.ts', dir],
        ],
        { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] },
      );
      try {
        await Promise.race([once(owner.stdout, 'data'), failOnExit(owner)]);
        const children = childrenOf(owner.pid ?? 0);
        expect(processesWith(dir)).toHaveLength(2);
        // The broker and its guard, at least.
        expect(children.length).toBeGreaterThanOrEqual(2);

        owner.kill(signal);
        await expect
          .poll(() => listProcesses().filter(({ pid }) => children.includes(pid)), {
            timeout: 5_000,
          })
          .toEqual([]);
        expect(processesWith(dir)).toEqual([]);
      } finally {
        owner.kill('SIGKILL');
        await rm(dir, { recursive: true, force: true });
      }
    },
  );
});

async function texts(brokers: readonly string[], topic: string): Promise<string[]> {
  const received = await readAll(client([...brokers]), topic, 1, 20_000);
  return received.map(({ value }) => value.toString());
}

function sha256(bytes: Buffer | undefined): string {
  return createHash('sha256')
    .update(bytes ?? '')
    .digest('hex');
}

async function failOnExit(child: ChildProcess): Promise<never> {
  const [code] = await once(child, 'exit');
  throw new Error(`The program ended with code ${code} before its broker had started.`);
}
