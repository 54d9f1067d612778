/**
 * The whole path with the real recorder: `telltale run` -> Kafka -> one `telltale ingest` with the
 * embedded engine, and kills. There is no truth on the side here: what the collector numbered is
 * what its session.close says.
 */
import fs from 'node:fs';
import path from 'node:path';
import { EVENTS_TABLE, type QueryLimits } from '#schemas';
import { openStore } from '../../deploy/stores/open.ts';
import { accountsOf } from '../../query/accounts.ts';
import { runnerFor } from '../query/access.ts';
import { killBroker, noFaults } from './faults.ts';
import { ended, say, sleep } from './processes.ts';
import { assigned, openSite, type Site } from './site.ts';

const LIMITS: QueryLimits = { timeMs: 60_000, memoryBytesMax: 4e9, rowsMax: 10 };
const WORKER_KILLS = 2;
/** After a commit of its own a worker is killed within so long, so that it dies in any step. */
const KILL_WITHIN_MS = 4_000;

const WORKLOAD = `
  const fs = require('fs');
  const [dir, pairs] = [process.argv[1], Number(process.argv[2])];
  for (let i = 0; i < pairs; i++) {
    const file = dir + '/f' + i;
    fs.closeSync(fs.openSync(file, 'w'));
    fs.unlinkSync(file);
  }`;

/** Runs a worker, and SIGKILLs it so many times, each time when it has committed something. */
function runWorker(site: Site, kills: number) {
  let name = 'worker-1';
  let worker = site.worker(name);
  const killing = (async () => {
    let before = 0;
    for (let n = 1; n <= kills; ) {
      await sleep(200);
      const progress = await site.progress().catch(() => undefined);
      if (progress === undefined || progress.done <= before) continue;
      await sleep(Math.random() * KILL_WITHIN_MS);
      worker.kill('SIGKILL');
      await ended(worker);
      say(`worker killed (${n}) at ${JSON.stringify(progress)}, the next one starts`);
      before = (await site.progress()).done;
      n++;
      name = `worker-${n}`;
      worker = site.worker(name);
    }
    return kills;
  })();
  const stop = async () => {
    await assigned(site, name);
    worker.kill('SIGTERM');
    return ended(worker);
  };
  return { killing, stop };
}

/** What the table holds of the one session, from the table alone. */
async function read(site: Site) {
  const store = await openStore(site.store.url, { log: site.log });
  try {
    const text = `SELECT count() AS rows, uniqExact(stream_id, seq) AS ids,
      any(toString(session_id)) AS session, uniqExact(stream_id) AS streams,
      maxIf(chain_count, kind = 'session.close') AS closed,
      countIf(kind = 'gap') AS gaps FROM ${EVENTS_TABLE}`;
    const [row = {}] = await store.query({ text, params: {} }, LIMITS);
    const n = (name: string) => Number(row[name] ?? 0);
    const run = runnerFor(store, 'default');
    const [account] = (await accountsOf(run, String(row.session))).values();
    return {
      streams: n('streams'),
      produced: n('closed') + 1,
      stored: n('rows'),
      distinct: n('ids'),
      gaps: n('gaps'),
      parked: account?.parked ?? 0,
      declared: (account?.declaredMissing ?? 0) + (account?.unnumberedLost ?? 0),
      unaccounted: account?.unaccounted.length ?? 0,
      verdict: account?.verdict ?? 'none',
    };
  } finally {
    await store.close();
  }
}

/** One recorded command that makes `events` events; the worker, or each of three brokers, dies. */
export async function recorder(mode: 'worker-kill' | 'broker-kill', events: number) {
  const brokers = mode === 'broker-kill' ? 3 : 1;
  const site = await openSite({ brokers, partitions: 4, embedded: true });
  try {
    const began = performance.now();
    const counts = noFaults();
    const worker = runWorker(site, mode === 'worker-kill' ? WORKER_KILLS : 0);
    const work = path.join(site.dir, 'work');
    fs.mkdirSync(work);
    const command = [process.execPath, '-e', WORKLOAD, work, String(Math.ceil(events / 2))];
    const to = `kafka://${site.brokers.join(',')}`;
    const flags = ['--to', to, '--spool', path.join(site.dir, 'spool'), '--drain-ms', '300000'];
    const run = site.telltale(['run', ...flags, '--', ...command], 'run');
    const brokersDie = (async () => {
      if (mode === 'broker-kill')
        for (const node of [1, 2, 3]) {
          await sleep(3_000);
          await killBroker(site, node, counts);
        }
    })();
    const code = await ended(run);
    await brokersDie;
    counts.workerKills = await worker.killing;
    await site.drained(300_000);
    const workerCode = await worker.stop();
    const seconds = Math.round((performance.now() - began) / 100) / 10;
    const found = await read(site);
    const good =
      code === 0 &&
      workerCode === 0 &&
      found.stored === found.produced &&
      found.distinct === found.produced &&
      found.produced >= events &&
      found.gaps === 0 &&
      found.verdict === 'complete';
    const { brokerKills, workerKills } = counts;
    return { good, ...found, brokerKills, workerKills, seconds, dir: site.dir };
  } finally {
    await site.close();
  }
}
