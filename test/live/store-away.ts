/**
 * Back-pressure: a worker whose store is away for minutes while a million events wait. Its memory
 * must stay within the bound that ingest/README.md states, and it must go on by itself.
 *
 * `store-away`: the worker has its partitions, then nobody listens at the store's address any more
 * while the events come in, then the store accepts and never answers (SIGSTOP of its process),
 * then it is there.
 */

import { workerTotals } from './fleet.ts';
import { watchMemory } from './memory.ts';
import { compare, isWhole } from './oracle.ts';
import { ended, isGone, say, sleep } from './processes.ts';
import { assigned, openSite } from './site.ts';

/** The bound that ingest/README.md states. */
export const WORKER_MB_MAX = 600;
/** Half of it refused, half of it without an answer. */
const AWAY_MS = 180_000;
const DRAIN_MS = 1_200_000;

export interface AwayOptions {
  readonly brokers: number;
  readonly partitions: number;
  readonly events: number;
  readonly awayMs: number;
  /** Runs the shipped rules over what is stored, as a worker does by default. */
  readonly rules: boolean;
}

export const AWAY: AwayOptions = {
  brokers: 3,
  partitions: 6,
  events: 1_000_000,
  awayMs: AWAY_MS,
  rules: true,
};

export async function storeAway(options: AwayOptions) {
  const { events, awayMs } = options;
  const site = await openSite(options);
  try {
    const worker = site.worker('worker-1', options.rules ? [] : ['--no-rules']);
    const memory = watchMemory(worker.pid as number);
    await assigned(site, 'worker-1');
    await site.store.kill();
    say(`the store refuses connections; filling the topic with ${events} events`);
    memory.phase('refused');
    const began = performance.now();
    const sessions = 12;
    const loads = ['load-1', 'load-2'].map((name) =>
      site.load({ sessions, events: Math.ceil(events / 2), perSecond: 0 }, name),
    );
    for (const code of await Promise.all(loads.map(ended)))
      if (code !== 0) throw new Error(`a load generator ended with ${code}: see ${site.dir}`);
    const filledSeconds = Math.round((performance.now() - began) / 1000);
    await sleep(awayMs / 2);
    await site.store.start();
    site.store.signal('SIGSTOP');
    say('the store accepts and does not answer');
    memory.phase('silent');
    await sleep(awayMs / 2);
    const before = await site.progress();
    site.store.signal('SIGCONT');
    say('the store is back');
    memory.phase('drain');
    const drainBegan = performance.now();
    await site.drained(DRAIN_MS);
    const drainSeconds = Math.round((performance.now() - drainBegan) / 1000);
    const highestMb = memory.stop();
    const alive = !isGone(worker);
    worker.kill('SIGTERM');
    const code = await ended(worker);
    const found = await compare(site.store.url, site.truthDirs, site.log);
    const good =
      alive &&
      code === 0 &&
      before.done === 0 &&
      isWhole(found) &&
      found.produced >= events &&
      Math.max(...Object.values(highestMb)) <= WORKER_MB_MAX;
    const times = { filledSeconds, awaySeconds: awayMs / 1000, drainSeconds };
    const { dir } = site;
    return {
      good,
      ...found,
      ...workerTotals(site),
      messages: before.waiting,
      highestMb,
      ...times,
      dir,
    };
  } finally {
    await site.close();
  }
}
