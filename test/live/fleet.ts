/**
 * Several collectors with many sessions, several brokers and partitions, several workers in one
 * group, and everything that can be killed is killed while load runs.
 */
import type { ChildProcess } from 'node:child_process';
import { type FaultCounts, type Group, killBroker, noFaults, startGroup } from './faults.ts';
import { compare, type Found, isWhole } from './oracle.ts';
import { ended, logLines, say, sleep } from './processes.ts';
import { openSite, type Site } from './site.ts';
import { readTruth } from './truth.ts';

export interface FleetOptions {
  readonly brokers: number;
  readonly partitions: number;
  readonly workers: number;
  readonly collectors: number;
  /** Of each collector. */
  readonly sessions: number;
  readonly events: number;
  readonly perSecond: number;
  /** Longer than a worker's session (15 s). */
  readonly pauseMs: number;
}

export const FLEET: FleetOptions = {
  brokers: 3,
  partitions: 6,
  workers: 3,
  collectors: 3,
  sessions: 8,
  events: 200_000,
  perSecond: 3_000,
  pauseMs: 20_000,
};

export interface FleetResult extends Found, FaultCounts {
  readonly good: boolean;
  /** What the workers logged of their batches. */
  readonly batches: number;
  readonly duplicates: number;
  readonly seconds: number;
  readonly dir: string;
}

const DRAIN_MS = 300_000;

/** Faults one after the other, again and again until the load has ended; each at least once. */
async function harass(site: Site, group: Group, counts: FaultCounts, options: FleetOptions) {
  const { brokers } = options;
  const broker = async (node: number) => {
    if (brokers >= 3) await killBroker(site, node, counts);
  };
  // A worker that is taken for dead while it writes, and a broker that goes at the same time.
  await Promise.all([group.pause(options.pauseMs), sleep(1_000).then(() => broker(1))]);
  await group.kill();
  await sleep(1_000);
  group.join();
  await sleep(3_000);
  await group.leave();
  group.join();
  await broker(2);
  if (brokers < 3) return;
  await Promise.all([group.kill(), group.kill()]);
  group.join();
  group.join();
  await broker(3);
}

/** Kills the last collector in the middle of its load, and ships what it left in its spool. */
export async function killCollector(
  site: Site,
  child: ChildProcess,
  name: string,
  afterMs: number,
) {
  while (readTruth(site.truthOf(name)).every(({ done }) => done === 0)) await sleep(100);
  await sleep(afterMs);
  child.kill('SIGKILL');
  await ended(child);
  say(`${name} killed`);
  const code = await ended(site.collect(name));
  if (code !== 0) throw new Error(`telltale collect ended with ${code}: see ${name}-collect.log`);
}

/** What the workers logged of their batches, added up; a killed one's last batch may not be there. */
export function workerTotals(site: Site) {
  const totals = { batches: 0, duplicates: 0 };
  for (const line of logLines(site, 'worker-')) {
    if (line.event !== 'ingest.batch') continue;
    totals.batches++;
    totals.duplicates += Number(line.duplicates);
  }
  return totals;
}

export async function fleetOn(site: Site, options: FleetOptions): Promise<FleetResult> {
  const counts = noFaults();
  const began = performance.now();
  const group = startGroup(site, options.workers, counts);
  const { sessions } = options;
  const events = Math.ceil(options.events / options.collectors);
  const perSecond = Math.ceil(options.perSecond / options.collectors);
  const names = Array.from({ length: options.collectors }, (_, i) => `load-${i + 1}`);
  const loads = names.map((name) => site.load({ sessions, events, perSecond }, name));
  const victim = loads.at(-1) as ChildProcess;
  const killAfterMs = Math.min((events / perSecond) * 500, 20_000);
  const work = Promise.all([
    killCollector(site, victim, names.at(-1) as string, killAfterMs).then(() => {
      counts.collectorKills++;
    }),
    ...loads.slice(0, -1).map(async (load) => {
      const code = await ended(load);
      if (code !== 0) throw new Error(`a load generator ended with ${code}: see ${site.dir}`);
    }),
  ]);
  const all = Promise.all([work, harass(site, group, counts, options)]);
  await Promise.race([group.failed, all.then(() => site.drained(DRAIN_MS))]);
  const stopped = await group.stop();
  const seconds = Math.round((performance.now() - began) / 100) / 10;
  const found = await compare(site.store.url, site.truthDirs, site.log);
  const good = stopped && isWhole(found) && counts.collectorKills === 1;
  return { good, ...found, ...counts, ...workerTotals(site), seconds, dir: site.dir };
}

/** Opens a site, runs the fleet on it, closes it. */
export async function fleet(options: FleetOptions): Promise<FleetResult> {
  const site = await openSite(options);
  try {
    return await fleetOn(site, options);
  } finally {
    await site.close();
  }
}
