/**
 * A simulated Kafka: partitions with a leader and followers, acknowledged when all in-sync
 * replicas have a message, visible below the high watermark, stamped by the leader's own clock
 * (LogAppendTime); a group coordinator with generations, session time-outs and commits with
 * metadata. It keeps what Kafka promises, and uses every freedom that Kafka leaves itself.
 */
import type { Proc, World } from './world.ts';

export interface LogMessage {
  readonly offset: string;
  readonly timestamp: string;
  readonly value: Buffer;
}

interface Entry {
  readonly value: Buffer;
  readonly timestampMs: number;
  readonly producer: string | undefined;
  readonly producerSeq: number;
}

interface Partition {
  entries: Entry[];
  /** All below is replicated and survives any change of leader. */
  high: number;
  leader: number;
  epoch: number;
  /** After a change of leader, consumers see less than `high` for a while. */
  shownHigh: number;
}

export interface BrokerSettings {
  readonly partitions: number;
  /** How far each broker's clock is off, in milliseconds. */
  readonly clockOffsetsMs: readonly number[];
  readonly sessionMs: number;
  readonly rebalanceMs: number;
  /** Accepts commits of any generation: a control. */
  readonly unfenced: boolean;
}

export class KafkaError extends Error {
  readonly type: string;
  constructor(type: string) {
    super(type);
    this.type = type;
  }
}

interface Member {
  readonly id: string;
  heardMs: number;
  joining: ((assigned: Joined) => void) | undefined;
  partitions: readonly number[];
}

export interface Joined {
  readonly memberId: string;
  readonly generation: number;
  readonly partitions: readonly number[];
}

export interface Broker {
  readonly partitions: number;
  /** Appends at the leader; resolves with the offset when it is replicated. */
  produce(
    partition: number,
    value: Buffer,
    producer?: string,
    producerSeq?: number,
  ): Promise<number>;
  leaderOf(partition: number): number;
  fetch(partition: number, from: number, bytesMax: number): readonly LogMessage[];
  highOf(partition: number): number;
  /** All of a partition that is replicated. */
  logOf(partition: number): readonly LogMessage[];
  join(memberId: string | undefined): Promise<Joined>;
  leave(memberId: string): void;
  /** Throws as the broker answers: REBALANCE_IN_PROGRESS, UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION. */
  heartbeat(memberId: string, generation: number): void;
  commit(
    memberId: string,
    generation: number,
    partition: number,
    offset: number,
    note: string,
  ): void;
  committed(partition: number): { readonly offset: number; readonly note: string };
  /** Faults. */
  moveLeader(partition: number): void;
  /** Followers of a partition fetch nothing for so long. */
  stallReplication(partition: number, ms: number): void;
  setAway(away: boolean): void;
  jumpClock(broker: number, ms: number): void;
  /** Everything is consumed. */
  readonly drained: boolean;
}

export function createBroker(world: World, settings: BrokerSettings): Broker {
  const dice = world.dice.fork('broker');
  const offsets = settings.clockOffsetsMs.slice();
  const hosts = offsets.map((_, i) => world.host(`broker-${i}`));
  const parts: Partition[] = Array.from({ length: settings.partitions }, (_, i) => ({
    entries: [],
    high: 0,
    leader: i % offsets.length,
    epoch: 0,
    shownHigh: 0,
  }));
  const stalledUntil = new Map<number, number>();
  const waiting = new Map<Partition, { at: number; epoch: number; done(ok: boolean): void }[]>();
  const commits = new Map<number, { offset: number; note: string }>();
  let away = false;

  const part = (n: number): Partition => parts[n] as Partition;
  const wall = (broker: number) =>
    Math.floor(world.wallMs(hosts[broker] as never) + (offsets[broker] as number));

  // --- the log --------------------------------------------------------------------------------

  function replicate(n: number, at: number, epoch: number): void {
    const p = part(n);
    const delay = dice.chance(0.02) ? dice.int(50, 400) : dice.int(1, 8);
    const stall = Math.max(0, (stalledUntil.get(n) ?? 0) - world.nowMs);
    world.after(stall + delay, () => {
      if (p.epoch !== epoch || at < p.high) return;
      p.high = at + 1;
      p.shownHigh = Math.max(p.shownHigh, p.high);
      settle(p);
    });
  }

  function settle(p: Partition): void {
    const list = waiting.get(p) ?? [];
    const open = list.filter((one) => {
      if (one.at < p.high) one.done(true);
      else if (one.epoch !== p.epoch) one.done(false);
      else return true;
      return false;
    });
    waiting.set(p, open);
  }

  function produce(n: number, value: Buffer, producer?: string, producerSeq = 0): Promise<number> {
    if (away) return Promise.reject(new KafkaError('BROKER_NOT_AVAILABLE'));
    const p = part(n);
    const known = p.entries.findIndex(
      (one) =>
        producer !== undefined && one.producer === producer && one.producerSeq === producerSeq,
    );
    let at = known;
    if (known < 0) {
      at = p.entries.length;
      p.entries.push({ value, timestampMs: wall(p.leader), producer, producerSeq });
      replicate(n, at, p.epoch);
    }
    const epoch = p.epoch;
    return new Promise((resolve, reject) => {
      const done = (ok: boolean) =>
        ok ? resolve(at) : reject(new KafkaError('NOT_LEADER_FOR_PARTITION'));
      waiting.set(p, [...(waiting.get(p) ?? []), { at, epoch, done }]);
      settle(p);
    });
  }

  function moveLeader(n: number): void {
    const p = part(n);
    p.leader = (p.leader + 1 + dice.int(0, offsets.length - 2)) % offsets.length;
    p.epoch++;
    // What was not replicated may be on the new leader, or not.
    p.entries.length = dice.int(p.high, p.entries.length);
    settle(p);
    for (let at = p.high; at < p.entries.length; at++) replicate(n, at, p.epoch);
    // The new leader learns the high watermark from its followers, later than its predecessor's.
    const all = p.shownHigh;
    p.shownHigh = dice.chance(0.5) ? all : Math.max(0, all - dice.int(0, 3));
    world.after(dice.int(5, 1500), () => {
      p.shownHigh = Math.max(p.shownHigh, p.high);
    });
    world.trace(`partition ${n} moves to broker ${p.leader}`);
  }

  function fetch(n: number, from: number, bytesMax: number): readonly LogMessage[] {
    if (away) throw new KafkaError('BROKER_NOT_AVAILABLE');
    return read(part(n), from, bytesMax);
  }

  function read(p: Partition, from: number, bytesMax: number): readonly LogMessage[] {
    const out: LogMessage[] = [];
    let bytes = 0;
    for (let at = from; at < p.shownHigh; at++) {
      const entry = p.entries[at] as Entry;
      bytes += entry.value.length;
      if (out.length > 0 && bytes > bytesMax) break;
      const { timestampMs, value } = entry;
      out.push({ offset: String(at), timestamp: String(timestampMs), value });
    }
    return out;
  }

  // --- the group ------------------------------------------------------------------------------

  const members = new Map<string, Member>();
  let generation = 0;
  let rebalancing = false;
  let ids = 0;

  function assign(): void {
    rebalancing = false;
    generation++;
    const list = [...members.values()];
    for (const [i, member] of list.entries())
      member.partitions = parts.map((_, n) => n).filter((n) => n % list.length === i);
    const words = list.map((member) => `${member.id}=[${member.partitions}]`).join(' ');
    world.trace(`group: generation ${generation} ${words}`);
    for (const member of list) {
      member.heardMs = world.nowMs;
      member.joining?.({ memberId: member.id, generation, partitions: member.partitions });
      member.joining = undefined;
    }
  }

  const assignIfAllJoined = () => {
    if (rebalancing && [...members.values()].every((one) => one.joining !== undefined)) assign();
  };

  /** Members that do not join in time are out. */
  function endRebalanceLater(mine: number): void {
    world.after(settings.rebalanceMs, () => {
      if (!rebalancing || generation !== mine) return;
      for (const member of [...members.values()])
        if (member.joining === undefined) members.delete(member.id);
      if (members.size > 0) assign();
      else rebalancing = false;
    });
  }

  function rebalance(): void {
    const begun = rebalancing;
    rebalancing = true;
    if (!begun) endRebalanceLater(generation);
    assignIfAllJoined();
  }

  function remove(id: string): void {
    if (!members.delete(id)) return;
    world.trace(`group: ${id} is out`);
    if (members.size > 0) rebalance();
    else generation++;
  }

  function watch(member: Member): void {
    world.after(500, () => {
      if (members.get(member.id) !== member) return;
      if (member.joining === undefined && world.nowMs - member.heardMs > settings.sessionMs)
        remove(member.id);
      else watch(member);
    });
  }

  function join(memberId: string | undefined): Promise<Joined> {
    if (away) return Promise.reject(new KafkaError('BROKER_NOT_AVAILABLE'));
    if (memberId !== undefined && !members.has(memberId))
      return Promise.reject(new KafkaError('UNKNOWN_MEMBER_ID'));
    return new Promise((resolve) => {
      const id = memberId ?? `member-${++ids}`;
      const member = members.get(id) ?? { id, heardMs: 0, joining: undefined, partitions: [] };
      const isNew = !members.has(id);
      members.set(id, member);
      member.heardMs = world.nowMs;
      member.joining = resolve;
      if (isNew) watch(member);
      rebalance();
    });
  }

  function check(id: string, of: number): Member {
    if (away) throw new KafkaError('BROKER_NOT_AVAILABLE');
    const member = members.get(id);
    if (member === undefined) throw new KafkaError('UNKNOWN_MEMBER_ID');
    if (of !== generation) throw new KafkaError('ILLEGAL_GENERATION');
    member.heardMs = world.nowMs;
    return member;
  }

  return {
    partitions: settings.partitions,
    produce,
    leaderOf: (n) => part(n).leader,
    fetch,
    highOf: (n) => part(n).shownHigh,
    logOf: (n) => read(part(n), 0, Number.POSITIVE_INFINITY),
    join,
    leave: remove,
    heartbeat(id, of) {
      check(id, of);
      if (rebalancing) throw new KafkaError('REBALANCE_IN_PROGRESS');
    },
    // A group that prepares to rebalance still takes the commits of the generation that ends.
    commit(id, of, n, offset, note) {
      if (!settings.unfenced) check(id, of);
      commits.set(n, { offset, note });
    },
    committed: (n) => commits.get(n) ?? { offset: 0, note: '' },
    moveLeader,
    stallReplication(n, ms) {
      stalledUntil.set(n, world.nowMs + ms);
    },
    setAway(is) {
      away = is;
    },
    jumpClock(broker, ms) {
      offsets[broker] = (offsets[broker] as number) + ms;
    },
    get drained() {
      return parts.every(
        (p, n) => p.high === p.entries.length && (commits.get(n)?.offset ?? 0) >= p.high,
      );
    },
  };
}

/** A round trip of one process to the brokers; the answer of a killed process goes nowhere. */
export function callBroker<T>(world: World, proc: Proc, work: () => T | Promise<T>): Promise<T> {
  const dice = world.dice;
  return new Promise((resolve, reject) => {
    const answer = (give: () => void) => world.after(dice.int(1, 5), give, proc);
    world.after(dice.int(1, 5), () => {
      // It has arrived: what happens now happens, whatever becomes of its sender.
      try {
        Promise.resolve(work()).then(
          (value) => answer(() => resolve(value)),
          (error) => answer(() => reject(error)),
        );
      } catch (error) {
        answer(() => reject(error));
      }
    });
  });
}
