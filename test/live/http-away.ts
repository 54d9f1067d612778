/**
 * Without a broker: collectors ship over HTTP, their spools on disk hold what can't be stored.
 *
 * `http-away`: the store of an ingest service stalls (SIGSTOP), then is killed and comes back, while
 * load runs. An engine inside the service's own process can't stall alone, so here it has one of
 * its own. `up-kill`: the real `telltale up`, engine inside, is stopped, continued and killed.
 */
import path from 'node:path';
import { watchMemory } from './memory.ts';
import { compare, isWhole } from './oracle.ts';
import { createProcesses, ended, type Processes, say, sleep } from './processes.ts';
import { makeTables, storeService } from './site.ts';

/** The bound of the service that ingest/README.md states. */
const SERVICE_MB_MAX = 600;
const COLLECTORS = 2;
const SESSIONS = 12;

export interface HttpOptions {
  readonly events: number;
  readonly perSecond: number;
  /** How long each of the troubles lasts. */
  readonly troubleMs: number;
}

export const HTTP_AWAY: HttpOptions = { events: 400_000, perSecond: 2_000, troubleMs: 60_000 };
export const UP_KILL: HttpOptions = { events: 150_000, perSecond: 2_000, troubleMs: 15_000 };

function startLoads(processes: Processes, to: string, { events, perSecond }: HttpOptions) {
  const each = {
    to,
    sessions: SESSIONS,
    events: Math.ceil(events / COLLECTORS),
    perSecond: Math.ceil(perSecond / COLLECTORS),
  };
  const names = Array.from({ length: COLLECTORS }, (_, i) => `load-${i + 1}`);
  const children = names.map((name) => processes.load(each, name));
  const done = Promise.all(
    children.map(async (child) => {
      const code = await ended(child);
      if (code !== 0) throw new Error(`a load generator ended with ${code}: see ${processes.dir}`);
    }),
  );
  done.catch(() => {});
  return { done, pid: children[0]?.pid as number };
}

const secondsSince = (began: number) => Math.round((performance.now() - began) / 100) / 10;

export async function httpAway(options: HttpOptions) {
  const processes = createProcesses();
  try {
    const began = performance.now();
    const store = storeService(processes);
    await store.start();
    await makeTables(store.url, processes);
    const frames = processes.service(
      'test/live/frames-main.ts',
      (port) => [store.url, String(port)],
      'frames',
    );
    await frames.start();
    const loads = startLoads(processes, frames.url, options);
    const service = watchMemory(frames.pid);
    const collector = watchMemory(loads.pid);
    const phase = async (name: string, ms: number) => {
      say(`http-away: ${name}`);
      service.phase(name);
      collector.phase(name);
      await sleep(ms);
    };
    await phase('well', 5_000);
    store.signal('SIGSTOP');
    await phase('silent', options.troubleMs);
    store.signal('SIGCONT');
    await phase('back', 5_000);
    await store.kill();
    await phase('refused', options.troubleMs);
    await store.start();
    await phase('drain', 0);
    await loads.done;
    const seconds = secondsSince(began);
    const highestMb = service.stop();
    const collectorMb = collector.stop();
    const code = await frames.stop();
    const found = await compare(store.url, processes.truthDirs, processes.log);
    const bounded = Math.max(...Object.values(highestMb)) <= SERVICE_MB_MAX;
    const good = code === 0 && isWhole(found) && found.produced >= options.events && bounded;
    return { good, ...found, highestMb, collectorMb, seconds, dir: processes.dir };
  } finally {
    await processes.close();
  }
}

export async function upKill(options: HttpOptions) {
  const processes = createProcesses();
  try {
    const began = performance.now();
    const data = path.join(processes.dir, 'data');
    const up = processes.service(
      'deploy/cli.ts',
      (port) => ['up', '--data', data, '--port', String(port)],
      'up',
    );
    await up.start();
    const loads = startLoads(processes, up.url, options);
    let kills = 0;
    for (let turn = 0; turn < 2; turn++) {
      await sleep(5_000);
      up.signal('SIGSTOP');
      await sleep(options.troubleMs);
      up.signal('SIGCONT');
      await sleep(5_000);
      await up.kill();
      kills++;
      say(`up killed (${kills})`);
      await sleep(1_000);
      await up.start();
    }
    await loads.done;
    const seconds = secondsSince(began);
    const code = await up.stop();
    const found = await compare(`chdb:${data}`, processes.truthDirs, processes.log);
    const good = code === 0 && isWhole(found) && found.produced >= options.events;
    return { good, ...found, upKills: kills, upPauses: 2, seconds, dir: processes.dir };
  } finally {
    await processes.close();
  }
}
