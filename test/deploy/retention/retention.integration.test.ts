/** Sessions that a policy removes: which go, which stay, and what is said of them for ever after. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { hold } from '../../../deploy/commands/hold.ts';
import { retention } from '../../../deploy/commands/retention.ts';
import type { Up } from '../../../deploy/commands/up.ts';
import { verify } from '../../../deploy/commands/verify.ts';
import { createClock } from '../../../deploy/process/clock.ts';
import { parsePolicy, readPolicy } from '../../../deploy/retention/policy.ts';
import { createSweeper } from '../../../deploy/retention/sweeper.ts';
import { openStore } from '../../../deploy/stores/open.ts';
import { fakeLog } from '../../fakes/ports.ts';
import { caught, onStore, record, withUp } from '../data-dir.ts';

const ids = (n: number) =>
  [`0193a5e0-0000-7000-8000-0000000000${n}0`, `0193a5e0-0000-7000-8000-0000000000${n}a`] as const;
const [old, held, stripped, young] = [ids(1), ids(2), ids(3), ids(4)];
const SESSIONS = [old, held, stripped, young];

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-retention-'));
const data = path.join(root, 'data');
const policy = path.join(root, 'policy.yaml');
let said: ReturnType<typeof caught>;

const aged = ([session]: readonly [string, string], days: number) =>
  `ALTER TABLE telltale.events UPDATE ingested_at = now64(3) - INTERVAL ${days} DAY WHERE session_id = '${session}' SETTINGS mutations_sync = 1`;
const countOf = async (table: string, [session]: readonly [string, string]) => {
  const text = `SELECT count() AS n FROM telltale.${table} WHERE toString(session_id) = '${session}'`;
  return Number((await onStore(data, text))[0]?.n);
};
const run = (...flags: string[]) =>
  retention(['run', '--policy', policy, '--data', data, '--by', 'kim', ...flags]);

async function verifyAll(up: Up): Promise<{ code: number; words: string }> {
  said.words();
  const code = await verify(['--all', '--to', up.url, '--log-key', up.logKey]);
  return { code, words: said.words() };
}

/** Once the log vouches for the beginning and the end of each session. */
const sealed = (up: Up) =>
  vi.waitFor(
    async () => {
      const note = await (await fetch(`${up.url}/tlog/checkpoint`)).text();
      expect(Number(note.split('\n')[1])).toBeGreaterThanOrEqual(2 * SESSIONS.length);
    },
    { timeout: 20_000, interval: 200 },
  );

beforeAll(async () => {
  said = caught();
  fs.writeFileSync(
    policy,
    'name: test-1\ndefault: {sessionDays: 9000}\ntenants: {default: {sessionDays: 30, contentDays: 7}}\n',
  );
  await withUp(data, async (up) => {
    for (const [session, stream] of SESSIONS) expect(await record(up, session, stream)).toBe(200);
    await sealed(up);
  });
  await onStore(data, aged(old, 31), aged(held, 31), aged(stripped, 8));
}, 60_000);
afterAll(() => {
  vi.restoreAllMocks();
  fs.rmSync(root, { recursive: true, force: true });
});

describe('telltale retention', () => {
  it('says in a dry run what would go, and changes nothing', async () => {
    const why = ['--reason', 'case 7', '--by', 'legal', '--data', data];
    expect(await hold(['place', held[0], ...why])).toBe(0);
    await expect(hold(['place', held[0], ...why])).rejects.toThrow(
      'held already, by legal: case 7',
    );
    const before = await countOf('events', old);
    said.words();
    expect(await run('--dry-run')).toBe(0);
    const words = said.words();
    expect(words).toContain(`remove   ${old[0]}  ${before} events`);
    expect(words).toContain(`held     ${held[0]}`);
    expect(words).toContain(`strip    ${stripped[0]}`);
    expect(words).not.toContain(young[0]);
    expect(words).toMatch(
      new RegExp(
        `1 sessions go: ${before} events, about [1-9]\\d* bytes; 1 lose their content; 1 are held`,
      ),
    );
    expect(await countOf('events', old)).toBe(before);
    expect(await countOf('removals', old)).toBe(0);
  });

  it('removes whole sessions, never a held one, and says so for ever', async () => {
    const kept = await countOf('events', held);
    expect(await run()).toBe(0);
    expect(said.words()).toContain('removed 1 sessions, took the content of 1');
    for (const table of ['events', 'streams', 'entities', 'dead_letters', 'alerts'])
      expect([table, await countOf(table, old)]).toEqual([table, 0]);
    expect(await countOf('events', held)).toBe(kept);
    const [left] = await onStore(
      data,
      `SELECT countIf(content_salt != '') AS n, count() AS all FROM telltale.events WHERE session_id = '${stripped[0]}'`,
    );
    expect(left).toMatchObject({ n: '0' });
    expect(Number(left?.all)).toBeGreaterThan(5);
    const journal = `SELECT operation, reason, attrs['sessions'] AS which FROM telltale.events WHERE kind = 'access' AND operation = 'retention remove'`;
    expect(await onStore(data, journal)).toMatchObject([
      { reason: 'policy test-1: sessions go after 30 days', which: old[0] },
    ]);
    await withUp(data, async (up) => {
      const { code, words } = await verifyAll(up);
      const today = new Date().toISOString().slice(0, 10);
      expect(words).toContain(
        `${old[0]}  removed by retention policy on ${today} under policy test-1 (after 30 days, run by kim); the log vouches for ${old[1]} up to event`,
      );
      expect(words).toMatch(/ 0 removed, 1 removed by retention policy/);
      expect(words).toContain(`${held[0]}  intact, complete`);
      expect(code).toBe(0);
      expect(await verify([old[0], '--to', up.url])).toBe(2);
      expect(said.words()).toContain('it was removed by retention policy on');
      const response = await fetch(`${up.url}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${up.token}` },
        body: JSON.stringify({
          query: `{ a: session(id: "${held[0]}") { hold { by reason } } b: session(id: "${young[0]}") { hold { by } } }`,
        }),
      });
      expect(await response.json()).toEqual({
        data: { a: { hold: { by: 'legal', reason: 'case 7' } }, b: { hold: null } },
      });
    });
  }, 60_000);

  it('removes a session once its hold is released', async () => {
    const why = ['--reason', 'case closed', '--data', data];
    await expect(hold(['release', young[0], ...why])).rejects.toThrow('is not held');
    expect(await hold(['release', held[0], ...why])).toBe(0);
    expect(await run()).toBe(0);
    expect(await countOf('events', held)).toBe(0);
    expect(await run()).toBe(0);
    expect(said.words()).toContain('removed 0 sessions, took the content of 0');
  }, 60_000);

  it('is done by a service too, round after round, until it stops', async () => {
    const store = await openStore(`chdb:${data}`, { log: fakeLog() });
    const file = path.join(root, 'round.yaml');
    const log = fakeLog();
    const shared = { store, log, clock: createClock(), actor: 'telltale up', file };
    const operations: string[] = [];
    const record = async (_: string, operation: string) => void operations.push(operation);
    const sweeper = () => createSweeper({ ...shared, record, firstMs: 1, everyMs: 20 });
    expect(sweeper).toThrow('round.yaml');
    fs.writeFileSync(file, 'name: round\ndefault: {sessionDays: 7}\n');
    const part = sweeper();
    await part.start();
    const told = (name: string) => log.lines.filter((line) => line.event === name);
    await vi.waitFor(() => expect(told('retention.swept').length).toBeGreaterThan(1), 20_000);
    expect(told('retention.swept').map(({ fields }) => fields?.removed)).toEqual(
      told('retention.swept').map((_, round) => (round === 0 ? 1 : 0)),
    );
    fs.writeFileSync(file, 'name: 1\n');
    await vi.waitFor(() => expect(told('retention.failed').length).toBeGreaterThan(0), 20_000);
    await part.stop();
    const rounds = log.lines.length;
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(log.lines.length).toBe(rounds);
    await store.close();
    expect(operations).toEqual(['retention remove']);
    expect(await countOf('events', stripped)).toBe(0);
    expect(await countOf('removals', stripped)).toBe(1);
    expect(await countOf('events', young)).toBeGreaterThan(5);
  }, 60_000);

  it('leaves a loss a loss, and a false tombstone no cover', async () => {
    const gone = `DELETE WHERE session_id = '${young[0]}' SETTINGS mutations_sync = 1`;
    await onStore(
      data,
      `ALTER TABLE telltale.events ${gone}`,
      `ALTER TABLE telltale.streams ${gone}`,
      `ALTER TABLE telltale.removals UPDATE last_seq = 1 WHERE session_id = '${old[0]}' SETTINGS mutations_sync = 1`,
    );
    await withUp(data, async (up) => {
      const { code, words } = await verifyAll(up);
      expect(words).toContain(`${young[0]}  removed: the log vouches for`);
      expect(words).toContain(`${old[0]}  removed, and the tombstone does not cover it`);
      expect(words).toMatch(/ 2 removed, 2 removed by retention policy/);
      expect(code).toBe(1);
    });
  }, 60_000);
});

describe('a policy', () => {
  it('has terms for a tenant, or those of all', () => {
    const { name, termsOf } = readPolicy(policy);
    expect([name, termsOf('default'), termsOf('other')]).toEqual([
      'test-1',
      { sessionDays: 30, contentDays: 7 },
      { sessionDays: 9000 },
    ]);
    expect(parsePolicy('name: n\ntenants: {a: {sessionDays: 1}}').termsOf('b')).toBeUndefined();
  });

  it.each([
    ['[', 'no YAML'],
    ['1', 'give name'],
    ['name: n', 'it names nobody'],
    ['name: "a b"\ndefault: {sessionDays: 1}', 'name: 1 to 100'],
    ['name: n\ndefault: {sessionDays: 0}', 'default.sessionDays: whole days'],
    ['name: n\ndefault: {sessionDays: 5, contentDays: 5}', 'default.contentDays: fewer'],
    ['name: n\ntenants: {a: {days: 5}}', 'tenants.a.days: not known'],
    ['name: n\ndefault: {sessionDays: 1}\nx: 1', 'x: not known'],
  ])('is refused: %j', (text, words) => expect(() => parsePolicy(text)).toThrow(words));
});
