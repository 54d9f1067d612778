/**
 * A backtest over the store says what the rules say over all events at hand: SQL leaves out nothing
 * that matters. The sessions are the examples that the shipped rules carry, hits and near misses.
 */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  type Alert,
  createBacktest,
  createEngine,
  createRuleSet,
  createViews,
  encode,
  frame,
  loadRules,
  type TelltaleEvent,
  validate,
} from '#schemas';
import { readRules, SHIPPED_RULES } from '../../deploy/rules/detection.ts';
import { createIngest } from '../../ingest/loop.ts';
import { hunt } from '../../query/hunt.ts';
import { fakeClock, fakeLog, fakeMeter } from '../fakes/ports.ts';
import { useEngine } from '../ingest/engine.ts';
import { runnerFor } from './access.ts';

const engine = useEngine();
const never = new AbortController().signal;
const random = { bytes: (count: number) => new Uint8Array(count) };
const START_NS = 1_764_000_000_000_000_000n;
const ALL = { from: '0', to: String(1n << 62n) };
const SALT = '00112233445566778899aabbccddeeff';

const rules = readRules(SHIPPED_RULES);

const uuid = (kind: number, n: number) =>
  `0193a5e0-00${kind}0-7000-8000-${n.toString(16).padStart(12, '0')}`;

type Loose = Record<string, unknown>;
const PARENT_PID = 10;

const execOf = (exe: unknown, line: unknown, pid: number, ppid: number): Loose[] =>
  typeof exe === 'string'
    ? [{ kind: 'exec', exe, argv: String(line ?? exe).split(' '), pid, ppid }]
    : [];

/** A line in Sigma's fields as the events that we would have seen. */
function ownEvents(line: Loose, index: number): Loose[] {
  if (typeof line.kind === 'string') return [line];
  const pid = PARENT_PID + 1 + index;
  const parent = execOf(line.ParentImage, line.ParentCommandLine, PARENT_PID, 1);
  const self = execOf(line.Image, line.CommandLine, pid, PARENT_PID);
  if (line.cat === 'process_creation') return [...parent, ...self];
  if (line.cat === 'file_event')
    return [...self, { kind: 'file', file_op: 'create', file_path: line.TargetFilename, pid }];
  if (line.cat !== 'network_connection') return [];
  const { DestinationIp: net_ip, DestinationHostname: net_host, DestinationPort: port } = line;
  const net_port = Number(port ?? 443);
  return [...self, { kind: 'net', net_op: 'connect', net_ip, net_host, net_port, pid }];
}

/** An example's events as a session of ours; a line that can't be one is left out. */
function sessionOf(events: readonly Loose[], n: number, tenant: string) {
  const own = events.flatMap(ownEvents).map((event) => {
    const there = Object.entries(event).filter(([, value]) => value !== undefined);
    return Object.fromEntries(there) as Loose;
  });
  return own.flatMap((event, seq): TelltaleEvent[] => {
    const ns = START_NS + BigInt(n) * 100_000_000_000n + BigInt(seq) * 1_000_000_000n;
    const { at, cat, id, ...body } = event;
    const given = Number(event.ts ?? 0) > 0 ? String(event.ts) : String(ns);
    const base = {
      source: 'seccomp',
      assurance: 'observed',
      ...body,
      tenant,
      session_id: uuid(1, n),
      stream_id: uuid(2, n),
      seq,
      ts: given,
      observed_ts: given,
    };
    for (const candidate of [{ ...base, content_salt: SALT }, base]) {
      const decoded = validate(candidate);
      if (decoded.ok) return [decoded.event];
    }
    return [];
  });
}

function examples(): TelltaleEvent[][] {
  const files = SHIPPED_RULES.flatMap((dir) =>
    fs
      .readdirSync(dir)
      .filter((name) => name.endsWith('.examples.ndjson'))
      .map((name) => path.join(dir, name)),
  );
  const lines = files.flatMap((file) => fs.readFileSync(file, 'utf8').split('\n').filter(Boolean));
  return lines
    .map((line, n) => sessionOf(JSON.parse(line).events, n + 1, 'acme'))
    .filter((events) => events.length > 0);
}

const fingerprints = (alerts: Iterable<Alert>) =>
  [...alerts].map(({ rule, fingerprint }) => `${rule.id} ${fingerprint}`).sort();

function overAll(of: typeof rules, sessions: readonly TelltaleEvent[][]): string[] {
  const test = createBacktest(createRuleSet(of), createViews().views);
  const alerts = sessions.flatMap((events) => [...test.add(events)]);
  return fingerprints([...alerts, ...test.finish()]);
}

const runner = (tenant = 'acme') => runnerFor(engine.store, tenant);
const views = () => createViews().views;

async function store(sessions: readonly TelltaleEvent[][]): Promise<void> {
  const shared = { store: engine.store, log: fakeLog(), meter: fakeMeter(), clock: fakeClock() };
  const ingest = createIngest({ ...shared, random });
  const bytes = sessions.map((events) => ({ bytes: frame(events), origin: 'test' }));
  const summary = await ingest.take({ name: `b/${sessions.length}`, frames: bytes }, never);
  expect(summary.parked).toBe(0);
}

/** Rules of which the table is asked for no more than what can be new, and for silences. */
const NEW_AND_SILENT = `
title: New\nid: new\nlevel: low\nlanguage: eql
first_seen: { where: 'network where net_host != null', field: net_host, by: tenant, history: 1h }
---
title: New behind a page\nid: behind\nlevel: low\nlanguage: eql
first_seen:
  { where: 'network where net_op == "connect"', field: net_host, by: tenant, history: 1h,
    after: 'any where tool == "webfetch"', after_by: session.id, within: 10m }
---
title: Silence\nid: silence\nlevel: low\nlanguage: eql
threshold:
  { where: exec where true, after: exec where true, after_silence: 30m, by: session.id,
    count: 2, timespan: 20m }
`;

describe('a backtest over the store', () => {
  const sessions = examples();

  it('says of every shipped rule what the rule says over all events', async () => {
    expect(sessions.length).toBeGreaterThan(100);
    for (const event of sessions.flat()) encode(event);
    await store(sessions);
    const found = await hunt(runner(), { rules, views, span: ALL });
    const expected = overAll(rules, sessions);
    expect(fingerprints(found.alerts)).toEqual(expected);
    const fired = new Set(expected.map((line) => line.split(' ')[0]));
    expect(fired.size).toBeGreaterThan(60);
    expect(found.stats.events).toBeLessThanOrEqual(sessions.flat().length);
  });

  it('reads of one rule the sessions that it could speak of, and only their rows', async () => {
    const { rules: some } = loadRules([
      {
        file: 'one.yml',
        text: `title: a\nid: a\nlevel: low\nlanguage: eql\nquery: |
  sequence by session.id with maxspan=1h
    [exec where process.name == "tar"]
    [exec where process.name == "curl" and process.args : "-T"]\n`,
      },
    ]);
    const found = await hunt(runner(), { rules: some, views, span: ALL });
    expect(fingerprints(found.alerts)).toEqual(overAll(some, sessions));
    expect(found.alerts.length).toBeGreaterThan(0);
    expect(found.stats.sessions).toBeLessThan(20);
    expect(found.stats.events).toBeLessThan(60);
  });

  it('says the same of each rule by itself: none lives of what another one asks for', async () => {
    for (const rule of rules.filter(({ meta }) => meta.language === 'eql')) {
      const found = await hunt(runner(), { rules: [rule], views, span: ALL });
      expect(fingerprints(found.alerts), rule.meta.file).toEqual(overAll([rule], sessions));
    }
  });

  it('finds an exit by the program that had started under its number', async () => {
    const own = [
      sessionOf(
        [
          { kind: 'exec', exe: '/usr/bin/tar', argv: ['tar'], pid: 5 },
          { kind: 'exit', exit_code: 1, pid: 5 },
          { kind: 'exit', exit_code: 1, pid: 6 },
        ],
        900,
        'exits',
      ),
    ];
    await store(own);
    const { rules: some } = loadRules([
      {
        file: 'one.yml',
        text: `title: a\nid: a\nlevel: low\nlanguage: eql\nquery: |
  any where kind == "exit" and process.name == "tar"\n`,
      },
    ]);
    const found = await hunt(runner('exits'), { rules: some, views, span: ALL });
    expect(found.alerts).toHaveLength(1);
    expect(fingerprints(found.alerts)).toEqual(overAll(some, own));
  });

  it.each([1, 2, 3])(
    'leaves out what was seen before and silences, whatever the order (%i)',
    async (seed) => {
      const { rules: some, faults } = loadRules([{ file: 'some.yml', text: NEW_AND_SILENT }]);
      expect(faults).toEqual([]);
      let state = seed;
      const dice = (sides: number) => {
        state = (state * 48_271) % 0x7fff_ffff;
        return state % sides;
      };
      const bodies = [
        () => ({ kind: 'net', net_op: 'connect', net_host: `h${dice(5)}` }),
        () => ({ kind: 'net', net_op: 'dns', net_host: `h${dice(5)}` }),
        () => ({ kind: 'exec', exe: '/bin/a', argv: ['a'], pid: 7 }),
        () => ({ kind: 'tool.call', tool: 'webfetch' }),
      ];
      const own = Array.from({ length: 6 }, (_, n) => {
        let second = dice(5000);
        const events = Array.from({ length: 60 }, () => {
          // Many of them at one time, some a long time after the one before.
          second += [0, 0, 1, 30, 900, 4000][dice(6)] as number;
          const body = (bodies[dice(4)] as () => Loose)();
          return { ...body, ts: String(START_NS + BigInt(second) * 1_000_000_000n) };
        });
        return sessionOf(events, 1000 * seed + n, `novel-${seed}`);
      });
      await store(own);
      const found = await hunt(runner(`novel-${seed}`), { rules: some, views, span: ALL });
      expect(fingerprints(found.alerts)).toEqual(overAll(some, own));
      expect(new Set(found.alerts.map(({ rule }) => rule.id)).size).toBe(3);
    },
  );

  it('gives the alerts whose last event lies in the span', async () => {
    const whole = await hunt(runner(), { rules, views, span: ALL });
    const times = whole.alerts.map(({ events }) => BigInt(events.at(-1)?.ts ?? 0));
    const middle = times[times.length >> 1] as bigint;
    const upTo = await hunt(runner(), { rules, views, span: { from: '0', to: String(middle) } });
    const after = await hunt(runner(), {
      rules,
      views,
      span: { from: String(middle + 1n), to: ALL.to },
    });
    expect(fingerprints([...upTo.alerts, ...after.alerts])).toEqual(fingerprints(whole.alerts));
    expect(upTo.alerts.length).toBeGreaterThan(10);
    expect(after.alerts.length).toBeGreaterThan(10);
  });

  it('sees nothing of another tenant', async () => {
    const found = await hunt(runner('other'), { rules, views, span: ALL });
    expect(found).toEqual({ alerts: [], stats: { sessions: 0, events: 0, hits: 0 } });
  });

  it('takes hostile literals of a rule as text', async () => {
    const hostile = `x'") OR 1=1; DROP TABLE telltale.events -- \\\\ {v0:String} %`;
    const { rules: some, faults } = loadRules([
      {
        file: 'one.yml',
        text: `title: a\nid: a\nlevel: low\nlogsource: { category: process_creation, product: linux }
detection:\n  s: { CommandLine|contains: ${JSON.stringify(hostile)} }\n  condition: s\n`,
      },
    ]);
    expect(faults).toEqual([]);
    const found = await hunt(runner(), { rules: some, views, span: ALL });
    expect(found.alerts).toEqual([]);
    const again = await hunt(runner(), { rules, views, span: ALL });
    expect(again.alerts.length).toBeGreaterThan(60);
  });

  it('agrees with the live engine over the same sessions', () => {
    const live = createEngine(createRuleSet(rules), createViews());
    const raised = new Map<string, Alert>();
    for (const events of sessions)
      for (const alert of live.add(events).raised) raised.set(alert.fingerprint, alert);
    for (const alert of live.advance(1n << 62n).raised) raised.set(alert.fingerprint, alert);
    expect(fingerprints(raised.values())).toEqual(overAll(rules, sessions));
  });
});
