/**
 * The long mutation campaign: `npm run mutations -- --seed N --count N`. Exits with 1 when anything
 * was not found, not located, or when the verifiers do not agree.
 */
import { parseArgs } from 'node:util';
import { runCampaign, tableOf } from '../verify/campaign.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '10000' },
    verbose: { type: 'boolean', default: false },
  },
});
const started = process.cpuUsage();
const { outcomes, bundles } = await runCampaign(
  Number(values.seed),
  Number(values.count),
  (one) => {
    if (!(one.found && one.located && one.agreed) || values.verbose) console.log(one.story);
  },
);
const { user, system } = process.cpuUsage(started);
console.log(tableOf(outcomes));
console.log(
  `${bundles} clean bundles, no false alarm; ${((user + system) / 1e6).toFixed(1)} s of CPU`,
);
process.exit(outcomes.every((one) => one.found && one.located && one.agreed) ? 0 : 1);
