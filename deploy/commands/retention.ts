import { parseArgs } from 'node:util';
import { escapeText } from '../../query/timeline/escape.ts';
import { interruptSignal } from '../backup/site.ts';
import { createClock } from '../process/clock.ts';
import { UsageError } from '../process/lifecycle.ts';
import { readPolicy } from '../retention/policy.ts';
import { atDesk, WHERE_FLAGS } from '../retention/site.ts';
import { type Due, planSweep, sweep, type TenantPlan } from '../retention/sweep.ts';

const NOT_REACHED = `Not reached from here: what collectors still hold in their spools, what Kafka keeps until its
retention ends, bundles that were exported, and backups. Tombstones stay: "telltale verify --all" tells
these sessions from lost ones by them.
`;

const day = (ms: number) => new Date(ms).toISOString().slice(0, 10);
const eventsOf = (dues: readonly Due[]) => dues.reduce((sum, { events }) => sum + events, 0);

function planText(plan: TenantPlan): string {
  const { tenant, terms, remove, strip, held, bytes } = plan;
  const line = (verb: string) => (due: Due) =>
    `  ${verb.padEnd(8)} ${due.session}  ${due.events} events, last written ${day(due.writtenMs)}\n`;
  const content = terms.contentDays === undefined ? '' : `, content ${terms.contentDays} days`;
  return [
    `${escapeText(tenant)}: sessions ${terms.sessionDays} days${content}\n`,
    ...remove.map(line('remove')),
    ...strip.map(line('strip')),
    ...held.map(line('held')),
    `  ${remove.length} sessions go: ${eventsOf(remove)} events, about ${bytes} bytes; ${strip.length} lose their content; ${held.length} are held\n`,
  ].join('');
}

/** `telltale retention run`: removes what the policy lets go of, or says what that would be. */
export async function retention(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...WHERE_FLAGS,
      policy: { type: 'string' },
      'dry-run': { type: 'boolean', default: false },
    },
  });
  if (positionals.join(' ') !== 'run') throw new UsageError('say "retention run"');
  if (values.policy === undefined)
    throw new UsageError('give --policy FILE: nothing is removed without one');
  const policy = readPolicy(values.policy);
  const signal = interruptSignal();
  return await atDesk(values, async (desk) => {
    const deps = { ...desk, clock: createClock() };
    const plans = await planSweep(deps, policy);
    process.stdout.write(`policy ${policy.name}\n${plans.map(planText).join('')}`);
    if (values['dry-run']) return 0;
    const { removed, stripped } = await sweep(deps, policy, plans, signal);
    process.stdout.write(
      `removed ${removed} sessions, took the content of ${stripped}\n${NOT_REACHED}`,
    );
    return 0;
  });
}
