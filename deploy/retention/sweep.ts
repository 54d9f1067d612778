/**
 * Removes what a policy lets go of: whole sessions, and of younger ones their content. A session with
 * a hold is left alone. Before anything goes the journal says so and a tombstone for each stream is
 * written, so that a removal is never taken for a loss, nor a loss for a removal.
 */
import { createHash } from 'node:crypto';
import { type Clock, type QueryLimits, REMOVALS_TABLE, type Row, type Store } from '#schemas';
import { type Layout, layoutOf } from '../clickhouse/layout.ts';
import { clear, eraseContent } from '../erase/erase.ts';
import { heldSessions } from './holds.ts';
import type { Policy, Terms } from './policy.ts';
import * as sql from './statements.ts';

const LIMITS: QueryLimits = {
  timeMs: 3_600_000,
  memoryBytesMax: 2 * 1024 ** 3,
  rowsMax: 10_000_000,
};
const INSERT_MS = 120_000;
const DAY_MS = 86_400_000;
/** Sessions that go in one mutation of each table. */
export const SESSIONS_AT_ONCE = 50;
/** Alerts whose states go in one. */
const ALERTS_AT_ONCE = 1000;

/** One session that the policy is about. */
export interface Due {
  readonly session: string;
  readonly events: number;
  /** When its last event was written, in milliseconds since 1970. */
  readonly writtenMs: number;
}

/** What a policy means for one tenant now. */
export interface TenantPlan {
  readonly tenant: string;
  readonly terms: Terms;
  /** Sessions that go whole, oldest first. */
  readonly remove: readonly Due[];
  /** Sessions that lose their content. */
  readonly strip: readonly Due[];
  /** Sessions that would go and are held. */
  readonly held: readonly Due[];
  /** What the removed rows take on the disk, about. */
  readonly bytes: number;
}

export interface SweepDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly actor: string;
  /** Writes into the tenant's journal; rejects where it can't be kept, and nothing goes then. */
  readonly record: (
    tenant: string,
    operation: string,
    reason: string,
    attrs: Readonly<Record<string, string>>,
  ) => Promise<void>;
}

const dueOf = ({ session, events, written }: Row): Due => ({
  session: String(session),
  events: Number(events),
  writtenMs: Number(written),
});

async function planTenant(
  { store, clock }: Pick<SweepDeps, 'store' | 'clock'>,
  tenant: string,
  terms: Terms,
): Promise<TenantPlan> {
  const nowMs = Number(clock.wallNs() / 1_000_000n);
  const held = await heldSessions(store, tenant);
  const age = (days: number) => nowMs - days * DAY_MS;
  const first = age(terms.contentDays ?? terms.sessionDays);
  const rows = await store.query(sql.oldSessions(tenant, first), LIMITS);
  const isOld = (row: Row) => Number(row.written) < age(terms.sessionDays);
  const isHeld = (row: Row) => held.has(String(row.session));
  const free = rows.filter((row) => !isHeld(row));
  const remove = free.filter(isOld).map(dueOf);
  const strip = free.filter((row) => !isOld(row) && Number(row.sealed) > 0).map(dueOf);
  const [share] = await store.query<{ bytes: number }>(sql.BYTES_PER_ROW, LIMITS);
  const events = remove.reduce((sum, due) => sum + due.events, 0);
  const bytes = Math.round(events * Number(share?.bytes ?? 0));
  return { tenant, terms, remove, strip, held: rows.filter(isHeld).map(dueOf), bytes };
}

/** What a policy means now, tenant by tenant. Nothing is changed. */
export async function planSweep(
  deps: Pick<SweepDeps, 'store' | 'clock'>,
  policy: Policy,
): Promise<TenantPlan[]> {
  const tenants = await deps.store.query<{ tenant: string }>(sql.TENANTS, LIMITS);
  const plans: TenantPlan[] = [];
  for (const { tenant } of tenants) {
    const terms = policy.termsOf(tenant);
    if (terms !== undefined) plans.push(await planTenant(deps, tenant, terms));
  }
  return plans;
}

/** Writes the tombstones that are not there yet. */
async function bury(
  { store, actor }: SweepDeps,
  { tenant, terms }: TenantPlan,
  policy: Policy,
  sessions: readonly string[],
): Promise<void> {
  const streams = await store.query(sql.streamsOf(tenant, sessions), LIMITS);
  const named = new Set(streams.map(({ session }) => session));
  const bare = sessions.find((session) => !named.has(session));
  if (bare !== undefined)
    throw new Error(`session ${bare}: no stream for a tombstone; nothing went`);
  const there = await store.query(sql.tombstonesOf(tenant, sessions), LIMITS);
  const known = new Set(there.map((row) => `${row.stream} ${row.last_seq}`));
  const rows = streams
    .filter(({ stream, last_seq }) => !known.has(`${stream} ${last_seq}`))
    .map(({ session: session_id, stream: stream_id, ...row }) => ({
      ...{ tenant, policy: policy.name, policy_days: terms.sessionDays, actor },
      ...{ session_id, stream_id, ...row },
    }));
  if (rows.length === 0) return;
  const lines = Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const dedupToken = createHash('sha256').update(lines).digest('hex');
  await store.insert({
    table: REMOVALS_TABLE,
    lines,
    rows: rows.length,
    dedupToken,
    timeMs: INSERT_MS,
  });
}

async function dropStates(
  store: Store,
  at: Layout,
  tenant: string,
  sessions: readonly string[],
): Promise<void> {
  const alerts = await store.query(sql.alertsOf(tenant, sessions), LIMITS);
  const prints = alerts.map(({ fingerprint }) => String(fingerprint));
  for (let from = 0; from < prints.length; from += ALERTS_AT_ONCE)
    await store.command(sql.dropAlertStates(at, tenant, prints.slice(from, from + ALERTS_AT_ONCE)));
}

async function removeSome(
  deps: SweepDeps,
  at: Layout,
  plan: TenantPlan,
  policy: Policy,
  dues: readonly Due[],
): Promise<number> {
  const { store } = deps;
  const { tenant, terms } = plan;
  // A hold that was placed since the plan was made counts.
  const held = await heldSessions(store, tenant);
  const sessions = dues.map(({ session }) => session).filter((session) => !held.has(session));
  if (sessions.length === 0) return 0;
  const reason = `policy ${policy.name}: sessions go after ${terms.sessionDays} days`;
  await deps.record(tenant, 'retention remove', reason, { sessions: sessions.join(' ') });
  await bury(deps, plan, policy, sessions);
  await dropStates(store, at, tenant, sessions);
  for (const table of sql.TABLES) await store.command(sql.dropRows(at, table, tenant, sessions));
  for (const table of sql.TABLES) {
    const [left] = await store.query(sql.leftIn(table, tenant, sessions), LIMITS);
    if (Number(left?.rows) > 0)
      throw new Error(
        `${table}: ${left?.rows} rows of removed sessions are still there; run it again`,
      );
  }
  return sessions.length;
}

export interface Swept {
  readonly removed: number;
  readonly stripped: number;
}

/**
 * Does what the plans say. It may be run again, also after it was cut short. `signal` ends it between
 * two steps. Rejects with `StoreError`, or with what `record` rejects with.
 */
export async function sweep(
  deps: SweepDeps,
  policy: Policy,
  plans: readonly TenantPlan[],
  signal: AbortSignal,
): Promise<Swept> {
  const at = await layoutOf(deps.store);
  let [removed, stripped] = [0, 0];
  for (const plan of plans) {
    const { tenant, terms, remove, strip } = plan;
    for (let from = 0; from < remove.length; from += SESSIONS_AT_ONCE) {
      signal.throwIfAborted();
      const some = remove.slice(from, from + SESSIONS_AT_ONCE);
      removed += await removeSome(deps, at, plan, policy, some);
    }
    const reason = `policy ${policy.name}: content goes after ${terms.contentDays} days`;
    for (const { session } of strip) {
      signal.throwIfAborted();
      if ((await heldSessions(deps.store, tenant)).has(session)) continue;
      await deps.record(tenant, 'retention erase content', reason, { session });
      await eraseContent(deps, { tenant, session, actor: deps.actor, reason });
      stripped++;
    }
  }
  // Each waits for the engine to let go of old parts, so they wait together.
  if (removed > 0) await Promise.all(sql.TABLES.map((table) => clear(deps, at, table)));
  return { removed, stripped };
}
