/**
 * The first rung of the sensor ladder: seccomp user notification. The command runs under a filter
 * whose stopped calls a supervisor in a process of its own copies and lets go on; here its frames
 * become events. A sink that returns a promise is waited for: then the pipe fills, the supervisor
 * blocks, and the command waits at its next recorded call. Nothing is dropped.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Draft, Log } from '#schemas';
import { CommandError, SensorError } from './errors.ts';
import type { InterpretOptions } from './interpret.ts';
import { createRecording, type Exited, type Sink } from './recording.ts';
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
}

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
      const child = startSupervisor(deps, command);
      return follow(deps, child, sink);
    },
  };
}

/** Node's arguments for a file beside this one: plain JavaScript, or the source through tsx. */
function nodeArguments(name: string): [string, ...string[]] {
  const source = import.meta.url.endsWith('.ts');
  const file = fileURLToPath(new URL(`./${name}${source ? '.ts' : '.js'}`, import.meta.url));
  if (!source) return [file];
  const loader = createRequire(import.meta.url).resolve('tsx');
  return ['--conditions=telltale-source', '--import', `file://${loader}`, file];
}

function startSupervisor(deps: SeccompDeps, command: Command): ChildProcess {
  const { joinKeys = [], toolCallKey } = deps;
  const child = spawn(process.execPath, nodeArguments('supervisor'), {
    stdio: ['inherit', 'inherit', 'inherit', 'pipe', 'pipe'],
    // The command's environment is not the supervisor's: NODE_OPTIONS, for one, must not act here.
    env: {},
  });
  const spec: SupervisorSpec = {
    argv: command.argv,
    env: command.env,
    cwd: command.cwd,
    launcher: [process.execPath, ...nodeArguments('launcher')],
    keys: [...new Set([...joinKeys, toolCallKey].filter((key) => key !== undefined))],
    exitState: deps.exitState ?? true,
  };
  const control = child.stdio[4] as Writable;
  // A supervisor that is gone is found on its event stream; this pipe's error says no more.
  control.on('error', () => {});
  control.write(`${JSON.stringify(spec)}\n`);
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
async function follow(deps: SeccompDeps, child: ChildProcess, sink: Sink): Promise<Running> {
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
