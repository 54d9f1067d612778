/** Rules over all sessions of a tenant, on the real engine: what stands is what a backtest finds. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ALERT_STATES_TABLE,
  ALERTS_TABLE,
  type Alert,
  createBacktest,
  createRuleSet,
  createViews,
  EVENTS_TABLE,
  frame,
  loadRules,
  type Store,
  scopeOf,
  type TelltaleEvent,
} from '#schemas';
import { createFleet } from '../../../ingest/detect/fleet.ts';
import { FLEET_LIMITS, type FleetLimits } from '../../../ingest/detect/fleet-tenant.ts';
import { createIngest } from '../../../ingest/loop.ts';
import { createWriter } from '../../../ingest/write.ts';
import { fakeClock, fakeLog, fakeMeter } from '../../fakes/ports.ts';
import { SPREAD_RULES } from '../../schemas/rules/rules.ts';
import { LIMITS, useEngine } from '../engine.ts';
import { recordingSink } from './alerts.ts';

const engine = useEngine();
const never = new AbortController().signal;
const random = { bytes: (count: number) => new Uint8Array(count) };

const { rules, faults } = loadRules([
  {
    file: 'test.yml',
    text: `${SPREAD_RULES}---
title: Many reads
id: many
level: medium
correlation:
  type: event_count
  rules: read
  group-by: [tenant]
  timespan: 30s
  condition: { gte: 4 }
---
title: A host that the tenant has not seen
id: new-host
level: medium
language: eql
first_seen:
  where: network where destination.domain != null
  field: destination.domain
  by: tenant
  history: 7d
---
title: A file that nobody deletes, in whichever session
id: litter
level: low
language: eql
query: |
  sequence by tenant, file_path with maxspan=20s
    [file where file_op == "create"]
    ![file where file_op == "delete"]
`,
  },
]);
const tenantRules = rules.filter((rule) => scopeOf(rule) === 'tenant');

const SECOND_NS = 1_000_000_000n;
const START_NS = 1_764_000_000n * SECOND_NS;
/** Everything has happened by then, and is certain. */
const REST_MS = 3_000_000;
const END_NS = START_NS + 3_600n * SECOND_NS;

let tenants = 0;
const newTenant = () => `fleet${++tenants}`;
const hex = (n: number) => n.toString(16).padStart(4, '0');
const uuid = (tenant: string, n: number) =>
  `0193a5e0-0000-7000-8000-${hex(Number(tenant.slice(5)))}0000${hex(n)}`;

/** A part that has just started: it knows nothing. */
function fleetOn(
  over: Partial<FleetLimits> = {},
  clock = fakeClock(END_NS),
  store: Store = engine.store,
) {
  const [log, meter] = [fakeLog(), fakeMeter()];
  const { sink, raised: told } = recordingSink();
  const shared = { store, log, meter, clock };
  const fleet = createFleet({
    ...shared,
    writer: createWriter({ ...shared, random }),
    rules: tenantRules,
    sinks: [sink],
    limits: { ...FLEET_LIMITS, ...over },
  });
  return { fleet, told, log, meter, clock };
}

let batches = 0;
async function store(events: readonly TelltaleEvent[]): Promise<void> {
  const shared = { store: engine.store, log: fakeLog(), meter: fakeMeter(), random };
  const ingest = createIngest({ ...shared, clock: fakeClock() });
  const streams = [...new Set(events.map(({ stream_id }) => stream_id))];
  const frames = streams.map((id) => ({
    bytes: frame(events.filter(({ stream_id }) => stream_id === id)),
    origin: 'test',
  }));
  const done = await ingest.take({ name: `fleet/${++batches}`, frames }, never);
  expect(done).toMatchObject({ stored: events.length, parked: 0 });
}

/** Fingerprints of a tenant's alerts that stand, with their rules. */
async function standing(tenant: string): Promise<string[]> {
  const text = `SELECT rule_id, toString(fingerprint) AS id FROM ${ALERTS_TABLE}
    WHERE tenant = {t:String} AND ${ALERTS_TABLE}.fingerprint NOT IN (
      SELECT fingerprint FROM ${ALERT_STATES_TABLE} WHERE state IN ('withdrawn', 'standing')
      GROUP BY fingerprint HAVING argMax(state, changed_at) = 'withdrawn')`;
  const rows = await engine.store.query({ text, params: { t: tenant } }, LIMITS);
  return rows.map((row) => `${row.rule_id} ${row.id}`).sort();
}

function backtested(events: readonly TelltaleEvent[]): string[] {
  const test = createBacktest(createRuleSet(tenantRules), createViews().views);
  const sorted = [...events].sort((a, b) => a.seq - b.seq);
  const alerts = [
    ...test.add(sorted),
    ...test.finish(END_NS - BigInt(FLEET_LIMITS.latenessMs) * 1_000_000n),
  ];
  return alerts.map(({ rule, fingerprint }) => `${rule.id} ${fingerprint}`).sort();
}

interface Step {
  readonly stream: number;
  readonly body: Readonly<Record<string, unknown>>;
  readonly atSeconds: number;
  /** How much earlier than it was seen it happened. */
  readonly back?: number;
}

/** The events of these steps; streams 0 and 1 are one session. */
function eventsOf(tenant: string, steps: readonly Step[]): TelltaleEvent[] {
  const next = new Map<number, number>();
  return steps.map(({ stream, body, atSeconds, back = 0 }) => {
    const seq = next.get(stream) ?? 0;
    next.set(stream, seq + 1);
    const observed = START_NS + BigInt(atSeconds) * SECOND_NS;
    return {
      tenant,
      session_id: uuid(tenant, Math.max(stream, 1)),
      stream_id: uuid(tenant, stream + 100),
      seq,
      ts: String(observed - BigInt(back) * SECOND_NS),
      observed_ts: String(observed),
      source: 'seccomp',
      assurance: 'observed',
      ...body,
    } as unknown as TelltaleEvent;
  });
}

const read = { kind: 'file', file_op: 'read', file_path: '/secret' };
const connect = (net_host: string) => ({ kind: 'net', net_op: 'connect', net_host, net_port: 443 });
const file = (file_op: string) => ({ kind: 'file', file_op, file_path: '/litter' });
const BODIES = [read, connect('a.example'), connect('b.example'), file('create'), file('delete')];

const sample = fc.record({
  stream: fc.nat(3),
  what: fc.nat(BODIES.length - 1),
  /** Seconds since the one before it in its stream … */
  gap: fc.nat(20),
  /** … and how much earlier than that it happened. */
  back: fc.nat(30),
  /** Whether what came so far is stored and looked at before it. */
  cut: fc.boolean(),
  /** Whether the part is killed then, and another begins. */
  killed: fc.boolean(),
});

describe('rules of a tenant', () => {
  it('compiles the rules of this test, all but one of them of a tenant', () => {
    expect(faults).toEqual([]);
    const ids = tenantRules.map(({ meta }) => meta.id).sort();
    expect(ids).toEqual(['litter', 'many', 'new-host', 'spread']);
  });

  it('finds what two sessions did together, and tells it once', async () => {
    const tenant = newTenant();
    const [first, second, third] = eventsOf(tenant, [
      { stream: 1, body: read, atSeconds: 0 },
      { stream: 2, body: read, atSeconds: 5 },
      { stream: 2, body: connect('a.example'), atSeconds: 6 },
    ]) as [TelltaleEvent, TelltaleEvent, TelltaleEvent];
    const { fleet, told } = fleetOn();
    await store([first]);
    await fleet.look();
    const ours = () => told.filter((alert) => alert.tenant === tenant).map(({ rule }) => rule.id);
    expect(ours()).toEqual([]);
    await store([second]);
    await fleet.look();
    await fleet.look();
    expect(ours()).toEqual(['spread']);
    await store([third]);
    await fleet.look();
    expect(ours()).toEqual(['spread', 'new-host']);
    expect(await standing(tenant)).toEqual(backtested([first, second, third]));
  });

  it('raises late what was missed while nobody looked, and nothing twice', async () => {
    const tenant = newTenant();
    const events = eventsOf(tenant, [
      { stream: 1, body: read, atSeconds: 0 },
      { stream: 2, body: read, atSeconds: 5 },
    ]);
    await store(events);
    const ours = (told: readonly Alert[]) => told.filter((alert) => alert.tenant === tenant).length;
    const first = fleetOn();
    await first.fleet.look();
    expect(ours(first.told)).toBe(1);
    const second = fleetOn();
    await second.fleet.look();
    expect(ours(second.told)).toBe(0);
    expect(await standing(tenant)).toEqual(backtested(events));
  });

  it('is silent about what is long over, and knows it all the same', async () => {
    const tenant = newTenant();
    const clock = fakeClock(START_NS + 3n * 86_400n * SECOND_NS);
    const [old, again, fresh] = eventsOf(tenant, [
      { stream: 1, body: connect('a.example'), atSeconds: 0 },
      { stream: 1, body: connect('a.example'), atSeconds: 3 * 86_400 - 60 },
      { stream: 1, body: connect('b.example'), atSeconds: 3 * 86_400 - 50 },
    ]) as [TelltaleEvent, TelltaleEvent, TelltaleEvent];
    await store([old]);
    const { fleet, told } = fleetOn({}, clock);
    await fleet.look();
    await store([again, fresh]);
    await fleet.look();
    const ours = told.filter((alert) => alert.tenant === tenant);
    expect(ours.map(({ key }) => key.net_host ?? key['destination.domain'])).toEqual(['b.example']);
  });

  it('begins a tenant anew where an event came too late for what is kept', async () => {
    const tenant = newTenant();
    const engineLimits = { ...FLEET_LIMITS.engine, keepMs: 1_000 };
    const clock = fakeClock(START_NS + 610n * SECOND_NS);
    const { fleet, meter } = fleetOn({ engine: engineLimits }, clock);
    const events = eventsOf(tenant, [
      { stream: 1, body: file('create'), atSeconds: 0 },
      { stream: 1, body: file('create'), atSeconds: 300 },
      { stream: 1, body: file('create'), atSeconds: 600 },
      { stream: 2, body: file('delete'), atSeconds: 610, back: 600 },
    ]);
    await store(events.slice(0, 3));
    await fleet.look();
    expect(await standing(tenant)).toHaveLength(2);
    await store(events.slice(3));
    await fleet.look();
    clock.advance(FLEET_LIMITS.rereadMs + 1);
    await fleet.look();
    expect(meter.counts.get('telltale.fleet.rereads')).toBe(1);
    expect(await standing(tenant)).toHaveLength(1);
    clock.advance(REST_MS);
    await fleet.look();
    expect(await standing(tenant)).toEqual(backtested(events));
  });

  it('finds what became visible after its time, by looking far back now and then', async () => {
    const [swept, near] = await Promise.all(
      [0, 3_600_000].map(async (sweepEveryMs) => {
        const tenant = newTenant();
        let hidden = false;
        const slow: Store = {
          ...engine.store,
          query: async (sql, ...more) =>
            hidden && sql.text.includes('WITH TIES') ? [] : engine.store.query(sql, ...more),
        };
        const clock = fakeClock(END_NS);
        const { fleet, told } = fleetOn({ overlapMs: 0, sweepEveryMs }, clock, slow);
        await fleet.look();
        hidden = true;
        await store(
          eventsOf(tenant, [
            { stream: 1, body: read, atSeconds: 0 },
            { stream: 2, body: read, atSeconds: 5 },
          ]),
        );
        await fleet.look();
        hidden = false;
        await fleet.look();
        return told.filter((alert) => alert.tenant === tenant).length;
      }),
    );
    expect([swept, near]).toEqual([1, 0]);
  });

  it('takes up more than one read has, and drops what it saw when too much is remembered', async () => {
    const tenant = newTenant();
    const steps = Array.from({ length: 50 }, (_, at) => ({
      stream: 1 + (at % 3),
      body: BODIES[at % BODIES.length] as object as Record<string, unknown>,
      atSeconds: at,
    }));
    const events = eventsOf(tenant, steps);
    const { fleet, log } = fleetOn({ rowsPerRead: 3, seenMax: 10 });
    for (let at = 0; at < events.length; at += 10) {
      await store(events.slice(at, at + 10));
      await fleet.look();
    }
    expect(await standing(tenant)).toEqual(backtested(events));
    expect(log.lines.map(({ event }) => event)).toContain('fleet.seen_too_many');
  });

  // The last test, since it empties the table.
  it('says what a backtest says, in whatever order things come and wherever it is killed', async () => {
    const check = fc.asyncProperty(
      fc.array(sample, { minLength: 1, maxLength: 25 }),
      async (samples) => {
        // Otherwise each run would begin the tenants of all runs before it.
        await engine.store.command(`TRUNCATE TABLE ${EVENTS_TABLE}`);
        const tenant = newTenant();
        const clocks = new Map<number, number>();
        const steps = samples.map(({ stream, what, gap, back }): Step => {
          const atSeconds = (clocks.get(stream) ?? 40) + gap;
          clocks.set(stream, atSeconds);
          return { stream, body: BODIES[what] as Record<string, unknown>, atSeconds, back };
        });
        const events = eventsOf(tenant, steps);
        // Nothing is certain while events come; the rest is below.
        const clock = fakeClock(START_NS + 600n * SECOND_NS);
        let part = fleetOn({}, clock);
        let from = 0;
        for (const [at, { cut, killed }] of samples.entries()) {
          if (!cut && at < samples.length - 1) continue;
          await store(events.slice(from, at + 1));
          from = at + 1;
          await part.fleet.look();
          if (killed) part = fleetOn({}, clock);
        }
        clock.advance(REST_MS);
        await part.fleet.look();
        expect(await standing(tenant)).toEqual(backtested(events));
      },
    );
    await fc.assert(check, { numRuns: 12, seed: 7, endOnFailure: true });
  }, 120_000);
});
