/**
 * Conservation on real Kafka, with everything killed that can be killed:
 *
 *     npm run live -- NAME|all [EVENTS]
 *
 * One JSON line a scenario; exit code 1 when one is not as it must be. See README.md.
 */
import fs from 'node:fs';
import os from 'node:os';
import { control } from './control.ts';
import { FLEET, fleet } from './fleet.ts';
import { HTTP_AWAY, httpAway, UP_KILL, upKill } from './http-away.ts';
import { places } from './places/index.ts';
import { recorder } from './recorder.ts';
import { stalled } from './stalled.ts';
import { AWAY, storeAway } from './store-away.ts';
import { troubles } from './troubles.ts';
import { UPGRADE, upgrade } from './upgrade.ts';

interface Result {
  readonly good: boolean;
  /** Where its processes' logs are; removed when all is well. */
  readonly dir: string;
}

const SCENARIOS: Readonly<Record<string, (events: number | undefined) => Promise<Result>>> = {
  'worker-kill': (events = 200_000) => recorder('worker-kill', events),
  'broker-kill': (events = 200_000) => recorder('broker-kill', events),
  fleet: (events = FLEET.events) => fleet({ ...FLEET, events }),
  control: (events = 100_000) => control(events),
  places: () => places(),
  troubles: () => troubles(),
  stalled: (seconds) => stalled(seconds),
  'store-away': (events = AWAY.events) => storeAway({ ...AWAY, events }),
  'store-away-no-rules': (events = AWAY.events) => storeAway({ ...AWAY, events, rules: false }),
  'http-away': (events = HTTP_AWAY.events) => httpAway({ ...HTTP_AWAY, events }),
  upgrade: (events = UPGRADE.events) => upgrade({ ...UPGRADE, events }),
  'up-kill': (events = UP_KILL.events) => upKill({ ...UP_KILL, events }),
};

async function main(): Promise<number> {
  const [wanted = 'all', text] = process.argv.slice(2);
  const names = wanted === 'all' ? Object.keys(SCENARIOS) : [wanted];
  const events = text === undefined ? undefined : Number(text);
  if (names.some((name) => !Object.hasOwn(SCENARIOS, name)) || Number.isNaN(events)) {
    process.stderr.write(`usage: live ${Object.keys(SCENARIOS).join('|')}|all [EVENTS]\n`);
    return 2;
  }
  let bad = 0;
  for (const name of names) {
    const scenario = SCENARIOS[name] as (typeof SCENARIOS)[string];
    const { dir, ...result } = await scenario(events);
    process.stdout.write(`${JSON.stringify({ scenario: name, ...result })}\n`);
    if (result.good) fs.rmSync(dir, { recursive: true, force: true });
    else process.stderr.write(`live: not good; its logs are in ${dir}\n`);
    if (!result.good) bad++;
  }
  return bad === 0 ? 0 : 1;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => process.exit(128 + os.constants.signals[signal]));
process.exit(await main());
