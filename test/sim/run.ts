/** One run: builds what the plan says, lets it go wrong, heals everything, drains, and asks the oracle. */
import { createHash } from 'node:crypto';
import { type Log, type Meter, partitionOf } from '#schemas';
import type { Transport } from '../../collector/ship.ts';
import { abandonedStreams } from '../../collector/spool.ts';
import { createFrameIntake } from '../../ingest/http.ts';
import { createIngest, type Ingest } from '../../ingest/loop.ts';
import { type Broker, createBroker } from './broker.ts';
import {
  type CollectorDeps,
  REFUSED_MARK,
  runCollect,
  runCollector,
  type Truth,
} from './collector.ts';
import { runWorker } from './consumer.ts';
import { createSimDisk, type SimDisk } from './disk.ts';
import { judgeRun, type Verdict } from './oracle.ts';
import { type CollectorPlan, type Controls, type Fault, NO_CONTROLS, type Plan } from './plan.ts';
import { createPoison } from './poison.ts';
import { createTable, type Fate, type Table } from './table.ts';
import { type Intake, simHttpTransport, simKafkaTransport } from './transport.ts';
import { createWorld, type Host, type Proc, type World } from './world.ts';

const DRAIN_MS = 30 * 60_000;
const LOOK_MS = 500;
const SPOOL_DIR = '/spool';
const HTTP_PATIENCE_MS = 10_000;

export interface Machine {
  readonly host: Host;
  readonly disk: SimDisk;
}

export interface CollectorRun {
  readonly plan: CollectorPlan;
  readonly machine: Machine;
  readonly truth: Truth;
  proc: Proc | undefined;
}

/** Everything of one run, for faults and for the oracle. */
export interface Run {
  readonly plan: Plan;
  readonly controls: Controls;
  readonly world: World;
  readonly broker: Broker;
  readonly table: Table;
  readonly machines: readonly Machine[];
  readonly collectors: readonly CollectorRun[];
  readonly workers: Proc[];
  /** What is logged as an error, by event. */
  readonly errors: Map<string, number>;
  readonly poisoned: { messages: number };
}

const uuid = (n: number) => `0193a5e0-0000-7000-8000-${n.toString(16).padStart(12, '0')}`;

function truthOf(n: number, plan: CollectorPlan): Truth {
  return {
    identity: {
      tenant: 'default',
      session_id: uuid(plan.session + 1),
      stream_id: uuid(4096 + n),
      agent: 'sim',
      host: `host-${plan.host}`,
      user: 'agent',
    },
    stamped: [],
    spooledMs: [],
    added: [],
    dropped: 0,
    closed: false,
    finished: false,
    killed: false,
    lossesMs: [],
    idleMs: [],
  };
}

export async function simulate(
  plan: Plan,
  chosen: Partial<Controls> = {},
  tracer?: (line: string) => void,
): Promise<Verdict> {
  const controls: Controls = { ...NO_CONTROLS, ...chosen };
  const world = createWorld(`run/${plan.seed}`, tracer);
  const errors = new Map<string, number>();
  const log = logOf(world, errors);
  const meter: Meter = { count: () => {}, gauge: () => {}, record: () => {} };
  const broker = createBroker(world, {
    partitions: plan.partitions,
    clockOffsetsMs: plan.brokerClocksMs,
    sessionMs: 15_000,
    rebalanceMs: 60_000,
    unfenced: controls.noFence,
  });
  const table = createTable(world, {
    window: controls.shortWindow ? 2 : 10_000,
    noTokens: controls.noToken,
    blind: controls.noRecovery,
    trusting: controls.trustInserts,
    refuse: (line) => line.includes(REFUSED_MARK),
  });
  const machines = Array.from({ length: plan.hosts }, (_, i): Machine => {
    const host = world.host(`host-${i}`);
    const disk = createSimDisk(world, host, [SPOOL_DIR]);
    disk.lies = controls.noSync;
    return { host, disk };
  });
  const collectors = plan.collectors.map(
    (one, n): CollectorRun => ({
      plan: one,
      machine: machines[one.host] as Machine,
      truth: truthOf(n, one),
      proc: undefined,
    }),
  );
  const workers: Proc[] = [];
  const poisoned = { messages: 0 };
  const run: Run = {
    ...{ plan, controls, world, broker, table, machines, collectors, workers, errors, poisoned },
  };
  const site = createSite(run, log, meter);
  for (const one of collectors) world.after(one.plan.startMs, () => site.record(one));
  site.startIngest();
  for (const fault of plan.faults)
    world.after(fault.atMs, () => {
      world.trace(`FAULT ${fault.kind} ${fault.target} for ${fault.forMs} ms`);
      site.inject(fault);
    });
  world.after(plan.activeMs + 1, () => site.heal());
  const drained = await world.run(() => site.isDrained(), LOOK_MS, DRAIN_MS);
  return judgeRun(run, drained);
}

function logOf(world: World, errors: Map<string, number>): Log {
  const say = (level: string) => (event: string, fields?: object) => {
    if (level === 'error') errors.set(event, (errors.get(event) ?? 0) + 1);
    world.trace(`  ${level} ${event} ${JSON.stringify(fields ?? {}).slice(0, 200)}`);
  };
  return { debug: () => {}, info: say('info'), warn: say('warn'), error: say('error') };
}

/** As `createFrameIntake`, but for what it keeps of a frame without an answer: a control. */
function unsettledIntake(ingest: Ingest, { clock }: Proc) {
  return async (frame: Buffer) => {
    const late = new AbortController();
    const endWait = clock.every(HTTP_PATIENCE_MS, () => late.abort());
    const name = `http/${createHash('sha256').update(frame).digest('hex')}`;
    const batch = { name, frames: [{ bytes: frame, origin: name }] };
    return ingest.take(batch, late.signal).finally(endWait);
  };
}

/** The running parts, and what may be done to them. */
function createSite(run: Run, log: Log, meter: Meter) {
  const { plan, controls, world, broker, table, machines, collectors, workers } = run;
  const dice = world.dice.fork('site');
  const intake: Intake = { take: undefined };
  const inspectors = machines.map((one) =>
    world.spawn(world.host('eye'), `eye-${one.host.name}`, () => new Promise(() => {})),
  );
  let server: Proc | undefined;
  let healed = false;
  let flakyUntil = 0;
  let lateUntil = 0;
  const poison = createPoison(dice.fork('poison'));

  const FATES: readonly Fate[] = ['lost_answer', 'late', 'lost', 'partial', 'busy', 'unreachable'];
  table.fate = () => {
    if (world.nowMs < lateUntil && dice.chance(0.7))
      return dice.pick<Fate>(['late', 'late', 'lost', 'lost_answer']);
    if (world.nowMs >= flakyUntil || dice.chance(0.4)) return 'ok';
    const embedded = plan.http && !plan.remoteStore;
    return dice.pick(embedded ? FATES.filter((one) => one !== 'late') : FATES);
  };

  const transportFor = (proc: Proc): Transport =>
    plan.http
      ? simHttpTransport(world, proc, intake)
      : simKafkaTransport(world, proc, broker, {
          ackAtOnce: controls.ackAtOnce,
          severalPartitions: controls.severalPartitions,
          careless: plan.careless,
        });

  const depsOf = ({ machine, plan: one }: CollectorRun): CollectorDeps => ({
    world,
    disk: machine.disk,
    transportFor,
    log,
    spool: {
      dir: SPOOL_DIR,
      bytesMax: one.spoolBytesMax,
      segmentBytes: plan.segmentBytes,
      syncMs: 1_000,
    },
    session: plan.session,
    ship: plan.ship,
  });

  function record(one: CollectorRun): void {
    const { truth, machine } = one;
    const name = `collector-${truth.identity.stream_id.slice(-2)}`;
    one.proc = world.spawn(machine.host, name, (proc) =>
      runCollector(proc, depsOf(one), truth, one.plan.workload),
    );
    one.proc.onEnd.push(() => {
      if (!truth.finished) truth.killed = true;
      truth.idleMs.push([world.nowMs, Number.POSITIVE_INFINITY]);
    });
  }

  /** `telltale collect`, unless one runs on this host. */
  function collect(machine: Machine): void {
    const sample = collectors.find((one) => one.machine === machine);
    if (sample === undefined) return;
    if ([...machine.host.procs].some(({ name }) => name === 'collect')) return;
    world.spawn(machine.host, 'collect', (proc) => runCollect(proc, depsOf(sample)));
  }

  function startWorker(): void {
    const proc = world.spawn(world.host('ingest'), `worker-${workers.length}`, (self) =>
      runWorker(self, {
        ...{ world, broker, table, log, meter },
        limits: plan.limits,
        fetchBytes: plan.fetchBytes,
        controls: {
          commitFirst: controls.commitFirst,
          noCutNote: controls.noCutNote,
          noForget: controls.noForget,
        },
      }),
    );
    workers.push(proc);
    proc.onEnd.push(() => world.after(dice.int(200, 5_000), startWorker));
  }

  /** `telltale up`: ingest over HTTP on an engine in the same process, which dies with it. */
  function startServer(): void {
    server = world.spawn(world.host('up'), 'server', async (proc) => {
      const store = table.connect(proc, () => dice.int(0, 2));
      const ingest = createIngest({ store, log, meter, clock: proc.clock, random: proc.random });
      intake.take = controls.noSettle
        ? unsettledIntake(ingest, proc)
        : createFrameIntake(ingest, proc.clock, HTTP_PATIENCE_MS);
      await new Promise(() => {});
    });
    server.onEnd.push(() => {
      intake.take = undefined;
      world.after(dice.int(200, 3_000), startServer);
    });
  }

  function startIngest(): void {
    if (plan.http) startServer();
    else for (let i = 0; i < plan.workers; i++) startWorker();
  }

  const living = <T>(list: readonly T[], target: number): T | undefined =>
    list.length === 0 ? undefined : list[target % list.length];
  const procsOf = () =>
    collectors
      .map(({ proc }) => proc)
      .filter((proc) => proc !== undefined && proc.state !== 'dead');
  const alive = () => workers.filter((proc) => proc.state !== 'dead');

  function powerLoss(machine: Machine): void {
    for (const one of collectors)
      if (one.machine === machine && one.proc !== undefined) one.truth.lossesMs.push(world.nowMs);
    machine.disk.powerLoss();
  }

  function stopFor(proc: Proc | undefined, ms: number): void {
    if (proc === undefined) return;
    const mine = collectors.find((one) => one.proc === proc);
    mine?.truth.idleMs.push([world.nowMs, world.nowMs + ms]);
    proc.stop();
    world.after(ms, () => proc.resume());
  }

  /** A message again, or its first part, as a network or a careless sender may give it. */
  function again(fault: Fault, whole: boolean): void {
    const n = fault.target % plan.partitions;
    const old = broker.logOf(n);
    // Of old, or of what came last.
    const one = living(fault.target % 2 === 0 ? old : old.slice(-8), fault.target);
    if (one === undefined) return;
    const cut = whole ? one.value.length : dice.int(1, one.value.length - 1);
    void broker.produce(n, one.value.subarray(0, cut)).catch(() => {});
  }

  function poisonLog(): void {
    const { session, bytes } = poison();
    run.poisoned.messages++;
    if (plan.http) void intake.take?.(bytes).catch(() => {});
    else
      void broker.produce(partitionOf(session, plan.partitions), bytes).catch(() => {
        run.poisoned.messages--;
      });
  }

  const ACTIONS: Record<Fault['kind'], (fault: Fault) => void> = {
    killCollector: (fault) => living(procsOf(), fault.target)?.kill(),
    killInDiskOp: (fault) => {
      const proc = living(procsOf(), fault.target);
      if (proc !== undefined) proc.killAtDiskOp = 1 + (fault.target % 12);
    },
    stopCollector: (fault) => stopFor(living(procsOf(), fault.target), fault.forMs),
    powerLoss: (fault) => powerLoss(living(machines, fault.target) as Machine),
    diskFull: (fault) => {
      const { disk } = living(machines, fault.target) as Machine;
      disk.full = true;
      world.after(fault.forMs, () => {
        disk.full = false;
      });
    },
    wallJump: (fault) => {
      const { host } = living(machines, fault.target) as Machine;
      host.wallOffsetMs += (fault.target - 500) * 7_200;
    },
    collect: (fault) => collect(living(machines, fault.target) as Machine),
    killWorker: (fault) => living(alive(), fault.target)?.kill(),
    stopWorker: (fault) => stopFor(living(alive(), fault.target), fault.forMs),
    addWorker: () => {
      if (alive().length < 4) startWorker();
    },
    moveLeader: (fault) => broker.moveLeader(fault.target % plan.partitions),
    stallReplication: (fault) =>
      broker.stallReplication(fault.target % plan.partitions, fault.forMs),
    brokerAway: (fault) => {
      broker.setAway(true);
      world.after(fault.forMs, () => broker.setAway(false));
    },
    brokerClock: (fault) => broker.jumpClock(fault.target % 3, (fault.target - 500) * 10),
    tableAway: (fault) => {
      table.away = true;
      world.after(fault.forMs, () => {
        table.away = false;
      });
    },
    tableUnready: (fault) => {
      table.unready = true;
      world.after(fault.forMs, () => {
        table.unready = false;
      });
    },
    tableFlaky: (fault) => {
      flakyUntil = Math.max(flakyUntil, world.nowMs + fault.forMs);
    },
    tableLate: (fault) => {
      lateUntil = Math.max(lateUntil, world.nowMs + fault.forMs);
    },
    poison: poisonLog,
    repeat: (fault) => again(fault, true),
    cutShort: (fault) => again(fault, false),
    killServer: () => server?.kill(),
  };

  function inject(fault: Fault): void {
    ACTIONS[fault.kind](fault);
  }

  function heal(): void {
    healed = true;
    [flakyUntil, lateUntil] = [0, 0];
    table.away = false;
    table.unready = false;
    broker.setAway(false);
    for (const { disk } of machines) disk.full = false;
    for (const proc of [...procsOf(), ...alive()]) proc?.resume();
    world.trace('HEALED');
    sweep();
  }

  const leftOn = (i: number) => {
    const disk = (machines[i] as Machine).disk.portFor(inspectors[i] as Proc);
    return abandonedStreams(SPOOL_DIR, disk).length;
  };

  function sweep(): void {
    for (const [i, machine] of machines.entries()) {
      if (leftOn(i) > 0) collect(machine);
    }
    if (!isDrained()) world.after(2_000, sweep);
  }

  function isDrained(): boolean {
    if (!healed || table.flying > 0) return false;
    if (collectors.some(({ proc }) => proc === undefined || proc.state !== 'dead')) return false;
    if (machines.some((one) => [...one.host.procs].some(({ name }) => name === 'collect')))
      return false;
    return machines.every((_, i) => leftOn(i) === 0) && (plan.http || broker.drained);
  }

  return { record, startIngest, inject, heal, isDrained };
}
