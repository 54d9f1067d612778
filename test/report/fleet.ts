/**
 * A made-up day of a fleet, the same each time: agents at work, a session that goes wrong, another
 * that loses events, texts as attackers name things. For the pictures, and for Grafana's plugin.
 */
import {
  ALERTS_TABLE,
  alertLine,
  type Draft,
  makeAlert,
  SCHEMA_VERSION,
  type Store,
} from '#schemas';
import { createStamper } from '../../collector/stamp.ts';
import { fakeClock, fakeRandom } from '../fakes/ports.ts';

export const FLEET_TENANT = 'acme';
/** The day that is looked at: 2026-11-23 18:00 to 2026-11-24 18:00 UTC. */
export const DAY_END_MS = Date.UTC(2026, 10, 24, 18);
export const DAY_MS = 24 * 3600 * 1000;

const SESSIONS = 64;
/** How many sessions begin in each of the day's hours, from 18:00 on; of `SESSIONS`. */
const BUSY = [4, 3, 2, 1, 1, 1, 0, 0, 0, 0, 0, 1, 2, 3, 5, 6, 6, 5, 3, 5, 6, 5, 3, 2];
const AGENTS = ['claude-code', 'claude-code', 'codex', 'codex', 'gemini-cli', 'opencode'] as const;
const HOSTS = ['build-01', 'build-02', 'dev-anna', 'dev-ben', 'dev-chris', 'ci-runner-7'];
/** What an attacker called a machine. */
const HOSTILE = `<img src=x onerror="alert(1)">'; DROP`;
const MODELS: Readonly<Record<string, string>> = {
  'claude-code': 'claude-opus-4-8',
  codex: 'gpt-5.5-codex',
  'gemini-cli': 'gemini-3-pro',
  opencode: 'qwen3-coder-480b',
};
const PROGRAMS = [
  ['/usr/bin/git', 'git', 'diff', '--stat'],
  ['/usr/bin/rg', 'rg', '--files', 'src'],
  ['/usr/bin/node', 'node', '--test'],
  ['/usr/bin/npm', 'npm', 'run', 'build'],
  ['/usr/bin/python3', 'python3', '-m', 'pytest', '-q'],
  ['/usr/bin/cargo', 'cargo', 'check'],
  ['/bin/sh', 'sh', '-c', 'ls -la && cat package.json'],
] as const;
const PLACES = [
  ['registry.npmjs.org', '104.16.1.35', 443],
  ['api.github.com', '140.82.121.6', 443],
  ['pypi.org', '151.101.0.223', 443],
  ['static.crates.io', '13.33.4.20', 443],
  ['proxy.internal', '10.1.0.9', 3128],
] as const;
const RULES = [
  ['at-011', 'A burst of denied actions', 'medium', ['attack.discovery']],
  ['at-025', 'A download piped into an interpreter', 'high', ['attack.execution', 'attack.t1059']],
  [
    'at-002',
    'A secret was read, then sent out',
    'critical',
    ['attack.exfiltration', 'attack.t1041'],
  ],
  [
    'at-016',
    'The agent’s own configuration was written',
    'high',
    ['attack.persistence', 'atlas.aml.t0081'],
  ],
  ['at-013', 'Approvals are given faster than they are read', 'low', ['attack.defense_evasion']],
] as const;

type Chance = () => number;

/** A number from 0 to 1, the same sequence for a seed (mulberry32). */
function chanceOf(seed: number): Chance {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const pick = <T>(chance: Chance, list: readonly T[]): T =>
  list[Math.floor(chance() * list.length)] as T;
const between = (chance: Chance, low: number, high: number): number =>
  Math.floor(low + chance() * (high - low));
const uuid = (of: number, part: string): string =>
  `019aa000-0000-7000-8000-${part}${of.toString(16).padStart(12 - part.length, '0')}`;

/** One moment: what happens, and how long after the last. */
interface Step {
  readonly afterMs: number;
  readonly draft: Readonly<Record<string, unknown>>;
}

const REPORTED = { source: 'otlp', assurance: 'reported' };
const SEEN = { source: 'seccomp', assurance: 'observed' };

interface Session {
  readonly number: number;
  readonly startMs: number;
  readonly agent: string;
  readonly host: string;
  /** `bad`: looks for a way out; `lossy`: its spool was full; `torn`: numbers are missing. */
  readonly fate: 'good' | 'bad' | 'lossy' | 'torn' | 'blind';
}

function callSteps(chance: Chance, { fate, agent }: Session, id: string): Step[] {
  const call = { tool_call_id: id };
  const key = { ...call, attribution: 'env_key', attribution_confidence_pct: 100 };
  const [exe, ...argv] = pick(chance, PROGRAMS);
  const mcp = chance() < 0.12;
  const tool = mcp ? 'search_issues' : agent === 'codex' ? 'exec_command' : 'Bash';
  const failed = chance() < (fate === 'bad' ? 0.5 : 0.12);
  const pid = between(chance, 1000, 60_000);
  const steps: Step[] = [
    {
      afterMs: between(chance, 300, 2500),
      draft: {
        kind: 'tool.call',
        ...REPORTED,
        ...call,
        tool,
        command: argv.join(' '),
        ...(mcp ? { mcp_server: 'github' } : {}),
      },
    },
  ];
  if (chance() < 0.3) {
    const person = chance() < 0.6;
    const no = chance() < (fate === 'bad' ? 0.6 : 0.08);
    steps.push({
      afterMs: person ? between(chance, 800, 40_000) : 5,
      draft: {
        kind: 'approval',
        ...REPORTED,
        ...call,
        tool,
        command: argv.join(' '),
        decision: no ? 'denied' : 'approved',
        decided_by: person ? 'user' : pick(chance, ['config', 'hook', 'reviewer']),
        scope: pick(chance, ['once', 'once', 'session', 'always']),
        policy: 'team-default',
        policy_version: chance() < 0.85 ? '14' : '13',
        ...(person ? { duration_ns: between(chance, 4e8, 4e10) } : {}),
        ...(no ? {} : { justification: 'needed to run the tests' }),
      },
    });
    if (no) return steps;
  }
  if (fate !== 'blind') steps.push(...effectSteps(chance, fate, { key, pid, exe, argv }));
  steps.push({
    afterMs: between(chance, 30, 900),
    draft: {
      kind: 'tool.result',
      ...REPORTED,
      ...call,
      outcome: failed ? 'failure' : 'success',
      exit_code: failed ? 1 : 0,
      output: 'ok',
      output_bytes: 2,
    },
  });
  return steps;
}

interface Effect {
  readonly key: object;
  readonly pid: number;
  readonly exe: string;
  readonly argv: readonly string[];
}

function effectSteps(
  chance: Chance,
  fate: Session['fate'],
  { key, pid, exe, argv }: Effect,
): Step[] {
  const at = { ...SEEN, ...key, pid };
  const steps: Step[] = [
    { afterMs: 15, draft: { kind: 'exec', ...at, ppid: 900, exe, argv, cwd: '/work/app' } },
  ];
  for (let i = between(chance, 0, 3); i > 0; i--)
    steps.push({
      afterMs: between(chance, 5, 60),
      draft: {
        kind: 'file',
        ...at,
        file_op: pick(chance, ['write', 'create']),
        file_path: `/work/app/src/module-${between(chance, 1, 40)}.ts`,
      },
    });
  const bad = fate === 'bad' && chance() < 0.7;
  if (bad || chance() < 0.4) {
    const [host, ip, port] = bad
      ? [
          pick(chance, ['paste.evil.example', 'a9x.dyn.example', '']),
          `203.0.113.${between(chance, 1, 250)}`,
          pick(chance, [443, 8443, 53]),
        ]
      : pick(chance, PLACES);
    const denied = bad ? chance() < 0.8 : chance() < 0.06;
    steps.push({
      afterMs: 20,
      draft: {
        kind: 'policy.decision',
        source: 'proxy',
        assurance: 'observed',
        ...key,
        decision: denied ? 'deny' : 'allow',
        policy_type: 'network',
        rule: denied ? 'egress-default-deny' : 'egress-allow-list',
        policy: 'team-default',
        policy_version: '14',
        ...(host === '' ? { net_ip: ip } : { net_host: host }),
        net_port: port,
      },
    });
    if (!denied)
      steps.push({
        afterMs: 8,
        draft: {
          kind: 'net',
          ...at,
          net_op: 'connect',
          ...(host === '' ? {} : { net_host: host }),
          net_ip: ip,
          net_port: port,
          net_transport: 'tcp',
          outcome: chance() < 0.95 ? 'success' : 'failure',
          net_bytes_out: between(chance, 400, bad ? 4_000_000 : 20_000),
          net_bytes_in: between(chance, 2_000, 900_000),
        },
      });
  }
  steps.push({ afterMs: between(chance, 20, 4000), draft: { kind: 'exit', ...at, exit_code: 0 } });
  return steps;
}

function storyOf(chance: Chance, session: Session): Step[] {
  const { agent, fate } = session;
  const sensor =
    fate === 'blind'
      ? ['otlp', 'partial', 4]
      : chance() < 0.85
        ? ['seccomp', 'complete', 1]
        : ['ptrace', 'complete', 2];
  const [sensor_name, coverage, sensor_rung] = sensor;
  const own = { source: 'collector', assurance: 'verified' };
  const steps: Step[] = [
    { afterMs: 1, draft: { kind: 'sensor', ...own, sensor_name, coverage, sensor_rung } },
    {
      afterMs: 500,
      draft: { kind: 'prompt', ...REPORTED, prompt: 'fix the failing test', prompt_bytes: 20 },
    },
  ];
  const turns = between(chance, 3, fate === 'bad' ? 14 : 11);
  for (let turn = 0; turn < turns; turn++) {
    steps.push({
      afterMs: between(chance, 2_000, 30_000),
      draft: {
        kind: 'model.turn',
        ...REPORTED,
        turn_id: `turn_${turn}`,
        model: MODELS[agent],
        text: 'next step',
        input_tokens: between(chance, 4_000, 60_000),
        output_tokens: between(chance, 100, 2_500),
      },
    });
    for (let call = between(chance, 1, fate === 'bad' ? 6 : 4); call > 0; call--)
      steps.push(...callSteps(chance, session, `call_${turn}_${call}`));
  }
  if (fate === 'lossy')
    steps.splice(Math.floor(steps.length / 2), 0, {
      afterMs: 5,
      draft: { kind: 'gap', ...own, gap_reason: 'spool_full', gap_count: 210 },
    });
  return steps;
}

function sessions(chance: Chance): Session[] {
  const hours = BUSY.flatMap((count, hour) => Array.from({ length: count }, () => hour));
  return hours.slice(0, SESSIONS).map((hour, number) => {
    const fate = number === 37 ? 'bad' : number === 20 ? 'lossy' : number === 44 ? 'torn' : 'good';
    return {
      number,
      startMs: DAY_END_MS - DAY_MS + hour * 3_600_000 + between(chance, 0, 3_000_000),
      agent: pick(chance, AGENTS),
      host: number === 61 ? HOSTILE : pick(chance, HOSTS),
      fate: fate === 'good' && chance() < 0.05 ? 'blind' : fate,
    };
  });
}

const stamp = (ms: number) => new Date(ms).toISOString().replace('T', ' ').replace('Z', '');
const sessionId = ({ number }: Session) => uuid(number, 'a');
const streamId = ({ number }: Session) => uuid(number, 'b');
/** The session to look at: the one that goes wrong. */
export const BAD_SESSION = uuid(37, 'a');

/** Lines of `events` as ingest writes them, with the time of writing said. */
function linesOf(chance: Chance, session: Session): string[] {
  const clock = fakeClock(BigInt(session.startMs) * 1_000_000n);
  const identity = {
    tenant: FLEET_TENANT,
    session_id: sessionId(session),
    stream_id: streamId(session),
    agent: session.agent,
    host: session.host,
    user: 'agent',
  };
  const stamper = createStamper(identity, clock, fakeRandom(`fleet ${session.number}`));
  const own = { source: 'collector', assurance: 'verified' };
  const all: Step[] = [
    {
      afterMs: 0,
      draft: {
        kind: 'session.open',
        ...own,
        schema_version: SCHEMA_VERSION,
        command_args: [session.agent, 'exec'],
        cwd: '/work/app',
        public_key: stamper.publicKey,
      },
    },
    ...storyOf(chance, session),
    {
      afterMs: 900,
      draft: { kind: 'session.close', ...own, close_reason: 'exited', exit_code: 0 },
    },
  ];
  // In the early afternoon the store was slow for an hour.
  const slow =
    session.startMs > DAY_END_MS - 6 * 3_600_000 && session.startMs < DAY_END_MS - 5 * 3_600_000;
  const lost = session.fate === 'torn' ? new Set([12, 13, 14, 15]) : new Set<number>();
  let nowMs = session.startMs;
  return all.flatMap(({ afterMs, draft }, seq) => {
    clock.advance(afterMs);
    nowMs += afterMs;
    const ts = String(BigInt(nowMs) * 1_000_000n);
    const { bytes } = stamper.stamp({ ...draft, ts } as unknown as Draft);
    const lagMs = slow ? between(chance, 4_000, 22_000) : between(chance, 90, 900);
    const line = Buffer.from(bytes).toString('utf8');
    return lost.has(seq) ? [] : [`${line.slice(0, -1)},"ingested_at":"${stamp(nowMs + lagMs)}"}`];
  });
}

async function insertLines(store: Store, table: string, lines: readonly string[], token: string) {
  const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
  await store.insert({
    table,
    lines: bytes,
    rows: lines.length,
    dedupToken: token,
    timeMs: 30_000,
  });
}

function alertLines(chance: Chance, day: readonly Session[]): string[] {
  const raised = day.flatMap((session) => {
    const count = session.fate === 'bad' ? 4 : chance() < 0.25 ? 1 : 0;
    return Array.from({ length: count }, (_, i) => ({ session, i }));
  });
  return raised.map(({ session, i }) => {
    const [id, title, level, tags] =
      session.fate === 'bad' ? (RULES[i] ?? RULES[0]) : pick(chance, RULES);
    const ms = session.startMs + between(chance, 15_000, 90_000);
    const alert = makeAlert({
      tenant: FLEET_TENANT,
      rule: { id, title, level, author: 'Telltale', license: 'Apache-2.0', tags },
      session_id: sessionId(session),
      key: { session_id: sessionId(session) },
      events: [{ id: `${streamId(session)}-${i + 3}`, ts: String(BigInt(ms) * 1_000_000n) }],
      reason: session.fate === 'bad' ? 'paste.evil.example <b>after</b> ~/.aws/credentials' : '',
    });
    const at = stamp(ms + between(chance, 300, 4000));
    return `${alertLine(alert).slice(0, -1)},"raised_at":"${at}"}`;
  });
}

const letterLine = (session: Session, number: number): string =>
  JSON.stringify({
    tenant: FLEET_TENANT,
    session_id: sessionId(session),
    stream_id: streamId(session),
    seq: null,
    reason: number % 3 === 0 ? 'malformed' : 'invalid',
    field: 'pid',
    detail: 'must be >= 1',
    bytes_base64: 'e30=',
    origin: `events/0/${number}/0`,
    parked_at: stamp(session.startMs + 60_000 * number),
  });

/** Writes the day into a store that has its tables. */
export async function insertFleet(store: Store): Promise<void> {
  const chance = chanceOf(20_261_124);
  const day = sessions(chance);
  const lines = day.flatMap((session) => linesOf(chance, session));
  await insertLines(store, 'telltale.events', lines, 'fleet-events');
  await insertLines(store, ALERTS_TABLE, alertLines(chance, day), 'fleet-alerts');
  const torn = day.find(({ fate }) => fate === 'torn') as Session;
  const letters = Array.from({ length: 7 }, (_, i) => letterLine(torn, i));
  await insertLines(store, 'telltale.dead_letters', letters, 'fleet-letters');
}
