/**
 * SIGTERM to the services as real processes while they are asked: what was under way is answered whole,
 * nobody new is let in, the process ends with 0 and in time, and no secret stands in what it printed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { frameLines } from '#schemas';
import { migrate } from '../../../deploy/migrate.ts';
import { DRAIN_MS } from '../../../deploy/process/web.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { fakeLog } from '../../fakes/ports.ts';
import { stampStream, TENANT } from '../../query/seed.ts';
import { onStore } from '../data-dir.ts';
import { type Bridge, startBridge } from '../stores/bridge.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-stop-'));
const at = (name: string) => path.join(root, name);
const canary = (name: string) => `${name}-${randomUUID()}`;
/** Told to the services as their users tell it, or asked with; `content` is in the events that they take. */
const CANARIES = {
  ...{
    store: canary('store'),
    otlp: canary('otlp'),
    bearer: canary('tt'),
    content: canary('said'),
  },
  webhook: `whsec_${Buffer.from(randomUUID()).toString('base64')}`,
};
const children: ChildProcess[] = [];
let bridge: Bridge;
let closed = false;

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** One request on a connection of its own; half of the body goes at once, the rest on `finish`. */
function asked(url: string, body: Buffer, headers: Record<string, string>) {
  const method = body.length > 0 ? 'POST' : 'GET';
  const length = body.length > 0 ? { 'content-length': String(body.length) } : {};
  const request = http.request(url, { method, agent: false, headers: { ...headers, ...length } });
  const answer = new Promise<Answer>((resolve, reject) => {
    request.on('error', reject).on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk) => chunks.push(chunk)).on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
      );
    });
  });
  const half = Math.floor(body.length / 2);
  if (half > 0) request.write(body.subarray(0, half));
  return { answer, finish: () => request.end(body.subarray(half)) };
}

interface Asking {
  readonly path: string;
  readonly body: Buffer;
  readonly headers: Record<string, string>;
}
interface Service {
  readonly name: string;
  readonly args: readonly string[];
  /** What it prints once it serves; the first group is where. */
  readonly sign: RegExp;
  /** What is under way when the signal comes, and what must be answered. */
  asking(token: string): { readonly slow: Asking; readonly quick: Asking; readonly status: number };
}

const JSON_HEADERS = { 'content-type': 'application/json' };
const stream = { tenant: TENANT, session: randomUUID(), stream: randomUUID() };
const events = stampStream({ ...stream, mark: CANARIES.content });
const frame = Buffer.from(
  frameLines(
    { tenant: TENANT, session_id: stream.session, stream_id: stream.stream, first_seq: 0 },
    events.map(({ bytes }) => bytes),
  ),
);
const graphql = (token: string): Asking => ({
  path: '/graphql',
  body: Buffer.from(JSON.stringify({ query: '{ sessions(first: 5) { edges { node { id } } } }' })),
  headers: { ...JSON_HEADERS, authorization: `Bearer ${token}` },
});
const get = (where: string): Asking => ({ path: where, body: Buffer.alloc(0), headers: {} });
const note = { path: '/add-checkpoint', body: Buffer.from('no checkpoint\n'), headers: {} };

const SERVICES: readonly Service[] = [
  {
    name: 'up',
    args: ['up', '--data', at('up'), '--port', '0', '--tenant', TENANT],
    sign: /^telltale is up at (\S+),/m,
    asking: (token) => ({
      slow: {
        path: '/v1/frames',
        body: frame,
        headers: { 'content-type': 'application/x-telltale-frame' },
      },
      quick: graphql(token),
      status: 200,
    }),
  },
  {
    name: 'query',
    args: ['query', '--data', at('query'), '--port', '0', '--tenant', TENANT],
    sign: /^telltale query serves (\S+)\/graphql/m,
    asking: (token) => ({ slow: graphql(token), quick: graphql(token), status: 200 }),
  },
  {
    name: 'seal',
    args: ['seal', '--dir', at('seal'), '--port', '0'],
    sign: /^telltale seal serves (\S+)\/tlog/m,
    asking: () => ({ slow: get('/tlog/checkpoint'), quick: get('/tlog/checkpoint'), status: 200 }),
  },
  {
    name: 'witness',
    args: ['witness', '--dir', at('witness'), '--port', '0'],
    sign: /^telltale witness serves (\S+)/m,
    asking: () => ({ slow: note, quick: note, status: 400 }),
  },
];

interface Running {
  readonly child: ChildProcess;
  readonly words: () => string;
  readonly url: string;
  readonly token: string;
  readonly code: Promise<number | null>;
}

async function start({ args, sign }: Service): Promise<Running> {
  const source = ['--conditions=telltale-source', '--import', 'tsx', 'deploy/cli.ts'];
  const env = {
    ...{ PATH: process.env.PATH, HOME: root, TELLTALE_LOG: 'debug' },
    ...{ TELLTALE_STORE: bridge.url.replace('://', '://telltale@') },
    ...{ TELLTALE_STORE_PASSWORD_FILE: at('store.password') },
    ...{ TELLTALE_WEBHOOK_SECRET_FILE: at('webhook'), TELLTALE_TOKEN: CANARIES.bearer },
    // Nobody is there: what can't be sent is complained of.
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1',
    OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer ${CANARIES.otlp}`,
  };
  const child = spawn(process.execPath, [...source, ...args], { cwd: ROOT, env });
  children.push(child);
  let words = '';
  for (const out of [child.stdout, child.stderr])
    out.on('data', (chunk) => {
      words += chunk;
    });
  const code = new Promise<number | null>((resolve) => child.once('close', resolve));
  for (let waited = 0; !sign.test(words); waited += 20) {
    if (child.exitCode !== null || waited > 60_000) throw new Error(`${args[0]}:\n${words}`);
    await delay(20);
  }
  await delay(50);
  const url = sign.exec(words)?.[1] ?? '';
  return { child, words: () => words, url, token: /token: (\S+)/.exec(words)?.[1] ?? '', code };
}

const running = new Map<string, Running>();
beforeAll(async () => {
  fs.writeFileSync(at('store.password'), CANARIES.store);
  fs.writeFileSync(at('webhook'), CANARIES.webhook);
  const store = await openStore(`chdb:${at('db')}`, { log: fakeLog() });
  await migrate(store, { log: fakeLog() });
  await store.close();
  bridge = await startBridge(at('db'), { password: CANARIES.store });
  await Promise.all(
    SERVICES.map(async (service) => running.set(service.name, await start(service))),
  );
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  if (!closed) await bridge?.close();
  fs.rmSync(root, { recursive: true, force: true });
});

describe('telltale on SIGTERM, asked by many', () => {
  it.concurrent.each(SERVICES)('ends $name with nothing cut off', async (service) => {
    const { child, url, token, code } = running.get(service.name) as Running;
    const { slow, quick, status } = service.asking(token);
    const ask = (one: Asking) => asked(`${url}${one.path}`, one.body, one.headers);
    const outcomes: (number | string)[] = [];
    let signalled = false;
    const load = async () => {
      for (let refused = 0; refused < 3; ) {
        const sentAfter = signalled;
        const one = ask(quick);
        one.finish();
        const outcome = await one.answer.then(
          (answer) => answer.status,
          (error: NodeJS.ErrnoException) => error.code ?? error.message,
        );
        if (sentAfter) refused += outcome === status ? 0 : 1;
        outcomes.push(outcome);
        await delay(5);
      }
    };
    const loads = Promise.all([load(), load()]);
    while (outcomes.length < 4) await delay(10);
    const underWay = [1, 2, 3, 4].map(() => ask(slow));
    await delay(150);
    const began = performance.now();
    child.kill('SIGTERM');
    signalled = true;
    if (slow.body.length === 0) for (const one of underWay) one.finish();
    await delay(200);
    if (slow.body.length > 0) for (const one of underWay) one.finish();
    if (slow.body.length > 0) {
      const answers = await Promise.all(underWay.map(({ answer }) => answer));
      expect(answers.map((answer) => answer.status)).toEqual([status, status, status, status]);
    } else await Promise.allSettled(underWay.map(({ answer }) => answer));
    expect(await code).toBe(0);
    expect(performance.now() - began).toBeLessThan(DRAIN_MS);
    await loads;
    expect(outcomes.filter((outcome) => outcome === status).length).toBeGreaterThan(3);
    expect(outcomes).toContain('ECONNREFUSED');
    // Never half an answer: a connection that nobody had taken yet may be reset.
    const known = [status, 503, 'ECONNREFUSED', 'ECONNRESET'];
    expect(outcomes.filter((outcome) => !known.includes(outcome))).toEqual([]);
  });

  it('kept what it had said yes to', async () => {
    // One engine a process.
    await bridge.close();
    closed = true;
    const text = `SELECT count() AS n, uniqExact(seq) AS seqs FROM telltale.events WHERE session_id = '${stream.session}'`;
    const [row] = await onStore(at('up'), text);
    expect(row).toEqual({ n: String(events.length), seqs: String(events.length) });
  });

  it('printed no secret, in no form', () => {
    const printed = [...running.values()].map(({ words }) => words()).join('\n');
    expect(printed).toContain('process.stopping');
    const keys = [at('seal/log.key'), at('witness/witness.key'), at('up/tlog/log.key')];
    const seeds = keys.map((file) =>
      fs.readFileSync(file, 'utf8').trim().split('+').slice(4).join('+'),
    );
    expect(seeds.every((seed) => seed.length > 40)).toBe(true);
    for (const secret of [...Object.values(CANARIES), ...seeds])
      for (const form of [secret, encodeURIComponent(secret), btoa(secret)])
        expect(printed.includes(form), secret.slice(0, 8)).toBe(false);
  });
});
