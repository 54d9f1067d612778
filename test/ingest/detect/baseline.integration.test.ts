/** The learned baseline on the real engine: learned once, judged live, told once. */
import { describe, expect, it } from 'vitest';
import {
  ALERTS_TABLE,
  type Alert,
  alertLine,
  BASELINE_TABLE,
  createBaseline,
  frame,
  REGISTRY,
  stepToken,
  type TelltaleEvent,
} from '#schemas';
import { parseBaseline, readBaseline, SHIPPED_BASELINE } from '../../../deploy/rules/baseline.ts';
import { type BaselineRule, createLiveBaseline } from '../../../ingest/detect/baseline.ts';
import type { Sink } from '../../../ingest/detect/sink.ts';
import { createIngest } from '../../../ingest/loop.ts';
import { createWriter, slotsOf } from '../../../ingest/write.ts';
import { fakeClock, fakeLog, fakeMeter } from '../../fakes/ports.ts';
import { LIMITS, newStream, type TestStream, useEngine } from '../engine.ts';
import { alertAt } from './alerts.ts';

const engine = useEngine();
const never = new AbortController().signal;
const random = { bytes: (count: number) => new Uint8Array(count) };

const SHIPPED = readBaseline(SHIPPED_BASELINE);
const RULE: BaselineRule = {
  ...SHIPPED,
  windowSteps: 4,
  thresholdBits: 3,
  stepsMin: 100,
  sessionsMin: 5,
};

/** A worker that has just started: it knows nothing. */
function worker(rule: BaselineRule = RULE) {
  const [log, meter, clock] = [fakeLog(), fakeMeter(), fakeClock()];
  const told: Alert[] = [];
  const sink: Sink = {
    name: 'test',
    raise: (alerts) => void told.push(...alerts),
    withdraw: () => {},
    start: async () => {},
    stop: async () => {},
  };
  const shared = { store: engine.store, log, meter, clock };
  const writer = createWriter({ ...shared, random });
  const baseline = createLiveBaseline({ ...shared, writer, rule, sinks: [sink] });
  const ingest = createIngest({ ...shared, random, detect: baseline });
  let batches = 0;
  const take = async (events: readonly TelltaleEvent[]) => {
    const name = `baseline/${events[0]?.stream_id}/${events[0]?.seq}/${++batches}`;
    const done = await ingest.take(
      { name, frames: [{ bytes: frame(events), origin: 't' }] },
      never,
    );
    expect(done.parked).toBe(0);
    expect(log.lines).toEqual([]);
  };
  return { take, told, log, meter };
}

const run = (exe: string) => ({ kind: 'exec', exe, ppid: 2, pid: 3 });
const open = (agent: string, cwd: string) => ({
  ...{ kind: 'session.open', schema_version: '1', command_args: ['agent'], agent, cwd },
  content_salt: '0c'.repeat(16),
});
const close = (count: number) => ({
  kind: 'session.close',
  chain_count: count,
  chain_head: '0c'.repeat(32),
  close_reason: 'exited',
});
/** What the agent does on a day like any other. */
const NORMAL = ['/usr/bin/git', '/usr/bin/cat', '/usr/bin/node', '/usr/bin/make'].map(run);
const usual = (rounds: number) => Array(rounds).fill(NORMAL).flat();
/** And what it has never done. */
const ODD = [
  run('/usr/bin/whoami'),
  { kind: 'file', file_op: 'read', file_path: '/root/.ssh/id_rsa' },
  run('/usr/bin/nc'),
  { kind: 'net', net_op: 'connect', net_host: 'drop.example.net', net_port: 443 },
  run('/usr/bin/shred'),
];

/** The events of a stream with these bodies, the first with number `first`. */
function told(stream: TestStream, bodies: readonly object[], first = 0): TelltaleEvent[] {
  return bodies.map((body, at) => {
    const { tenant, session_id, stream_id, seq, ts, observed_ts } = stream.event(first + at);
    const place = { tenant, session_id, stream_id, seq, ts, observed_ts };
    return { ...place, source: 'seccomp', assurance: 'observed', ...body } as TelltaleEvent;
  });
}

const sessionOf = (agent: string, bodies: readonly object[], stream = newStream()) =>
  told(stream, [open(agent, '/srv/app'), ...bodies, close(bodies.length + 1)]);

async function learnedOf(agent: string): Promise<Map<string, number>> {
  const text = `SELECT context, toString(token) AS token, toString(sum(count)) AS n
    FROM ${BASELINE_TABLE} WHERE agent = {a:String} GROUP BY context, token`;
  const rows = await engine.store.query({ text, params: { a: agent } }, LIMITS);
  return new Map(rows.map((row) => [`${row.context} > ${row.token}`, Number(row.n)]));
}

async function storedOf(session: string): Promise<string[]> {
  const text = `SELECT reason FROM ${ALERTS_TABLE} WHERE session_id = {id:UUID}
    AND rule_id = 'telltale-baseline'`;
  const rows = await engine.store.query({ text, params: { id: session } }, LIMITS);
  return rows.map(({ reason }) => String(reason));
}

async function teach(agent: string, sessions: number): Promise<void> {
  const { take } = worker();
  for (let n = 0; n < sessions; n++) await take(sessionOf(agent, usual(10)));
}

describe('the learned baseline', () => {
  it('learns a stream when it closes: the counts of the model itself', async () => {
    const events = sessionOf('learner', usual(3));
    await worker().take(events);
    const model = createBaseline();
    model.learn(events.flatMap((e) => stepToken(e, REGISTRY.get(e.kind)?.role ?? '') ?? []));
    const expected = [...model.counts()].map((one) => [`${one.context} > ${one.token}`, one.count]);
    expect(await learnedOf('learner')).toEqual(new Map(expected as [string, number][]));
  });

  it('learns it once, however often its close comes and to whichever worker', async () => {
    const events = sessionOf('once', usual(2));
    const first = worker();
    await first.take(events);
    const once = await learnedOf('once');
    expect(once.size).toBeGreaterThan(0);
    await first.take(events);
    await worker().take(events.slice(-3));
    expect(await learnedOf('once')).toEqual(once);
    await worker().take(sessionOf('once', usual(2)));
    expect(await learnedOf('once')).toEqual(new Map([...once].map(([k, n]) => [k, 2 * n])));
  });

  it('does not learn a session with a severe alert', async () => {
    const stream = newStream();
    const [base, meter] = [alertAt(0), fakeMeter()];
    const alert = { ...base, tenant: stream.tenant, session_id: stream.session_id };
    const shared = { store: engine.store, log: fakeLog(), meter, clock: fakeClock(), random };
    await createWriter(shared).insert(ALERTS_TABLE, slotsOf([alertLine(alert)]), 'x', never);
    await worker().take(sessionOf('severe', usual(2), stream));
    expect(await learnedOf('severe')).toEqual(new Map());
  });

  it('says nothing before it has learned enough, and nothing of what is usual', async () => {
    await teach('young', RULE.sessionsMin - 1);
    const early = worker();
    await early.take(sessionOf('young', [...usual(2), ...ODD]));
    expect(early.told).toEqual([]);
    await teach('young', 3);
    const later = worker();
    await later.take(sessionOf('young', usual(20)));
    expect(later.told).toEqual([]);
  });

  it('explains the step that it did not expect, and tells it once', async () => {
    await teach('agent', 8);
    const stream = newStream();
    const events = sessionOf('agent', [...usual(5), ...ODD], stream);
    const first = worker();
    await first.take(events.slice(0, -1));
    expect(first.told).toHaveLength(1);
    const [alert] = first.told as [Alert];
    expect(alert.rule).toEqual(SHIPPED.rule);
    expect(alert.reason).toMatch(/^\d+\.\d bits a step; most of all .*expected was exec:/);
    expect(alert.reason).toMatch(/file\/read:-:secret|exec:probe|exec:network/);
    expect(alert.events).toHaveLength(RULE.windowSteps);
    expect(await storedOf(stream.session_id)).toEqual([alert.reason]);
    // The same batch again: to the same worker, and to one that has just started.
    await first.take(events.slice(0, -1));
    const second = worker();
    await second.take(events.slice(0, -1));
    expect([first.told.length, second.told.length]).toEqual([1, 0]);
    expect(await storedOf(stream.session_id)).toHaveLength(1);
  });

  it('goes on in the middle of a session after a restart', async () => {
    await teach('restart', 8);
    const stream = newStream();
    const events = sessionOf('restart', [...usual(5), ...ODD], stream);
    const middle = events.length - 1 - (ODD.length - 1);
    // One odd step is not enough here, a few are.
    const rule = { ...RULE, thresholdBits: 10 };
    await worker(rule).take(events.slice(0, middle));
    expect(await storedOf(stream.session_id)).toEqual([]);
    const second = worker(rule);
    await second.take(events.slice(middle, -1));
    expect(second.told).toHaveLength(1);
    // It is judged by the steps before the restart too: the window reaches back to them.
    const ids = second.told[0]?.events.map(({ id }) => id);
    expect(ids).toContain(`${stream.stream_id}-${middle - 1}`);
    await worker().take(events.slice(-1));
    expect(await storedOf(stream.session_id)).toHaveLength(1);
  });

  it('keeps agents and workspaces apart', async () => {
    await teach('known', 8);
    const other = worker();
    await other.take(sessionOf('stranger', [...usual(2), ...ODD]));
    expect(other.told).toEqual([]);
  });

  it('reads what it is set to, and names every fault', () => {
    expect(SHIPPED).toMatchObject({
      windowSteps: 8,
      sessionsMin: 20,
      distrusts: ['high', 'critical'],
    });
    const text = 'id: x\ntitle: y\nauthor: z\nlevel: huge\nsteps_min: -1\nwindow: 3\n';
    for (const name of ['level', 'steps_min', 'window', 'license', 'threshold_bits', 'tags'])
      expect(() => parseBaseline(text, 'b.yaml')).toThrow(`b.yaml: ${name}: `);
    expect(() => parseBaseline('- a', 'b.yaml')).toThrow('b.yaml: give a map of settings');
    expect(() => readBaseline('/does/not/exist.yaml')).toThrow('/does/not/exist.yaml: ');
  });
});
