/** Alerts into a topic of a real broker: keyed, checked, in order, also where the topic comes late. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Alert } from '#schemas';
import { createClock } from '../../../deploy/process/clock.ts';
import type { Sink } from '../../../ingest/detect/sink.ts';
import {
  createTopicSink,
  TOPIC_SINK_DEFAULTS,
  type TopicSinkSettings,
} from '../../../ingest/detect/topic.ts';
import { fakeLog, fakeMeter } from '../../fakes/ports.ts';
import { brokersOf, requireKafka, uniqueName } from '../../kafka/broker.ts';
import { client, createTopic } from '../../kafka/client.ts';
import { alertAt, link } from './alerts.ts';

const kafka = await requireKafka();

interface Received {
  readonly key: string;
  readonly partition: number;
  readonly value: { type: string; data: Alert & { timeline: string } };
}

describe.skipIf('skip' in kafka)('the topic of alerts', () => {
  const brokers = brokersOf(kafka);
  const started: Sink[] = [];
  afterEach(async () => {
    for (const sink of started.splice(0)) await sink.stop();
  });

  function sinkTo(topic: string, over: Partial<TopicSinkSettings> = {}) {
    const [log, meter] = [fakeLog(), fakeMeter()];
    const [delivered, withdrawn]: [Alert[], Alert[]] = [[], []];
    const sink = createTopicSink(
      { ...TOPIC_SINK_DEFAULTS, retryMsMin: 200, retryMsMax: 500, ...over, brokers, topic },
      {
        log,
        meter,
        clock: createClock(),
        link,
        delivered: (_name, alerts, what) =>
          void (what === 'raised' ? delivered : withdrawn).push(...alerts),
      },
    );
    started.push(sink);
    return { sink, log, meter, delivered, withdrawn };
  }

  async function received(topic: string, count: number): Promise<Received[]> {
    const consumer = client(brokers).consumer({ groupId: uniqueName('alerts') });
    const found: Received[] = [];
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${found.length} of ${count} came`)), 60_000);
      consumer
        .run({
          eachMessage: async ({ partition, message }) => {
            const value = JSON.parse(String(message.value));
            found.push({ key: String(message.key), partition, value });
            if (found.length < count) return;
            clearTimeout(late);
            resolve();
          },
        })
        .catch(reject);
    });
    await consumer.disconnect();
    return found;
  }

  async function until(done: () => boolean, ms = 60_000): Promise<void> {
    const end = Date.now() + ms;
    while (!done() && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(done()).toBe(true);
  }

  it('delivers each alert once, keyed by its session, those of a session in order', async () => {
    const topic = uniqueName('alerts');
    await createTopic(client(brokers), { topic, numPartitions: 3 });
    const { sink, meter, delivered, withdrawn } = sinkTo(topic);
    const alerts = Array.from({ length: 30 }, (_, at) =>
      alertAt(at, { session_id: `0193a5e0-0000-7000-8000-00000000000${at % 7}` }),
    );
    await sink.start();
    sink.raise(alerts);
    sink.withdraw(alerts.slice(0, 1));
    const found = await received(topic, 31);
    for (const alert of alerts) {
      const [one, ...more] = found.filter(
        ({ value }) =>
          value.type === 'alert.raised' && value.data.fingerprint === alert.fingerprint,
      );
      expect(more).toEqual([]);
      expect(one?.key).toBe(alert.session_id);
      expect(one?.value.data).toEqual({ ...alert, timeline: link(alert) });
    }
    const ofFirst = found.filter(({ value }) => value.data.fingerprint === alerts[0]?.fingerprint);
    expect(ofFirst.map(({ value }) => value.type)).toEqual(['alert.raised', 'alert.withdrawn']);
    await until(() => meter.counts.get('telltale.alerts.delivered') === 31);
    expect(delivered).toHaveLength(30);
    expect(withdrawn).toEqual(alerts.slice(0, 1));
  });

  it('waits for a topic that is not there yet, says so once, and delivers then', async () => {
    const topic = uniqueName('alerts');
    const { sink, log, delivered } = sinkTo(topic);
    await sink.start();
    sink.raise([alertAt(1)]);
    await until(() => log.lines.some(({ event }) => event === 'alert.not_delivered'));
    await createTopic(client(brokers), { topic, numPartitions: 2 });
    await until(() => delivered.length === 1);
    expect(await received(topic, 1)).toHaveLength(1);
    expect(log.lines.filter(({ event }) => event === 'alert.not_delivered')).toHaveLength(1);
  });

  it('gives up the oldest beyond what may wait, and counts them', async () => {
    const { sink, log, meter } = sinkTo(uniqueName('alerts'), { waitingMax: 5 });
    sink.raise(Array.from({ length: 8 }, (_, at) => alertAt(at)));
    expect(meter.counts.get('telltale.alerts.given_up')).toBe(3);
    expect(log.lines).toMatchObject([{ level: 'error', event: 'alert.given_up' }]);
  });
});
