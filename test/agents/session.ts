/** One recorded session of a real agent CLI, from an empty workspace to the decoded events. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import readline from 'node:readline';
import { type TelltaleEvent, unframe } from '#schemas';
import { uuidv7 } from '../../deploy/process/ids.ts';
import { AGENTS_DIR } from './install.ts';
import { bytesOf, type Listening, listen, type Model } from './model/server.ts';

const CLI = path.resolve(import.meta.dirname, '../../deploy/cli.ts');
const RUN_MS_MAX = 120_000;

export interface Ended {
  /** How `telltale run` ended, and what it and the agent printed. */
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Where one session takes place. */
export interface Place {
  /** A directory of its own, with empty `home`, `outside` and `tmp`. */
  readonly dir: string;
  readonly workspace: string;
  /** Base URL of a server that answers anything. */
  readonly target: string;
}

export interface Agent {
  /** Starts the model that the agent talks to. */
  model(place: Place): Promise<Model>;
  /** The runs, one after the other, as argument vectors; and what is done between them. */
  runs(place: Place, model: Model): readonly Run[];
  /** What the agent's user has configured; it must be the same afterwards. */
  configure(place: Place, model: Model): readonly string[];
}

export interface Run {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Flags of `telltale run`. */
  readonly flags?: readonly string[];
  /** Talks with the agent, a JSON object a line each way. */
  readonly host?: Host;
}

/** Who stands at the other end of the agent's input and output. */
export interface Host {
  /** What it says first. */
  readonly opening: readonly object[];
  /** Its answer to what the agent says; `end` closes the input. */
  answer(said: Readonly<Record<string, unknown>>): object | 'end' | undefined;
}

export interface RecordedRun extends Ended {
  readonly events: readonly TelltaleEvent[];
}

export interface AgentSession {
  readonly runs: readonly RecordedRun[];
  readonly workspace: string;
  readonly place: Place;
  readonly modelRequests: number;
  /** Files of the user's configuration that a run changed. */
  readonly changedConfigs: readonly string[];
}

/** One of a session's runs. */
export function runOf({ runs }: AgentSession, index = 0): RecordedRun {
  const run = runs[index];
  if (run === undefined) throw new Error(`there is no run ${index}`);
  return run;
}

/** Takes frames as an ingest service does, and keeps their events. */
export async function startSink(): Promise<Listening & { readonly events: TelltaleEvent[] }> {
  const events: TelltaleEvent[] = [];
  const server = await listen(async (request, response) => {
    const { good, dead } = unframe(await bytesOf(request));
    if (dead.length > 0) throw new Error(`a frame is not whole: ${JSON.stringify(dead[0])}`);
    events.push(...good.map((line) => line.event));
    response.end('{}');
  });
  return { ...server, events };
}

function makeWorkspace(workspace: string): void {
  fs.mkdirSync(workspace, { recursive: true });
  fs.writeFileSync(path.join(workspace, 'app.py'), 'def add(a, b):\n    return a - b\n');
  fs.writeFileSync(path.join(workspace, 'old.txt'), 'to be deleted\n');
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', ...args], { cwd: workspace });
  git('init', '-q');
  git('add', '-A');
  git('commit', '-qm', 'init');
}

/** Lets the host talk through a process's pipes. */
function converse(child: ChildProcess, host: Host): void {
  const send = (message: object) => child.stdin?.write(`${JSON.stringify(message)}\n`);
  for (const message of host.opening) send(message);
  if (child.stdout === null) return;
  readline.createInterface({ input: child.stdout }).on('line', (line) => {
    if (!line.startsWith('{')) return;
    const answer = host.answer(JSON.parse(line));
    if (answer === 'end') child.stdin?.end();
    else if (answer !== undefined) send(answer);
  });
}

/** Runs `telltale` from source; without a host it has no input: agents would wait for its end. */
export function telltale(
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>>,
  host?: Host,
): Promise<Ended> {
  const loader = createRequire(import.meta.url).resolve('tsx');
  const node = ['--conditions=telltale-source', '--import', `file://${loader}`, CLI, ...args];
  return new Promise((resolve, reject) => {
    const stdio = [host === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] as const;
    const child = spawn(process.execPath, node, { cwd, env, stdio: [...stdio] });
    if (host !== undefined) converse(child, host);
    const timer = setTimeout(() => child.kill('SIGTERM'), RUN_MS_MAX);
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (data: Buffer) => {
      stdout += data.toString();
    });
    child.stderr?.on('data', (data: Buffer) => {
      stderr += data.toString();
    });
    child.on('error', reject);
    child.on('close', (exitCode) => {
      clearTimeout(timer);
      resolve({ exitCode, stdout, stderr });
    });
  });
}

const contentOf = (file: string): string | undefined => {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
};

/** Records an agent's scripted runs. The place is no temporary directory: Codex refuses one. */
export async function recordAgent(agent: Agent): Promise<AgentSession> {
  fs.mkdirSync(AGENTS_DIR, { recursive: true });
  const dir = fs.mkdtempSync(path.join(AGENTS_DIR, 'run-'));
  const workspace = path.join(dir, 'work');
  makeWorkspace(workspace);
  for (const name of ['outside', 'tmp', 'home']) fs.mkdirSync(path.join(dir, name));
  const target = await listen((_request, response) => void response.end('pong'));
  const place: Place = { dir, workspace, target: target.url };
  const model = await agent.model(place);
  try {
    const configs = agent.configure(place, model);
    const before = configs.map(contentOf);
    const runs: RecordedRun[] = [];
    for (const run of agent.runs(place, model)) runs.push(await recordRun(run, place));
    const changedConfigs = configs.filter((file, index) => contentOf(file) !== before[index]);
    return { runs, workspace, place, modelRequests: model.requests, changedConfigs };
  } finally {
    await model.stop();
    await target.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

async function recordRun({ argv, env, flags = [], host }: Run, place: Place): Promise<RecordedRun> {
  const sink = await startSink();
  const spool = path.join(place.dir, 'spool');
  const session = uuidv7();
  try {
    const ended = await telltale(
      ['run', '--to', sink.url, '--spool', spool, '--session', session, ...flags, '--', ...argv],
      place.workspace,
      {
        PATH: process.env.PATH ?? '',
        HOME: path.join(place.dir, 'home'),
        TMPDIR: path.join(place.dir, 'tmp'),
        SHELL: '/bin/bash',
        ...env,
      },
      host,
    );
    return { ...ended, events: sink.events };
  } finally {
    await sink.stop();
  }
}
