/**
 * Shipping: spool -> frames -> Kafka, or HTTP to `telltale up`. The only file that produces.
 *
 * kafkajs loses acknowledged messages when a leader moves, unless it is used by these rules
 * (measured; the cause is in its `sendMessages.js`, tulios/kafkajs#1303):
 *   1. one `send` carries messages of one topic and one partition, named explicitly;
 *   2. at most one send is in flight for a partition;
 *   3. the answer is checked: one entry, that partition, error code 0, a base offset;
 *   4. the spool is released only by that answer;
 *   5. none of this is trusted: the sequence numbers in the table prove it.
 */
import type { Producer } from 'kafkajs';
import {
  type Clock,
  connectionAdvice,
  EVENTS_TOPIC,
  FETCH_TRUST,
  FRAME_BYTES_TARGET,
  frameLines,
  isAcknowledged,
  KAFKA_TRUST,
  type KafkaSecurity,
  type Log,
  type Meter,
  NO_TRACER,
  orAbort,
  partitionOf,
  type Tracer,
} from '#schemas';
import type { Spool } from './spool.ts';

/** Delivers one frame; resolves only when the other side has it for good. */
export interface Transport {
  readonly name: string;
  /** As metrics and spans call it; absent: neither. */
  readonly system?: 'kafka' | 'http';
  connect(): Promise<void>;
  /** `traceparent` (W3C) goes along, so that the other side can say what led to its work. */
  send(sessionId: string, frame: Buffer, signal: AbortSignal, traceparent?: string): Promise<void>;
  close(): Promise<void>;
}

/** A delivery that failed. The frame stays in the spool, whatever the cause, and is sent again. */
export class ShipError extends Error {
  override readonly name = 'ShipError';
}

const SEND_TIMEOUT_MS = 60_000;

/** Ships to the `POST /v1/frames` of an ingest service; acknowledged after its write. */
export function httpTransport(url: URL): Transport {
  const endpoint = new URL('/v1/frames', url);
  return {
    name: endpoint.href,
    system: 'http',
    connect: async () => {},
    close: async () => {},
    async send(_sessionId, frame, signal, traceparent) {
      let response: Response;
      try {
        response = await fetch(endpoint, {
          method: 'POST',
          headers: {
            'content-type': 'application/x-telltale-frame',
            ...(traceparent === undefined ? {} : { traceparent }),
          },
          body: new Uint8Array(frame),
          signal: AbortSignal.any([signal, AbortSignal.timeout(SEND_TIMEOUT_MS)]),
        });
      } catch (error) {
        throw new ShipError(`${endpoint.href} did not answer`, { cause: error });
      }
      const body = (await response.text()).slice(0, 500);
      if (response.ok) return;
      throw new ShipError(`${endpoint.href} answered ${response.status}: ${body}`);
    },
  };
}

/**
 * The destination in words of a user: an http(s) URL, or kafka://host:port,host:port, whose brokers
 * are spoken to by `security`.
 */
export function openTransport(to: string, log: Log, security: KafkaSecurity = {}): Transport {
  if (to.startsWith('kafka://')) {
    const brokers = to.slice('kafka://'.length).split(',').filter(Boolean);
    if (brokers.length > 0) return kafkaTransport(brokers, log, EVENTS_TOPIC, security);
  } else if (URL.canParse(to)) {
    const url = new URL(to);
    if (url.protocol === 'http:' || url.protocol === 'https:') return httpTransport(url);
  }
  throw new Error(`--to ${to}: give http://HOST:PORT or kafka://HOST:PORT[,HOST:PORT]`);
}

/** Ships to Kafka. The number of partitions is read from the broker at `connect`. */
export function kafkaTransport(
  brokers: readonly string[],
  log: Log,
  topic = EVENTS_TOPIC,
  security: KafkaSecurity = {},
): Transport {
  let opened: ReturnType<typeof openKafka> | undefined;
  const lastSend = new Map<number, Promise<unknown>>();
  let partitions = 0;

  async function connect(): Promise<void> {
    opened ??= openKafka(brokers, log, security);
    const { kafka, producer } = await opened;
    const admin = kafka.admin();
    await admin.connect();
    try {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
      partitions = topics[0]?.partitions.length ?? 0;
    } catch (error) {
      if ((error as { type?: string }).type !== 'UNKNOWN_TOPIC_OR_PARTITION') throw error;
      partitions = 0;
    } finally {
      await admin.disconnect();
    }
    if (partitions === 0)
      throw new ShipError(`topic ${topic} does not exist: run "telltale migrate"`);
    await producer.connect();
  }

  async function sendTo(
    partition: number,
    key: string,
    value: Buffer,
    headers: { traceparent?: string },
  ): Promise<void> {
    if (opened === undefined) throw new ShipError('not connected yet');
    const { producer } = await opened;
    const answer = await producer.send({
      topic,
      acks: -1,
      messages: [{ key, value, partition, headers }],
    });
    if (!isAcknowledged(answer, partition))
      throw new ShipError(`the broker did not acknowledge: ${JSON.stringify(answer)}`);
  }

  return {
    name: `kafka://${brokers.join(',')}`,
    system: 'kafka',
    connect,
    async send(sessionId, frame, signal, traceparent) {
      const headers = traceparent === undefined ? {} : { traceparent };
      const partition = partitionOf(sessionId, partitions);
      const before = lastSend.get(partition) ?? Promise.resolve();
      const turn = before.then(() => sendTo(partition, sessionId, frame, headers));
      const settled = turn.catch(() => {});
      lastSend.set(partition, settled);
      // kafkajs can't be told to give up. An abandoned send may still arrive: the spool keeps the
      // frame, it is sent again, and ingest drops the double by its numbers.
      await orAbort(turn, signal, () => new ShipError('shipping was stopped'));
    },
    close: async () => (await opened)?.producer.disconnect(),
  };
}

/** Loaded where it is used only: who ships over HTTP has no use for 140 modules more. */
async function openKafka(brokers: readonly string[], log: Log, security: KafkaSecurity) {
  const { Kafka, logLevel, Partitioners } = await import('kafkajs');
  const kafka = new Kafka({
    clientId: 'telltale-collector',
    brokers: [...brokers],
    ...security,
    requestTimeout: 30_000,
    retry: { retries: 5, initialRetryTime: 200, maxRetryTime: 3_000 },
    logLevel: logLevel.ERROR,
    logCreator: () => (entry) => log.debug('kafkajs', { message: entry.log.message }),
  });
  const producer: Producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    createPartitioner: Partitioners.DefaultPartitioner,
    // Few retries would make kafkajs warn that idempotence is off; the shipper retries besides.
    retry: { retries: 1_000, initialRetryTime: 200, maxRetryTime: 3_000 },
  });
  return { kafka, producer };
}

export interface ShipSettings {
  readonly frameBytes: number;
  /** How long lines wait for company before a frame is sent. */
  readonly lingerMs: number;
  readonly retryMsMin: number;
  readonly retryMsMax: number;
}

export const SHIP_DEFAULTS: ShipSettings = {
  frameBytes: FRAME_BYTES_TARGET,
  lingerMs: 100,
  retryMsMin: 200,
  retryMsMax: 5_000,
};

export interface Shipper {
  start(): void;
  /** Ships until nothing waits or `deadlineMs` has passed; true when nothing waits. */
  drain(deadlineMs: number): Promise<boolean>;
  stop(): Promise<void>;
}

interface ShipDeps {
  readonly spool: Spool;
  readonly transport: Transport;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  /** Absent: nothing is traced. */
  readonly tracer?: Tracer;
  readonly settings?: ShipSettings;
}

/** Ships one stream's spool, in order, one frame in flight, for as long as it takes. */
export function createShipper(deps: ShipDeps): Shipper {
  const { spool, transport, log, meter, clock, tracer = NO_TRACER } = deps;
  const settings = deps.settings ?? SHIP_DEFAULTS;
  const system = transport.system === undefined ? {} : { 'messaging.system': transport.system };
  const abort = new AbortController();
  let running: Promise<void> | undefined;
  let connected = false;
  let urgent = false;

  /** Sends one frame, in a span whose `traceparent` goes along with it. */
  async function send(frame: Buffer, events: number): Promise<void> {
    const { session_id } = spool.identity;
    const attributes = {
      ...system,
      'messaging.operation.name': 'send',
      'messaging.operation.type': 'send',
      'messaging.destination.name': EVENTS_TOPIC,
      'messaging.message.body.size': frame.length,
      'telltale.events': events,
    };
    const startNs = clock.monotonicNs();
    const note = (failed: boolean) =>
      meter.record(
        'messaging.client.operation.duration',
        Number(clock.monotonicNs() - startNs) / 1e9,
        failed ? { ...system, 'error.type': 'ShipError' } : system,
      );
    try {
      await tracer.span({ name: `send ${EVENTS_TOPIC}`, kind: 'producer', attributes }, () =>
        transport.send(session_id, frame, abort.signal, tracer.traceparent()),
      );
    } catch (error) {
      note(true);
      throw error;
    }
    note(false);
    meter.count('messaging.client.sent.messages', 1, system);
  }

  async function sendNext(): Promise<void> {
    const lines = spool.peek(settings.frameBytes);
    const first = lines[0];
    if (first === undefined) return;
    if (!connected) await transport.connect();
    connected = true;
    const { tenant, session_id, stream_id } = spool.identity;
    const id = { tenant, session_id, stream_id, first_seq: first.seq };
    const frame = frameLines(
      id,
      lines.map((line) => line.bytes),
    );
    await send(frame, lines.length);
    spool.release(first.seq + lines.length);
    meter.count('telltale.collector.events_shipped', lines.length);
    meter.gauge('telltale.collector.spool_size', spool.pendingBytes);
  }

  async function loop(): Promise<void> {
    let delayMs = settings.retryMsMin;
    let failing = false;
    while (!abort.signal.aborted) {
      try {
        if (spool.pending === 0) await clock.sleep(settings.lingerMs, abort.signal).catch(() => {});
        else {
          if (!urgent && spool.pendingBytes < settings.frameBytes)
            await clock.sleep(settings.lingerMs, abort.signal).catch(() => {});
          await tracer.span({ name: 'ship batch' }, sendNext);
          if (failing) log.info('ship.resumed', { to: transport.name });
          failing = false;
          delayMs = settings.retryMsMin;
        }
      } catch (error) {
        if (abort.signal.aborted) return;
        if (!failing) logFailure(log, transport.name, error, spool.pending);
        failing = true;
        meter.count('telltale.collector.ship_failures', 1);
        meter.gauge('telltale.collector.spool_size', spool.pendingBytes);
        await clock.sleep(delayMs, abort.signal).catch(() => {});
        delayMs = Math.min(delayMs * 2, settings.retryMsMax);
      }
    }
  }

  return {
    start() {
      running ??= loop();
    },
    async drain(deadlineMs) {
      urgent = true;
      const end = clock.monotonicNs() + BigInt(deadlineMs) * 1_000_000n;
      while (spool.pending > 0 && clock.monotonicNs() < end) await clock.sleep(10);
      return spool.pending === 0;
    },
    async stop() {
      abort.abort();
      await running;
    },
  };
}

function logFailure(log: Log, to: string, error: unknown, waiting: number): void {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : '';
  const message = error instanceof Error ? error.message : String(error);
  const advice = connectionAdvice(error, to.startsWith('kafka:') ? KAFKA_TRUST : FETCH_TRUST);
  log.warn('ship.failed', {
    ...{ to, error: cause === '' ? message : `${message}: ${cause}`, waiting },
    ...(advice === undefined ? {} : { advice }),
  });
}
