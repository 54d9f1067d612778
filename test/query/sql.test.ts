import { describe, expect, it } from 'vitest';
import * as accounts from '../../query/account-plan.ts';
import * as casework from '../../query/casework/plan.ts';
import { NOTHING_YET, pass } from '../../query/live/arrivals.ts';
import * as live from '../../query/live/plan.ts';
import * as shared from '../../query/plan.ts';
import * as retention from '../../query/retention-plan.ts';
import * as sessions from '../../query/session-plan.ts';
import {
  condition,
  containing,
  ScopeError,
  type Select,
  select,
  unionAll,
} from '../../query/sql.ts';
import * as timeline from '../../query/timeline-plan.ts';

const plan = {
  ...sessions,
  ...timeline,
  ...accounts,
  ...live,
  ...casework,
  ...retention,
  ...shared,
};
const STATE = pass(NOTHING_YET, [
  { stream: '0193a5e0-0000-7000-8000-00000000000a', seq: 1, stampMs: 5 },
]);

const SESSION = '0193a5e0-0000-7000-8000-00000000000a';
const EVENT = { ts: '1764000000000000000', seq: 1, streamId: SESSION };
const KEYS = { session: SESSION, from: EVENT.ts, to: EVENT.ts, streams: [SESSION], seqs: [1] };

/** Every plan there is; the test below fails when one is added and not listed. */
const PLANS: Record<string, (tenant: string) => { text: string; params: object }> = {
  sessionsPlan: (t) =>
    plan.sessionsPlan(
      t,
      10,
      { agent: 'a', host: 'h', user: 'u', startedFrom: EVENT.ts, startedBefore: EVENT.ts },
      { startedNs: EVENT.ts, id: SESSION },
    ),
  sessionPlan: (t) => plan.sessionPlan(t, SESSION),
  holdsPlan: (t) => plan.holdsPlan(t),
  removalPlan: (t) => plan.removalPlan(t, SESSION),
  tombstonesPlan: (t) =>
    plan.tombstonesPlan(
      t,
      10,
      { id: SESSION, startedFrom: EVENT.ts, startedBefore: EVENT.ts },
      { startedNs: EVENT.ts, id: SESSION },
    ),
  streamsPlan: (t) => plan.streamsPlan(t, SESSION, 5),
  timelinePlan: (t) =>
    plan.timelinePlan(
      t,
      SESSION,
      10,
      { filter: { kinds: ['exec'], text: 'x', verdicts: ['deny'], assurances: ['observed'] } },
      { after: EVENT, before: EVENT, backwards: true },
    ),
  besidePlan: (t) => plan.besidePlan(t, SESSION, {}, 'before', EVENT, true),
  processEventsPlan: (t) => plan.processEventsPlan(t, SESSION, ['exec'], 10),
  sessionEventsPlan: (t) => plan.sessionEventsPlan(t, SESSION, 10),
  streamEventsPlan: (t) => plan.streamEventsPlan(t, SESSION, SESSION),
  eventPlan: (t) => plan.eventPlan(t, SESSION, 1),
  contentPlan: (t) => plan.contentPlan(t, KEYS, ['output'], 10),
  storedRangesPlan: (t) => plan.storedRangesPlan(t, SESSION),
  parkedRangesPlan: (t) => plan.parkedRangesPlan(t, SESSION),
  gapsPlan: (t) => plan.gapsPlan(t, SESSION),
  closesPlan: (t) => plan.closesPlan(t, SESSION),
  deadLettersPlan: (t) => plan.deadLettersPlan(t, SESSION, ['a'], 'standing'),
  replaysPlan: (t) => plan.replaysPlan(t, SESSION),
  eventArrivalsPlan: (t) =>
    plan.eventArrivalsPlan(t, SESSION, STATE, { text: 'x', kinds: ['exec'] }, ['seq'], 10),
  newestEventPlan: (t) => plan.newestEventPlan(t, SESSION),
  stampedRangesPlan: (t) => plan.stampedRangesPlan(t, SESSION, 1),
  alertArrivalsPlan: (t) =>
    plan.alertArrivalsPlan(t, 1, ['a'], { rule: 'x', levels: ['high'] }, 10),
  firstRaisedPlan: (t) => plan.firstRaisedPlan(t, ['a']),
  newestAlertPlan: (t) => plan.newestAlertPlan(t),
  ofSessionPlan: (t) => plan.ofSessionPlan(t, SESSION),
  ofAnnotationPlan: (t) => plan.ofAnnotationPlan(t, SESSION),
  searchesPlan: (t) => plan.searchesPlan(t),
  countPlan: (t) => plan.countPlan(t, SESSION, [{ stream_id: SESSION, seq: 1 }]),
};

const build = (part: Partial<Select>, tenant = 'acme') =>
  select(tenant, { columns: 'seq', from: 'events', ...part });

describe('plans', () => {
  it('are all listed here', () => {
    const named = Object.keys(plan).filter((name) => name.endsWith('Plan'));
    expect(Object.keys(PLANS).sort()).toEqual(named.sort());
  });

  it.each(Object.keys(PLANS))('%s reads each table within the tenant', (name) => {
    const { text, params } = (PLANS[name] as (tenant: string) => never)('acme') as {
      text: string;
      params: Record<string, unknown>;
    };
    const tables = text.match(/\btelltale\.\w+/g) ?? [];
    const scoped = text.match(/FROM telltale\.\w+ WHERE \(tenant = \{tenant:String\}\)/g) ?? [];
    expect(tables.length).toBeGreaterThan(0);
    expect(scoped).toHaveLength(tables.length);
    expect(text).not.toMatch(/\bOR tenant\b/);
    expect(params.tenant).toBe('acme');
    expect(() => (PLANS[name] as (tenant: string) => unknown)('')).toThrow(ScopeError);
  });

  it('never read a content column for a page', () => {
    const { text } = plan.timelinePlan('acme', SESSION, 10);
    for (const name of plan.CONTENT) expect(text).not.toMatch(new RegExp(`\\b${name}\\b`));
    expect(plan.CONTENT.length).toBeGreaterThan(3);
  });
});

describe('select', () => {
  it('refuses what is not one tenant’s', () => {
    expect(() => build({}, '')).toThrow(ScopeError);
    expect(() => build({}, null as never)).toThrow(ScopeError);
    expect(() => build({ from: 'system.tables' as never })).toThrow(ScopeError);
    expect(() => build({ from: 'constructor' as never })).toThrow(ScopeError);
    expect(() => build({ from: build({}, 'globex') })).toThrow(ScopeError);
    for (const text of ['seq IN (SELECT 1 x)', 'seq; DROP', '1 -- x', '1 /* x', '1 from x'])
      expect(() => build({ where: [condition(text)] })).toThrow(ScopeError);
    expect(() => build({ columns: '* FROM telltale.events --' })).toThrow(ScopeError);
  });

  it('puts brackets around each condition, so that an OR can’t leave the tenant', () => {
    const { text } = build({ where: [condition('seq = 1 OR seq = 2'), undefined] });
    expect(text).toContain('WHERE (tenant = {tenant:String}) AND ');
    expect(text).toContain(' AND (seq = 1 OR seq = 2)');
  });

  it('refuses a placeholder without a value, or with two', () => {
    expect(() => build({ where: [condition('seq = {n:UInt32}')] })).toThrow('no value for {n}');
    const two = [condition('seq > {n:UInt32}', { n: 1 }), condition('seq < {n:UInt32}', { n: 2 })];
    expect(() => build({ where: two })).toThrow('two values');
    expect(() => build({ where: [condition('1', { tenant: 'globex' })] })).toThrow('two values');
    expect(() => build({ limit: -1 })).toThrow(ScopeError);
  });

  it('asks who may see content of what is told by a mark, also through a union', () => {
    const part = (text: string) => build({ marks: { m: condition(text, {}) } });
    expect(part("tool = 'x'").tests).toBeUndefined();
    const asked = part("output = 'x'");
    expect(asked.text).toContain("output = 'x' AS m FROM telltale.events WHERE (tenant = ");
    expect(asked.tests).toBe('output');
    expect(() => part('1 FROM telltale.events --')).toThrow(ScopeError);
    const both = unionAll([part("tool = 'x'"), asked]);
    expect(both.text).toBe(`${part("tool = 'x'").text} UNION ALL ${asked.text}`);
    expect(both.bare).toBe(`${part("tool = 'x'").bare} UNION ALL ${asked.bare}`);
    expect(build({ columns: 'm', from: both }).tests).toBe('output');
    expect(() => unionAll([asked, build({}, 'globex')])).toThrow('two values');
  });

  it('takes wildcards literally', () => expect(containing('5%_\\')).toBe('%5\\%\\_\\\\%'));
});
