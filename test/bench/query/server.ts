/**
 * The query service over a store on disk, in a process of its own, so that its CPU and memory are
 * told apart from those of whoever asks. Started by `query.ts` with the folder; speaks over IPC.
 */
import Fastify from 'fastify';
import type { Row, Store } from '#schemas';
import { createClock } from '../../../deploy/process/clock.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { registerQuery } from '../../../query/server.ts';
import { fakeLog, fakeMeter } from '../../fakes/ports.ts';
import { accessOf, viewer } from '../../query/access.ts';
import { insertEvents, stampStream } from '../../query/seed.ts';
import { mainThreadSecondsOf } from '../ingest/measure.ts';
import { BENCH_TENANT } from './generate.ts';

/** What a run asks of, picked from the store. */
export interface Picked {
  readonly url: string;
  readonly events: number;
  readonly sessions: number;
  readonly long: string;
  readonly giant: string;
  readonly ordinary: readonly string[];
  /** Values in at most three sessions. */
  readonly hosts: readonly string[];
  readonly paths: readonly string[];
  /** Words in at most five commands. */
  readonly words: readonly string[];
}

export interface Usage {
  readonly mainMs: number;
  readonly cpuMs: number;
  readonly heapBytes: number;
  /** The most since it was asked for last. */
  readonly heapBytesPeak: number;
}

const LIMITS = { timeMs: 60_000, memoryBytesMax: 2 * 1024 ** 3, rowsMax: 100_000 };
const PICKS = 40;
const INGEST_EVERY_MS = 200;
const HEAP_EVERY_MS = 50;
/** Investigators without a pause are not what the service’s own limit is for. */
const REQUESTS_PER_MINUTE = 1_000_000;

async function pick(store: Store, url: string): Promise<Picked> {
  const ask = (text: string) =>
    store.query<Row>({ text, params: { tenant: BENCH_TENANT } }, LIMITS);
  const list = async (text: string) => (await ask(text)).map((row) => String(row.v));
  const rare = (type: string) =>
    list(
      `SELECT value AS v FROM telltale.entities WHERE tenant = {tenant:String} AND type = '${type}' AND cityHash64(value) % 7 = 0 GROUP BY value HAVING uniqExact(session_id) <= 3 ORDER BY cityHash64(value) LIMIT ${PICKS}`,
    );
  const sized = (from: number, to: number) =>
    list(
      `SELECT toString(session_id) AS v FROM bench.pieces WHERE tenant = {tenant:String} AND size BETWEEN ${from} AND ${to} AND n > 1 ORDER BY n LIMIT ${PICKS}`,
    );
  const [counts] = await ask(
    'SELECT sum(to_seq - from_seq) AS events, uniqExact(n) AS sessions FROM bench.pieces',
  );
  const known = (n: number) =>
    list(`SELECT DISTINCT toString(session_id) AS v FROM bench.pieces WHERE n = ${n}`);
  return {
    url,
    events: Number(counts?.events),
    sessions: Number(counts?.sessions),
    long: (await known(0))[0] as string,
    giant: (await known(1))[0] as string,
    ordinary: await sized(600, 1500),
    hosts: await rare('host'),
    paths: await rare('path'),
    words: await list(
      `SELECT word AS v FROM (SELECT extract(argv_line, 'needle[0-9]{5,}') AS word FROM telltale.events WHERE tenant = {tenant:String} AND ts < toDateTime64('2026-10-03 00:00:00', 9, 'UTC') AND kind = 'exec') WHERE word != '' GROUP BY word HAVING count() = 1 ORDER BY cityHash64(word) LIMIT ${PICKS}`,
    ),
  };
}

/** Inserts batches of another tenant until it is told to stop. */
function ingest(store: Store): () => void {
  const events = Array.from({ length: 130 }, () => stampStream({ tenant: 'load' })).flat();
  const timer = setInterval(() => void insertEvents(store, events), INGEST_EVERY_MS);
  return () => clearInterval(timer);
}

const store = await openStore(`chdb:${process.argv[2]}`, { log: fakeLog() });
const app = Fastify();
await registerQuery(app, {
  store,
  log: fakeLog(),
  meter: fakeMeter(),
  clock: createClock(),
  ...accessOf(viewer(BENCH_TENANT)),
  requestsPerMinute: REQUESTS_PER_MINUTE,
});
const url = await app.listen({ host: '127.0.0.1', port: 0 });
let peak = 0;
setInterval(() => {
  peak = Math.max(peak, process.memoryUsage().heapUsed);
}, HEAP_EVERY_MS).unref();
let stop: (() => void) | undefined;
process.on('message', (word) => {
  if (word === 'ingest') stop = ingest(store);
  if (word === 'quiet') stop?.();
  if (word === 'exit') process.exit(0);
  if (word !== 'usage') return;
  const { user, system } = process.cpuUsage();
  const heapBytes = process.memoryUsage().heapUsed;
  const usage: Usage = {
    mainMs: mainThreadSecondsOf(process.pid) * 1000,
    cpuMs: (user + system) / 1000,
    heapBytes,
    heapBytesPeak: Math.max(peak, heapBytes),
  };
  peak = 0;
  process.send?.(usage);
});
process.send?.(await pick(store, url));
