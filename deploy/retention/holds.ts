/** Legal holds: who keeps a session from being removed, why, and since when. */
import {
  EVENTS_TABLE,
  HOLDS_TABLE,
  type HoldAction,
  type QueryLimits,
  type Random,
  type Store,
} from '#schemas';

const LIMITS: QueryLimits = {
  timeMs: 60_000,
  memoryBytesMax: 512 * 1024 ** 2,
  rowsMax: 1_000_000,
};
const INSERT_MS = 30_000;

export interface Hold {
  readonly session: string;
  readonly actor: string;
  readonly reason: string;
  /** Milliseconds since 1970. */
  readonly sinceMs: number;
}

/** The sessions of a tenant that are held now. */
export async function heldSessions(
  store: Store,
  tenant: string,
): Promise<ReadonlyMap<string, Hold>> {
  const text = `SELECT toString(session_id) AS session, argMax(action, changed_at) AS last,
  argMax(actor, changed_at) AS who, argMax(reason, changed_at) AS why,
  toString(toUnixTimestamp64Milli(max(changed_at))) AS since
FROM ${HOLDS_TABLE} WHERE tenant = {tenant:String} GROUP BY session_id HAVING last = 'placed'`;
  const rows = await store.query<Record<'session' | 'who' | 'why' | 'since', string>>(
    { text, params: { tenant } },
    LIMITS,
  );
  return new Map(
    rows.map(({ session, who: actor, why: reason, since }) => [
      session,
      { session, actor, reason, sinceMs: Number(since) },
    ]),
  );
}

/** A hold that can't be placed or released; says why. */
export class HoldError extends Error {
  override readonly name = 'HoldError';
}

export interface HoldChange {
  readonly tenant: string;
  readonly session: string;
  readonly action: HoldAction;
  readonly actor: string;
  readonly reason: string;
}

/** Rejects with `HoldError` where there is no such session, or it is held already, or is not held. */
export async function checkHold(store: Store, change: HoldChange): Promise<void> {
  const { tenant, session, action } = change;
  const held = (await heldSessions(store, tenant)).get(session);
  if (action === 'released' && held === undefined)
    throw new HoldError(`session ${session} of ${tenant} is not held`);
  if (action === 'placed' && held !== undefined)
    throw new HoldError(`session ${session} is held already, by ${held.actor}: ${held.reason}`);
  const [found] = await store.query(
    {
      text: `SELECT 1 AS there FROM ${EVENTS_TABLE} WHERE tenant = {tenant:String} AND session_id = {session:UUID} LIMIT 1`,
      params: { tenant, session },
    },
    LIMITS,
  );
  if (action === 'placed' && found === undefined)
    throw new HoldError(`no event of session ${session} is stored for ${tenant}`);
}

/** Writes the change; it holds from now on. */
export async function writeHold(store: Store, change: HoldChange, random: Random): Promise<void> {
  const { tenant, session: session_id, action, actor, reason } = change;
  await store.insert({
    table: HOLDS_TABLE,
    lines: Buffer.from(`${JSON.stringify({ tenant, session_id, action, actor, reason })}\n`),
    rows: 1,
    dedupToken: Buffer.from(random.bytes(16)).toString('hex'),
    timeMs: INSERT_MS,
  });
}
