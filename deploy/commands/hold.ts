import { parseArgs } from 'node:util';
import { escapeText } from '../../query/timeline/escape.ts';
import { systemRandom } from '../process/clock.ts';
import { UsageError } from '../process/lifecycle.ts';
import { checkHold, HoldError, heldSessions, writeHold } from '../retention/holds.ts';
import { atDesk, type Desk, WHERE_FLAGS } from '../retention/site.ts';
import { tenant } from '../settings.ts';

const SESSION_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const REASON_CHARACTERS_MAX = 4096;
const ACTIONS = { place: 'placed', release: 'released' } as const;

async function list({ store }: Desk, of: string): Promise<void> {
  const holds = [...(await heldSessions(store, of)).values()];
  for (const { session, actor, reason, sinceMs } of holds)
    process.stdout.write(
      `${session}  since ${new Date(sinceMs).toISOString()}  by ${escapeText(actor)}: ${escapeText(reason)}\n`,
    );
  if (holds.length === 0) process.stdout.write('nothing is held\n');
}

/** `telltale hold place|release|list`: keeps a session from retention. The journal says so first. */
export async function hold(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { ...WHERE_FLAGS, reason: { type: 'string' }, tenant: { type: 'string' } },
  });
  const [verb = '', session, ...rest] = positionals;
  const of = values.tenant ?? tenant();
  if (verb === 'list' && session === undefined) {
    await atDesk(values, (desk) => list(desk, of));
    return 0;
  }
  const action = verb === 'place' || verb === 'release' ? ACTIONS[verb] : undefined;
  if (action === undefined) throw new UsageError('place, release or list');
  if (session === undefined || !SESSION_ID.test(session) || rest.length > 0)
    throw new UsageError('say which session, by its id');
  const reason = values.reason?.trim() ?? '';
  if (reason === '' || reason.length > REASON_CHARACTERS_MAX || !reason.isWellFormed())
    throw new UsageError('say why, with --reason: it is recorded');
  try {
    await atDesk(values, async ({ store, actor, record }) => {
      const change = { tenant: of, session, action, actor, reason };
      await checkHold(store, change);
      await record(of, `hold ${action}`, reason, { session });
      await writeHold(store, change, systemRandom);
    });
  } catch (error) {
    throw error instanceof HoldError ? new UsageError(error.message) : error;
  }
  process.stdout.write(`hold ${action}: ${session}\n`);
  return 0;
}
