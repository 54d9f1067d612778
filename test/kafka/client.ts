import { type ITopicConfig, Kafka, logLevel, Partitioners, type Producer } from 'kafkajs';

/** A silent client; what goes wrong is thrown. */
export function client(brokers: string[], requestMs = 10_000): Kafka {
  return new Kafka({
    clientId: 'telltale-test',
    brokers,
    logLevel: logLevel.NOTHING,
    requestTimeout: requestMs,
    retry: { retries: 20, initialRetryTime: 100, maxRetryTime: 1_000 },
  });
}

export async function createTopic(kafka: Kafka, topic: ITopicConfig): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    await admin.createTopics({ waitForLeaders: true, topics: [topic] });
  } finally {
    await admin.disconnect();
  }
}

/** An idempotent producer with one request in flight, connected. */
export async function openProducer(kafka: Kafka): Promise<Producer> {
  const producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    createPartitioner: Partitioners.DefaultPartitioner,
  });
  await producer.connect();
  return producer;
}

export interface Received {
  readonly partition: number;
  readonly value: Buffer;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
}

/** Reads a topic from its beginning with a group of its own until `count` messages came. */
export async function readAll(
  kafka: Kafka,
  topic: string,
  count: number,
  timeMs: number,
): Promise<Received[]> {
  const consumer = kafka.consumer({ groupId: `${topic}-reader-${Math.random()}` });
  const received: Received[] = [];
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      const late = () => reject(new Error(`${received.length} of ${count} after ${timeMs} ms`));
      const timer = setTimeout(late, timeMs);
      const eachMessage: Parameters<typeof consumer.run>[0] = {
        eachMessage: async ({ partition, message }) => {
          const value = message.value ?? Buffer.alloc(0);
          received.push({ partition, value, timestamp: Number(message.timestamp) });
          if (received.length < count) return;
          clearTimeout(timer);
          resolve();
        },
      };
      consumer.run(eachMessage).catch(reject);
    });
    return received;
  } finally {
    await consumer.disconnect();
  }
}
