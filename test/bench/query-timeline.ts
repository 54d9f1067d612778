/**
 * How long the timeline of a 1,000-event session takes, over HTTP and GraphQL, on the embedded
 * store that holds 20 such sessions.
 *
 *     node --conditions=telltale-source --import tsx test/bench/query-timeline.ts [rounds]
 *
 * Traps: the first request compiles the query (told apart as "first"); CPU time is of the whole
 * process, so of engine, service and client together; rounds of the cases alternate, so that a
 * noisy neighbour meets all of them.
 */
import type { AddressInfo } from 'node:net';
import type { Draft } from '#schemas';
import { insertEvents, stampStream } from '../query/seed.ts';
import { openTestStore, serve } from '../query/service.ts';

const TARGET_MS = 150;
const SESSIONS = 20;
const EVENTS = 1000;
const ROUNDS = Number(process.argv[2] ?? 30);
const BASE_NS = 1_764_000_000_000_000_000n;

const sessionId = (n: number) => `0193a5e0-0000-7000-8000-${String(n).padStart(12, '0')}`;
const streamId = (n: number) => `0193a5e1-0000-7000-8000-${String(n).padStart(12, '0')}`;

/** The mix of a recorded session: of ten events six are the kernel's, four the agent's. */
function draft(i: number): Draft {
  const call = `call_${Math.floor(i / 10)}`;
  const ts = String(BASE_NS + BigInt(i) * 1_000_000n);
  const seen = { ts, source: 'seccomp', assurance: 'observed', pid: 100 + Math.floor(i / 10) };
  const said = { ts, source: 'otlp', assurance: 'reported', turn_id: 'turn_1' };
  const key = { tool_call_id: call, attribution: 'env_key', attribution_confidence_pct: 100 };
  const argv = ['bash', '-lc', `npm test -- --filter package-${i} && git status --short`];
  const text = `Step ${i}: ${'the tests of the package pass, going on. '.repeat(20)}`;
  const kinds: object[] = [
    {
      kind: 'model.turn',
      ...said,
      model: 'scripted-1',
      text,
      input_tokens: 900,
      output_tokens: 80,
    },
    {
      kind: 'tool.call',
      ...said,
      tool_call_id: call,
      tool: 'shell',
      command: argv[2],
      arguments: text,
    },
    { kind: 'exec', ...seen, ...key, ppid: 10, exe: '/usr/bin/bash', argv, cwd: '/srv/app' },
    { kind: 'file', ...seen, ...key, file_op: 'create', file_path: `/srv/app/out/${i}.txt` },
    { kind: 'file', ...seen, ...key, file_op: 'write', file_path: `/srv/app/out/${i}.txt` },
    {
      kind: 'net',
      ...seen,
      ...key,
      net_op: 'connect',
      net_host: 'registry.example',
      net_ip: '192.0.2.1',
      net_port: 443,
    },
    {
      kind: 'exec',
      ...seen,
      ...key,
      exe: '/usr/bin/git',
      argv: ['git', 'status'],
      cwd: '/srv/app',
    },
    { kind: 'exit', ...seen, ...key, exit_code: 0 },
    { kind: 'approval', ...said, tool_call_id: call, decision: 'approved', decided_by: 'config' },
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

const FIELDS = 'id seq kind role ts source assurance toolCallId attribution pid';
const OWN =
  '... on ExecEvent { exe argv cwd } ... on FileEvent { fileOp filePath } ... on NetEvent { netOp netHost netIp netPort } ... on ExitEvent { exitCode } ... on ToolCallEvent { tool command } ... on ApprovalEvent { decision decidedBy }';
const timeline = (fields: string) =>
  `query ($id: ID!) { session(id: $id) { id timeline(first: ${EVENTS}) { nodes { ${fields} } pageInfo { hasNextPage endCursor } } } }`;
const CASES: Record<string, string> = {
  'page: envelope and own fields': timeline(`${FIELDS} ${OWN}`),
  'page with one-line summaries': timeline(`${FIELDS} ${OWN} summary`),
  'page with whole content': timeline(
    `${FIELDS} ${OWN} ... on ModelTurnEvent { text } ... on ToolResultEvent { output }`,
  ),
  'tool calls with effects':
    'query ($id: ID!) { session(id: $id) { toolCalls { id command exitCode { code } effects { processes { pid images { argv } } files { path fate } connections { host } } } } }',
  completeness: 'query ($id: ID!) { session(id: $id) { completeness { verdict } } }',
};

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

const { store, close } = await openTestStore();
for (let n = 0; n < SESSIONS; n++) {
  const drafts = Array.from({ length: EVENTS - 2 }, (_, i) => draft(i));
  await insertEvents(store, stampStream({ session: sessionId(n), stream: streamId(n), drafts }));
}
const { app } = await serve(store);
await app.listen({ host: '127.0.0.1', port: 0 });
const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}/graphql`;

async function ask(
  query: string,
  n: number,
): Promise<{ ms: number; cpuMs: number; bytes: number }> {
  const cpu = process.cpuUsage();
  const began = performance.now();
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables: { id: sessionId(n) } }),
  });
  const text = await response.text();
  const ms = performance.now() - began;
  if (text.includes('"errors"')) throw new Error(text.slice(0, 500));
  const used = process.cpuUsage(cpu);
  return { ms, cpuMs: (used.user + used.system) / 1000, bytes: text.length };
}

const found = new Map<string, { ms: number; cpuMs: number; bytes: number }[]>();
for (let round = 0; round <= ROUNDS; round++)
  for (const [name, query] of Object.entries(CASES)) {
    const list = found.get(name) ?? [];
    list.push(await ask(query, round % SESSIONS));
    found.set(name, list);
  }
let good = true;
for (const [name, [first, ...rest]] of found) {
  const ms = median(rest.map((one) => one.ms));
  if (name.startsWith('page: ')) good = ms < TARGET_MS;
  const worst = Math.max(...rest.map((one) => one.ms));
  const cpu = median(rest.map((one) => one.cpuMs));
  console.log(
    `${name}: median ${ms.toFixed(1)} ms, worst ${worst.toFixed(1)} ms, CPU ${cpu.toFixed(1)} ms, first ${first?.ms.toFixed(1)} ms, ${rest[0]?.bytes} bytes, ${rest.length} rounds`,
  );
}
console.log(`${good ? 'PASS' : 'FAIL'}: the page's median is to be under ${TARGET_MS} ms`);
await app.close();
await close();
process.exitCode = good ? 0 : 1;
