/**
 * Sessions that were really recorded: runs of the Codex CLI, whose captures lie beside the checkout
 * and not in it, mapped by the project's own mapper; and what the seccomp sensor sees of a shell
 * at work here and now.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Draft } from '#schemas';
import { codex } from '../../../collector/agents/codex/adapter.ts';
import { decodeProtobuf } from '../../../collector/agents/otlp/protobuf.ts';
import { parseRequest, type Signal } from '../../../collector/agents/otlp/shape.ts';
import { here, recordRun } from '../../collector/sensors/recorder.ts';
import { say } from './measure.ts';

const ARCHIVE = path.resolve(import.meta.dirname, '../../../../shared/agents/captures.tar.xz');
const BODY = /^\d+-(logs|traces|metrics)\.(json|pb)$/;

export interface Source {
  readonly name: string;
  readonly drafts: readonly Draft[];
  /** What the agent emitted for the same session: OTLP bodies, session files, hook payloads. */
  readonly rawBytes: number;
  /** The same without traces and metrics, of which the mapper uses little. */
  readonly leanBytes: number;
}

const filesBelow = (dir: string): string[] =>
  fs.existsSync(dir)
    ? fs
        .readdirSync(dir, { recursive: true })
        .map((name) => path.join(dir, String(name)))
        .filter((file) => fs.statSync(file).isFile())
        .sort()
    : [];

/** All channels of one captured run: the session file first, as in a recording. */
function replay(name: string, dir: string): Source {
  const mapper = codex.mapper(0n);
  const drafts: Draft[] = [];
  let rawBytes = 0;
  let spanBytes = 0;
  const add = (mapped: readonly Draft[] | undefined) => drafts.push(...(mapped ?? []));
  for (const file of filesBelow(path.join(dir, 'sessions'))) {
    if (!file.endsWith('.jsonl')) continue;
    const text = fs.readFileSync(file, 'utf8');
    rawBytes += Buffer.byteLength(text);
    const lines = text.split('\n').filter((line) => line !== '');
    for (const line of lines) add(mapper.line?.(line, path.basename(file)));
  }
  for (const file of filesBelow(path.join(dir, 'otlp'))) {
    const [, signal, encoding] = BODY.exec(path.basename(file)) ?? [];
    if (signal === undefined) continue;
    const bytes = fs.readFileSync(file);
    rawBytes += bytes.length;
    if (signal !== 'logs') spanBytes += bytes.length;
    const json = encoding === 'json';
    const body = json ? JSON.parse(bytes.toString()) : decodeProtobuf(signal as Signal, bytes);
    const parsed = parseRequest(signal as Signal, body);
    for (const span of parsed.spans) add(mapper.span(span));
    for (const log of parsed.logs) add(mapper.log(log));
  }
  for (const file of filesBelow(path.join(dir, 'hooks'))) {
    const hook = path.basename(file);
    if (!hook.endsWith('.json')) continue;
    const bytes = fs.readFileSync(file);
    rawBytes += bytes.length;
    add(mapper.hook?.(hook, JSON.parse(bytes.toString()), hook.split('-')[0] ?? ''));
  }
  return { name: `codex ${name}`, drafts, rawBytes, leanBytes: rawBytes - spanBytes };
}

/** The captured sessions; none, and said so, where the captures are not there. */
export function captured(): readonly Source[] {
  if (!fs.existsSync(ARCHIVE)) {
    say('SKIPPED: no captures of agents beside the checkout, so no recorded session is measured');
    return [];
  }
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-captures-'));
  try {
    execFileSync('tar', ['xJf', ARCHIVE, '-C', dir]);
    const root = path.join(dir, 'captures/codex');
    return fs
      .readdirSync(root)
      .filter((name) => fs.existsSync(path.join(root, name, 'otlp')))
      .map((name) => replay(name, path.join(root, name)));
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

/** A little of everything that a build does: programs, files, renames, a refused connection. */
const WORK = `
mkdir -p src out
for i in $(seq 1 150); do
  echo "int f$i(void) { return $i; }" > src/f$i.c
  cat src/f$i.c > out/f$i.tmp
  mv out/f$i.tmp out/f$i.o
  grep -q return out/f$i.o
  rm src/f$i.c
done
ls out | wc -l`;

/** What the kernel sensor sees of that; none, and said so, where it can't run. */
export async function sensed(): Promise<readonly Source[]> {
  if (!here) return [];
  const cwd = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-sensed-'));
  try {
    const { drafts } = await recordRun(['bash', '-c', WORK], { cwd });
    return [{ name: 'seccomp sensor, a shell at work', drafts, rawBytes: 0, leanBytes: 0 }];
  } finally {
    fs.rmSync(cwd, { recursive: true, force: true });
  }
}
