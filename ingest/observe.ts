/** What is said of each batch that ingest takes: one span, and its share of the metrics. */
import { type Clock, EVENTS_TOPIC, type Meter, NO_TRACER, StoreError, type Tracer } from '#schemas';
import type { Batch, Summary } from './outcome.ts';

interface Deps {
  readonly meter: Meter;
  readonly clock: Clock;
  readonly tracer?: Tracer;
}

/** The newest time at which the log had a frame of the batch; undefined where no log says so. */
function loggedMs({ frames }: Batch): number | undefined {
  let newest: number | undefined;
  for (const { atMs } of frames) if (atMs !== undefined) newest = Math.max(newest ?? atMs, atMs);
  return newest;
}

/**
 * Runs `work` in the span of a batch. The spans that sent its frames are links of it and not its
 * parents (semantic conventions for messaging): one batch has the frames of many senders.
 */
export async function observeBatch(
  batch: Batch,
  { meter, clock, tracer = NO_TRACER }: Deps,
  work: () => Promise<Summary>,
): Promise<Summary> {
  const startNs = clock.monotonicNs();
  const { frames, via } = batch;
  const system = via === undefined ? {} : ({ 'messaging.system': via } as const);
  const start = {
    name: `process ${EVENTS_TOPIC}`,
    kind: 'consumer' as const,
    attributes: {
      ...system,
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.destination.name': EVENTS_TOPIC,
      'messaging.batch.message_count': frames.length,
    },
    links: frames.map(({ traceparent }) => traceparent),
  };
  const seconds = () => Number(clock.monotonicNs() - startNs) / 1e9;
  try {
    const summary = await tracer.span(start, work);
    meter.record('messaging.process.duration', seconds(), system);
    meter.count('messaging.client.consumed.messages', frames.length, system);
    meter.record('telltale.ingest.batch_events', summary.stored + summary.duplicates);
    meter.record(
      'telltale.ingest.batch_size',
      frames.reduce((sum, { bytes }) => sum + bytes.length, 0),
    );
    const logged = loggedMs(batch);
    if (logged !== undefined) {
      const delayMs = Math.max(0, Number(clock.wallNs() / 1_000_000n) - logged);
      meter.record('telltale.ingest.watermark_delay', delayMs / 1000);
    }
    return summary;
  } catch (error) {
    const type = error instanceof StoreError ? error.fault.code : '_OTHER';
    meter.record('messaging.process.duration', seconds(), { ...system, 'error.type': type });
    throw error;
  }
}
