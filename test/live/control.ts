/**
 * The control: the same load, sent by a producer that loses what was acknowledged when a leader
 * moves (`careless.ts`). It proves the oracle: whenever numbers are missing, completeness must not
 * say "complete" and must name exactly them. It goes on until something was lost.
 */
import { killBroker, noFaults, startGroup } from './faults.ts';
import { FLEET, workerTotals } from './fleet.ts';
import { compare } from './oracle.ts';
import { ended, say, sleep } from './processes.ts';
import { openSite } from './site.ts';

const ROUNDS_MAX = 6;
const BEFORE_KILL_MS = 3_000;
/** A kill of each broker with its failover takes so long; load runs all the while. */
const ROUND_MS = 65_000;

/** `events` drafts a round. */
export async function control(events: number) {
  const site = await openSite(FLEET);
  const began = performance.now();
  const counts = noFaults();
  try {
    const group = startGroup(site, 2, counts);
    const perSecond = Math.ceil((events / ROUND_MS) * 1000);
    const lostByRound: number[] = [];
    let found = await compare(site.store.url, [], site.log);
    while (lostByRound.length < ROUNDS_MAX && found.missing === 0) {
      const name = `load-${lostByRound.length + 1}`;
      const load = { sessions: 24, events, perSecond, careless: true };
      const loading = ended(site.load(load, name));
      for (const node of [1, 2, 3]) {
        await sleep(BEFORE_KILL_MS);
        await killBroker(site, node, counts);
      }
      const code = await loading;
      if (code !== 0) throw new Error(`the load generator ended with ${code}: see ${name}.log`);
      await site.drained(300_000);
      found = await compare(site.store.url, site.truthDirs, site.log);
      lostByRound.push(found.missing);
      say(`round ${lostByRound.length}: ${found.missing} acknowledged events are missing`);
    }
    const stopped = await group.stop();
    const seconds = Math.round((performance.now() - began) / 100) / 10;
    const good =
      stopped &&
      found.missing > 0 &&
      found.altered === 0 &&
      found.stored === found.distinct &&
      found.disagreements.length === 0;
    const kills = { brokerKills: counts.brokerKills };
    return { good, lostByRound, ...found, ...kills, ...workerTotals(site), seconds, dir: site.dir };
  } finally {
    await site.close();
  }
}
