/** A small, fixed session for the query tests, made as the collector makes one. */
import {
  ALERTS_TABLE,
  alertLine,
  type Draft,
  makeAlert,
  SCHEMA_VERSION,
  type Store,
  type TelltaleEvent,
} from '#schemas';
import { createStamper, type StampedEvent } from '../../collector/stamp.ts';
import { fakeClock, fakeRandom } from '../fakes/ports.ts';

export const TENANT = 'acme';
export const OTHER_TENANT = 'globex';
export const SESSION = '0193a5e0-0000-7000-8000-00000000000a';
export const STREAM = '0193a5e0-0000-7000-8000-0000000000a1';

const START_NS = 1_764_000_000_000_000_000n;
const at = (ms: number) => String(START_NS + BigInt(ms) * 1_000_000n);

export interface SeedStream {
  readonly tenant?: string;
  readonly session?: string;
  readonly stream?: string;
  readonly host?: string;
  readonly agent?: string;
  /** What a tenant's texts are marked with, to see whether they cross. */
  readonly mark?: string;
  readonly drafts?: readonly Draft[];
  readonly close?: boolean;
  /** Numbers that are stamped but not stored. */
  readonly lost?: readonly number[];
  /** Moves every time. */
  readonly shiftMs?: number;
}

const reported = { source: 'otlp', assurance: 'reported' } as const;
const seen = { source: 'seccomp', assurance: 'observed' } as const;

/** What happens in the fixed session: one prompt, two calls, what the kernel saw of them. */
export function storyDrafts(mark = ''): Draft[] {
  const call = { tool_call_id: 'call_1', turn_id: 'turn_1' };
  const second = { tool_call_id: 'call_2', turn_id: 'turn_1' };
  const key = { ...call, attribution: 'env_key', attribution_confidence_pct: 100 } as const;
  return [
    {
      kind: 'sensor',
      ts: at(1),
      source: 'collector',
      assurance: 'verified',
      sensor_name: 'seccomp',
      coverage: 'complete',
      sensor_rung: 1,
    },
    {
      kind: 'prompt',
      ts: at(10),
      ...reported,
      turn_id: 'turn_1',
      prompt: `make a file${mark}`,
      prompt_bytes: 11,
    },
    {
      kind: 'model.turn',
      ts: at(20),
      ...reported,
      turn_id: 'turn_1',
      model: 'scripted-1',
      text: `I will run it${mark}`,
      input_tokens: 100,
      output_tokens: 20,
    },
    {
      kind: 'tool.call',
      ts: at(30),
      ...reported,
      ...call,
      tool: 'shell',
      command: `sh -c 'echo hi > out'${mark}`,
      arguments: `{"command":"sh${mark}"}`,
    },
    {
      kind: 'approval',
      ts: at(31),
      ...reported,
      ...call,
      decision: 'approved',
      decided_by: 'user',
      scope: 'once',
    },
    {
      kind: 'exec',
      ts: at(32),
      ...seen,
      ...key,
      pid: 50,
      ppid: 10,
      exe: `/bin/sh${mark}`,
      argv: ['sh', '-c', `echo hi > out${mark}`],
      cwd: '/w',
    },
    {
      kind: 'file',
      ts: at(33),
      ...seen,
      ...key,
      pid: 50,
      file_op: 'create',
      file_path: `/w/out${mark}`,
    },
    {
      kind: 'exec',
      ts: at(34),
      ...seen,
      ...key,
      pid: 51,
      ppid: 50,
      exe: '/usr/bin/curl',
      argv: ['curl', 'https://example.com'],
    },
    {
      kind: 'net',
      ts: at(35),
      ...seen,
      ...key,
      pid: 51,
      net_op: 'connect',
      net_host: `example.com${mark}`,
      net_ip: '192.0.2.7',
      net_port: 443,
      net_transport: 'tcp',
    },
    { kind: 'exit', ts: at(36), ...seen, ...key, pid: 51, exit_code: 7 },
    { kind: 'exit', ts: at(37), ...seen, ...key, pid: 50, exit_code: 7 },
    {
      kind: 'tool.result',
      ts: at(40),
      ...reported,
      ...call,
      outcome: 'success',
      exit_code: 0,
      output: `hi${mark}`,
      output_bytes: 2,
    },
    { kind: 'tool.call', ts: at(50), ...reported, ...second, tool: 'shell', command: 'rm -rf /' },
    {
      kind: 'approval',
      ts: at(51),
      ...reported,
      ...second,
      decision: 'denied',
      decided_by: 'config',
      reason: `no${mark}`,
    },
  ] as Draft[];
}

/** Stamps a stream as the collector does: open, drafts, a checkpoint, close. */
export function stampStream(seed: SeedStream = {}): StampedEvent[] {
  const identity = {
    tenant: seed.tenant ?? TENANT,
    session_id: seed.session ?? SESSION,
    stream_id: seed.stream ?? STREAM,
    agent: seed.agent ?? 'codex',
    host: seed.host ?? 'box-1',
    user: 'agent',
  };
  const stamper = createStamper(identity, fakeClock(START_NS), fakeRandom());
  const own = (ms: number) => ({ ts: at(ms), source: 'collector', assurance: 'verified' as const });
  const out: StampedEvent[] = [];
  const shift = BigInt(seed.shiftMs ?? 0) * 1_000_000n;
  const put = (draft: Draft) =>
    void out.push(stamper.stamp({ ...draft, ts: String(BigInt(draft.ts) + shift) } as Draft));
  put({
    kind: 'session.open',
    ...own(0),
    schema_version: SCHEMA_VERSION,
    command_args: ['codex', 'exec', `go${seed.mark ?? ''}`],
    cwd: '/w',
    public_key: stamper.publicKey,
  } as Draft);
  for (const draft of seed.drafts ?? storyDrafts(seed.mark)) put(draft);
  if (seed.close !== false)
    put({
      kind: 'session.close',
      ...own(99_000),
      close_reason: 'exited',
      exit_code: 0,
    } as Draft);
  return out.filter((_, seq) => !seed.lost?.includes(seq));
}

let inserts = 0;

/** Inserts events as the ingest service does: their canonical lines. */
export async function insertEvents(store: Store, events: readonly StampedEvent[]): Promise<void> {
  const lines = Buffer.concat(events.flatMap(({ bytes }) => [bytes, Buffer.from('\n')]));
  await store.insert({
    table: 'telltale.events',
    lines,
    rows: events.length,
    dedupToken: `seed-${inserts++}`,
    timeMs: 30_000,
  });
}

export interface SeedDead {
  readonly tenant?: string;
  readonly session?: string;
  readonly stream?: string;
  readonly seq: number;
  readonly reason?: string;
  readonly detail?: string;
}

/** Parks one number, as the ingest service does. */
export async function insertDead(store: Store, dead: SeedDead): Promise<void> {
  const row = {
    tenant: dead.tenant ?? TENANT,
    session_id: dead.session ?? SESSION,
    stream_id: dead.stream ?? STREAM,
    seq: dead.seq,
    reason: dead.reason ?? 'invalid',
    field: 'pid',
    detail: dead.detail ?? 'must be >= 1',
    bytes_base64: 'e30=',
    origin: 'test/0/0/0',
    parked_at: '2025-11-24 16:00:00.000',
  };
  await store.insert({
    table: 'telltale.dead_letters',
    lines: Buffer.from(`${JSON.stringify(row)}\n`),
    rows: 1,
    dedupToken: `dead-${inserts++}`,
    timeMs: 30_000,
  });
}

export const eventsIn = (stamped: readonly StampedEvent[]): TelltaleEvent[] =>
  stamped.map(({ event }) => event);

/** An alert over the fixed session; `tenant` may be another. */
export async function insertAlert(
  store: Store,
  tenant: string = TENANT,
  reason = 'for the test',
): Promise<void> {
  const alert = makeAlert({
    tenant,
    rule: {
      id: 'made-up',
      title: 'A made-up rule',
      level: 'high',
      author: 'A. Author',
      license: 'Apache-2.0',
      tags: ['attack.t1041'],
    },
    session_id: SESSION,
    key: { session_id: SESSION },
    events: [1, 2].map((seq) => ({ id: `${STREAM}-${seq}`, ts: at(seq) })),
    reason,
  });
  const lines = Buffer.from(`${alertLine(alert)}\n`);
  const one = { table: ALERTS_TABLE, lines, rows: 1, timeMs: 10_000 };
  await store.insert({ ...one, dedupToken: alert.fingerprint });
}
