/**
 * The live side of rules whose groups reach over sessions: first seen in the tenant, counts by host
 * or tool. Exactly one of them runs for an installation, beside the workers:
 *
 *     rows written lately, that could matter ─> those not seen yet ─> a tenant's engine ─> raise.ts
 *
 * A tenant is begun from the table (fleet-tenant.ts); what the table has of alerts is not raised
 * again, and what was missed while nobody looked is raised late. An event that comes too late to be
 * put in its place makes a tenant stale: it is begun anew.
 */
import {
  type Clock,
  type Log,
  type Meter,
  type Outcome,
  type Part,
  type Rule,
  type Store,
  StoreError,
} from '#schemas';
import type { Writer } from '../write.ts';
import { createFleetRows, type WrittenEvent } from './fleet-rows.ts';
import {
  createTenants,
  FLEET_LIMITS,
  type FleetLimits,
  type Tenant,
  unseen,
} from './fleet-tenant.ts';
import { createRaiser } from './raise.ts';
import type { Sink } from './sink.ts';

/** Known fingerprints of one tenant; the oldest are let go. */
const KNOWN_MAX = 200_000;
const MS_NS = 1_000_000n;
const DAY_NS = 86_400_000n * MS_NS;
const HOUR_MS = 3_600_000;
/** Looking may take one part in so many of the time, between the two bounds. */
const LOOK_SHARE = 10;

export interface FleetDeps {
  readonly store: Store;
  readonly writer: Writer;
  readonly log: Log;
  readonly meter: Meter;
  readonly clock: Clock;
  /** Rules of a whole tenant. */
  readonly rules: readonly Rule[];
  readonly sinks: readonly Sink[];
  readonly limits?: FleetLimits;
}

export interface Fleet extends Part {
  /**
   * One look at what was written; the first begins the tenants of the last hours. `start` does this
   * for ever. Rejects with what the store or a rule broke.
   */
  look(): Promise<void>;
}

function byTenant(written: readonly WrittenEvent[]): Map<string, WrittenEvent[]> {
  const out = new Map<string, WrittenEvent[]>();
  for (const one of written) {
    const list = out.get(one.event.tenant);
    if (list === undefined) out.set(one.event.tenant, [one]);
    else list.push(one);
  }
  return out;
}

/** Each stream in the order of its numbers, as the rules' views want it. */
const inOrder = ({ event: a }: WrittenEvent, { event: b }: WrittenEvent) =>
  a.stream_id === b.stream_id ? a.seq - b.seq : a.stream_id < b.stream_id ? -1 : 1;

export function createFleet(deps: FleetDeps): Fleet {
  const { store, writer, log, meter, clock, rules } = deps;
  const limits = deps.limits ?? FLEET_LIMITS;
  const rows = createFleetRows(store, rules);
  const begin = createTenants({ rows, rules, writer, log, clock, limits });
  const raiser = createRaiser(deps, limits.alertsPerRuleMax);
  const abort = new AbortController();
  /** In the order of last use. */
  const tenants = new Map<string, Tenant>();
  /** When the last look and the last far look began, by the engine's clock; undefined: never. */
  let lookedMs: number | undefined;
  let sweptMs = 0;
  /** What was written before is not looked at again, because too much of it was seen. */
  let floorMs = 0;
  let day = 0n;
  let evictedBefore = 0;
  let running: Promise<void> | undefined;

  /** No later look goes back beyond this. */
  const horizonMs = () => Math.max(sweptMs - limits.sweepMs, floorMs, 0);

  const write = ({ book }: Tenant, outcome: Outcome) =>
    raiser.write(outcome, () => book, abort.signal);

  async function beginTenant(name: string): Promise<Tenant> {
    const { tenant, outcome } = await begin(name, horizonMs(), abort.signal);
    tenants.set(name, tenant);
    await write(tenant, outcome);
    return tenant;
  }

  /** What a rule breaks is told, and costs that tenant's state only. */
  async function guarded(name: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      tenants.delete(name);
      if (abort.signal.aborted || error instanceof StoreError) throw error;
      meter.count('telltale.fleet.failures', 1);
      log.error('fleet.failed', { error: String(error) });
    }
  }

  async function take(written: readonly WrittenEvent[]): Promise<void> {
    for (const [name, ofTenant] of byTenant(written))
      await guarded(name, async () => {
        const tenant = tenants.get(name) ?? (await beginTenant(name));
        tenants.delete(name);
        tenants.set(name, tenant);
        const outcome = tenant.engine.add(unseen(tenant, ofTenant.sort(inOrder)));
        if (outcome.stale.length > 0) tenant.stale = true;
        await write(tenant, outcome);
      });
  }

  async function readSince(fromMs: number): Promise<void> {
    for (let sinceMs = fromMs; ; ) {
      const ask = () => rows.writtenSince(sinceMs, limits.rowsPerRead);
      const written = await writer.persist(ask, 'fleet', abort.signal);
      const newest = written.at(-1);
      meter.count('telltale.fleet.rows', written.length);
      await take(written);
      if (newest === undefined || written.length < limits.rowsPerRead) return;
      sinceMs = newest.writtenMs + 1;
    }
  }

  /** Absences fire; what is stale is begun anew. */
  async function settle(): Promise<void> {
    const nowNs = clock.monotonicNs();
    const certainNs = clock.wallNs() - BigInt(limits.latenessMs) * MS_NS;
    for (const tenant of [...tenants.values()])
      await guarded(tenant.name, async () => {
        await write(tenant, tenant.engine.advance(certainNs));
        if (!tenant.stale || tenant.rereadNs > nowNs) return;
        meter.count('telltale.fleet.rereads', 1);
        await beginTenant(tenant.name);
      });
  }

  function trim(): void {
    for (const name of tenants.keys()) {
      if (tenants.size <= limits.tenantsMax) break;
      tenants.delete(name);
    }
    let [seen, hits, evicted] = [0, 0, 0];
    const today = clock.wallNs() / DAY_NS;
    for (const { seen: ids, book, engine } of tenants.values()) {
      for (const [id, writtenMs] of ids) if (writtenMs < horizonMs()) ids.delete(id);
      if (today !== day) book.raised.clear();
      for (const known of book.known) {
        if (book.known.size <= KNOWN_MAX) break;
        book.known.delete(known);
      }
      const stats = engine.stats();
      seen += ids.size;
      hits += stats.hits;
      evicted += stats.evicted;
    }
    day = today;
    meter.gauge('telltale.fleet.seen', seen);
    meter.gauge('telltale.fleet.hits', hits);
    meter.gauge('telltale.fleet.evicted', evicted);
    // What was forgotten may be taken for new.
    if (evicted > evictedBefore) log.warn('fleet.evicted', { entries: evicted - evictedBefore });
    evictedBefore = evicted;
    if (seen <= limits.seenMax || lookedMs === undefined) return;
    floorMs = lookedMs - limits.overlapMs;
    log.warn('fleet.seen_too_many', { seen });
  }

  /** Begins the tenants of whom something came of late. */
  async function first(nowMs: number): Promise<void> {
    sweptMs = nowMs;
    const since = nowMs - limits.catchUpHours * HOUR_MS;
    const names = await writer.persist(() => rows.tenantsSince(since), 'fleet', abort.signal);
    if (names.length > limits.tenantsMax) log.warn('fleet.tenants', { tenants: names.length });
    for (const name of names.slice(0, limits.tenantsMax))
      await guarded(name, async () => void (await beginTenant(name)));
  }

  async function look(): Promise<void> {
    const nowMs = await writer.persist(rows.nowMs, 'fleet', abort.signal);
    if (lookedMs === undefined) await first(nowMs);
    const far = lookedMs === undefined || nowMs - sweptMs >= limits.sweepEveryMs;
    const nearMs = (lookedMs ?? 0) - limits.overlapMs;
    await readSince(far ? horizonMs() : Math.max(nearMs, horizonMs()));
    lookedMs = nowMs;
    if (far) sweptMs = nowMs;
    await settle();
    trim();
  }

  async function loop(): Promise<void> {
    while (!abort.signal.aborted) {
      const beganNs = clock.monotonicNs();
      await look().catch((error) => {
        if (!abort.signal.aborted) log.error('fleet.look_failed', { error: String(error) });
      });
      const tookMs = Number((clock.monotonicNs() - beganNs) / MS_NS);
      const pauseMs = Math.max(limits.everyMsMin, (LOOK_SHARE - 1) * tookMs);
      await clock.sleep(Math.min(pauseMs, limits.everyMs), abort.signal).catch(() => {});
    }
  }

  return {
    look,
    async start() {
      running ??= rules.length === 0 ? Promise.resolve() : loop();
    },
    async stop() {
      abort.abort();
      await running;
    },
  };
}
