/**
 * The rules of a whole tenant, begun from the table: as far back as their windows reach, silently
 * but for matches of the last hours that nobody raised.
 */
import {
  type Alert,
  type Clock,
  createEngine,
  createRuleSet,
  createViews,
  ENGINE_LIMITS,
  type Engine,
  type EngineLimits,
  type Log,
  type Outcome,
  type Rule,
  type TelltaleEvent,
} from '#schemas';
import type { Writer } from '../write.ts';
import type { FleetRows, WrittenEvent } from './fleet-rows.ts';
import type { StoredAlert } from './history.ts';
import { type Book, openBook } from './raise.ts';

export interface FleetLimits {
  /** From the end of one look to the next: at least, and at most where looks take long. */
  readonly everyMsMin: number;
  readonly everyMs: number;
  /** How far before the last look each one begins: an insert is visible a moment after its time. */
  readonly overlapMs: number;
  /** So often a look goes back as far as an insert may take. */
  readonly sweepEveryMs: number;
  readonly sweepMs: number;
  /** Rows of one read. */
  readonly rowsPerRead: number;
  /** Events that are remembered as seen. */
  readonly seenMax: number;
  /** Tenants whose state is held; the least recently used are begun anew when they come back. */
  readonly tenantsMax: number;
  /** What a start raises, if nobody has: matches that ended so long ago. */
  readonly catchUpHours: number;
  /** How far back a rule without a window is begun, and any rule at most. */
  readonly historyDaysMax: number;
  /** Rows that a tenant is begun from; the newest days that have no more. */
  readonly historyRowsMax: number;
  /** A stale tenant is begun anew at most so often. */
  readonly rereadMs: number;
  /** Alerts of one rule in one tenant and day, and since the start. */
  readonly alertsPerRuleMax: number;
  /** How far behind the clock nothing is expected any more: absences fire then. */
  readonly latenessMs: number;
  readonly engine: EngineLimits;
}

export const FLEET_LIMITS: FleetLimits = {
  everyMsMin: 1_000,
  everyMs: 5_000,
  overlapMs: 3_000,
  sweepEveryMs: 60_000,
  sweepMs: 90_000,
  rowsPerRead: 20_000,
  seenMax: 500_000,
  tenantsMax: 1_000,
  catchUpHours: 24,
  historyDaysMax: 31,
  historyRowsMax: 2_000_000,
  rereadMs: 300_000,
  alertsPerRuleMax: 1_000,
  latenessMs: 600_000,
  // Collectors of different hosts are further apart than the streams of one session.
  engine: { ...ENGINE_LIMITS, keepMs: 600_000, ruleHitsMax: 10_000 },
};

const MS_NS = 1_000_000n;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Rows that are put in order together; between two lots only what is kept for late ones is. */
const LOT_ROWS = 200_000;
/** No session is named like this: a replay of it forgets no session. */
const NOBODY = '';

export interface Tenant {
  readonly name: string;
  readonly engine: Engine;
  readonly book: Book;
  /** Events of late, and when they were written. */
  readonly seen: Map<string, number>;
  /** When it may be begun anew. */
  rereadNs: bigint;
  stale: boolean;
}

export interface Begun {
  readonly tenant: Tenant;
  /** What is to be raised or withdrawn now. */
  readonly outcome: Outcome;
}

export interface TenantDeps {
  readonly rows: FleetRows;
  readonly rules: readonly Rule[];
  readonly writer: Writer;
  readonly log: Log;
  readonly clock: Clock;
  readonly limits: FleetLimits;
}

const idOf = ({ stream_id, seq }: TelltaleEvent) => `${stream_id}-${seq}`;
const endNs = (alert: Alert) => BigInt(alert.events.at(-1)?.ts ?? 0);

/** Notes events as seen; those that were not before. */
export function unseen({ seen }: Tenant, written: readonly WrittenEvent[]): TelltaleEvent[] {
  return written.flatMap(({ event, writtenMs }) => {
    const id = idOf(event);
    if (seen.has(id)) return [];
    seen.set(id, writtenMs);
    return [event];
  });
}

/** How far back the state of these rules reaches. */
function reachNs(rules: readonly Rule[], { historyDaysMax }: FleetLimits): bigint {
  const most = historyDaysMax * DAY_MS;
  const reaches = rules.map(({ matcher }) => {
    const windowNs = matcher.type === 'stream' ? matcher.stream.windowNs : 0n;
    return windowNs === undefined ? most : Number(windowNs / MS_NS) + 1;
  });
  return BigInt(Math.min(most, Math.max(0, ...reaches))) * MS_NS;
}

/** The newest days that together hold no more than `rowsMax`, the oldest of them first. */
function daysWithin(days: ReadonlyMap<number, number>, rowsMax: number): readonly number[] {
  const taken: number[] = [];
  let rows = 0;
  for (const [day, count] of days) {
    rows += count;
    if (rows > rowsMax && taken.length > 0) break;
    taken.push(day);
  }
  return taken.reverse();
}

/** Gathers what stands at the end. */
function createFound() {
  const found = new Map<string, Alert>();
  return {
    found,
    take({ raised, withdrawn }: Outcome): void {
      for (const { fingerprint } of withdrawn) found.delete(fingerprint);
      for (const alert of raised) found.set(alert.fingerprint, alert);
    },
  };
}

/** A function that begins a tenant; `horizonMs`: rows written since then may be looked at again. */
export function createTenants(deps: TenantDeps) {
  const { rows, rules, writer, log, clock, limits } = deps;
  const ruleSet = createRuleSet(rules);
  const backNs = reachNs(rules, limits);
  const catchUpNs = BigInt(limits.catchUpHours * HOUR_MS) * MS_NS;

  const open = (name: string, stored: readonly StoredAlert[]): Tenant => ({
    name,
    engine: createEngine(ruleSet, createViews(), limits.engine),
    book: { ...openBook(stored), raised: new Map() },
    seen: new Map(),
    rereadNs: clock.monotonicNs() + BigInt(limits.rereadMs) * MS_NS,
    stale: false,
  });

  /** Runs the rules over all that is stored; what stands, and whether all of it could be read. */
  async function read(tenant: Tenant, fromNs: bigint, horizonMs: number, signal: AbortSignal) {
    const { name, engine } = tenant;
    const { found, take } = createFound();
    const days = await rows.days(name, fromNs);
    const taken = daysWithin(days, limits.historyRowsMax);
    const whole = taken.length === days.size;
    if (!whole) log.warn('fleet.history_short', { days: taken.length, of: days.size });
    const nobody = { tenant: name, session_id: NOBODY };
    let [replay, count] = [engine.replay(nobody), 0];
    for (const day of taken)
      for await (const written of rows.day(name, day, fromNs, signal)) {
        for (const { event, writtenMs } of written)
          if (writtenMs >= horizonMs) tenant.seen.set(idOf(event), writtenMs);
        replay.add(written.map(({ event }) => event));
        count += written.length;
        if (count < LOT_ROWS) continue;
        take(replay.finish());
        [replay, count] = [engine.replay(nobody), 0];
      }
    take(replay.finish());
    take(engine.advance(clock.wallNs() - BigInt(limits.latenessMs) * MS_NS));
    return { found, whole: whole && engine.stats().evicted === 0 };
  }

  return async function begin(
    name: string,
    horizonMs: number,
    signal: AbortSignal,
  ): Promise<Begun> {
    const raiseNs = clock.wallNs() - catchUpNs;
    const fromNs = raiseNs > backNs ? raiseNs - backNs : 0n;
    const alertsMs = horizonMs - Number((catchUpNs + backNs) / MS_NS);
    const stored = await writer.persist(() => rows.alerts(name, alertsMs), 'alerts', signal);
    const work = async () => {
      const tenant = open(name, stored);
      return { tenant, ...(await read(tenant, fromNs, horizonMs, signal)) };
    };
    const { tenant, found, whole } = await writer.persist(work, 'history', signal);
    const recent = (alert: Alert) => endNs(alert) >= raiseNs;
    // Raised by a past part that had not seen a late event, which is in its place now.
    const gone = stored.filter(
      ({ alert, withdrawn }) =>
        whole && !withdrawn && recent(alert) && !found.has(alert.fingerprint),
    );
    const raised = [...found.values()].filter(recent);
    const outcome = { raised, withdrawn: gone.map(({ alert }) => alert), stale: [] };
    return { tenant, outcome };
  };
}
