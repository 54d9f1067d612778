/** The short form of `npm run live -- fleet`: three workers of one group, each gone in its own way. */

import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KafkaFault } from '../../deploy/kafka/fault.ts';
import { type Skip, skipOrThrow } from '../kafka/broker.ts';
import { noFaults, startGroup } from './faults.ts';
import { killCollector, workerTotals } from './fleet.ts';
import { compare, isWhole } from './oracle.ts';
import { ended } from './processes.ts';
import { openSite, type Site } from './site.ts';

const EVENTS = 12_000;
const PER_SECOND = 2_000;
/** Longer than a worker's session, which is 15 s. */
const PAUSE_MS = 17_000;

describe('several workers', () => {
  let site: Site | Skip;
  beforeAll(async () => {
    site = await openSite({ brokers: 1, partitions: 6 }).catch((error) => {
      if (!(error instanceof KafkaFault)) throw error;
      return skipOrThrow(error.message, error.machineLacks);
    });
  });
  afterAll(async () => {
    if (site === undefined || 'skip' in site) return;
    await site.close();
    fs.rmSync(site.dir, { recursive: true, force: true });
  });

  it('store each event once while one is killed, one is paused, one joins and a collector dies', async (t) => {
    if ('skip' in site) return t.skip(site.skip);
    const counts = noFaults();
    const group = startGroup(site, 3, counts);
    const half = { sessions: 4, events: EVENTS / 2, perSecond: PER_SECOND / 2 };
    const whole = site.load(half, 'load-1');
    const killed = site.load(half, 'load-2');
    const dying = killCollector(site, killed, 'load-2', 2_000);
    const pausing = group.pause(PAUSE_MS);
    await sleep(3_000);
    await group.kill();
    group.join();
    await Promise.all([pausing, dying]);
    expect(await ended(whole)).toBe(0);
    await site.drained(60_000);
    expect(await group.stop()).toBe(true);
    const found = await compare(site.store.url, site.truthDirs, site.log);
    console.warn({ ...found, ...workerTotals(site) });
    expect(found).toMatchObject({ disagreements: [], streams: 8 });
    expect(found.verdicts).toEqual({ complete: 4, open: 4 });
    expect(found.produced).toBeGreaterThan(EVENTS / 2);
    expect(isWhole(found)).toBe(true);
    expect(counts).toMatchObject({ workerKills: 1, workerPauses: 1, joins: 1 });
  }, 180_000);
});
