/** Prometheus' own tool on our rules: they parse, they fire on each fault, and only then. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

const BINARY = 'promtool';
const there = spawnSync(BINARY, ['--version']).status === 0;
if (!there)
  process.stderr.write(`SKIPPED: alert rules need ${BINARY} (Debian: prometheus) on the PATH\n`);

const root = path.resolve(import.meta.dirname, '../../..');
const rules = path.join(root, 'deploy/telemetry/prometheus-rules.yaml');
const cases = fs.readFileSync(path.join(import.meta.dirname, 'promtool.yaml'), 'utf8');
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-promtool-'));
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(BINARY, args, { encoding: 'utf8' });
  return { status, text: `${stdout}${stderr}` };
}

/** The cases with `text` as the file of rules. */
function tested(text: string) {
  fs.writeFileSync(path.join(dir, 'prometheus-rules.yaml'), text);
  fs.writeFileSync(path.join(dir, 'cases.yaml'), cases);
  return run('test', 'rules', path.join(dir, 'cases.yaml'));
}

describe.skipIf(!there)('promtool', () => {
  it('takes the rules', () => {
    const { status, text } = run('check', 'rules', rules);
    expect(text).toMatch(/SUCCESS: \d+ rules found/);
    expect(status).toBe(0);
  });

  it('sees each alert fire on its fault, and be quiet without it', () => {
    const { status, text } = tested(fs.readFileSync(rules, 'utf8'));
    expect(text).toContain('SUCCESS');
    expect(status, text).toBe(0);
  });

  it('would see an alert that no longer fires', () => {
    const weak = fs.readFileSync(rules, 'utf8').replaceAll('> 0.1', '> 1e9');
    const { status, text } = tested(weak);
    expect(text).toContain('TelltaleStoreErrors');
    expect(status).not.toBe(0);
  });
});
