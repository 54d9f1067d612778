/** Rules over the real engine: found when stored, told once, whatever is lost in between. */
import { describe, expect, it } from 'vitest';
import {
  ALERT_STATES_TABLE,
  ALERTS_TABLE,
  createEngine,
  createRuleSet,
  createViews,
  ENGINE_LIMITS,
  frame,
  loadRules,
  type Store,
  StoreError,
  type TelltaleEvent,
} from '#schemas';
import { createDetect, DETECT_LIMITS } from '../../../ingest/detect/live.ts';
import { createIngest } from '../../../ingest/loop.ts';
import { createWriter } from '../../../ingest/write.ts';
import { fakeClock, fakeLog, fakeMeter } from '../../fakes/ports.ts';
import { LIMITS, newStream, useEngine } from '../engine.ts';
import { recordingSink } from './alerts.ts';

const engine = useEngine();
const never = new AbortController().signal;
const random = { bytes: (count: number) => new Uint8Array(count) };

const { rules, faults } = loadRules([
  {
    file: 'test.yml',
    text: `
title: A secret, then the network
id: leak
level: high
author: T. Tester
license: Apache-2.0
language: eql
query: |
  sequence by session_id with maxspan=1h
    [file where file_path == "/secret"]
    [net where net_op == "connect"]
---
title: A secret
id: secret
level: low
language: eql
query: file where file_path == "/secret"
---
title: A file that nobody deletes
id: litter
level: low
language: eql
query: |
  sequence by session_id, file_path with maxspan=5s
    [file where file_path == "/litter" and file_op == "create"]
    ![file where file_op == "delete"]
`,
  },
]);

/** A worker that has just started: it knows nothing. */
function workerOn(store: Store, clock = fakeClock(), over = DETECT_LIMITS) {
  const [log, meter] = [fakeLog(), fakeMeter()];
  const { sink, ...told } = recordingSink();
  const shared = { store, log, meter, clock, random };
  const detect = createDetect({
    ...shared,
    writer: createWriter(shared),
    engine: createEngine(createRuleSet(rules), createViews(), ENGINE_LIMITS),
    rules: new Set(rules.map(({ meta }) => meta.id)),
    sinks: [sink],
    limits: over,
  });
  return { ingest: createIngest({ ...shared, detect }), detect, told, log, meter };
}

const stream = () => newStream();
const FILE = { kind: 'file', file_op: 'read', file_path: '/secret' } as const;
const NET = { kind: 'net', net_op: 'connect', net_ip: '192.0.2.1', net_port: 443 } as const;
const LITTER = { kind: 'file', file_op: 'create', file_path: '/litter' } as const;
const START_NS = 1_764_000_000_000_000_000n;

/** Events of a stream with the bodies given, a second apart. */
function told(
  { tenant, session_id, stream_id }: ReturnType<typeof newStream>,
  first: number,
  bodies: readonly object[],
  backSeconds = 0,
): TelltaleEvent[] {
  return bodies.map((body, index) => {
    const observed = START_NS + BigInt(first + index) * 1_000_000_000n;
    return {
      tenant,
      session_id,
      stream_id,
      seq: first + index,
      ts: String(observed - BigInt(backSeconds) * 1_000_000_000n),
      observed_ts: String(observed),
      source: 'seccomp',
      assurance: 'observed',
      ...body,
    } as TelltaleEvent;
  });
}

const batch = (events: readonly TelltaleEvent[]) => ({
  name: `t/0/${events[0]?.stream_id}-${events[0]?.seq}-${events.length}`,
  frames: [{ bytes: frame(events), origin: 'test' }],
});

async function storedOf(session: string): Promise<string[]> {
  const text = `SELECT rule_id FROM ${ALERTS_TABLE} WHERE session_id = {id:UUID} ORDER BY rule_id`;
  const rows = await engine.store.query({ text, params: { id: session } }, LIMITS);
  return rows.map((row) => String(row.rule_id));
}
async function statesOf(fingerprint: string): Promise<string[]> {
  const text = `SELECT state FROM ${ALERT_STATES_TABLE} WHERE fingerprint = {id:String} ORDER BY changed_at`;
  const rows = await engine.store.query({ text, params: { id: fingerprint } }, LIMITS);
  return rows.map((row) => String(row.state));
}

describe('detect', () => {
  it('compiles the rules of this test', () => {
    expect(faults).toEqual([]);
  });

  it('stores an alert with its rule, author and events when the batch is done', async () => {
    const one = stream();
    const worker = workerOn(engine.store);
    await worker.ingest.take(batch(told(one, 0, [FILE, NET])), never);
    expect(await storedOf(one.session_id)).toEqual(['leak', 'secret']);
    const alert = worker.told.raised.find(({ rule }) => rule.id === 'leak');
    expect(alert).toMatchObject({
      rule: { author: 'T. Tester', license: 'Apache-2.0', level: 'high' },
      key: { session_id: one.session_id },
      events: [{ id: `${one.stream_id}-0` }, { id: `${one.stream_id}-1` }],
    });
  });

  it('goes on after a restart as if nothing had been, and tells nothing twice', async () => {
    const one = stream();
    const first = workerOn(engine.store);
    await first.ingest.take(batch(told(one, 0, [FILE])), never);
    expect(first.told.raised.map(({ rule }) => rule.id)).toEqual(['secret']);
    const second = workerOn(engine.store);
    await second.ingest.take(batch(told(one, 1, [NET])), never);
    expect(second.told.raised.map(({ rule }) => rule.id)).toEqual(['leak']);
    expect(await storedOf(one.session_id)).toEqual(['leak', 'secret']);
  });

  it('finds in a batch that comes again what a killed worker had stored but not seen', async () => {
    const one = stream();
    const events = told(one, 0, [FILE, NET]);
    const shared = { store: engine.store, log: fakeLog(), meter: fakeMeter(), random };
    // Killed between the rows and the rules.
    await createIngest({ ...shared, clock: fakeClock() }).take(batch(events), never);
    expect(await storedOf(one.session_id)).toEqual([]);
    const worker = workerOn(engine.store);
    expect(await worker.ingest.take(batch(events), never)).toMatchObject({ duplicates: 2 });
    expect(await storedOf(one.session_id)).toEqual(['leak', 'secret']);
    await workerOn(engine.store).ingest.take(batch(events), never);
    await worker.ingest.take(batch(events), never);
    expect(await storedOf(one.session_id)).toEqual(['leak', 'secret']);
  });

  it('reads everything again after a rebalance', async () => {
    const one = stream();
    const [left, right] = [workerOn(engine.store), workerOn(engine.store)];
    await left.ingest.take(batch(told(one, 0, [FILE])), never);
    await right.ingest.take(batch(told(one, 1, [{ ...FILE, file_path: '/other' }])), never);
    left.ingest.forget();
    await left.ingest.take(batch(told(one, 2, [NET])), never);
    expect(await storedOf(one.session_id)).toEqual(['leak', 'secret']);
    expect(left.told.raised).toHaveLength(2);
    expect(right.told.raised).toEqual([]);
  });

  it('fires an absence when it is certain, also after a restart', async () => {
    const one = stream();
    const clock = fakeClock(START_NS);
    const worker = workerOn(engine.store, clock);
    await worker.ingest.take(batch(told(one, 0, [LITTER])), never);
    await worker.detect.advance(never);
    expect(await storedOf(one.session_id)).toEqual([]);
    clock.advance(DETECT_LIMITS.latenessMs + 10_000);
    await worker.detect.advance(never);
    expect(await storedOf(one.session_id)).toEqual(['litter']);
    const again = workerOn(engine.store, clock);
    await again.ingest.take(batch(told(one, 1, [NET])), never);
    expect(await storedOf(one.session_id)).toEqual(['litter']);
    expect(again.told.withdrawn).toEqual([]);
  });

  it('withdraws what a late event proves wrong, and says so to whoever was told', async () => {
    const one = stream();
    const clock = fakeClock(START_NS);
    const worker = workerOn(engine.store, clock);
    await worker.ingest.take(batch(told(one, 0, [LITTER, ...Array(8).fill(NET), LITTER])), never);
    const [raised] = worker.told.raised.filter(({ rule }) => rule.id === 'litter');
    expect(raised).toBeDefined();
    const gone = { ...LITTER, file_op: 'delete' };
    await worker.ingest.take(batch(told(one, 10, [gone], 8)), never);
    expect(worker.told.withdrawn.map(({ fingerprint }) => fingerprint)).toEqual([
      raised?.fingerprint,
    ]);
    expect(await statesOf(raised?.fingerprint as string)).toEqual(['withdrawn']);
    // A worker that starts now finds the same, and tells nobody anything.
    const next = workerOn(engine.store, clock);
    await next.ingest.take(batch(told(one, 11, [NET])), never);
    expect(next.told).toEqual({ raised: [], withdrawn: [] });
  });

  it('withdraws on a restart what only the past worker could believe', async () => {
    const one = stream();
    const clock = fakeClock(START_NS);
    const worker = workerOn(engine.store, clock);
    await worker.ingest.take(batch(told(one, 0, [LITTER, ...Array(8).fill(NET), LITTER])), never);
    const [raised] = worker.told.raised.filter(({ rule }) => rule.id === 'litter');
    const next = workerOn(engine.store, clock);
    const gone = { ...LITTER, file_op: 'delete' };
    await next.ingest.take(batch(told(one, 10, [gone], 8)), never);
    expect(next.told.withdrawn.map(({ fingerprint }) => fingerprint)).toEqual([
      raised?.fingerprint,
    ]);
  });

  it('reads a session again where an event came too late to be put in its place', async () => {
    const one = stream();
    const clock = fakeClock(START_NS);
    const worker = workerOn(engine.store, clock);
    // The secret is read a minute before what was stored before it, which is more than is kept.
    await worker.ingest.take(batch(told(one, 0, [FILE, ...Array(70).fill(NET)])), never);
    const first = worker.told.raised.length;
    await worker.ingest.take(batch(told(one, 71, [{ ...FILE, pid: 9 }], 70)), never);
    clock.advance(DETECT_LIMITS.rereadMs + 1);
    await worker.detect.advance(never);
    expect(worker.meter.counts.get('telltale.detect.rereads')).toBe(1);
    const whole = workerOn(engine.store, clock);
    await whole.ingest.take(batch(told(one, 72, [{ ...FILE, file_path: '/other' }])), never);
    expect(whole.told).toEqual({ raised: [], withdrawn: [] });
    expect(worker.told.raised.length).toBeGreaterThanOrEqual(first);
    // It is not read again for nothing.
    clock.advance(DETECT_LIMITS.rereadMs + 1);
    await worker.detect.advance(never);
    expect(worker.meter.counts.get('telltale.detect.rereads')).toBe(1);
  });

  it('withdraws nothing of a session that is too long to be read whole', async () => {
    const one = stream();
    const worker = workerOn(engine.store);
    await worker.ingest.take(batch(told(one, 0, [FILE, NET, NET, NET])), never);
    const over = { ...DETECT_LIMITS, historyEventsMax: 2 };
    const next = workerOn(engine.store, fakeClock(), over);
    await next.ingest.take(batch(told(one, 4, [NET])), never);
    expect(next.told.withdrawn).toEqual([]);
    expect(await storedOf(one.session_id)).toEqual(['leak', 'secret']);
  });

  it('holds one rule to so many alerts in a session, and counts the rest', async () => {
    const one = stream();
    const worker = workerOn(engine.store, fakeClock(), { ...DETECT_LIMITS, alertsPerRuleMax: 3 });
    await worker.ingest.take(batch(told(one, 0, Array(10).fill(FILE))), never);
    expect(await storedOf(one.session_id)).toEqual(['secret', 'secret', 'secret']);
    expect(worker.meter.counts.get('telltale.detect.alerts_suppressed')).toBe(7);
    expect(worker.log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
  });

  it('never holds ingest up: a rule’s trouble is an error, and the session begins anew', async () => {
    const one = stream();
    let broken = true;
    const store: Store = {
      ...engine.store,
      query: async (sql, limits, signal) => {
        if (broken && sql.text.includes(ALERTS_TABLE))
          throw new StoreError({ code: 'refused', engineCode: 47, message: 'no' });
        return engine.store.query(sql, limits, signal);
      },
    };
    const worker = workerOn(store);
    const done = await worker.ingest.take(batch(told(one, 0, [FILE])), never);
    expect(done).toMatchObject({ stored: 1 });
    expect(worker.log.lines).toMatchObject([{ level: 'error', event: 'detect.failed' }]);
    broken = false;
    await worker.ingest.take(batch(told(one, 1, [NET])), never);
    expect(await storedOf(one.session_id)).toEqual(['leak', 'secret']);
  });

  it('keeps tenants apart, also where they use the same session id', async () => {
    const one = stream();
    const other = { ...one, tenant: 'other' };
    const worker = workerOn(engine.store);
    await worker.ingest.take(batch(told(one, 0, [FILE])), never);
    await worker.ingest.take(batch(told(other as typeof one, 1, [NET])), never);
    expect(await storedOf(one.session_id)).toEqual(['secret']);
  });
});
