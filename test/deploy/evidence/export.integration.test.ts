/** Export and verify over a real engine and a real port: what goes in comes out proven. */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkFleet, isFleetGood } from '../../../deploy/evidence/fleet.ts';
import { NoSessionError, stageSession } from '../../../deploy/evidence/stage.ts';
import { openBundle, writeBundle } from '../../../deploy/evidence/tar.ts';
import { tlogFetch } from '../../../deploy/evidence/tlog.ts';
import type { Report } from '../../../schemas/evidence/report.ts';
import { verifyEvidence } from '../../../schemas/evidence/verify.ts';
import { openTestStore, type TestStore } from '../../query/service.ts';
import { CLEAN, type CleanCase } from '../../verify/clean.ts';
import { verifyBundle } from '../../verify/second.ts';
import { createWorld, LOG, type Store, WITNESS, type World } from '../../verify/world.ts';
import { insertStore, logFiles, serveEvidence, type TestServer } from './server.ts';

const KEYS = { logKeys: [LOG.verifier], witnesses: [WITNESS.verifier] };
const TEXTS = { logKeys: [LOG.verifier.text], witnesses: [WITNESS.verifier.text] };
const NAMES = ['two streams', 'erased payloads', 'a dead letter', 'a declared gap'];
const CASES = CLEAN.filter(({ name }) => NAMES.includes(name));

let root = '';
let dirs = 0;
const newDir = (): string => {
  const dir = path.join(root, String(dirs++));
  fs.mkdirSync(dir);
  return dir;
};
const by = { at_ms: 1_764_300_000_000, by: 'robin', reason: 'case 7' };

async function exported(base: URL, session: string, content: 'full' | 'none') {
  const staged = await stageSession({
    base,
    session,
    content,
    tool: 'telltale test',
    by,
    dir: newDir(),
  });
  const file = path.join(newDir(), 'bundle.tar');
  const sha256 = await writeBundle(staged.files, file).finally(staged.files.close);
  return { file, sha256, staged };
}

async function verified(file: string): Promise<Report> {
  const bundle = await openBundle(file);
  return verifyEvidence(bundle, KEYS).finally(bundle.close);
}

let store: TestStore;
beforeAll(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'telltale-evidence-'));
  store = await openTestStore();
});
afterAll(async () => {
  await store.close();
  fs.rmSync(root, { recursive: true, force: true });
});

async function worldOf(
  one: CleanCase,
): Promise<{ world: World; server: TestServer; session: string }> {
  const world = createWorld(`evidence ${one.name}`, one.plan);
  for (const rows of world.stores) await insertStore(store.store, rows);
  const { session } = world.stores[0] as Store;
  const server = await serveEvidence(store.store, logFiles(world, await world.log(session)));
  return { world, server, session };
}

describe.each(CASES)('a session with $name', (one) => {
  let server: TestServer;
  let session = '';
  beforeAll(async () => {
    ({ server, session } = await worldOf(one));
  });
  afterAll(() => server.close());

  it.each(['full', 'none'] as const)(
    'is exported with content %s and verified by both',
    async (content) => {
      const { file, sha256, staged } = await exported(server.base, session, content);
      expect(staged.sealed).toBe(true);
      const report = await verified(file);
      const bytes = fs.readFileSync(file);
      const second = verifyBundle(bytes, TEXTS);
      expect(report.integrity.faults).toEqual([]);
      for (const verdicts of [report, second])
        expect([
          verdicts.integrity.verdict,
          verdicts.completeness.verdict,
          verdicts.assurance.verdict,
        ]).toEqual([one.integrity, one.completeness, one.assurance]);
      expect(report.integrity.anchor).toMatchObject({ by: 'log', witnesses: 1 });
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256);
      if (content === 'none') expect(bytes.includes('ls -la')).toBe(false);
    },
  );

  it('gives the same bytes for the same input', async () => {
    const [a, b] = [
      await exported(server.base, session, 'full'),
      await exported(server.base, session, 'full'),
    ];
    expect(fs.readFileSync(a.file).equals(fs.readFileSync(b.file))).toBe(true);
  });
});

describe('the fleet', () => {
  const FLEET = CLEAN.find(({ name }) => name === 'one stream') as CleanCase;

  async function check(server: TestServer) {
    return checkFleet(tlogFetch(server.base), KEYS, async ({ session_id }) => {
      try {
        const { file } = await exported(server.base, session_id, 'full');
        return await verified(file);
      } catch (error) {
        if (error instanceof NoSessionError) return undefined;
        throw error;
      }
    });
  }

  it('is good as it was recorded, and names the session that was removed', async () => {
    const { world, server } = await worldOf(FLEET);
    const before = await check(server);
    expect(isFleetGood(before)).toBe(true);
    expect(before.logFaults).toEqual([]);
    expect(before.sessions.map(({ report }) => report?.integrity.verdict)).toEqual([
      'intact',
      'intact',
    ]);
    const gone = world.stores[1] as Store;
    await store.store.command(
      `ALTER TABLE telltale.events DELETE WHERE session_id = '${gone.session}' SETTINGS mutations_sync = 1`,
    );
    await store.store.command(
      `ALTER TABLE telltale.streams DELETE WHERE session_id = '${gone.session}' SETTINGS mutations_sync = 1`,
    );
    const after = await check(server);
    expect(
      after.sessions
        .filter(({ report }) => report === undefined)
        .map(({ session_id }) => session_id),
    ).toEqual([gone.session]);
    expect(isFleetGood(after)).toBe(false);
    await server.close();
  });

  it('names a log that was rolled back, forged or spoiled', async () => {
    const { world, server, session } = await worldOf({ ...FLEET, name: 'log' });
    const whole = await world.log(session);
    const older = await world.log(session, whole.size - 3);
    const head = { size: whole.size, root: Buffer.alloc(32) };
    const known = await checkFleet(
      tlogFetch(server.base),
      { ...KEYS, known: { ...head, size: whole.size + 1 } },
      async () => undefined,
    );
    expect(known.logFaults[0]).toContain('heads before');
    server.log.set('checkpoint', Buffer.from(older.note));
    const short = await checkFleet(
      tlogFetch(server.base),
      { ...KEYS, known: head },
      async () => undefined,
    );
    expect(short.logFaults[0]).toContain('heads before');
    const other = await checkFleet(
      tlogFetch(server.base),
      { ...KEYS, known: { ...head, size: 2 } },
      async () => undefined,
    );
    expect(other.logFaults[0]).toContain('does not go on');
    server.log.set('checkpoint', Buffer.from(whole.note.replace('log.example', 'fog.example')));
    expect(
      (await checkFleet(tlogFetch(server.base), KEYS, async () => undefined)).logFaults.length,
    ).toBeGreaterThan(0);
    server.log.set('checkpoint', Buffer.from(whole.note));
    const name = [...server.log.keys()].find((one) => one.startsWith('tile/entries/')) as string;
    const entries = Buffer.from(server.log.get(name) as Buffer);
    entries[entries.indexOf('event_digest') + 20] = 0x30;
    entries[entries.indexOf('event_digest') + 21] = 0x31;
    server.log.set(name, entries);
    expect(
      (await checkFleet(tlogFetch(server.base), KEYS, async () => undefined)).logFaults.length,
    ).toBeGreaterThan(0);
    await server.close();
  });
});

describe('a broken answer', () => {
  async function from(cut: (body: Buffer) => Buffer) {
    const one = CASES[0] as CleanCase;
    const { server, session } = await worldOf({ ...one, name: `broken ${dirs}` });
    const answer = await fetch(new URL(`/v1/sessions/${session}/export`, server.base));
    const body = cut(Buffer.from(await answer.arrayBuffer()));
    const fake = http.createServer((_request, response) => response.end(body));
    await new Promise<void>((resolve) => fake.listen(0, '127.0.0.1', resolve));
    const base = new URL(`http://127.0.0.1:${(fake.address() as AddressInfo).port}`);
    try {
      return await exported(base, session, 'full');
    } finally {
      fake.close();
      await server.close();
    }
  }

  it('is told as broken: cut off, cleanly cut at a line, or with a line less', async () => {
    await expect(from((body) => body.subarray(0, body.length - 300))).rejects.toThrow(/broke off/);
    const lines = (body: Buffer) => body.toString().split('\n');
    const text = (all: readonly string[]) => Buffer.from(all.join('\n'));
    await expect(from((body) => text([...lines(body).slice(0, 20), '']))).rejects.toThrow(
      /its end is missing/,
    );
    await expect(from((body) => text(lines(body).filter((_, i) => i !== 5)))).rejects.toThrow(
      /does not fit/,
    );
  });

  it('names a session that is not there', async () => {
    const server = await serveEvidence(store.store, new Map());
    const none = '0193a5e0-0000-7000-8000-00000000dead';
    await expect(exported(server.base, none, 'full')).rejects.toThrow(NoSessionError);
    await server.close();
  });
});
