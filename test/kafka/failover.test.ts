/**
 * Does the client keep what it acknowledged while each of three brokers is killed once? It does
 * when one send goes to one partition and one is in flight for each. Takes minutes, therefore only
 * with TELLTALE_LONG=1.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Producer } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireKafkaCluster, uniqueName } from './broker.ts';
import { client, createTopic, openProducer, type Received, readAll } from './client.ts';
import type { TemporaryCluster } from './temporary.ts';

const MESSAGES = 60_000;
const PARTITIONS = 4;
const BATCH = 50;
/** Share of each partition's messages after which the next broker is killed. */
const KILL_AT = [0.1, 0.4, 0.7];
const DOWN_MS = 4_000;
const SEND_ATTEMPTS = 30;
const LIMIT_MS = 10 * 60_000;

describe.skipIf(!process.env.TELLTALE_LONG)('three brokers, each killed once', () => {
  let opened: TemporaryCluster | undefined;
  let reason = '';
  beforeAll(async () => {
    const got = await requireKafkaCluster(3);
    if ('skip' in got) reason = got.skip;
    else opened = got;
  }, LIMIT_MS);
  afterAll(() => opened?.close());

  it('lose, double and reorder nothing that was acknowledged', { timeout: LIMIT_MS }, async (t) => {
    if (!opened) return t.skip(reason);
    const { brokers, cluster } = opened;
    const kafka = client(brokers);
    const topic = uniqueName('failover');
    await createTopic(kafka, { topic, numPartitions: PARTITIONS, replicationFactor: 3 });
    const producer = await openProducer(kafka);

    const startedAt = performance.now();
    const restarts: Promise<void>[] = [];
    let sent = 0;
    async function sendPartition(partition: number): Promise<void> {
      for (let n = 0; n < MESSAGES / PARTITIONS; n += BATCH) {
        if (sent >= MESSAGES * (KILL_AT[restarts.length] ?? 2)) {
          const node = restarts.length + 1;
          restarts.push(cluster.kill(node).then(() => restartLater(node)));
        }
        await send(producer, topic, partition, n);
        sent += BATCH;
      }
    }
    async function restartLater(node: number): Promise<void> {
      await sleep(DOWN_MS);
      await cluster.restart(node);
    }
    await Promise.all(Array.from({ length: PARTITIONS }, (_, each) => sendPartition(each)));
    await Promise.all(restarts);
    const producedMs = Math.round(performance.now() - startedAt);
    await producer.disconnect();

    const received = await readAll(kafka, topic, MESSAGES, 60_000);
    console.warn({ acknowledged: sent, kills: restarts.length, producedMs, ...count(received) });
    expect(restarts).toHaveLength(3);
    expect(count(received)).toEqual({ read: MESSAGES, missing: 0, doubled: 0, outOfOrder: 0 });
  });
});

/** The caller's own retry, as the shipper has it: a batch is left only when it is acknowledged. */
async function send(producer: Producer, topic: string, partition: number, n: number) {
  const values = Array.from({ length: BATCH }, (_, i) => JSON.stringify([partition, n + i]));
  const messages = values.map((value) => ({ partition, value }));
  for (let attempt = 1; ; attempt++) {
    try {
      const [answer] = await producer.send({ topic, acks: -1, messages });
      expect(answer).toMatchObject({ partition, errorCode: 0 });
      return;
    } catch (error) {
      if (attempt >= SEND_ATTEMPTS) throw error;
      await sleep(300);
    }
  }
}

function count(received: readonly Received[]) {
  const seen = new Set<string>();
  const next = new Map<number, number>();
  let outOfOrder = 0;
  for (const { partition, value } of received) {
    const text = value.toString();
    const [, n] = JSON.parse(text);
    seen.add(text);
    if (n !== (next.get(partition) ?? 0)) outOfOrder++;
    next.set(partition, n + 1);
  }
  const read = received.length;
  return { read, missing: MESSAGES - seen.size, doubled: read - seen.size, outOfOrder };
}
