/** A seed -> what is built and what goes wrong in it. Everything is decided here, before the run. */

import type { SessionSettings } from '../../collector/session.ts';
import type { ShipSettings } from '../../collector/ship.ts';
import type { BatchLimits } from '../../ingest/cut.ts';
import type { Workload } from './collector.ts';
import { createDice, type Dice } from './world.ts';

/** One protection each, switched off to see that the oracle misses it. */
export interface Controls {
  /** Inserts have no deduplication token. */
  readonly noToken: boolean;
  /** The token is forgotten after two inserts. */
  readonly shortWindow: boolean;
  /** Stored numbers are not read from the table. */
  readonly noRecovery: boolean;
  /** What is known of streams is kept over a group join. */
  readonly noForget: boolean;
  /** The end of a batch is not written down before its insert. */
  readonly noCutNote: boolean;
  /** The broker takes commits of members that are out. */
  readonly noFence: boolean;
  /** Offsets are committed before the write. */
  readonly commitFirst: boolean;
  /** The spool is released before the acknowledgement. */
  readonly ackAtOnce: boolean;
  /** One send over several partitions, as kafkajs must not be used. */
  readonly severalPartitions: boolean;
  /** An insert without an answer counts as done. */
  readonly trustInserts: boolean;
  /** The disk says that it has synced, and has not. */
  readonly noSync: boolean;
  /** A frame without an answer is not settled before the next one (HTTP). */
  readonly noSettle: boolean;
}

export const NO_CONTROLS: Controls = {
  noToken: false,
  shortWindow: false,
  noRecovery: false,
  noForget: false,
  noCutNote: false,
  noFence: false,
  commitFirst: false,
  ackAtOnce: false,
  severalPartitions: false,
  trustInserts: false,
  noSync: false,
  noSettle: false,
};

export const FAULT_KINDS = [
  'killCollector',
  'killInDiskOp',
  'stopCollector',
  'powerLoss',
  'diskFull',
  'wallJump',
  'collect',
  'killWorker',
  'stopWorker',
  'addWorker',
  'moveLeader',
  'stallReplication',
  'brokerAway',
  'brokerClock',
  'tableAway',
  'tableUnready',
  'tableFlaky',
  'tableLate',
  'poison',
  'repeat',
  'cutShort',
  'killServer',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export interface Fault {
  readonly atMs: number;
  readonly kind: FaultKind;
  /** How long it lasts, where it does. */
  readonly forMs: number;
  /** Which host, worker, partition … it hits: taken modulo their number. */
  readonly target: number;
}

export interface CollectorPlan {
  readonly host: number;
  readonly startMs: number;
  readonly session: number;
  readonly workload: Workload;
  readonly spoolBytesMax: number;
}

export interface Plan {
  readonly seed: number;
  readonly http: boolean;
  /** HTTP: the store is a server of its own, so that an insert may land late; else it is embedded. */
  readonly remoteStore: boolean;
  readonly hosts: number;
  readonly partitions: number;
  readonly brokerClocksMs: readonly number[];
  readonly workers: number;
  readonly collectors: readonly CollectorPlan[];
  readonly faults: readonly Fault[];
  readonly activeMs: number;
  readonly segmentBytes: number;
  readonly session: SessionSettings;
  readonly ship: ShipSettings;
  readonly limits: BatchLimits;
  readonly fetchBytes: number;
  /** The sender keeps no order and no idempotence. */
  readonly careless: boolean;
}

/** Longer than a member may be silent: its partitions go to others, and it comes back. */
const ZOMBIE_MS = [16_000, 24_000] as const;

/**
 * Which kinds of fault there are is a part of the seed, so that rare pairs meet. Half of the seeds
 * have storms: several faults within a second or two, where one alone would do no harm.
 */
function faultsOf(dice: Dice, activeMs: number, http: boolean, remote: boolean): Fault[] {
  const kinds = FAULT_KINDS.filter(() => dice.chance(0.35)).filter((kind) =>
    http
      ? !/Worker|Leader|Replication|broker|repeat|cutShort/.test(kind) &&
        kind !== (remote ? 'killServer' : 'tableLate')
      : kind !== 'killServer',
  );
  if (kinds.length === 0) return [];
  const storms = dice.chance(0.5)
    ? Array.from({ length: dice.int(1, 3) }, () => dice.int(500, activeMs))
    : [];
  const when = () =>
    storms.length > 0 && dice.chance(0.8) ? dice.pick(storms) + dice.int(0, 1_500) : undefined;
  return Array.from({ length: dice.int(2, 16) }, (): Fault => {
    const kind = dice.pick(kinds);
    const forMs = dice.chance(0.3) ? dice.int(5_000, 30_000) : dice.int(100, 5_000);
    const zombie = kind === 'stopWorker' && dice.chance(0.6);
    return {
      atMs: when() ?? dice.int(50, activeMs),
      kind,
      forMs: zombie ? dice.int(...ZOMBIE_MS) : forMs,
      target: dice.int(0, 1000),
    };
  }).sort((a, b) => a.atMs - b.atMs);
}

/**
 * What it takes to store something twice: inserts that land late, and their worker gone meanwhile,
 * while the log's times and ends are seen differently by the one that comes after it.
 */
function churnOf(dice: Dice, turnsMs: readonly number[]): Fault[] {
  const faults = turnsMs.flatMap((turn): Fault[] => {
    const around = (kind: FaultKind, from: number, to: number, forMs: number): Fault => {
      return { atMs: turn + dice.int(from, to), kind, forMs, target: dice.int(0, 1000) };
    };
    const out = dice.chance(0.5)
      ? around('killWorker', 50, 1_200, 0)
      : around('stopWorker', 50, 1_200, dice.int(...ZOMBIE_MS));
    return [
      around('tableLate', 0, 200, dice.int(500, 3_000)),
      out,
      around('stallReplication', 0, 400, dice.int(300, 1_500)),
      around('stallReplication', 400, 1_000, dice.int(300, 1_500)),
      ...(dice.chance(0.5) ? [around('brokerClock', 0, 1_000, 0)] : []),
      ...(dice.chance(0.5) ? [around('moveLeader', 0, 2_000, 0)] : []),
      ...(dice.chance(0.5) ? [around('repeat', 16_000, 24_000, 0)] : []),
      ...(dice.chance(0.5) ? [around('repeat', 24_000, 40_000, 0)] : []),
    ];
  });
  return faults.sort((a, b) => a.atMs - b.atMs);
}

function collectorOf(dice: Dice, hosts: number, sessions: number, activeMs: number): CollectorPlan {
  const batches = dice.int(3, 25);
  return {
    host: dice.int(0, hosts - 1),
    startMs: dice.int(0, 4_000),
    session: dice.int(0, sessions - 1),
    spoolBytesMax: dice.chance(0.2) ? dice.int(2_000, 8_000) : 1_000_000,
    workload: {
      batches,
      batchMax: dice.int(1, 5),
      // In one go, or over the whole time.
      pauseMsMax: dice.chance(0.3) ? 20 : Math.round((2.5 * activeMs) / batches),
      textMax: dice.pick([50, 3_000]),
      refusedShare: dice.chance(0.25) ? 0.1 : 0,
      days: dice.chance(0.25) ? dice.int(2, 5) : 1,
    },
  };
}

/** Between two turns of a churn: a member that is silent is out by then. */
const TURN_MS = 20_000;

/** One collector a turn, with many small frames just when its turn comes. */
function churnPlan(dice: Dice, plan: Plan): Plan {
  const collectors = plan.collectors.map((one, turn): CollectorPlan => {
    const workload = { ...one.workload, batches: dice.int(20, 40), batchMax: 2, pauseMsMax: 250 };
    return { ...one, startMs: turn * TURN_MS + dice.int(0, 1_500), workload };
  });
  const turnsMs = collectors.map((_, turn) => turn * TURN_MS + dice.int(1_500, 4_500));
  return {
    ...plan,
    collectors,
    partitions: 1,
    workers: 2,
    faults: churnOf(dice, turnsMs),
    activeMs: collectors.length * TURN_MS + 22_000,
    ship: { ...plan.ship, lingerMs: 5 },
    limits: { ...plan.limits, windowMs: 250 },
  };
}

/** Over HTTP: an insert lands late, and the store is away for longer than a request waits. */
function awayPlan(dice: Dice, plan: Plan): Plan {
  const faults = plan.collectors.flatMap(({ startMs }): Fault[] => {
    const atMs = startMs + dice.int(100, 3_000);
    const fault = (kind: FaultKind, after: number, forMs: number): Fault => {
      return { atMs: atMs + after, kind, forMs, target: dice.int(0, 1000) };
    };
    return [
      fault('tableLate', 0, dice.int(500, 2_500)),
      fault('tableAway', dice.int(300, 2_500), dice.int(11_000, 18_000)),
    ];
  });
  return { ...plan, faults: [...plan.faults, ...faults], ship: { ...plan.ship, lingerMs: 5 } };
}

export function planOf(seed: number): Plan {
  const dice = createDice(`plan/${seed}`);
  const http = dice.chance(0.25);
  const remoteStore = http && dice.chance(0.5);
  const activeMs = dice.int(5_000, 30_000);
  const hosts = dice.int(1, 2);
  const count = dice.int(1, 3);
  const sessions = dice.int(1, 2);
  const batchBytes = dice.int(1_500, 16_000);
  const plan: Plan = {
    seed,
    http,
    remoteStore,
    hosts,
    partitions: dice.int(1, 3),
    brokerClocksMs: [0, 1, 2].map(() => (dice.chance(0.5) ? 0 : dice.int(-3_000, 3_000))),
    workers: dice.int(1, 3),
    collectors: Array.from({ length: count }, () => collectorOf(dice, hosts, sessions, activeMs)),
    faults: faultsOf(dice, activeMs, http, remoteStore),
    activeMs,
    segmentBytes: dice.int(500, 8_000),
    session: {
      checkpointEvents: dice.int(8, 40),
      heartbeatMs: 1_000,
      idleHeartbeatMs: 30_000,
      blockMsMax: dice.pick([200, 2_000, 10_000]),
    },
    ship: {
      frameBytes: dice.int(500, 4_000),
      lingerMs: dice.pick([5, 100]),
      retryMsMin: 200,
      retryMsMax: 5_000,
    },
    limits: {
      windowMs: dice.pick([50, 250]),
      bytesMax: batchBytes,
      messagesMax: dice.int(2, 20),
    },
    fetchBytes: batchBytes + dice.int(500, 20_000),
    careless: dice.chance(0.1),
  };
  if (http) return remoteStore && dice.chance(0.5) ? awayPlan(dice, plan) : plan;
  return dice.chance(0.25) ? churnPlan(dice, plan) : plan;
}
