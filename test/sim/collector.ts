/**
 * A collector as a simulated process: the production session, stamper, spool and shipper, under an
 * agent that does things; and `telltale collect`, which ships what a dead collector left.
 */
import type { Draft, Log, Meter } from '#schemas';
import { isDiskFull } from '../../collector/disk.ts';
import { openSession, type SessionSettings } from '../../collector/session.ts';
import { createShipper, type ShipSettings, type Transport } from '../../collector/ship.ts';
import {
  abandonedStreams,
  adoptSpool,
  createSpool,
  type Spool,
  type SpoolSettings,
} from '../../collector/spool.ts';
import type { StreamIdentity } from '../../collector/stamp.ts';
import type { SimDisk } from './disk.ts';
import type { Dice, Proc, World } from './world.ts';

/** What is known of one stream because it was made here: what the table is held against. */
export interface Truth {
  readonly identity: StreamIdentity;
  /** Bytes of each event that got a number, by number. */
  readonly stamped: Buffer[];
  /** When the spool had taken each of them; it takes them in order. */
  readonly spooledMs: number[];
  /** Drafts given to `add` that resolved, in order. */
  readonly added: string[];
  /** As the collector's meter says. */
  dropped: number;
  closed: boolean;
  finished: boolean;
  killed: boolean;
  /** When the power of its host went, if it did while the stream's events were on its disk. */
  readonly lossesMs: number[];
  /** When its process was stopped or dead, so that nothing was synced. */
  readonly idleMs: (readonly [fromMs: number, toMs: number])[];
}

export interface CollectorDeps {
  readonly world: World;
  readonly disk: SimDisk;
  readonly transportFor: (proc: Proc) => Transport;
  readonly log: Log;
  readonly spool: SpoolSettings;
  readonly session: SessionSettings;
  readonly ship: ShipSettings;
}

export interface Workload {
  readonly batches: number;
  readonly batchMax: number;
  readonly pauseMsMax: number;
  /** Bytes of the larger texts. */
  readonly textMax: number;
  /** A share of the events that the engine refuses. */
  readonly refusedShare: number;
  /** Event times spread over so many days. */
  readonly days: number;
}

const DAY_MS = 86_400_000;
/** Text in an event that the simulated engine refuses. */
export const REFUSED_MARK = 'refuse-this-row';

const meterOf = (truth: Truth): Meter => ({
  count: (name, by) => {
    if (name === 'telltale.collector.events_dropped') truth.dropped += by;
  },
  gauge: () => {},
  record: () => {},
});

/** The name of a draft, by which it is found again in the table. */
export const draftName = (truth: Truth, n: number) => `${truth.identity.stream_id}/d${n}`;

function draftOf(name: string, proc: Proc, work: Workload, dice: Dice): Draft {
  const day = work.days > 1 ? dice.int(0, work.days - 1) * DAY_MS : 0;
  const ts = proc.clock.wallNs() + BigInt(day) * 1_000_000n;
  const base = { ts: ts.toString(), source: 'seccomp', assurance: 'observed', pid: 42 };
  const mark = dice.chance(work.refusedShare) ? REFUSED_MARK : '';
  const text = `${name} ${mark}${'x'.repeat(dice.chance(0.1) ? dice.int(0, work.textMax) : 8)}`;
  return (
    dice.chance(0.2)
      ? { ...base, kind: 'prompt', prompt: text }
      : { ...base, kind: 'file', file_op: 'create', file_path: `/${text}` }
  ) as Draft;
}

/** Keeps what passes on its way into the spool. */
function watched(spool: Spool, truth: Truth, world: World): Spool {
  return Object.create(spool, {
    append: {
      value: (events: Parameters<Spool['append']>[0]) => {
        for (const { event, bytes } of events) truth.stamped[event.seq] = bytes;
        const taken = spool.append(events);
        if (taken) truth.spooledMs.push(...events.map(() => world.nowMs));
        return taken;
      },
    },
  }) as Spool;
}

/** On a full disk no recording starts, and its command is not run. */
function startSpool(make: () => Spool): Spool | undefined {
  try {
    return make();
  } catch (error) {
    if (isDiskFull(error)) return undefined;
    throw error;
  }
}

/** Records one session, as `collector/record.ts` does. */
export async function runCollector(
  proc: Proc,
  deps: CollectorDeps,
  truth: Truth,
  work: Workload,
): Promise<void> {
  const { world, log } = deps;
  const { clock, random } = proc;
  const dice = world.dice.fork(`agent/${truth.identity.stream_id}`);
  const disk = deps.disk.portFor(proc);
  const ports = { clock, log, random, meter: meterOf(truth) };
  const spool = startSpool(() =>
    createSpool(truth.identity, deps.spool, { disk, clock, log, pid: proc.pid }),
  );
  if (spool === undefined) return;
  const session = openSession(
    { ...ports, spool: watched(spool, truth, world), settings: deps.session },
    { commandArgs: ['agent'], cwd: '/work', settings: {} },
  );
  const transport = deps.transportFor(proc);
  const shipper = createShipper({ ...ports, spool, transport, settings: deps.ship });
  shipper.start();
  let n = 0;
  for (let i = 0; i < work.batches; i++) {
    const names = Array.from({ length: dice.int(1, work.batchMax) }, () => draftName(truth, n++));
    await session.add(names.map((name) => draftOf(name, proc, work, dice)));
    truth.added.push(...names);
    if (dice.chance(0.7)) await clock.sleep(dice.int(1, work.pauseMsMax));
  }
  await session.close({ close_reason: 'exited', exit_code: 0 });
  truth.closed = true;
  await shipper.drain(10_000);
  await shipper.stop();
  spool.close({ finished: true });
  truth.finished = true;
}

/** Ships what is left in a spool folder, as `deploy/commands/collect.ts` does. */
export async function runCollect(proc: Proc, deps: CollectorDeps): Promise<void> {
  const { log } = deps;
  const { clock } = proc;
  const disk = deps.disk.portFor(proc);
  const meter: Meter = { count: () => {}, gauge: () => {}, record: () => {} };
  for (const stream of abandonedStreams(deps.spool.dir, disk)) {
    const spool = adoptSpool(stream, deps.spool, { disk, clock, log, pid: proc.pid });
    if (spool === undefined) continue;
    deps.world.trace(`${proc.name} takes over ${stream}: ${spool.pending} wait`);
    const transport = deps.transportFor(proc);
    const shipper = createShipper({ log, clock, meter, spool, transport, settings: deps.ship });
    shipper.start();
    await shipper.drain(60_000);
    await shipper.stop();
    spool.close({ finished: true });
  }
}
