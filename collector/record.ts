/**
 * `telltale run`, the whole flow on one screen: open the stream, start the agent's channels and the
 * kernel sensor, run the command, close the stream, ship what is left.
 */
import type { Clock, Draft, Log, Meter, Random } from '#schemas';
import { type CloseFields, openSession, type Session } from './session.ts';
import type { Shipper } from './ship.ts';
import type { Spool } from './spool.ts';

export interface Command {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: string | null;
  /** Why neither is known: the sensor was lost before the command ended. */
  readonly error?: string;
}

/** A running command under a sensor. */
export interface Watched {
  readonly exited: Promise<Exit>;
  signal(name: NodeJS.Signals): void;
  /** Ends the sensor when all that it saw has been handed over. */
  stop(): Promise<void>;
}

type Sink = (drafts: readonly Draft[]) => Promise<void>;

/** One rung of the ladder. */
export interface Sensor {
  run(command: Command, sink: Sink): Promise<Watched>;
}

/** What the agent says of itself: its telemetry, session files and hooks. */
export interface Channels {
  start(): Promise<void>;
  /** The command with the telemetry of this run switched on. */
  prepare(command: Command): Promise<Command>;
  /** Waits, for a bounded time, for what the agent said last. */
  settle(): Promise<void>;
  stop(): Promise<void>;
}

/** The egress policy: it is told what the sensor sees, and put between the command and the network. */
export interface Egress extends Channels {
  /** Gives the drafts back, connections with their host names where it knows them. */
  observe(drafts: readonly Draft[]): readonly Draft[];
}

export interface RecordDeps {
  readonly spool: Spool;
  readonly shipper: Shipper;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly meter: Meter;
  readonly sensor: Sensor;
  /** Makes the agent's channels; they put their drafts into `sink`. */
  readonly channels?: (sink: (drafts: readonly Draft[]) => void) => Channels;
  /** Makes the egress policy; it puts its decisions into `sink`. */
  readonly egress?: (sink: (drafts: readonly Draft[]) => void) => Egress;
  readonly settings: Readonly<Record<string, string>>;
  /** Takes secrets out of a draft before it is numbered. */
  readonly redact?: (draft: Draft) => Draft;
  /** How long to go on shipping after the end before the rest is left in the spool. */
  readonly drainMsMax: number;
}

export interface Recorded {
  readonly exit: Exit;
  readonly events: number;
  /** False: the rest waits in the spool for the next `telltale run` or `telltale collect`. */
  readonly shipped: boolean;
}

/** Records one command from start to end. Rejects only when the command could not be started. */
export async function record(deps: RecordDeps, command: Command): Promise<Recorded> {
  const { spool, shipper, clock, random, log, meter } = deps;
  const session = openSession(
    {
      ...{ spool, clock, random, log, meter },
      ...(deps.redact === undefined ? {} : { redact: deps.redact }),
    },
    { commandArgs: command.argv, cwd: command.cwd, settings: deps.settings },
  );
  shipper.start();
  const sink = (drafts: readonly Draft[]) => void session.add(drafts);
  const egress = deps.egress?.(sink);
  const channels = deps.channels?.(sink);
  try {
    await egress?.start();
    await channels?.start();
    const routed = (await egress?.prepare(command)) ?? command;
    const prepared = (await channels?.prepare(routed)) ?? routed;
    const exit = await watch(deps.sensor, prepared, (drafts) =>
      session.add(egress?.observe(drafts) ?? drafts),
    );
    await channels?.settle();
    await egress?.stop();
    await channels?.stop();
    await session.close(closeFields(exit));
    return { exit, ...(await finish(deps, session)) };
  } catch (error) {
    await egress?.stop();
    await channels?.stop();
    const reason = error instanceof Error ? error.message : String(error);
    await session.close({ close_reason: 'failed', reason });
    await finish(deps, session);
    throw error;
  }
}

/** Runs the command under the sensor. Ctrl-C and SIGTERM go to the command; recording goes on. */
async function watch(sensor: Sensor, command: Command, sink: Sink): Promise<Exit> {
  const watched = await sensor.run(command, sink);
  const forward = (signal: NodeJS.Signals) => watched.signal(signal);
  // The terminal sends SIGINT to the whole foreground group, the command included.
  const ignore = () => {};
  process.on('SIGINT', ignore);
  process.on('SIGTERM', forward);
  process.on('SIGHUP', forward);
  try {
    return await watched.exited;
  } finally {
    await watched.stop();
    process.off('SIGINT', ignore);
    process.off('SIGTERM', forward);
    process.off('SIGHUP', forward);
  }
}

function closeFields(exit: Exit): CloseFields {
  if (exit.signal !== null) return { close_reason: 'signalled', exit_signal: exit.signal };
  if (exit.code !== null) return { close_reason: 'exited', exit_code: exit.code };
  return { close_reason: 'failed', reason: exit.error ?? 'how the command ended is not known' };
}

async function finish(deps: RecordDeps, session: Session) {
  const shipped = await deps.shipper.drain(deps.drainMsMax);
  await deps.shipper.stop();
  deps.spool.close({ finished: true });
  return { events: session.eventCount, shipped };
}
