/**
 * Reconstruction of what real agents once sent. The captures lie beside the checkout and not in it;
 * without them this is skipped, and said so. They hold the agents' words only, without a kernel
 * sensor: nothing that was not seen may be held against them.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Draft, TelltaleEvent } from '#schemas';
import { codex } from '../../../collector/agents/codex/adapter.ts';
import { decodeProtobuf } from '../../../collector/agents/otlp/protobuf.ts';
import { parseRequest, type Signal } from '../../../collector/agents/otlp/shape.ts';
import { assess } from '../../../query/timeline/assess.ts';
import { buildStory } from '../../../query/timeline/story.ts';
import { stampStream } from '../seed.ts';
import { sessionOf } from './events.ts';

const archive = path.resolve(import.meta.dirname, '../../../../shared/agents/captures.tar.xz');
const there = fs.existsSync(archive);
if (!there) console.warn('SKIPPED: no captures beside the checkout');
const BODY = /^\d+-(logs|traces|metrics)\.(json|pb)$/;

interface Replayed {
  readonly events: readonly TelltaleEvent[];
  readonly scripted: readonly { readonly call_id?: string }[];
}

function replay(dir: string): Replayed {
  const mapper = codex.mapper(0n);
  const drafts: Draft[] = [];
  const add = (mapped: readonly Draft[] | undefined) => void drafts.push(...(mapped ?? []));
  const sessions = path.join(dir, 'sessions');
  for (const name of fs.readdirSync(sessions, { recursive: true }).map(String).sort())
    if (name.endsWith('.jsonl'))
      for (const line of fs.readFileSync(path.join(sessions, name), 'utf8').split('\n'))
        if (line !== '') add(mapper.line?.(line, name));
  for (const name of fs.readdirSync(path.join(dir, 'otlp')).sort()) {
    const [, signal, encoding] = BODY.exec(name) ?? [];
    if (signal === undefined) continue;
    const bytes = fs.readFileSync(path.join(dir, 'otlp', name));
    const json = encoding === 'json';
    const body = json ? JSON.parse(bytes.toString()) : decodeProtobuf(signal as Signal, bytes);
    const { spans, logs } = parseRequest(signal as Signal, body);
    for (const span of spans) add(mapper.span(span));
    for (const record of logs) add(mapper.log(record));
  }
  const truth = JSON.parse(fs.readFileSync(path.join(dir, 'ground-truth.json'), 'utf8'));
  const events = stampStream({ drafts }).map(({ event }) => event);
  return { events, scripted: truth.scriptedCalls };
}

describe.skipIf(!there)('captured Codex sessions', () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-captures-'));
  beforeAll(() => void execFileSync('tar', ['xJf', archive, '-C', dir, 'captures/codex']));
  afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

  it.each(['ww-json', 'dfa-binary', 'netproxy-json', 'autoreview-json'])(
    '%s: every call is there; no drift and no false claim is made up',
    (variant) => {
      const { events, scripted } = replay(path.join(dir, 'captures/codex', variant));
      const data = sessionOf(events);
      const made = assess(events, data.streams);
      const ids = new Set(made.analysis.calls.map(({ id }) => id));
      for (const { call_id: id } of scripted) if (id !== undefined) expect(ids).toContain(id);
      expect(made.drift().map(({ kind, text }) => `${kind}: ${text}`)).toEqual([]);
      expect(made.claims()).toEqual([]);
      expect(made.agents().list.length).toBeGreaterThan(0);
      expect(made.coverage().of('1', '9').verdict).not.toBe('complete');
      const { findings } = buildStory(data, made);
      const counts = findings.map(({ kind }) => kind);
      console.info(
        `${variant}: ${events.length} events, ${ids.size} calls, ${made.reviews().length} approvals, ${made.network().length} destinations, ${made.files().list.length} files, ${made.agents().list.length} agents, findings: ${counts.join(' ') || 'none'}`,
      );
    },
    60_000,
  );
});
