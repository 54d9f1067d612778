/**
 * The sensor ladder: tries the rungs from the best on and runs the command under the first that
 * works here. Every rung that was refused is told as a `sensor` event with its reason.
 *
 *     1 seccomp   user notification; its supervisor native, or in TypeScript where no compiler is
 *     2 ptrace    where the one listener is taken already; needs the native supervisor
 *     3 feed      what a privileged sensor of the host shows; opt-in, and then before all others
 *     4 none      the agent's own channels only: nothing is seen of what the command does
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Clock, Draft } from '#schemas';
import { CommandError, SensorError } from './errors.ts';
import { buildHelper, type HelperOptions } from './helper.ts';
import { type Origin, PTRACE, SECCOMP } from './interpret.ts';
import {
  type Command,
  createSeccompSensor,
  type Exited,
  type Running,
  type SeccompDeps,
  type SeccompSensor,
  type Sink,
} from './seccomp.ts';
import type { SettleOptions } from './settle.ts';
import { createSettlingSensor } from './settling.ts';

export const RUNGS = ['auto', 'seccomp', 'ptrace', 'feed', 'none'] as const;
export type RungName = (typeof RUNGS)[number];

export interface LadderDeps extends Omit<SeccompDeps, 'helper' | 'noHelper' | 'ptrace'> {
  readonly clock: Clock;
  /** Where the native supervisor is compiled and kept; without it rung 1 is in TypeScript. */
  readonly native?: HelperOptions;
  /** How much of the files that were written is read back; `settle.ts`. */
  readonly settle?: SettleOptions;
  /** The output of a privileged sensor of the host: who gives one wants it used. */
  readonly feed?: SeccompSensor & { readonly source: string };
  /** `auto`, or the one rung that may be used. */
  readonly rung?: RungName;
}

const FEED_RUNG = 3;
const NO_SENSOR: Origin = { source: 'none', rung: 4 };

/** Makes the ladder; nothing is tried before `run`. */
export function createLadder(deps: LadderDeps): SeccompSensor {
  const { native, rung = 'auto', clock, log } = deps;
  const allows = (name: RungName) => rung === 'auto' || rung === name;
  return {
    async run(command, sink) {
      const refused: Draft[] = [];
      const refuse = (origin: Origin, reason: string) => {
        log.warn('sensor_refused', { sensor: origin.source, rung: origin.rung, reason });
        refused.push(sensorDraft(clock, origin, reason));
      };
      const { feed } = deps;
      if (feed !== undefined && allows('feed')) {
        try {
          return await feed.run(command, first(refused, sink));
        } catch (error) {
          if (!(error instanceof SensorError)) throw error;
          refuse({ source: feed.source, rung: FEED_RUNG }, `${error.reason}: ${error.message}`);
        }
      }
      /** Under one form; undefined where this form can't work here. */
      const under = async (origin: Origin, how: Partial<SeccompDeps>) => {
        try {
          const sensor = createSettlingSensor(createSeccompSensor({ ...deps, ...how }), deps);
          return await sensor.run(command, first(refused, sink));
        } catch (error) {
          if (!(error instanceof SensorError)) throw error;
          refuse(origin, `${error.reason}: ${error.message}`);
          return undefined;
        }
      };
      let why = 'no folder for it was given';
      const helper = await built(native).catch((error: Error) => {
        why = error.message;
        return undefined;
      });
      if (allows('seccomp')) {
        const running = helper === undefined ? undefined : await under(SECCOMP, { helper });
        if (running !== undefined) return running;
        // What refuses the native form refuses this one, unless it was the form's own fault.
        if (helper === undefined || refused.some(isBroken)) {
          const slower = await under(SECCOMP, { noHelper: `: ${why}` });
          if (slower !== undefined) return slower;
        }
      }
      if (allows('ptrace')) {
        const running =
          helper === undefined ? undefined : await under(PTRACE, { helper, ptrace: true });
        if (running !== undefined) return running;
        if (helper === undefined) refuse(PTRACE, `needs the native supervisor: ${why}`);
      }
      if (!allows('none'))
        throw new SensorError('denied', `the sensor ${rung} can't work here: ${reasons(refused)}`);
      const reason = 'the agent’s own channels only: what the command does is not seen';
      refused.push(sensorDraft(clock, NO_SENSOR, reason));
      return unwatched(command, refused, sink);
    },
  };
}

const built = async (native: HelperOptions | undefined): Promise<string | undefined> =>
  native === undefined || process.platform !== 'linux' || process.arch !== 'x64'
    ? undefined
    : buildHelper(native);

const sensorDraft = (clock: Clock, { source, rung }: Origin, reason: string): Draft => ({
  kind: 'sensor',
  ts: clock.wallNs().toString(),
  source,
  assurance: 'observed',
  sensor_name: source,
  sensor_rung: rung,
  coverage: 'none',
  reason,
});

const reasonOf = (draft: Draft): string =>
  (draft.kind === 'sensor' ? draft.reason : undefined) ?? '';
const isBroken = (draft: Draft) => reasonOf(draft).startsWith('broken');
const reasons = (refused: readonly Draft[]) => refused.map(reasonOf).join('; ');

/** What was refused goes before the first that the sensor says. */
function first(refused: readonly Draft[], sink: Sink): Sink {
  let told = false;
  return (drafts) => {
    if (told) return sink(drafts);
    told = true;
    return sink([...refused, ...drafts]);
  };
}

/** The command under no sensor at all. */
async function unwatched(
  command: Command,
  refused: readonly Draft[],
  sink: Sink,
): Promise<Running> {
  await sink(refused);
  const [program = '', ...args] = command.argv;
  const { env, cwd } = command;
  const child = spawn(program, args, { env, cwd, stdio: 'inherit' });
  const exited = new Promise<Exited>((resolve) => {
    child.on('exit', (code, signal) => resolve({ code, signal }));
  });
  await new Promise<void>((resolve, reject) => {
    child.on('spawn', resolve);
    child.on('error', (error: NodeJS.ErrnoException) =>
      reject(new CommandError(error.code ?? 'EINVAL', error.message)),
    );
  });
  return {
    pid: child.pid ?? 0,
    exited,
    signal(name) {
      if (child.exitCode === null && child.signalCode === null) child.kill(constants.signals[name]);
    },
    async stop() {
      child.unref();
    },
  };
}
