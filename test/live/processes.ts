/** The processes of a scenario: started from the sources, told apart by name, ended together. */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { Log } from '#schemas';
import { serviceLog } from '../../deploy/process/log.ts';
import type { LoadOptions } from './load.ts';

export const root = path.resolve(import.meta.dirname, '../..');
/** The sources themselves, so that what runs is what is read. */
const SOURCE = ['--conditions=telltale-source', '--import', 'tsx'];

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
export const say = (text: string) => process.stderr.write(`live: ${text}\n`);

/** Resolves with the exit code when the process is gone; null when a signal ended it. */
export const ended = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => {
    if (isGone(child)) resolve(child.exitCode);
    else child.once('exit', (code) => resolve(code));
  });

export const isGone = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;

/** A service that comes back under the address that it had at first. */
export interface Service {
  readonly url: string;
  readonly pid: number;
  start(): Promise<void>;
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>;
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
}

export interface Processes {
  /** All that they write; it stays until the caller removes it, as evidence. */
  readonly dir: string;
  readonly log: Log;
  /** Runs `telltale` with these arguments; what it prints goes to `NAME.log`. */
  telltale(args: readonly string[], name: string): ChildProcess;
  /** A load generator that sends to `to`; its spool and its truth are below `NAME/`. */
  load(options: Omit<LoadOptions, 'dir'>, name: string): ChildProcess;
  /** Ships what a killed load generator left behind. */
  collect(to: string, name: string): ChildProcess;
  /** Folders with the truth of each load generator that was started. */
  readonly truthDirs: readonly string[];
  truthOf(name: string): string;
  /** A script that prints its URL, given the port to listen on: 0 at first. */
  service(script: string, argsFor: (port: number) => readonly string[], name: string): Service;
  /** Ends every process. */
  close(): Promise<void>;
}

/** Lines of JSON that the processes named so logged. */
export function logLines({ dir }: { dir: string }, prefix: string): Record<string, unknown>[] {
  const names = fs.readdirSync(dir).filter((n) => n.startsWith(prefix) && n.endsWith('.log'));
  return names.flatMap((name) =>
    fs
      .readFileSync(path.join(dir, name), 'utf8')
      .split('\n')
      .flatMap((line) => {
        try {
          return [JSON.parse(line) as Record<string, unknown>];
        } catch {
          return [];
        }
      }),
  );
}

/** A folder of its own below `.cache/`, and what runs in it. */
export function createProcesses(): Processes {
  fs.mkdirSync(path.join(root, '.cache'), { recursive: true });
  const dir = fs.mkdtempSync(path.join(root, '.cache/live-'));
  const children = new Set<ChildProcess>();
  const truthDirs: string[] = [];
  const truthOf = (name: string) => path.join(dir, name, 'truth');

  function start(script: string, args: readonly string[], name: string, pipeOut = false) {
    const out = fs.openSync(path.join(dir, `${name}.log`), 'a');
    const stdio: StdioOptions = ['ignore', pipeOut ? 'pipe' : out, out];
    const env = { ...process.env, TELLTALE_LOG: 'debug', UV_THREADPOOL_SIZE: '16' };
    const file = path.join(root, script);
    const child = spawn(process.execPath, [...SOURCE, file, ...args], { cwd: root, stdio, env });
    fs.closeSync(out);
    children.add(child);
    child.once('exit', () => children.delete(child));
    return child;
  }
  const telltale = (args: readonly string[], name: string) => start('deploy/cli.ts', args, name);
  const kill = () => {
    for (const child of children) {
      child.kill('SIGCONT');
      child.kill('SIGKILL');
    }
  };
  // However this process ends, they end with it: `main.ts` makes an exit of a signal.
  process.once('exit', kill);

  return {
    dir,
    log: serviceLog('live', 'warn'),
    telltale,
    load(options, name) {
      truthDirs.push(truthOf(name));
      fs.mkdirSync(truthOf(name), { recursive: true });
      const all: LoadOptions = { ...options, dir: path.join(dir, name) };
      return start('test/live/load.ts', [JSON.stringify(all)], name);
    },
    collect(to, name) {
      const where = ['--spool', path.join(dir, name, 'spool'), '--to', to];
      return telltale(['collect', ...where, '--wait-ms', '600000'], `${name}-collect`);
    },
    truthDirs,
    truthOf,
    service: (script, argsFor, name) =>
      serviceOf((port) => start(script, argsFor(port), name, true)),
    async close() {
      kill();
      await Promise.all([...children].map(ended));
      process.off('exit', kill);
    },
  };
}

function serviceOf(spawnAt: (port: number) => ChildProcess): Service {
  let child: ChildProcess | undefined;
  let url = '';
  return {
    get url() {
      return url;
    },
    get pid() {
      return child?.pid ?? 0;
    },
    async start() {
      const started = spawnAt(url === '' ? 0 : Number(new URL(url).port));
      child = started;
      url = await new Promise<string>((resolve, reject) => {
        let said = '';
        started.stdout?.on('data', (data: Buffer) => {
          said += data.toString();
          const found = /http:\/\/[\d.:]+/.exec(said.slice(0, said.lastIndexOf('\n') + 1));
          if (found !== null) resolve(found[0]);
        });
        started.once('exit', () => reject(new Error(`no service: ${started.spawnargs.join(' ')}`)));
      });
    },
    async kill() {
      child?.kill('SIGKILL');
      if (child !== undefined) await ended(child);
    },
    async stop() {
      child?.kill('SIGTERM');
      return child === undefined ? null : ended(child);
    },
    signal: (name) => void child?.kill(name),
  };
}
