import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { Log } from '#schemas';
import { KafkaFault } from './fault.ts';

const READY_MS = 20_000;
const END_MS = 5_000;

/** Kills watched processes when this process is gone, whatever ended it. */
export interface Guard {
  /** Watch a child that was spawned with `detached: true`, until it exits. */
  watch(child: ChildProcess): void;
  /** Lets the guard go; what is still watched is killed. Safe to call twice. */
  close(): Promise<void>;
}

/**
 * Starts the guard process (`guard-main.ts`) and waits until it listens, so that nothing is ever
 * started unguarded. Its only tie to us is a pipe, which the kernel closes when we end.
 * @throws KafkaFault `guard_failed`
 */
export async function startGuard(log: Log): Promise<Guard> {
  const child = spawnGuard();
  const stdin = child.stdin as Socket;
  // A guard that died makes a write fail with EPIPE; its exit is reported below, once.
  stdin.on('error', () => {});
  const ended = once(child, 'exit');
  await waitForReady(child);

  let closing = false;
  child.on('exit', (code, signal) => {
    if (!closing) log.warn('kafka.guard_gone', { code: code ?? -1, signal: signal ?? '' });
  });
  // Neither the guard nor its pipes may keep this process running.
  child.unref();
  stdin.unref();
  (child.stdout as Socket).unref();

  return {
    watch(watched) {
      const { pid } = watched;
      if (pid === undefined) return;
      stdin.write(`+${pid}\n`);
      watched.once('exit', () => {
        if (!closing) stdin.write(`-${pid}\n`);
      });
    },
    async close() {
      if (!closing) {
        closing = true;
        stdin.end();
      }
      if (child.exitCode !== null || child.signalCode !== null) return;
      const timer = setTimeout(() => child.kill('SIGKILL'), END_MS);
      await ended;
      clearTimeout(timer);
    },
  };
}

function spawnGuard(): ChildProcess {
  const fromSource = import.meta.url.endsWith('.ts');
  const main = new URL(fromSource ? './guard-main.ts' : './guard-main.js', import.meta.url);
  const env = { ...process.env };
  // A debugger's or a test runner's options would stop or slow the guard.
  delete env.NODE_OPTIONS;
  return spawn(
    process.execPath,
    [...(fromSource ? ['--import', 'tsx'] : []), fileURLToPath(main)],
    // Detached: Ctrl-C reaches the whole foreground group, and the guard must outlive that.
    // The folder makes `--import tsx` resolvable wherever the caller stands.
    {
      cwd: fileURLToPath(new URL('.', import.meta.url)),
      env,
      detached: true,
      stdio: ['pipe', 'pipe', 'ignore'],
    },
  );
}

async function waitForReady(child: ChildProcess): Promise<void> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), READY_MS);
  const { signal } = abort;
  try {
    const ready = await Promise.race([
      once(child.stdout as Socket, 'data', { signal }).then(() => true),
      once(child, 'exit', { signal }).then(() => false),
    ]);
    if (ready) return;
    throw new Error(`it ended with code ${child.exitCode}`);
  } catch (error) {
    child.kill('SIGKILL');
    throw new KafkaFault(
      'guard_failed',
      `The process that guards against orphaned brokers did not start: ${String(error)}. ` +
        'Run `npm ci` (it needs tsx when run from source) and try again.',
      { cause: error },
    );
  } finally {
    clearTimeout(timer);
    // Ends whichever wait lost the race; its rejection was already taken by the race.
    abort.abort();
  }
}
