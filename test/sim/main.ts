/**
 * Replays seeds:
 *     npm run sim -- --seed N [--count N] [--trace] [--off PROTECTION]
 */
import { parseArgs } from 'node:util';
import { type Controls, planOf } from './plan.ts';
import { simulate } from './run.ts';

/** A long run says how far it is after so many. */
const PROGRESS_SEEDS = 500;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '1' },
    trace: { type: 'boolean', default: false },
    off: { type: 'string', multiple: true, default: [] },
    'stop-at': { type: 'string', default: '20' },
  },
});
const [first, count, stopAt] = [values.seed, values.count, values['stop-at']].map(Number) as [
  number,
  number,
  number,
];
const controls = Object.fromEntries(values.off.map((name) => [name, true])) as Partial<Controls>;
const print = (line: string) => void process.stdout.write(`${line}\n`);

const cpu = process.cpuUsage();
let [failed, events, stored, virtualMs] = [0, 0, 0, 0];
if (values.trace) print(JSON.stringify(planOf(first), undefined, 1));
let ran = 0;

function summary(): string {
  const { user, system } = process.cpuUsage(cpu);
  const cpuSeconds = (user + system) / 1e6;
  return (
    `${ran} seeds, ${failed} failed; ${events} events given out, ${stored} rows; ` +
    `${(virtualMs / 3.6e6).toFixed(1)} h simulated in ${cpuSeconds.toFixed(1)} s of CPU ` +
    `(${((1000 * cpuSeconds) / ran).toFixed(1)} ms a seed)`
  );
}

for (let seed = first; seed < first + count && failed < stopAt; seed++) {
  const verdict = await simulate(planOf(seed), controls, values.trace ? print : undefined);
  await new Promise((resolve) => setImmediate(resolve));
  ran++;
  if (ran % PROGRESS_SEEDS === 0) process.stderr.write(`${summary()}\n`);
  events += verdict.events;
  stored += verdict.stored;
  virtualMs += verdict.virtualMs;
  if (verdict.faults.length === 0) continue;
  failed++;
  print(`seed ${seed}: ${verdict.faults.slice(0, 4).join('; ')}`);
}
print(summary());
process.exitCode = failed === 0 ? 0 : 1;
