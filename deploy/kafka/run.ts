import { spawn } from 'node:child_process';
import type { Guard } from './guard.ts';

const OUTPUT_CHARS_MAX = 64 * 1024;
const TAIL_LINES = 20;

export interface RunOptions {
  readonly timeMs: number;
  readonly guard?: Guard | undefined;
  /** Aborting it is like reaching the time limit. */
  readonly signal?: AbortSignal | undefined;
}

export interface RunResult {
  /** Null when a signal ended it, which includes our own time limit. */
  readonly code: number | null;
  /** The end of what it wrote to both streams. */
  readonly output: string;
}

/**
 * Runs a program to its end, without a shell. Rejects only when it cannot be started (ENOENT);
 * a failing program is a result. After `timeMs` it gets SIGKILL.
 */
export function run(
  command: string,
  args: readonly string[],
  options: RunOptions,
): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    options.guard?.watch(child);
    let output = '';
    const take = (chunk: string) => {
      output = (output + chunk).slice(-OUTPUT_CHARS_MAX);
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    const kill = () => child.kill('SIGKILL');
    const timer = setTimeout(kill, options.timeMs);
    options.signal?.addEventListener('abort', kill);
    if (options.signal?.aborted) kill();
    const release = () => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', kill);
    };
    child.once('error', (error) => {
      release();
      reject(error);
    });
    child.once('close', (code) => {
      release();
      resolve({ code, output });
    });
  });
}

/** The last lines of a log, for an error message. */
export function tail(text: string): string {
  return text.trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
}
