/**
 * What the real CLIs once sent, with what they were scripted to do. It lies beside the checkout and
 * not in it: the captures hold their makers' prompts. Tests over it are skipped without it, loudly.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Input } from './samples.ts';

const archive = path.resolve(import.meta.dirname, '../../../../shared/agents/captures.tar.xz');
export const capturesThere = fs.existsSync(archive);
if (!capturesThere) console.warn('SKIPPED: no captures beside the checkout');

export interface ScriptedCall {
  readonly id: string;
  readonly tool: string;
}

export interface Captures {
  /** The records of a run: hooks, then telemetry, then session files, each in time. */
  inputs(agent: string, variant: string): readonly Input[];
  scripted(agent: string, variant: string): readonly ScriptedCall[];
  remove(): void;
}

const BODY = /^\d+-(logs|traces)\.json$/;
const LINES = /^(projects|sessions|gemini-tmp)\/.*\.jsonl$|^plugin-events\.jsonl$/;

/** The captured run's own plugin wrote another envelope than ours. */
function asPlugin(record: unknown): unknown {
  if (typeof record !== 'object' || record === null || !('hook' in record)) return record;
  const { at, event } = record as { at?: string; event?: { type?: string } };
  return { at: Date.parse(at ?? ''), event };
}

function inputsOf(dir: string): readonly Input[] {
  const inputs: Input[] = [];
  const read = (name: string) => fs.readFileSync(path.join(dir, name), 'utf8');
  for (const name of fs.readdirSync(dir, { recursive: true }).map(String).sort()) {
    if (LINES.test(name))
      for (const line of read(name).split('\n').filter(Boolean))
        inputs.push({ channel: 'line', file: name, record: asPlugin(JSON.parse(line)) });
    if (/^hooks\/.*\.json$/.test(name))
      inputs.push({ channel: 'hook', record: JSON.parse(read(name)) });
    if (!name.startsWith('otlp/') || !BODY.test(path.basename(name))) continue;
    const body = JSON.parse(read(name));
    const logs = name.includes('-logs');
    for (const group of body[logs ? 'resourceLogs' : 'resourceSpans'])
      for (const scope of group[logs ? 'scopeLogs' : 'scopeSpans'])
        for (const record of scope[logs ? 'logRecords' : 'spans'])
          inputs.push({ channel: logs ? 'log' : 'span', record });
  }
  return inputs;
}

/** Unpacks the captures; `remove` takes them away again. */
export function unpackCaptures(): Captures {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-captured-'));
  execFileSync('tar', ['xJf', archive, '-C', dir]);
  const of = (agent: string, variant: string) => path.join(dir, 'captures', agent, variant);
  return {
    inputs: (agent, variant) => inputsOf(of(agent, variant)),
    scripted(agent, variant) {
      const file = path.join(of(agent, variant), 'ground-truth.json');
      const { scriptedCalls } = JSON.parse(fs.readFileSync(file, 'utf8'));
      return scriptedCalls
        .filter(({ id }: { id?: string }) => id !== undefined)
        .map((call: { id: string; tool?: string; name?: string }) => ({
          id: agent === 'gemini' ? `${call.name}__${call.id}` : call.id,
          tool: call.tool ?? call.name ?? '',
        }));
    },
    remove: () => fs.rmSync(dir, { recursive: true, force: true }),
  };
}
