/** One recorded session of the real Codex CLI, from an empty workspace to the decoded events. */
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { type TelltaleEvent, unframe } from '#schemas';
import { uuidv7 } from '../../deploy/process/ids.ts';
import { AGENTS_DIR } from './install.ts';
import { startModel } from './model.ts';
import { PROMPT, type Scripted, scriptOf } from './script.ts';

const CLI = path.resolve(import.meta.dirname, '../../deploy/cli.ts');
const RUN_MS_MAX = 120_000;

export interface CodexSession {
  /** How `telltale run` ended, and what it and the agent printed. */
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly events: readonly TelltaleEvent[];
  readonly calls: readonly Scripted[];
  readonly workspace: string;
  /** Codex's configuration before and after the run. */
  readonly configs: readonly [string, string];
  readonly modelRequests: number;
}

async function listen(
  handler: http.RequestListener,
): Promise<{ url: string; server: http.Server }> {
  const server = http.createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

/** Takes frames as an ingest service does, and keeps their events. */
async function startSink(): Promise<{ url: string; events: TelltaleEvent[]; server: http.Server }> {
  const events: TelltaleEvent[] = [];
  const { url, server } = await listen(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const { good, dead } = unframe(Buffer.concat(chunks));
    if (dead.length > 0) throw new Error(`a frame is not whole: ${JSON.stringify(dead[0])}`);
    events.push(...good.map((line) => line.event));
    response.end('{}');
  });
  return { url, events, server };
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

/** The user's own configuration; a run must leave it as it is. */
const configOf = (modelUrl: string): string => `model = "gpt-5.5"
model_provider = "scripted"
approval_policy = "never"
sandbox_mode = "workspace-write"
check_for_update_on_startup = false

[model_providers.scripted]
name = "scripted"
base_url = "${modelUrl}"
wire_api = "responses"
env_key = "SCRIPTED_KEY"
request_max_retries = 1
stream_max_retries = 1

[sandbox_workspace_write]
exclude_slash_tmp = true
exclude_tmpdir_env_var = true
network_access = false

[analytics]
enabled = false
`;

type Ended = Pick<CodexSession, 'exitCode' | 'stdout' | 'stderr'>;

/** Runs `telltale` from source, without an input: Codex would wait for its end. */
function telltale(
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>>,
): Promise<Ended> {
  const loader = createRequire(import.meta.url).resolve('tsx');
  const node = ['--conditions=telltale-source', '--import', `file://${loader}`, CLI, ...args];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, node, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const timer = setTimeout(() => child.kill('SIGTERM'), RUN_MS_MAX);
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data: Buffer) => {
      stdout += data.toString();
    });
    child.stderr.on('data', (data: Buffer) => {
      stderr += data.toString();
    });
    child.on('error', reject);
    child.on('close', (exitCode) => {
      clearTimeout(timer);
      resolve({ exitCode, stdout, stderr });
    });
  });
}

/** Records the scripted session. Codex refuses a home below the temporary directory. */
export async function recordCodex(command: string): Promise<CodexSession> {
  const dir = fs.mkdtempSync(path.join(AGENTS_DIR, 'run-'));
  const workspace = path.join(dir, 'work');
  const codexHome = path.join(dir, 'codex-home');
  makeWorkspace(workspace);
  for (const name of ['codex-home', 'outside', 'tmp', 'home']) fs.mkdirSync(path.join(dir, name));
  const target = await listen((_request, response) => void response.end('pong'));
  const sink = await startSink();
  const steps = scriptOf({ outside: path.join(dir, 'outside/file'), target: target.url });
  const model = await startModel(steps.map((step) => step.items));
  const config = path.join(codexHome, 'config.toml');
  fs.writeFileSync(config, configOf(model.url));
  try {
    const flags = ['--to', sink.url, '--spool', path.join(dir, 'spool'), '--session', uuidv7()];
    const agent = [command, 'exec', '--skip-git-repo-check', '--json', '-C', workspace, PROMPT];
    const ended = await telltale(['run', ...flags, '--', ...agent], dir, {
      PATH: process.env.PATH ?? '',
      HOME: path.join(dir, 'home'),
      TMPDIR: path.join(dir, 'tmp'),
      CODEX_HOME: codexHome,
      SCRIPTED_KEY: 'none',
      SHELL: '/bin/bash',
    });
    const calls = steps.flatMap((step) => step.calls);
    const configs = [configOf(model.url), fs.readFileSync(config, 'utf8')] as const;
    const { requests: modelRequests } = model;
    return { ...ended, events: sink.events, calls, workspace, configs, modelRequests };
  } finally {
    await model.stop();
    for (const { server } of [target, sink]) {
      server.close();
      server.closeAllConnections();
    }
    fs.rmSync(dir, { recursive: true, force: true });
  }
}
