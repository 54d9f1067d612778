/**
 * Made-up sessions with the mix and the sizes of real ones: a model's turn, tool calls, what the
 * kernel saw of each, results. Everything follows from the seed; texts are cut from the checkout's
 * own sources, so that they compress as text does. The events are made by the collector's own
 * session: numbered, chained, with checkpoints.
 */
import fs from 'node:fs';
import path from 'node:path';
import { type Clock, type Draft, frameLines } from '#schemas';
import { openSession, SESSION_DEFAULTS } from '../../collector/session.ts';
import type { Spool } from '../../collector/spool.ts';
import type { StreamIdentity } from '../../collector/stamp.ts';
import { fakeLog, fakeMeter, fakeRandom } from '../fakes/ports.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const START_NS = 1_764_000_000_000_000_000n;
/** Events of one frame: what a collector ships under load. */
const FRAME_EVENTS = 64;

/** mulberry32: small, seeded, good enough to choose words with. */
export function dice(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const TEXTS = ['README.md', 'schemas/codec.ts', 'query/timeline/story.ts', 'collector/README.md'];
const TEXT = TEXTS.map((name) => fs.readFileSync(path.join(ROOT, name), 'utf8')).join('\n');
const COMMANDS = ['rg -n', 'sed -n 1,200p', 'npx vitest run', 'git diff --stat', 'cat', 'ls -la'];
const TOOLS = ['exec_command', 'apply_patch', 'read_file', 'lookup'];
const HOSTS = ['registry.npmjs.org', 'github.com', 'api.openai.com', 'crates.io', 'pypi.org'];
const PROGRAMS = ['/usr/bin/bash', '/usr/bin/rg', '/usr/bin/git', '/usr/bin/node', '/usr/bin/cat'];
const FILE_OPS = ['create', 'write', 'rename', 'delete'] as const;

/** A session's drafts, one tool call after the other, without end. */
export function* madeDrafts(random: () => number, now: () => string): Generator<Draft> {
  const upTo = (n: number) => Math.floor(random() * n);
  const pick = <T>(list: readonly T[]): T => list[upTo(list.length)] as T;
  const text = (bytes: number) => {
    const at = upTo(TEXT.length - bytes);
    return TEXT.slice(at, at + bytes).toWellFormed();
  };
  const hex = (digits: number) =>
    Array.from({ length: digits }, () => upTo(16).toString(16)).join('');
  const conversation_id = `${hex(8)}-${hex(4)}-7${hex(3)}-9${hex(3)}-${hex(12)}`;
  const trace_id = hex(32);
  const cwd = `/home/agent/work/project-${upTo(20)}`;
  let turn = 0;
  let pid = 1000 + upTo(20_000);
  for (let call = 0; ; call++) {
    if (call % 6 === 0) turn++;
    const turn_id = `${conversation_id}-turn-${turn}`;
    const tool_call_id = `call_${hex(24)}`;
    const file = `${cwd}/src/${pick(['query', 'ingest', 'schemas'])}/module_${upTo(400)}.ts`;
    const command = `${pick(COMMANDS)} ${file}`;
    const said = {
      conversation_id,
      turn_id,
      trace_id,
      source: 'otlp',
      assurance: 'reported',
    } as const;
    const seen = {
      conversation_id,
      turn_id,
      tool_call_id,
      source: 'seccomp',
      assurance: 'observed',
      attribution: 'env_key',
      attribution_confidence_pct: 100,
      ppid: 1000,
    } as const;
    yield {
      kind: 'model.turn',
      ts: now(),
      ...said,
      span_id: hex(16),
      model: 'gpt-5.5',
      provider: 'openai',
      response_id: `resp_${hex(48)}`,
      phase: 'request',
      input_tokens: 900 + upTo(90_000),
      output_tokens: upTo(900),
      cached_tokens: upTo(900),
      reasoning_tokens: upTo(200),
      duration_ns: 1_000_000 * upTo(9000),
      outcome: 'success',
    };
    yield {
      kind: 'model.turn',
      ts: now(),
      ...said,
      model: 'gpt-5.5',
      phase: 'message',
      text: text(200 + upTo(900)),
    };
    const tool = pick(TOOLS);
    yield {
      kind: 'tool.call',
      ts: now(),
      ...said,
      span_id: hex(16),
      tool_call_id,
      tool,
      tool_namespace: 'functions',
      command,
      cwd,
      arguments: JSON.stringify({
        cmd: command,
        workdir: cwd,
        justification: text(80 + upTo(300)),
      }),
    };
    for (let child = 0; child < 2; child++) {
      pid++;
      const exe = pick(PROGRAMS);
      yield {
        kind: 'exec',
        ts: now(),
        ...seen,
        pid,
        exe,
        cwd,
        outcome: 'success',
        argv: child === 0 ? ['bash', '-lc', command, text(200)] : [...command.split(' '), text(80)],
        join_keys: { CODEX_TOOL_CALL_ID: tool_call_id, CODEX_THREAD_ID: conversation_id },
      };
      for (let i = upTo(3); i > 0; i--)
        yield {
          kind: 'file',
          ts: now(),
          ...seen,
          pid,
          file_op: pick(FILE_OPS),
          file_path: `${file}.${upTo(99)}`,
          file_mode: '0644',
          file_bytes: upTo(100_000),
          file_sha256: hex(64),
          outcome: 'success',
        };
      if (random() < 0.4)
        yield {
          kind: 'net',
          ts: now(),
          ...seen,
          pid,
          net_op: 'connect',
          net_transport: 'tcp',
          net_host: pick(HOSTS),
          net_ip: `10.${upTo(256)}.${upTo(256)}.${upTo(256)}`,
          net_port: 443,
          url: `https://${pick(HOSTS)}/${hex(12)}`,
          net_bytes_in: upTo(1e6),
          net_bytes_out: upTo(1e4),
        };
      yield { kind: 'exit', ts: now(), ...seen, pid, exit_code: upTo(2), duration_ns: upTo(1e9) };
    }
    const output = text(300 + upTo(1400));
    yield {
      kind: 'tool.result',
      ts: now(),
      ...said,
      tool_call_id,
      tool,
      outcome: 'success',
      exit_code: 0,
      duration_ns: upTo(1e9),
      output,
      output_bytes: Buffer.byteLength(output),
      attrs: { 'codex.tool_result_seq': String(call), 'codex.originator': 'codex_exec' },
    };
  }
}

/** One recorded session, whole: session.open to session.close. */
export interface Recorded {
  readonly identity: StreamIdentity;
  /** Canonical bytes, in order, without newlines. */
  readonly lines: readonly Buffer[];
}

function collectingSpool(identity: StreamIdentity, lines: Buffer[]): Spool {
  return {
    identity,
    append(events) {
      for (const { bytes } of events) lines.push(bytes);
      return true;
    },
    isFull: false,
    peek: () => [],
    release: () => {},
    pending: 0,
    pendingBytes: 0,
    close: () => {},
  };
}

/** Time that goes on by `stepNs` with each look. */
export function steppingClock(startNs: bigint, stepNs: bigint): Clock {
  let now = startNs;
  return {
    wallNs: () => {
      now += stepNs;
      return now;
    },
    monotonicNs: () => now,
    sleep: async () => {},
    every: () => () => {},
  };
}

/** Records `drafts` as one session, by the collector's own code. */
export async function recordDrafts(
  identity: StreamIdentity,
  all: Iterable<Draft>,
  clock: Clock,
): Promise<Recorded> {
  const lines: Buffer[] = [];
  const deps = {
    spool: collectingSpool(identity, lines),
    clock,
    random: fakeRandom(),
    log: fakeLog(),
    meter: fakeMeter(),
    settings: { ...SESSION_DEFAULTS, heartbeatMs: 3_600_000 },
  };
  const session = openSession(deps, { commandArgs: ['codex', 'exec'], cwd: '/srv', settings: {} });
  for (const draft of all) await session.add([draft]);
  await session.close({ close_reason: 'exited', exit_code: 0 });
  return { identity, lines };
}

/** One denial for so many approvals. */
const DENIED_OF = 20;

/** The same drafts where each tool call is asked for and decided, by a person who takes a second. */
export function* withApprovals(drafts: Iterable<Draft>): Generator<Draft> {
  let asked = 0;
  for (const draft of drafts) {
    yield draft;
    if (draft.kind !== 'tool.call') continue;
    const { ts, conversation_id = '', turn_id = '', tool_call_id = '', tool = '' } = draft;
    const shared = { ts, conversation_id, turn_id, tool_call_id, tool };
    const all = { ...shared, source: 'otlp', assurance: 'reported' } as const;
    yield { kind: 'approval', ...all, decision: 'asked' };
    const decision = ++asked % DENIED_OF === 0 ? 'denied' : 'approved';
    yield { kind: 'approval', ...all, decision, decided_by: 'user', duration_ns: 1_000_000_000 };
  }
}

/** Session number `n` of a workload, with about `events` events; `change`: what its drafts go through. */
export async function madeSession(
  seed: number,
  n: number,
  events: number,
  change: (drafts: Generator<Draft>) => Generator<Draft> = (drafts) => drafts,
): Promise<Recorded> {
  const random = dice(seed * 7919 + n);
  const digits = (n + 1).toString(16).padStart(12, '0');
  const half = (seed % 65_536).toString(16).padStart(4, '0');
  const identity = {
    tenant: `tenant-${n % 4}`,
    session_id: `0193a5e0-${half}-7000-8000-${digits}`,
    stream_id: `0193a5e1-${half}-7000-8000-${digits}`,
    agent: 'codex',
    host: `worker-${n % 16}`,
    user: 'agent',
  };
  const clock = steppingClock(START_NS + BigInt(n) * 60_000_000_000n, 20_000_003n);
  const endless = change(madeDrafts(random, () => clock.wallNs().toString()));
  const some = function* () {
    for (let i = 0; i < events - 2; i++) yield endless.next().value as Draft;
  };
  return recordDrafts(identity, some(), clock);
}

/** The frames of several sessions as a topic has them: in turn, one after the other. */
export function framesOf(sessions: readonly Recorded[], frameEvents = FRAME_EVENTS): Buffer[] {
  const frames: Buffer[] = [];
  const longest = Math.max(...sessions.map(({ lines }) => lines.length));
  for (let at = 0; at < longest; at += frameEvents)
    for (const { identity, lines } of sessions) {
      const part = lines.slice(at, at + frameEvents);
      if (part.length > 0) frames.push(frameLines({ ...identity, first_seq: at }, part));
    }
  return frames;
}
