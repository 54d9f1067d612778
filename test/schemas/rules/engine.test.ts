/**
 * Live = backtest: whatever order streams interleave in, however late events come, and wherever the
 * engine is started anew, the alerts that stand are those of a backtest over the same events.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Alert, encode, type TelltaleEvent, validate } from '#schemas';
import { createBacktest } from '../../../schemas/rules/backtest.ts';
import {
  createEngine,
  ENGINE_LIMITS,
  type EngineLimits,
  type Outcome,
} from '../../../schemas/rules/engine.ts';
import { loadRules } from '../../../schemas/rules/load.ts';
import { scopeOf } from '../../../schemas/rules/raise.ts';
import { createRuleSet, type RuleSet } from '../../../schemas/rules/ruleset.ts';
import { createViews } from '../../../schemas/rules/views.ts';
import { SPREAD_RULES } from './rules.ts';

const RULES = `
title: A download from a shell
id: curl
level: low
logsource: { category: process_creation, product: linux }
detection:
  selection: { Image|endswith: /curl, ParentImage|endswith: /sh }
  condition: selection
---
title: Any curl
id: any-curl
name: any_curl
level: low
logsource: { category: process_creation, product: linux }
detection:
  selection: { Image|endswith: /curl }
  condition: selection
---
title: Many downloads
id: many
level: medium
correlation:
  type: event_count
  rules: any_curl
  group-by: [session_id]
  timespan: 40s
  condition: { gte: 3 }
---
title: A secret, then the network
id: leak
level: high
language: eql
query: |
  sequence by session_id with maxspan=30s
    [file where file_op == "read"] by pid
    [network where true] by pid
---
title: A file that nobody deletes
id: litter
level: low
language: eql
query: |
  sequence by session_id, file_path with maxspan=20s
    [file where file_op == "create"]
    ![file where file_op == "delete"]
---
title: Deletes behind a read
id: burst
level: medium
language: eql
threshold:
  where: file where file_op == "delete"
  after: file where file_op == "read"
  by: session_id
  count: 2
  timespan: 25s
---
title: Files behind a silence
id: lull
level: medium
language: eql
threshold:
  where: file where true
  after: file where file_op in ("read", "create")
  after_silence: 6s
  by: session_id
  count: 2
  timespan: 20s
---
${SPREAD_RULES}`;

const { rules, faults } = loadRules([{ file: 'test.yml', text: RULES }]);
const ruleSet = createRuleSet(rules);
/** Live rules stay within a session. */
const sessionRules = createRuleSet(rules.filter((rule) => scopeOf(rule) === 'session'));

/** Enough for everything to be put in its place, and too little. */
const WIDE: EngineLimits = { ...ENGINE_LIMITS, keepMs: 20_000 };
const NARROW: EngineLimits = { ...ENGINE_LIMITS, keepMs: 2_000, ruleHitsMax: 3 };
/** States are let go as soon as they wait for nothing. */
const TIGHT: EngineLimits = { ...NARROW, hitsMax: 1 };
const SECOND_NS = 1_000_000_000n;
const BASE_NS = 1_764_000_000n * SECOND_NS;
const END_NS = BASE_NS + 1_000_000n * SECOND_NS;

const sample = fc.record({
  stream: fc.nat(2),
  what: fc.constantFrom('curl', 'sh', 'create', 'delete', 'read', 'net'),
  /** Seconds since the one before it in its stream … */
  gap: fc.nat(8),
  /** … and how much earlier than that it happened. */
  back: fc.nat(9),
  pid: fc.integer({ min: 2, max: 4 }),
});
type Sample = typeof sample extends fc.Arbitrary<infer T> ? T : never;

const uuid = (n: number) => `0193a5e0-0000-7000-8000-00000000000${n}`;

function bodyOf({ what, pid }: Sample): Record<string, unknown> {
  switch (what) {
    case 'curl':
    case 'sh':
      return { kind: 'exec', exe: `/usr/bin/${what}`, ppid: 2, pid };
    case 'net':
      return { kind: 'net', net_op: 'connect', net_ip: '192.0.2.1', net_port: 443, pid };
    default:
      return { kind: 'file', file_op: what, file_path: '/tmp/f', pid };
  }
}

/** Streams 0 and 1 are one session, stream 2 is another. */
function eventsOf(samples: readonly Sample[]): TelltaleEvent[] {
  const next = [0, 0, 0];
  const seconds = [0, 0, 0];
  return samples.map((one) => {
    const { stream, gap, back } = one;
    const seq = next[stream] as number;
    next[stream] = seq + 1;
    const at = (seconds[stream] as number) + gap;
    seconds[stream] = at;
    const event = {
      tenant: 'acme',
      session_id: uuid(stream === 2 ? 2 : 1),
      stream_id: uuid(stream + 3),
      seq,
      ts: String(BASE_NS + BigInt(Math.max(at - back, 0)) * SECOND_NS),
      observed_ts: String(BASE_NS + BigInt(at) * SECOND_NS),
      source: 'seccomp',
      assurance: 'observed',
      ...bodyOf(one),
    };
    const decoded = validate(event);
    if (!decoded.ok) throw new Error(JSON.stringify(decoded));
    encode(decoded.event);
    return decoded.event;
  });
}

/** As history is read: each stream in its order, streams side by side. */
function inOrder(events: readonly TelltaleEvent[]): TelltaleEvent[] {
  const order = (a: TelltaleEvent, b: TelltaleEvent) =>
    Number(BigInt(a.observed_ts) - BigInt(b.observed_ts)) ||
    a.stream_id.localeCompare(b.stream_id) ||
    a.seq - b.seq;
  return [...events].sort(order);
}

function backtest(of: RuleSet, events: readonly TelltaleEvent[]): Map<string, Alert> {
  const test = createBacktest(of, createViews().views);
  const alerts = [...test.add(inOrder(events)), ...test.finish(END_NS)];
  return new Map(alerts.map((alert) => [alert.fingerprint, alert]));
}

function apply(standing: Map<string, Alert>, { raised, withdrawn }: Outcome): void {
  for (const { fingerprint } of withdrawn) expect(standing.delete(fingerprint)).toBe(true);
  for (const alert of raised) standing.set(alert.fingerprint, alert);
}

/**
 * Feeds events in batches. Before some of them the engine is lost, and where an event was too late
 * the session is read again: both read what is stored so far.
 */
function live(
  batches: readonly TelltaleEvent[][],
  restarts: readonly boolean[],
  limits: EngineLimits,
): Map<string, Alert> {
  const stored: TelltaleEvent[] = [];
  let engine = createEngine(sessionRules, createViews(), limits);
  const standing = new Map<string, Alert>();
  const read = (session_id: string) => {
    const again = engine.replay({ tenant: 'acme', session_id });
    const own = inOrder(stored).filter((event) => event.session_id === session_id);
    for (const event of own) again.add([event]);
    for (const [name, alert] of standing)
      if (alert.session_id === session_id) standing.delete(name);
    apply(standing, again.finish());
  };
  for (const [at, batch] of batches.entries()) {
    stored.push(...batch);
    if (restarts[at % restarts.length]) {
      engine = createEngine(sessionRules, createViews(), limits);
      for (const session of new Set(stored.map(({ session_id }) => session_id))) read(session);
    } else {
      const outcome = engine.add(batch);
      apply(standing, outcome);
      for (const { session_id } of outcome.stale) read(session_id);
    }
  }
  apply(standing, engine.advance(END_NS));
  expect(engine.stats().evicted).toBe(0);
  return standing;
}

/** Interleaves streams: each keeps its order, and none runs ahead of another by the lateness. */
function arrivals(events: readonly TelltaleEvent[], jitter: readonly number[]): TelltaleEvent[] {
  const at = (event: TelltaleEvent, index: number) =>
    Number((BigInt(event.observed_ts) - BASE_NS) / SECOND_NS) +
    (jitter[index % jitter.length] as number);
  const latest = new Map<string, number>();
  return events
    .map((event, index) => {
      const due = Math.max(at(event, index), latest.get(event.stream_id) ?? 0);
      latest.set(event.stream_id, due);
      return { event, due };
    })
    .sort((a, b) => a.due - b.due)
    .map(({ event }) => event);
}

function cut<T>(items: readonly T[], sizes: readonly number[]): T[][] {
  const out: T[][] = [];
  for (let at = 0, i = 0; at < items.length; i++) {
    const size = sizes[i % sizes.length] as number;
    out.push(items.slice(at, at + size));
    at += size;
  }
  return out;
}

const evidence = (alerts: ReadonlyMap<string, Alert>) =>
  [...alerts.values()].map(({ rule, fingerprint }) => `${rule.id} ${fingerprint}`).sort();

describe('the engine', () => {
  it('has the rules of this test, of either scope', () => {
    expect(faults).toEqual([]);
    const scopes = rules.map((rule) => `${rule.meta.id} ${scopeOf(rule)}`).sort();
    expect(scopes).toEqual([
      'any-curl session',
      'burst session',
      'curl session',
      'leak session',
      'litter session',
      'lull session',
      'many session',
      'read session',
      'spread tenant',
    ]);
  });

  it('gives live what a backtest gives, late, restarted and in order', () => {
    const seen = new Map<string, number>();
    fc.assert(
      fc.property(
        fc.array(sample, { maxLength: 50 }),
        fc.array(fc.nat(10), { minLength: 1, maxLength: 9 }),
        fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 5 }),
        fc.array(fc.boolean(), { minLength: 1, maxLength: 6 }),
        (samples, jitter, sizes, restarts) => {
          const events = eventsOf(samples);
          for (const { rule } of backtest(ruleSet, events).values())
            seen.set(rule.id, (seen.get(rule.id) ?? 0) + 1);
          const expected = evidence(backtest(sessionRules, events));
          const batches = cut(arrivals(events, jitter), sizes);
          for (const limits of [WIDE, NARROW, TIGHT])
            for (const again of [restarts, [false]])
              expect(evidence(live(batches, again, limits))).toEqual(expected);
        },
      ),
      { numRuns: 400 },
    );
    // A property over rules that never match would say nothing.
    const found = ['burst', 'curl', 'leak', 'litter', 'lull', 'many', 'spread'];
    expect([...seen.keys()].sort()).toEqual(found);
  });

  it('calls a session stale when a hit comes from before a state that was let go', () => {
    const engine = createEngine(sessionRules, createViews(), TIGHT);
    const [litter, other, late] = eventsOf([
      { stream: 0, what: 'create', gap: 0, back: 0, pid: 2 },
      { stream: 0, what: 'delete', gap: 30, back: 0, pid: 3 },
      { stream: 1, what: 'delete', gap: 5, back: 0, pid: 2 },
    ]) as [TelltaleEvent, TelltaleEvent, TelltaleEvent];
    const elsewhere = { ...other, file_path: '/tmp/g' } as TelltaleEvent;
    const { raised } = engine.add([litter, elsewhere]);
    expect(raised.map(({ rule }) => rule.id)).toEqual(['litter']);
    expect(engine.stats().hits).toBe(0);
    // In the true order the file was deleted in time: only who reads the session again can tell.
    expect(engine.add([late]).stale).toHaveLength(1);
  });

  it('holds no more entries than the limit, and says of how many states it let go', () => {
    const entriesMax = 12;
    const engine = createEngine(sessionRules, createViews(), { ...WIDE, entriesMax });
    const free = createEngine(sessionRules, createViews(), WIDE);
    const sessions = Array.from({ length: 30 }, (_, n) =>
      eventsOf([
        { stream: 0, what: 'read', gap: n, back: 0, pid: 2 },
        { stream: 0, what: 'create', gap: 1, back: 0, pid: 3 },
      ]).map((event) => ({ ...event, session_id: `0193a5e0-0000-7000-8000-${n + 1e11}` })),
    );
    for (const events of sessions) {
      engine.add(events);
      free.add(events);
      expect(engine.stats().entries).toBeLessThanOrEqual(entriesMax);
    }
    expect(free.stats().entries).toBeGreaterThan(entriesMax);
    expect(free.stats().evicted).toBe(0);
    expect(engine.stats().evicted).toBeGreaterThan(0);
    for (const [event] of sessions) free.forget('acme', event?.session_id ?? '');
    expect(free.stats()).toMatchObject({ entries: 0, hits: 0, groups: 0 });
  });
});
