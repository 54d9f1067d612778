/**
 * What questions cost over a store of a fleet's size, over HTTP and GraphQL:
 *
 *     npm run bench:query -- --dir DIR [--events 20000000] [--sessions 20000] [--rounds 40] [--load 20]
 *
 * The store is made once in DIR (some ten minutes for 20 million events, 3 GB) and kept; the embedded
 * engine and the service are one process, the investigators another. Prints one JSON line. Traps:
 * the first request of a case compiles it and is not counted; cases alternate; sessions, values and
 * words change from round to round, so that no cache of one answer is measured.
 */
import { type ChildProcess, fork } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { migrate } from '../../deploy/migrate.ts';
import { openStore } from '../../deploy/stores/open.ts';
import { fakeLog } from '../fakes/ports.ts';
import { percentile, round, say } from './ingest/measure.ts';
import { generate } from './query/generate.ts';
import type { Picked, Usage } from './query/server.ts';

const { values } = parseArgs({
  options: {
    dir: { type: 'string' },
    events: { type: 'string', default: '20000000' },
    sessions: { type: 'string', default: '20000' },
    rounds: { type: 'string', default: '40' },
    load: { type: 'string', default: '20' },
    export: { type: 'boolean', default: false },
  },
});
const INVESTIGATORS = 8;

const FIELDS = `id seq kind role ts source assurance toolCallId attribution pid ... on ExecEvent { exe argv cwd } ... on FileEvent { fileOp filePath }
  ... on NetEvent { netOp netHost netIp netPort } ... on ExitEvent { exitCode } ... on ToolCallEvent { tool command } ... on ApprovalEvent { decision decidedBy }`;
const PAGE = `query ($id: ID!, $first: Int, $after: String) { session(id: $id) { timeline(first: $first, after: $after) { nodes { ${FIELDS} } pageInfo { hasNextPage endCursor } } } }`;
const TRIAGE = `query ($id: ID!) { triage(session: $id) { request { event { id ts } } calls { call { tool command } } } }`;
const ENTITY = `query ($type: String!, $value: String!) { entity(type: $type, value: $value) { sessionCount firstSeen lastSeen sessions(first: 10) { nodes { firstSeen session { id agent startedAt } } } } }`;
const SEARCH = `query ($q: String!, $mode: String) { search(query: $q, mode: $mode, first: 50) { nodes { field snippet offset event { id ts sessionId } } pageInfo { hasNextPage } } }`;
const RARE = `query ($id: ID!) { session(id: $id) { entities(first: 50) { entity { type value sessionCount } } } }`;
const SIMILAR = `query ($id: ID!) { session(id: $id) { similar(first: 10) { score session { id } shared { type value } } } }`;
const ACTIVITY = `query ($from: Time!, $before: Time!, $step: Int!) { activity(from: $from, before: $before, stepSeconds: $step, by: "kind") { at key events } }`;

/** What is asked in one case, in round `n`: an answer that lacks `data` is an error. */
type Ask = (n: number) => Promise<void>;

function casesOf(picked: Picked): Readonly<Record<string, Ask>> {
  const at = (list: readonly string[], n: number) => list[n % list.length] as string;
  const one = (query: string, variables: (n: number) => object) => async (n: number) => {
    await ask(picked.url, query, variables(n));
  };
  return {
    'first page of 500': one(PAGE, (n) => ({ id: at(picked.ordinary, n), first: 500 })),
    'first page of 500, largest session': one(PAGE, () => ({ id: picked.giant, first: 500 })),
    'session of 10,000': async () => {
      let after: string | null = null;
      do {
        const page: Timeline = await ask(picked.url, PAGE, { id: picked.long, first: 1000, after });
        after = page.session.timeline.pageInfo.hasNextPage
          ? page.session.timeline.pageInfo.endCursor
          : null;
      } while (after !== null);
    },
    triage: one(TRIAGE, (n) => ({ id: at(picked.ordinary, n) })),
    'pivot on a rare host': one(ENTITY, (n) => ({ type: 'host', value: at(picked.hosts, n) })),
    'pivot on a rare path': one(ENTITY, (n) => ({ type: 'path', value: at(picked.paths, n) })),
    'rare word': one(SEARCH, (n) => ({ q: at(picked.words, n) })),
    'frequent word': one(SEARCH, () => ({ q: 'vitest' })),
    'regex with a word': one(SEARCH, (n) => ({ q: ` ${at(picked.words, n)} \\S+`, mode: 'regex' })),
    'substring without a word': one(SEARCH, (n) => ({
      q: at(picked.words, n).slice(1),
      mode: 'substring',
    })),
    'rare entities of a session': one(RARE, (n) => ({ id: at(picked.ordinary, n) })),
    'similar sessions': one(SIMILAR, (n) => ({ id: at(picked.ordinary, n) })),
    'activity, a day by minutes': one(ACTIVITY, (n) => ({
      from: `2026-10-${String(3 + (n % 8)).padStart(2, '0')}T00:00:00Z`,
      before: `2026-10-${String(4 + (n % 8)).padStart(2, '0')}T00:00:00Z`,
      step: 60,
    })),
  };
}

interface Timeline {
  readonly session: {
    readonly timeline: {
      readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string };
    };
  };
}

async function ask<T>(url: string, query: string, variables: object): Promise<T> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = (await response.json()) as { data?: T; errors?: unknown };
  if (data === undefined || data === null || errors !== undefined)
    throw new Error(`${query.slice(0, 80)}: ${JSON.stringify(errors).slice(0, 500)}`);
  return data;
}

const usageOf = (child: ChildProcess): Promise<Usage> =>
  new Promise((resolve) => {
    child.once('message', (usage) => resolve(usage as Usage));
    child.send('usage');
  });

interface Figures {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  /** Of the service's own thread, and of the whole process with the engine; milliseconds each. */
  readonly serviceCpu: number;
  readonly cpu: number;
}

async function measure(child: ChildProcess, work: Ask, rounds: number): Promise<Figures> {
  const times: number[] = [];
  await work(rounds);
  const before = await usageOf(child);
  for (let n = 0; n < rounds; n++) {
    const began = performance.now();
    await work(n);
    times.push(performance.now() - began);
  }
  const after = await usageOf(child);
  return {
    ...quantiles(times),
    serviceCpu: round((after.mainMs - before.mainMs) / rounds, 2),
    cpu: round((after.cpuMs - before.cpuMs) / rounds),
  };
}

function quantiles(times: readonly number[]) {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (percent: number) => round(percentile(sorted, percent));
  return { p50: at(50), p95: at(95), p99: at(99) };
}

/** Investigators who ask without a pause, while rows come in. */
async function underLoad(child: ChildProcess, work: Ask, seconds: number) {
  const times: number[] = [];
  const end = performance.now() + seconds * 1000;
  child.send('ingest');
  const investigator = async (who: number) => {
    for (let n = who; performance.now() < end; n += INVESTIGATORS) {
      const began = performance.now();
      await work(n);
      times.push(performance.now() - began);
    }
  };
  await Promise.all(Array.from({ length: INVESTIGATORS }, (_, who) => investigator(who)));
  child.send('quiet');
  return { requests: times.length, ...quantiles(times) };
}

/** How much the heap of the service grows while the largest session is exported. */
async function exported(child: ChildProcess, { url, giant }: Picked) {
  const before = await usageOf(child);
  const began = performance.now();
  const response = await fetch(`${url}/v1/sessions/${giant}/events?format=ndjson`);
  if (response.status !== 200 || response.body === null)
    throw new Error(`export: ${response.status} ${(await response.text()).slice(0, 300)}`);
  let bytes = 0;
  for await (const chunk of response.body) bytes += (chunk as Uint8Array).length;
  const after = await usageOf(child);
  return {
    seconds: round((performance.now() - began) / 1000),
    megabytes: round(bytes / 1e6),
    heapGrowthMegabytes: round((after.heapBytesPeak - before.heapBytes) / 1024 ** 2),
  };
}

async function makeStore(dir: string): Promise<void> {
  const made = path.join(dir, 'made.json');
  if (fs.existsSync(made)) return;
  const store = await openStore(`chdb:${dir}`, { log: fakeLog() });
  await migrate(store, { log: fakeLog() });
  await generate(store, Number(values.sessions), Number(values.events), (stored) =>
    say(`${stored} events stored`),
  );
  await store.close();
  fs.writeFileSync(made, JSON.stringify({ sessions: values.sessions, events: values.events }));
}

if (values.dir === undefined) {
  process.stderr.write('usage: query.ts --dir DIR: where the store is made, once, and kept\n');
  process.exit(2);
}
await makeStore(values.dir);
const child = fork(path.join(import.meta.dirname, 'query/server.ts'), [values.dir], {
  execArgv: process.execArgv,
});
const picked = await new Promise<Picked>((resolve, reject) => {
  child.once('message', (first) => resolve(first as Picked));
  child.once('exit', (code) => reject(new Error(`the service ended with ${code}`)));
});
const cases = casesOf(picked);
const figures: Record<string, Figures> = {};
for (const [name, work] of Object.entries(cases)) {
  figures[name] = await measure(child, work, Number(values.rounds));
  say(`${name}: ${JSON.stringify(figures[name])}`);
}
const page = cases['first page of 500'] as Ask;
const load = await underLoad(child, page, Number(values.load));
say(`${INVESTIGATORS} investigators beside ingest: ${JSON.stringify(load)}`);
const heap = values.export ? await exported(child, picked) : undefined;
const { events, sessions } = picked;
process.stdout.write(
  `${JSON.stringify({ bench: 'query', events, sessions, figures, load, heap })}\n`,
);
child.send('exit');
