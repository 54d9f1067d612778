/**
 * An ingest worker as a simulated process: the production code from `createWorker` and
 * `createIngest` down, under a client of the simulated broker that behaves as kafkajs does.
 */
import type { Log, Meter } from '#schemas';
import type { BatchLimits } from '../../ingest/cut.ts';
import { createIngest } from '../../ingest/loop.ts';
import { type Committed, createWorker, type Membership, type Worker } from '../../ingest/work.ts';
import { type Broker, callBroker, type Joined, KafkaError } from './broker.ts';
import type { Table } from './table.ts';
import type { Proc, World } from './world.ts';

export interface ConsumerControls {
  /** Commits what was fetched before it is worked on. */
  readonly commitFirst: boolean;
  /** Where a batch ends is not written down. */
  readonly noCutNote: boolean;
  /** The worker is not told of group joins. */
  readonly noForget: boolean;
}

export interface WorkerDeps {
  readonly world: World;
  readonly broker: Broker;
  readonly table: Table;
  readonly log: Log;
  readonly meter: Meter;
  readonly limits: BatchLimits;
  readonly fetchBytes: number;
  readonly controls: ConsumerControls;
}

const HEARTBEAT_MS = 3_000;
const FETCH_WAIT_MS = 250;
const RETRY_MS = 500;
const PARTITIONS_AT_ONCE = 4;

const isOut = (error: unknown, ...types: string[]) =>
  error instanceof KafkaError && types.includes(error.type);

/** Runs until the process is killed, or rejects when the worker gives up. */
export async function runWorker(proc: Proc, deps: WorkerDeps): Promise<void> {
  const { world, broker, table, controls } = deps;
  const { clock, random } = proc;
  const dice = world.dice.fork(`worker/${proc.pid}`);
  const store = table.connect(proc, () => dice.int(1, 6));
  const ports = { store, log: deps.log, meter: deps.meter, clock, random };
  const call = <T>(work: () => T | Promise<T>) => callBroker(world, proc, work);

  let fail: (error: unknown) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {});
  let notes: Promise<ReadonlyMap<number, Committed>> | undefined;
  let joined: Joined | undefined;
  let heardMs = 0;
  let positions = new Map<number, number>();

  const readNotes = () =>
    call(() => {
      const all = Array.from({ length: broker.partitions }, (_, n) => n);
      return new Map(
        all.map((n) => [n, { ...broker.committed(n), offset: String(broker.committed(n).offset) }]),
      );
    });
  const worker: Worker = createWorker({
    log: deps.log,
    meter: deps.meter,
    clock,
    ingest: createIngest(ports),
    topic: 't',
    limits: deps.limits,
    committedOf: async (n) => {
      notes ??= readNotes();
      const { offset, note } = (await notes).get(n) as Committed;
      return controls.noCutNote ? { offset: '-1', note: '' } : { offset, note };
    },
    fail,
  });

  /** Gated and shared as in kafkajs: at most one request each interval. */
  async function heartbeat(): Promise<void> {
    const member = joined;
    const now = Number(clock.monotonicNs() / 1_000_000n);
    if (member === undefined || now < heardMs + HEARTBEAT_MS) return;
    await call(() => broker.heartbeat(member.memberId, member.generation));
    heardMs = Number(clock.monotonicNs() / 1_000_000n);
  }

  async function rejoin(): Promise<void> {
    for (;;) {
      try {
        const id = joined?.memberId;
        joined = await call(() => broker.join(id));
        break;
      } catch (error) {
        if (isOut(error, 'UNKNOWN_MEMBER_ID')) joined = undefined;
        await clock.sleep(RETRY_MS);
      }
    }
    heardMs = Number(clock.monotonicNs() / 1_000_000n);
    positions = new Map();
    if (!controls.noForget) {
      notes = undefined;
      worker.joined();
    }
  }

  function membershipOf(partition: number): Membership {
    return {
      heartbeat,
      commit: async (offset, note) => {
        const member = joined;
        if (member === undefined) throw new KafkaError('UNKNOWN_MEMBER_ID');
        const text = controls.noCutNote ? '' : note;
        await call(() => {
          broker.commit(member.memberId, member.generation, partition, Number(offset), text);
        });
      },
      resolve: (offset) => void positions.set(partition, Number(offset)),
      isCurrent: () => joined !== undefined,
    };
  }

  async function handle(partition: number, from: number): Promise<void> {
    const { messages, highWatermark } = await call(() => ({
      messages: broker.fetch(partition, from, deps.fetchBytes),
      highWatermark: String(broker.highOf(partition)),
    }));
    if (messages.length === 0) return;
    const member = membershipOf(partition);
    if (controls.commitFirst) {
      const end = String(Number(messages.at(-1)?.offset) + 1);
      await member.commit(end, '');
    }
    await worker.work({ partition, messages, highWatermark }, member);
  }

  async function startOf(partition: number): Promise<number> {
    const known = positions.get(partition);
    if (known !== undefined) return known;
    const { offset } = await call(() => broker.committed(partition));
    if (!positions.has(partition)) positions.set(partition, offset);
    return positions.get(partition) ?? offset;
  }

  /** Fetches what one broker leads; its partitions are worked on side by side, then it fetches on. */
  async function fetcher(leader: number, mine: Joined, ended: () => boolean): Promise<void> {
    const led = mine.partitions.filter((n) => broker.leaderOf(n) === leader);
    while (!ended()) {
      const works = led.slice(0, PARTITIONS_AT_ONCE).map(async (n) => handle(n, await startOf(n)));
      const results = await Promise.allSettled(works);
      const bad = results.find((one) => one.status === 'rejected');
      if (bad !== undefined) throw (bad as PromiseRejectedResult).reason;
      const moved = led.some((n) => broker.leaderOf(n) !== leader);
      // kafkajs joins again at once when a leader has moved, while the other fetchers go on.
      if (moved) return rejoin();
      if (joined !== mine) return;
      await heartbeat();
      const idle = led.every((n) => (positions.get(n) ?? 0) >= broker.highOf(n));
      if (idle) await clock.sleep(FETCH_WAIT_MS);
    }
  }

  async function loop(): Promise<void> {
    await rejoin();
    for (;;) {
      const mine = joined as Joined;
      let over = false;
      const leaders = [...new Set(mine.partitions.map((n) => broker.leaderOf(n)))];
      if (leaders.length === 0) leaders.push(-1);
      const fetchers = leaders.map((leader) =>
        fetcher(leader, mine, () => over || joined !== mine).finally(() => {
          over = true;
        }),
      );
      const results = await Promise.allSettled(fetchers);
      const bad = results.find((one) => one.status === 'rejected') as
        | PromiseRejectedResult
        | undefined;
      if (bad === undefined) continue;
      if (isOut(bad.reason, 'REBALANCE_IN_PROGRESS', 'ILLEGAL_GENERATION', 'UNKNOWN_MEMBER_ID'))
        await rejoin();
      else await clock.sleep(RETRY_MS);
    }
  }

  await Promise.race([failed, loop()]);
}
