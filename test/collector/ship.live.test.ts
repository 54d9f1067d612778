import { randomUUID } from 'node:crypto';
import { getEventListeners, setMaxListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { EVENTS_TOPIC_SETTINGS, frameLines, partitionOf, unframe } from '#schemas';
import { kafkaTransport, ShipError } from '../../collector/ship.ts';
import { fakeLog } from '../fakes/ports.ts';
import { brokersOf, requireKafka, uniqueName } from '../kafka/broker.ts';
import { client, createTopic, readAll } from '../kafka/client.ts';
import { identity } from './drafts.ts';

const kafka = await requireKafka();
const PARTITIONS = 3;

describe.skipIf('skip' in kafka)('the Kafka transport', () => {
  const brokers = brokersOf(kafka);

  async function newTopic(): Promise<string> {
    const topic = uniqueName('ship');
    const configEntries = Object.entries(EVENTS_TOPIC_SETTINGS).map(([name, value]) => ({
      name,
      value,
    }));
    await createTopic(client(brokers), { topic, numPartitions: PARTITIONS, configEntries });
    return topic;
  }

  it('puts each session into its partition, in the order of the sends', async () => {
    const topic = await newTopic();
    const transport = kafkaTransport(brokers, fakeLog(), topic);
    await transport.connect();
    const abort = new AbortController();
    const sessions = Array.from({ length: 6 }, () => randomUUID());
    const frames = 20;
    // Each send listens while it is under way, and here that is all of them.
    setMaxListeners(sessions.length * frames, abort.signal);
    // All at once: the transport itself keeps one send in flight for a partition.
    await Promise.all(
      Array.from({ length: frames }, (_, n) =>
        sessions.map((session_id) => {
          const id = { ...identity, session_id, first_seq: n };
          return transport.send(session_id, frameLines(id, [Buffer.from('{}')]), abort.signal);
        }),
      ).flat(),
    );
    await transport.close();
    expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
    const got = await readAll(client(brokers), topic, sessions.length * frames, 20_000);
    for (const session_id of sessions) {
      const mine = got.flatMap(({ partition, value }) => {
        const { header } = unframe(value);
        return header?.session_id === session_id ? [{ partition, seq: header.first_seq }] : [];
      });
      expect(mine.map(({ seq }) => seq)).toEqual(Array.from({ length: frames }, (_, n) => n));
      for (const one of mine) expect(one.partition).toBe(partitionOf(session_id, PARTITIONS));
    }
  });

  it('says which topic is missing, and does not create it', async () => {
    const topic = uniqueName('missing');
    const transport = kafkaTransport(brokers, fakeLog(), topic);
    const connecting = transport.connect();
    await expect(connecting).rejects.toThrow(ShipError);
    await expect(connecting).rejects.toThrow(
      `topic ${topic} does not exist: run "telltale migrate"`,
    );
    const admin = client(brokers).admin();
    await admin.connect();
    expect(await admin.listTopics()).not.toContain(topic);
    await admin.disconnect();
  });

  it('lets go at once when shipping is stopped', async () => {
    const topic = await newTopic();
    const transport = kafkaTransport(brokers, fakeLog(), topic);
    await transport.connect();
    const signal = AbortSignal.abort();
    const frame = frameLines({ ...identity, first_seq: 0 }, [Buffer.from('{}')]);
    await expect(transport.send(identity.session_id, frame, signal)).rejects.toThrow(ShipError);
    await transport.close();
  });
});
