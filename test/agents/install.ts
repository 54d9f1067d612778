/**
 * Brings the real agent CLIs into `.cache/agents`, once, without running their install scripts.
 * They are no dependency of the project: its lock file does not know them.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');
const wanted = path.join(import.meta.dirname, 'cli/package.json');
export const AGENTS_DIR = path.join(root, '.cache/agents');

const INSTALL_MS_MAX = 300_000;

function versionIn(file: string, name: string): string | undefined {
  try {
    const { dependencies, version } = JSON.parse(fs.readFileSync(file, 'utf8'));
    return name === '' ? version : dependencies[name];
  } catch {
    return undefined;
  }
}

/** The command of the Codex CLI, or why it can't be had. */
export function codexCommand(): { command: string } | { why: string } {
  const name = '@openai/codex';
  const installed = path.join(AGENTS_DIR, 'node_modules', name, 'package.json');
  const command = path.join(AGENTS_DIR, 'node_modules/.bin/codex');
  const version = versionIn(wanted, name);
  if (versionIn(installed, '') !== version || !fs.existsSync(command)) {
    fs.mkdirSync(AGENTS_DIR, { recursive: true });
    fs.copyFileSync(wanted, path.join(AGENTS_DIR, 'package.json'));
    const done = spawnSync(
      'npm',
      ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'],
      { cwd: AGENTS_DIR, encoding: 'utf8', timeout: INSTALL_MS_MAX },
    );
    if (done.status !== 0) return { why: `npm install failed: ${done.stderr.slice(-500)}` };
  }
  const probe = spawnSync(command, ['--version'], { encoding: 'utf8', timeout: 30_000 });
  if (probe.status !== 0) return { why: `codex does not start: ${probe.stderr.slice(-500)}` };
  return { command };
}
