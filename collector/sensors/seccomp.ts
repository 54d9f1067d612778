/**
 * The first rung of the sensor ladder: seccomp user notification. The command runs under a filter
 * whose stopped calls a supervisor in a process of its own copies and lets go on; here its frames
 * become events. A sink that returns a promise is waited for: then the pipe fills, the supervisor
 * blocks, and the command waits at its next recorded call. Nothing is dropped.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Draft, Log } from '#schemas';
import { CommandError, SensorError } from './errors.ts';
import { MARK_BYTES, specBytes } from './helper.ts';
import { type InterpretOptions, PTRACE } from './interpret.ts';
import { hasExitState } from './kernel.ts';
import { createRecording, type Exited, type RecordingDeps, type Sink } from './recording.ts';
import type { SupervisorSpec } from './supervisor.ts';

export { CommandError, SensorError, type SensorReason } from './errors.ts';
export type { Exited, Sink } from './recording.ts';

export type SensorDraft = Draft;

export interface Command {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

export interface Running {
  readonly pid: number;
  /**
   * Resolves when the command's own process has ended and the sink has taken all that was seen
   * before. Descendants that live on are recorded until `stop`. Rejects where the sink does.
   */
  readonly exited: Promise<Exited>;
  /** Sends a signal to the command's own process; nothing once it has ended. */
  signal(name: NodeJS.Signals): void;
  /**
   * Ends the recording; the sink has then taken all. Processes that still run are named in a last
   * `sensor` event and go on unrecorded. May be called twice.
   */
  stop(): Promise<void>;
}

export interface SeccompSensor {
  run(command: Command, sink: Sink): Promise<Running>;
}

export interface SeccompDeps extends Partial<InterpretOptions> {
  readonly log: Log;
  /** False: as if the kernel kept no exit state (before 6.15); for tests. */
  readonly exitState?: boolean;
  /** The compiled native supervisor (`helper.ts`); without it TypeScript does its work. */
  readonly helper?: string;
  /** Why there is no helper, to be told with it. */
  readonly noHelper?: string;
  /** Rung 2 instead of rung 1; needs the helper. */
  readonly ptrace?: boolean;
  /** Files, and directories of files, whose reads are told; only the native form can. */
  readonly secrets?: readonly string[];
  /** How long a collector that takes nothing holds the command up before stops are only counted. */
  readonly blockMsMax?: number;
}

const BLOCK_MS_MAX = 30_000;

const LOST_POLL_MS = 200;

/** Makes the sensor; nothing is started before `run`. */
export function createSeccompSensor(deps: SeccompDeps): SeccompSensor {
  return {
    async run(command, sink) {
      if (process.platform !== 'linux' || process.arch !== 'x64')
        throw new SensorError(
          'platform',
          `the seccomp sensor is built for Linux on x86_64, not ${process.platform} ${process.arch}`,
        );
      if (command.argv.length === 0) throw new CommandError('EINVAL', 'no command was given');
      const mark = newMark();
      const child = startSupervisor(deps, command, mark);
      const origin = deps.ptrace ? { origin: PTRACE } : {};
      const supervisor = deps.helper === undefined ? `typescript${deps.noHelper ?? ''}` : 'native';
      return follow({ ...deps, ...origin, mark, supervisor, limits: limitsOf(deps) }, child, sink);
    },
  };
}

const NOT_REPLACED = 'a supervisor that dies is not replaced: recorded calls then fail';
/**
 * What a form does not do. In TypeScript the one process is Node, whose memory can't be shared with
 * a successor, and whose loop can't both block in RECV and watch files or a clock.
 */
function limitsOf({ helper, ptrace }: SeccompDeps): string | undefined {
  if (helper === undefined)
    return `${NOT_REPLACED}; a collector that takes nothing holds the command up without a bound; reads of secrets are not seen`;
  return ptrace ? NOT_REPLACED : undefined;
}

/** A successor's first bytes. One that no text holds comes first: the search for them skips along. */
function newMark(): Buffer {
  const mark = randomBytes(MARK_BYTES);
  mark[0] = 0xf8;
  return mark;
}

/** Node's arguments for a file beside this one: plain JavaScript, or the source through tsx. */
function nodeArguments(name: string): [string, ...string[]] {
  const source = import.meta.url.endsWith('.ts');
  const file = fileURLToPath(new URL(`./${name}${source ? '.ts' : '.js'}`, import.meta.url));
  if (!source) return [file];
  const loader = createRequire(import.meta.url).resolve('tsx');
  return ['--conditions=telltale-source', '--import', `file://${loader}`, file];
}

function startSupervisor(deps: SeccompDeps, command: Command, mark: Buffer): ChildProcess {
  const { helper, joinKeys = [], toolCallKey } = deps;
  const [program, ...args]: [string, ...string[]] =
    helper === undefined ? [process.execPath, ...nodeArguments('supervisor')] : [helper];
  const child = spawn(program, args, {
    stdio: ['inherit', 'inherit', 'inherit', 'pipe', 'pipe'],
    // The command's environment is not the supervisor's: NODE_OPTIONS, for one, must not act here.
    env: {},
  });
  const keys = [...new Set([...joinKeys, toolCallKey].filter((key) => key !== undefined))];
  const exitState = deps.exitState ?? true;
  const { argv, env, cwd } = command;
  const control = child.stdio[4] as Writable;
  // A supervisor that is gone is found on its event stream; this pipe's error says no more.
  control.on('error', () => {});
  if (helper === undefined) {
    const launcher: [string, ...string[]] = [process.execPath, ...nodeArguments('launcher')];
    const spec: SupervisorSpec = { argv, env, cwd, launcher, keys, exitState };
    control.write(`${JSON.stringify(spec)}\n`);
    return child;
  }
  const root = process.geteuid?.() === 0;
  const blockMs = deps.blockMsMax ?? BLOCK_MS_MAX;
  const kernel = { exitState: exitState && hasExitState(), ptrace: deps.ptrace ?? false, root };
  const secrets = deps.secrets ?? [];
  control.write(specBytes({ argv, env, cwd, keys, secrets, ...kernel, blockMs, mark }));
  return child;
}

/** A promise with its two ends (Promise.withResolvers is not in Node 20). */
function deferred<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  // Who never asks must not be ended by a rejection that is told elsewhere as well.
  promise.catch(() => {});
  return { promise, resolve, reject };
}

/** Reads the supervisor's frames; resolves when the command runs. */
async function follow(deps: RecordingDeps, child: ChildProcess, sink: Sink): Promise<Running> {
  const events = child.stdio[3] as Readable;
  const control = child.stdio[4] as Writable;
  const started = deferred<void>();
  const exited = deferred<Exited>();
  const recording = createRecording(deps, sink, {
    running: () => started.resolve(),
    mainExit: (exit) => exited.resolve(exit),
  });
  child.on('error', (error) => events.destroy(error));
  const pump = async () => {
    for await (const chunk of events) await recording.take(chunk as Buffer);
    if (!recording.ended()) await recording.lost();
  };
  const done = pump()
    .catch((error: unknown) => {
      // Without a reader the supervisor ends, and nothing goes on unrecorded.
      events.destroy();
      started.reject(error);
      exited.reject(error);
      throw error;
    })
    .finally(() => {
      control.destroy();
      child.unref();
    });
  done.then(
    async () => {
      started.reject(recording.fault() ?? new SensorError('broken', 'the sensor ended at once'));
      if (!recording.ended()) await goneOf(recording.pid());
      exited.resolve({ code: null, signal: null, error: 'the recording ended before the command' });
    },
    () => {},
  );
  await started.promise;
  return {
    pid: recording.pid(),
    exited: exited.promise,
    signal(name) {
      if (!recording.mainGone()) sendSignal(recording.pid(), name);
    },
    async stop() {
      if (!recording.ended() && control.writable) control.write('stop\n');
      await done;
    },
  };
}

function sendSignal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Waits until a process that is not our child is gone or dead. */
async function goneOf(pid: number): Promise<void> {
  for (;;) {
    let state: string | undefined;
    try {
      const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
      state = text.slice(text.lastIndexOf(')') + 2)[0];
    } catch {
      return;
    }
    if (state === 'Z' || state === 'X') return;
    await new Promise((resolve) => setTimeout(resolve, LOST_POLL_MS));
  }
}
