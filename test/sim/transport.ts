/**
 * The shipper's transports over the simulated network. The one to Kafka keeps the rules at the top
 * of `collector/ship.ts`, or breaks them as kafkajs does when it is used without them.
 */
import { partitionOf } from '#schemas';
import { ShipError, type Transport } from '../../collector/ship.ts';
import { type Broker, callBroker } from './broker.ts';
import type { Proc, World } from './world.ts';

export interface Manners {
  /** Answers before the broker has the frame: a control. */
  readonly ackAtOnce: boolean;
  /**
   * One send over several partitions (tulios/kafkajs#1303): when the leader moves in the middle,
   * the frame is never sent, and the call succeeds.
   */
  readonly severalPartitions: boolean;
  /** No idempotence: what was retried may be there twice, and later than what came after it. */
  readonly careless: boolean;
}

const RETRIES = 1000;
/** Each has an id of its own, as the broker gives it. */
let producers = 0;
const RETRY_MS = 300;

/** As kafkajs has it: retries by itself, one send in flight, and can't be told to give up. */
export function simKafkaTransport(
  world: World,
  proc: Proc,
  broker: Broker,
  manners: Manners,
): Transport {
  const dice = world.dice.fork(`transport/${proc.pid}`);
  const producer = `producer-${++producers}`;
  let serial = 0;
  let last: Promise<unknown> = Promise.resolve();

  async function deliver(partition: number, frame: Buffer): Promise<void> {
    const leader = broker.leaderOf(partition);
    if (manners.severalPartitions) {
      await proc.clock.sleep(dice.int(1, 10));
      if (broker.leaderOf(partition) !== leader || dice.chance(0.02)) {
        world.trace(`${proc.name}: a frame is acknowledged and never sent`);
        return;
      }
    }
    const mine = serial++;
    for (let attempt = 0; attempt < RETRIES; attempt++) {
      try {
        const id = manners.careless ? undefined : producer;
        await callBroker(world, proc, () => broker.produce(partition, frame, id, mine));
        // The answer is lost at times, and the client sends again.
        if (!dice.chance(0.03)) return;
      } catch {
        await proc.clock.sleep(RETRY_MS);
      }
    }
    throw new ShipError('the broker did not acknowledge');
  }

  return {
    name: 'sim://kafka',
    connect: async () => {
      await callBroker(world, proc, () => broker.highOf(0));
    },
    close: async () => {},
    async send(sessionId, frame, signal) {
      const partition = partitionOf(sessionId, broker.partitions);
      if (manners.ackAtOnce) {
        void deliver(partition, frame).catch(() => {});
        return;
      }
      if (manners.careless && dice.chance(0.1)) {
        // Gives up on a send that is still on its way.
        void proc.clock.sleep(dice.int(10, 4_000)).then(() => deliver(partition, frame));
        throw new ShipError('no answer');
      }
      const turn = last.then(() => deliver(partition, frame));
      last = turn.catch(() => {});
      await orAbort(turn, signal);
    },
  };
}

function orAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const give = () => reject(new ShipError('shipping was stopped'));
    if (signal.aborted) give();
    else signal.addEventListener('abort', give, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', give));
  });
}

/** Where `telltale up` listens; undefined while it is down. */
export interface Intake {
  take: ((frame: Buffer) => Promise<unknown>) | undefined;
}

const SEND_TIMEOUT_MS = 60_000;

/** POST /v1/frames: a request or its answer is lost at times, and a request may come late. */
export function simHttpTransport(world: World, proc: Proc, intake: Intake): Transport {
  const dice = world.dice.fork(`http/${proc.pid}`);
  return {
    name: 'sim://http',
    connect: async () => {},
    close: async () => {},
    send: (_sessionId, frame, signal) => {
      const answered = new Promise<void>((resolve, reject) => {
        const fail = (why: string) => reject(new ShipError(why));
        const broken = dice.chance(0.03);
        world.after(dice.chance(0.02) ? dice.int(100, 3_000) : dice.int(1, 5), () => {
          const { take } = intake;
          if (take === undefined) return world.after(2, () => fail('refused'), proc);
          take(frame).then(
            () => world.after(dice.int(1, 5), () => (broken ? fail('reset') : resolve()), proc),
            (error) => world.after(dice.int(1, 5), () => fail(String(error)), proc),
          );
        });
        world.after(broken ? dice.int(5, 500) : SEND_TIMEOUT_MS, () => fail('no answer'), proc);
      });
      return orAbort(answered, signal);
    },
  };
}
