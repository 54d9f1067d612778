/** A frame's trace through a real broker: from the collector that sent it to the rows it became. */
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { describe, expect, it, onTestFinished } from 'vitest';
import { EVENTS_TOPIC_SETTINGS, frame, type Store } from '#schemas';
import { kafkaTransport } from '../../collector/ship.ts';
import { createClock, systemRandom } from '../../deploy/process/clock.ts';
import { consumerChecks } from '../../deploy/telemetry/checks.ts';
import { observeStore } from '../../deploy/telemetry/store.ts';
import { createTracer } from '../../deploy/telemetry/tracer.ts';
import { createConsumer } from '../../ingest/consume.ts';
import { createIngest } from '../../ingest/loop.ts';
import { fakeLog, fakeMeter } from '../fakes/ports.ts';
import { brokersOf, requireKafka, uniqueName } from '../kafka/broker.ts';
import { client, createTopic } from '../kafka/client.ts';
import { newStream } from './engine.ts';

const kafka = await requireKafka();

/** A store that takes everything and has nothing. */
const empty = {
  insert: async () => {},
  query: async () => [],
  stream: async function* () {},
} as unknown as Store;

function traced() {
  const exporter = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  const contexts = new AsyncLocalStorageContextManager().enable();
  return { exporter, tracer: createTracer(provider.getTracer('test'), contexts) };
}

describe.skipIf('skip' in kafka)('the trace of a frame', () => {
  it('goes in a header from send to insert, and a bad one is left out', async () => {
    const brokers = brokersOf(kafka);
    const topic = uniqueName('trace');
    const configEntries = Object.entries(EVENTS_TOPIC_SETTINGS).map(([name, value]) => ({
      ...{ name, value },
    }));
    await createTopic(client(brokers), { topic, numPartitions: 1, configEntries });
    const { exporter, tracer } = traced();
    const [clock, log, meter] = [createClock(), fakeLog(), fakeMeter()];
    const store = observeStore(empty, { meter, tracer, clock });
    const ports = { store, log, meter, clock, tracer, random: systemRandom };
    const consumer = createConsumer({
      ...{ ...ports, brokers, topic, groupId: topic },
      ingest: createIngest(ports),
    });
    const ready = consumerChecks(consumer, store, clock).find(({ of }) => of === 'ready');
    expect(await ready?.look()).toBe('not_joined');

    const transport = kafkaTransport(brokers, fakeLog(), topic);
    await transport.connect();
    const stream = newStream();
    const { signal } = new AbortController();
    await tracer.span({ name: 'send', kind: 'producer' }, () =>
      transport.send(stream.session_id, frame(stream.events(0, 4)), signal, tracer.traceparent()),
    );
    // No trace at all, and what somebody else may put there.
    await transport.send(stream.session_id, frame(stream.events(5, 6)), signal);
    const strange = `00-${'z'.repeat(32)}-\u0000`;
    await transport.send(stream.session_id, frame(stream.events(7, 9)), signal, strange);
    await transport.close();

    await consumer.start();
    onTestFinished(() => consumer.stop());
    await expect
      .poll(() => meter.counts.get('telltale.ingest.stored'), { timeout: 60_000 })
      .toBe(10);
    expect(await ready?.look()).toBeUndefined();
    // Three messages waited when it joined; how that goes on is for lag.test.ts.
    await expect.poll(() => meter.counts.get('telltale.ingest.lag')).toBeLessThanOrEqual(3);

    const spans = exporter.getFinishedSpans();
    const sent = spans.find(({ name }) => name === 'send')?.spanContext();
    const batches = spans.filter(({ name }) => name === 'process telltale.events');
    const links = batches.flatMap((span) => span.links.map(({ context }) => context));
    expect(links.map(({ traceId, spanId, isRemote }) => [traceId, spanId, isRemote])).toEqual([
      [sent?.traceId, sent?.spanId, true],
    ]);
    const linked = batches.find((span) => span.links.length > 0);
    const inserts = spans.filter(
      (span) =>
        span.name === 'INSERT' && span.parentSpanContext?.spanId === linked?.spanContext().spanId,
    );
    expect(inserts.map(({ attributes }) => attributes['db.collection.name'])).toContain(
      'telltale.events',
    );
    expect(meter.counts.get('telltale.ingest.watermark_delay')).toBe(batches.length);
  });
});
