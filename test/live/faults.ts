/** What goes wrong while load runs: kills, pauses, comings and goings, each counted. */
import type { ChildProcess } from 'node:child_process';
import { ended, isGone, say, sleep } from './processes.ts';
import { assigned, type Site } from './site.ts';

export interface FaultCounts {
  brokerKills: number;
  workerKills: number;
  workerPauses: number;
  joins: number;
  leaves: number;
  collectorKills: number;
}

export const noFaults = (): FaultCounts => ({
  brokerKills: 0,
  workerKills: 0,
  workerPauses: 0,
  joins: 0,
  leaves: 0,
  collectorKills: 0,
});

/** A group of workers that members join and leave, by will or not. */
export interface Group {
  join(): void;
  /** SIGKILL of the member that joined first. */
  kill(): Promise<void>;
  /** SIGTERM of the member that joined first; its exit code must be 0. */
  leave(): Promise<void>;
  /** SIGSTOP of the member that joined first, for longer than its session lasts; then SIGCONT. */
  pause(ms: number): Promise<void>;
  /** All members leave; false when one of them failed. */
  stop(): Promise<boolean>;
  /** Rejects as soon as a member ends that was not told to. */
  readonly failed: Promise<never>;
}

export function startGroup(site: Site, size: number, counts: FaultCounts): Group {
  const members: ChildProcess[] = [];
  const nameOf = new Map<ChildProcess, string>();
  const failures: string[] = [];
  let names = 0;
  let fail: (error: Error) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {});

  function join(): void {
    const name = `worker-${++names}`;
    const child = site.worker(name);
    members.push(child);
    nameOf.set(child, name);
    child.once('exit', (code, signal) => {
      // A worker may only go when it is told to.
      if (!members.includes(child)) return;
      failures.push(`${name} ended by itself: ${code ?? signal}`);
      fail(new Error(`${failures.at(-1)}: see ${site.dir}/${name}.log`));
    });
  }
  const first = (): ChildProcess => {
    const child = members.shift();
    if (child === undefined) throw new Error('the group has no member');
    return child;
  };
  async function end(child: ChildProcess): Promise<void> {
    if (!isGone(child)) await assigned(site, nameOf.get(child) ?? '');
    child.kill('SIGTERM');
    const code = await ended(child);
    if (code !== 0) failures.push(`a worker that was asked to stop ended with ${code}`);
  }

  for (let i = 0; i < size; i++) join();
  return {
    failed,
    join() {
      join();
      counts.joins++;
    },
    async kill() {
      const child = first();
      child.kill('SIGKILL');
      await ended(child);
      counts.workerKills++;
    },
    async leave() {
      await end(first());
      counts.leaves++;
    },
    async pause(ms) {
      const child = first();
      // At the end of the queue, so that the next fault meets another.
      members.push(child);
      child.kill('SIGSTOP');
      await sleep(ms);
      child.kill('SIGCONT');
      if (!isGone(child)) counts.workerPauses++;
    },
    async stop() {
      await Promise.all(members.splice(0).map(end));
      for (const failure of failures) say(failure);
      return failures.length === 0;
    },
  };
}

const BROKER_DOWN_MS = 4_000;
/** The brokers' session lasts 9 s: only then do partitions of a killed one have a new leader. */
const FAILOVER_MS = 10_000;

/** SIGKILL of one broker; it comes back, and what it led is led again. */
export async function killBroker(site: Site, node: number, counts: FaultCounts): Promise<void> {
  say(`broker ${node} killed`);
  await site.cluster.kill(node);
  counts.brokerKills++;
  await sleep(BROKER_DOWN_MS);
  await site.cluster.restart(node);
  await sleep(FAILOVER_MS);
}
