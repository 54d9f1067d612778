/**
 * Brings the real agent CLIs into `.cache/agents/NAME`, once, without running their install scripts.
 * They are no dependency of the project: its lock file does not know them. `cli/package.json` pins
 * their versions; where an agent's package only fetches a program, that program's own is named.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');
const wanted = path.join(import.meta.dirname, 'cli/package.json');
export const AGENTS_DIR = path.join(root, '.cache/agents');

const INSTALL_MS_MAX = 300_000;

/** Each agent's package, and its program within it. */
const CLIS = {
  codex: ['@openai/codex', 'bin/codex.js'],
  claude: ['@anthropic-ai/claude-code-linux-x64', 'claude'],
  gemini: ['@google/gemini-cli', 'bundle/gemini.js'],
  opencode: ['opencode-linux-x64-baseline', 'bin/opencode'],
} as const;
export type AgentName = keyof typeof CLIS;
export type Found = { readonly command: string } | { readonly why: string };

function versionIn(file: string, name: string): string | undefined {
  try {
    const { dependencies, version } = JSON.parse(fs.readFileSync(file, 'utf8'));
    return name === '' ? version : dependencies[name];
  } catch {
    return undefined;
  }
}

/** The version that is pinned. */
export const agentVersion = (agent: AgentName): string | undefined =>
  versionIn(wanted, CLIS[agent][0]);

/** A program of the agent's own name: recorders know an agent by it. */
function linkCommand(dir: string, agent: AgentName, program: string): string {
  const bin = path.join(dir, 'bin');
  const command = path.join(bin, agent);
  fs.mkdirSync(bin, { recursive: true });
  fs.rmSync(command, { force: true });
  fs.chmodSync(program, 0o755);
  fs.symlinkSync(program, command);
  return command;
}

/** The command of an agent's CLI, or why it can't be had. */
export function agentCommand(agent: AgentName): Found {
  if (process.platform !== 'linux') return { why: 'not Linux' };
  const [name, file] = CLIS[agent];
  const dir = path.join(AGENTS_DIR, agent);
  const program = path.join(dir, 'node_modules', name, file);
  const version = versionIn(wanted, name);
  if (versionIn(path.join(dir, 'node_modules', name, 'package.json'), '') !== version) {
    fs.mkdirSync(dir, { recursive: true });
    const dependencies = { [name]: version };
    fs.writeFileSync(
      path.join(dir, 'package.json'),
      JSON.stringify({ private: true, dependencies }),
    );
    const done = spawnSync(
      'npm',
      ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
      { cwd: dir, encoding: 'utf8', timeout: INSTALL_MS_MAX },
    );
    if (done.status !== 0) return { why: `npm install failed: ${done.stderr.slice(-500)}` };
  }
  const command = linkCommand(dir, agent, program);
  const probe = spawnSync(command, ['--version'], { encoding: 'utf8', timeout: 30_000 });
  if (probe.status !== 0) return { why: `${agent} does not start: ${probe.stderr.slice(-500)}` };
  return { command };
}

/** The same, for a test: where it can't be had this is said, and under CI it is a failure. */
export function neededAgent(agent: AgentName): Found {
  const found = agentCommand(agent);
  if ('why' in found) {
    console.warn(`SKIPPED: the ${agent} CLI can't be had: ${found.why}`);
    if (process.env.CI === 'true')
      throw new Error(`the ${agent} CLI is needed under CI: ${found.why}`);
  }
  return found;
}
